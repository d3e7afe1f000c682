"""Caches for decoded samples, in memory and on disk."""
