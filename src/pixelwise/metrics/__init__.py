"""From truth and prediction to scores whose definition is stated."""
