"""Datasets, splits and normalisation fitted on the training part alone."""
