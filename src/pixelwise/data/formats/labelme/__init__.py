"""LabelMe: shapes in one JSON file beside each image."""
