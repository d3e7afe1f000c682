"""What was decoded once, kept: in memory and on disk."""
