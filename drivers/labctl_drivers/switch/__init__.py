"""What makes dark or silent: shutters, lasers' outputs, the power of amplifiers."""
