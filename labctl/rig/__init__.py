"""Opens the layers a rig file names and makes them safe on every way out."""
