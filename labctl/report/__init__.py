"""Turns a run into a page a person can read."""
