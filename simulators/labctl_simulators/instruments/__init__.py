"""Virtual instruments on the real wire."""
