"""Virtual network analysers, one per dialect, each with the habits of the real one."""
