"""Reads experiment and rig files into typed models, or says exactly what is wrong with them."""
