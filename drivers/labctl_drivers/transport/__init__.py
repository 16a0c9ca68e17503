"""Links to instruments: the one place that touches pyvisa and pyserial."""
