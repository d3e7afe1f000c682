"""Decode and encode image files; this package does not handle labels."""
