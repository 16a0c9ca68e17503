"""Virtual instruments: the far side of a command language. They know nothing of transports."""
