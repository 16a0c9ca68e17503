"""A block is an encoder, a physical layer and digital weights; a network is blocks in a row."""
