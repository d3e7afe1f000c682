"""From a folder to batches: formats, records, samples, splits, augmentation. Knows no models."""
