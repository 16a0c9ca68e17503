"""What makes dark: shutters and lasers' outputs."""
