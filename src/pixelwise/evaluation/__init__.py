"""Evaluates models on data sets and finds likely label errors."""
