"""The laboratory without a laboratory: the same interfaces from the other side."""
