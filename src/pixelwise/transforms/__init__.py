"""What is done to images and masks: preprocessing, augmentation, statistics."""
