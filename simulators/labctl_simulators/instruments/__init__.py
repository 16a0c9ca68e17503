"""Virtual instruments: the far side of a command language, and the servers that put it on the wire."""
