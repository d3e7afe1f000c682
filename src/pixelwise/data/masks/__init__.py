"""Mask files: what their values mean, and reading many small ones fast."""
