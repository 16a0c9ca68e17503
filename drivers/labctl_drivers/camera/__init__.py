"""Cameras: one life for all, and what each library needs."""
