"""Spatial light modulators: a window on a display, and what slmsuite drives."""
