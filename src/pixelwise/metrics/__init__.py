"""Segmentation metrics with documented definitions."""
