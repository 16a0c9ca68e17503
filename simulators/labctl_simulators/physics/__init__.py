"""First-principles models of the physical systems."""
