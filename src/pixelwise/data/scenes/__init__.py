"""Large scenes as data sets: windows that are cut on reading, in spatial blocks."""
