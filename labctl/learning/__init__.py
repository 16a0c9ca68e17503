"""Learning rules: each asks for measurements and updates digital weights, and never touches hardware."""
