"""A virtual audio interface: loudspeakers and microphones of a simulated box at a real audio server."""
