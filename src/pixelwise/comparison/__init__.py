"""Several models trained under one budget on the same data, and ranked."""
