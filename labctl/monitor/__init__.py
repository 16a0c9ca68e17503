"""Shows a run while it goes."""
