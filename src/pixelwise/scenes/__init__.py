"""Large scenes: which images are read in windows, and how one scene is divided into blocks."""
