"""Prediction of logits, probabilities, class ids and files for images of any size."""
