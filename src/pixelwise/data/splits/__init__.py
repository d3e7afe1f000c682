"""Divides a data set into splits and folds, and stores them in dataset cards."""
