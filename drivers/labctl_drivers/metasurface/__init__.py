"""Programmable metasurfaces: one life for all, and the frames of each controller."""
