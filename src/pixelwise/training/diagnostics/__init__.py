"""What can go wrong in a training, noticed while it runs."""
