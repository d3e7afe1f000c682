"""Checks that detect problems in the data or the training while a model is trained."""
