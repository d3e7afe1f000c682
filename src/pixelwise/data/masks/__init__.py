"""Mask files: their kinds, the meaning of their values, and color tables."""
