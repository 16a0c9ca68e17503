"""Executes the measurement requests of a learning rule on physical layers."""
