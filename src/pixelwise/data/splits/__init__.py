"""Which image is for training, validation, test: given, drawn, grouped, kept by name."""
