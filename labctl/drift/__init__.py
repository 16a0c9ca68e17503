"""Tells what has become of a physical layer from reference drives measured before and now."""
