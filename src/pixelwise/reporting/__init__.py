"""HTML pages, charts and pictures of data sets, runs and comparisons."""
