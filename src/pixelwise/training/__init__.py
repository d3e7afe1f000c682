"""From a data set to a model file: defaults from the data, one loop, exact resume."""
