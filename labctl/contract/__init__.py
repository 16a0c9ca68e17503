"""What drivers and simulators may know of labctl. API version 1."""
