"""Data sets: label formats, samples, splits, caching and batches."""
