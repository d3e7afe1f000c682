"""A model and a data set to metrics, and to labels worth a second look."""
