"""From masks and predictions to metrics whose definition is stated."""
