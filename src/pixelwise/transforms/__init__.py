"""Transforms of images and masks: preprocessing, augmentation, statistics."""
