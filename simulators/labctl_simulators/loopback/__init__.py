"""Simulated instruments and layers that live in the process that uses them."""
