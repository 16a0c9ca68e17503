"""Vector network analysers: one class per command dialect."""
