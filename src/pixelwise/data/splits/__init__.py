"""Divide a data set into splits and folds, and store them in dataset cards."""
