"""Virtual controllers of metasurfaces, one per protocol, each with the habits of the real one."""
