"""Random pictures whose mask is plain to see, and a model that sees it."""

import numpy as np
import torch
from PIL import Image
from torch import nn

from pixelwise.classes import ClassMap
from pixelwise.models.base import SegmentationModel
from pixelwise.models.model_file import ModelCard, Preprocessing, TrainingData
from pixelwise.prediction.predictor import Predictor


class BrightIsForeground(SegmentationModel):
    """Class 1 where the red channel is above the middle."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 1)
        with torch.no_grad():
            self.layer.weight.zero_()
            self.layer.bias.zero_()
            self.layer.weight[1, 0] = 1.0

    def segment(self, image):
        return self.layer(image)


def bright_predictor():
    """That model with its card, ready to predict."""
    card = ModelCard(
        architecture="stacked-fcn",
        in_channels=3,
        class_map=ClassMap.build(("dark", "bright")),
        label_mode="multiclass",
        preprocessing=Preprocessing(dtype="uint8", mean=(127.5,) * 3, std=(1.0,) * 3),
        training_size=(32, 32),
        metrics=None,
        data=TrainingData(fingerprint="", images=(), split=None, split_seed=0),
        versions={},
    )
    return Predictor(BrightIsForeground(), card, device="cpu")


def save_image(path, size=(9, 7), seed=0):
    """Write a random picture and return the mask that the model finds in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    with Image.open(path) as stored:
        return (np.asarray(stored)[..., 0] > 127).astype(np.uint8)


def ids(path):
    with Image.open(path) as picture:
        return np.asarray(picture)
