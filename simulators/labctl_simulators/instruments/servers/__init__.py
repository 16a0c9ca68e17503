"""The instrument's end of each transport: servers around a handler, with faults on demand."""
