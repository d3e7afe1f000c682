"""Predicts logits, probabilities, class ids and files from images of any size."""
