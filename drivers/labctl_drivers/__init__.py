"""Drivers: one instrument, one class; layers built from instruments. Nothing here knows what learning is."""
