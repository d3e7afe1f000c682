"""Trains a model on a data set: defaults from the data, one training loop, exact resume."""
