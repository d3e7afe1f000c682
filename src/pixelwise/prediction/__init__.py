"""From an image of any size to logits, probabilities, class ids and files."""
