"""Polygons in plain text, one file per image."""
