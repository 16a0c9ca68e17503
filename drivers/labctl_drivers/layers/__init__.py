"""Physical layers composed of instruments."""
