"""Virtual optical instruments: a display that is watched, a medium behind it, cameras and a shutter."""
