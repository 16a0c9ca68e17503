"""The pass log of a run: the one durable record from which weights can be recomputed."""
