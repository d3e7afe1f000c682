"""Decodes and encodes image files; this package does not handle labels."""
