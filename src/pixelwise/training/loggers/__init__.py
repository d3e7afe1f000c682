"""Loggers: listeners of a training that pass its events on, one module per tool."""
