"""Audio interfaces."""
