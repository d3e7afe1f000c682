"""Checks for common training problems; each result is one line with a suggested fix.

The checks use numbers that the training computes anyway, or look at a few images once. Each problem
is reported once; a healthy run reports none. The check that compares labels with images is in
:mod:`pixelwise.training.diagnostics.alignment`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from pixelwise.classes import ClassMap, LabelMode
from pixelwise.io.arrays import Array
from pixelwise.label_modes import mode_of
from pixelwise.metrics.metrics import Metrics
from pixelwise.models.base import SegmentationModel
from pixelwise.text import amount

EPOCHS_OF_GRACE = 2
"""Epochs before outputs are checked: early in any run all pixels may be predicted as one class."""

SHARE_OF_GRACE = 0.4
"""Share of the training before a class may be reported as missed: rare classes are learned late,
and slowly learning models predict a single class for a long time."""

FLAT_FALL = 0.01
"""A loss that has fallen by less than this share after the grace epochs is flat."""

RISING_SHARE = 0.25
"""Share of the training in which the default schedule warms up the learning rate. The loss may be
flat until then, since an epoch of few images is a single step."""

RISE = 1.5
"""Factor by which a training loss exceeds its first value, or a validation loss its best value,
when it is reported as rising."""

NUM_LATEST = 3
"""Number of latest epochs whose median must show overfitting; a single one may be noise."""

EXPLODED = 10.0
"""If the mean loss of the first epoch exceeds that of guessing by this factor, training
diverged."""

IGNORED_CROPS = 0.5
"""A larger share of completely ignored crops is reported."""

MOVE = 0.05
"""Adam changes a weight by about the learning rate per step. If all steps together amount to less
than this share of a typical weight, the network cannot move away from its initialization."""

ODD_MEAN, ODD_STD = 3.0, (0.02, 10.0)
"""Limits of the absolute mean and of the standard deviation of normalized images; usual values are
0 and 1, or lie between 0 and 1."""

MAX_MEASUREMENT, MAX_TIMES_QUANTILE = 1e30, 1e4
"""Values above the first limit, or above the second limit times the 99 % quantile of an image,
cannot be measurements."""

CONSTANT_SHARE = 0.25
"""A larger share of images of a single color is reported."""

MAX_TIMES_OWN_LEARNING_RATE = 20.0
"""Maximum ratio of the learning rate to the highest one tested for the architecture."""

BALANCED = "`training.class_weights=balanced`"

ALIEN = 1.5
"""Maximum difference between the means of validation and training images, in standard deviations of
the training pixels."""


@dataclass(frozen=True)
class Problem:
    """A problem found by a check.

    Attributes:
        kind: Stable identifier.
        text: The problem and a suggested fix, in one line.
    """

    kind: str
    text: str


@dataclass
class Watchdog:
    """Checks the progress of one training run.

    Attributes:
        class_map: Classes.
        label_mode: Label mode of the masks.
        class_frequencies: Share of each class among the training pixels.
        guessing_loss: Loss of a prediction without preference.
        is_weighted: Whether the loss already uses class weights.
        reported: Kinds of problems already reported, which are not reported again.
        num_crops: Number of crops of the first epoch seen so far.
    """

    class_map: ClassMap
    label_mode: LabelMode
    class_frequencies: Sequence[float]
    guessing_loss: float
    is_weighted: bool = False
    reported: set[str] = field(default_factory=set)
    num_crops: int = 0
    _sampled: Tensor | None = None
    _ignored_crops: int = 0

    def saw_batch(self, mask: Tensor, valid: Tensor | None = None) -> None:
        """Record which classes occur in a batch of the first epoch.

        Args:
            mask: Batch mask, multiclass int (N, H, W) or multilabel (N, K, H, W).
            valid: Pixels inside the images, bool (N, H, W); used for multilabel masks.
        """
        mode = mode_of(self.label_mode)
        shown = mode.classes_in_batch(mask, self.class_map.num_classes)
        self._ignored_crops += int((~mode.labeled_crops(mask, valid)).sum())
        self.num_crops += len(mask)
        self._sampled = shown if self._sampled is None else self._sampled | shown

    def after_first_epoch(self) -> list[Problem]:
        """Return the problems found in the crops of the first epoch."""
        return self.fresh(self._sampling())

    def after_epoch(
        self, history: Sequence[dict[str, float]], metrics: Metrics, fraction: float
    ) -> list[Problem]:
        """Return the new problems found in the epochs so far.

        Args:
            history: Rows with ``train_loss`` and ``val_loss``, from the first epoch on.
            metrics: Metrics of the latest validation.
            fraction: Completed share of the training, 0 to 1.
        """
        found = [*self._losses(history, fraction), *self._outputs(metrics, len(history), fraction)]
        return self.fresh(found)

    def fresh(self, found: Iterable[Problem]) -> list[Problem]:
        """Return the problems whose kind has not been reported before."""
        fresh = [problem for problem in found if problem.kind not in self.reported]
        self.reported.update(problem.kind for problem in fresh)
        return fresh

    def _sampling(self) -> Iterator[Problem]:
        if self._sampled is None:
            return
        missed = [
            name
            for name, shown, share in zip(
                self.class_map.names, self._sampled.tolist(), self.class_frequencies, strict=True
            )
            if not shown and share > 0
        ]
        if missed:
            yield Problem(
                "class-never-sampled",
                f"no crop of the first epoch contained {', '.join(missed)}, although the training "
                "masks do. Train on larger crops (`size`) or on more images with it",
            )
        if self._ignored_crops > IGNORED_CROPS * self.num_crops:
            yield Problem(
                "ignored-crops",
                f"{self._ignored_crops} of {amount(self.num_crops, 'crop')} of the first epoch "
                "contain only ignored pixels: nothing is learned from them. Train on larger crops "
                "(`size`), or check the ignore value (`ignore`)",
            )

    def _losses(self, history: Sequence[dict[str, float]], fraction: float) -> Iterator[Problem]:
        trained = [row["train_loss"] for row in history]
        validated = [row["val_loss"] for row in history]
        guessing = self.guessing_loss
        if trained[0] > EXPLODED * max(guessing, math.log(2)):
            yield Problem(
                "learning-rate-too-high",
                f"the training loss of the first epoch is {trained[0]:.3g}; random guessing gives "
                f"{guessing:.2g}. The learning rate is too high: try a tenth of it "
                "(`training.learning_rate=...`)",
            )
        elif len(history) > EPOCHS_OF_GRACE and trained[-1] > RISE * trained[0]:
            yield Problem(
                "learning-rate-too-high",
                f"the training loss has risen from {trained[0]:.4f} to {trained[-1]:.4f}. The "
                "learning rate is too high: try a third of it (`training.learning_rate=...`)",
            )
        elif (
            len(history) > EPOCHS_OF_GRACE
            and fraction > RISING_SHARE
            and min(trained[1:]) > (1 - FLAT_FALL) * trained[0]
        ):
            yield Problem(
                "loss-flat",
                f"the training loss has not fallen in {amount(len(history), 'epoch')} ("
                f"{trained[0]:.4f} to {trained[-1]:.4f}). Check with `sanity_check=True` whether "
                "the model can fit the labels. If it can, try another learning rate",
            )
        best = min(range(len(validated)), key=validated.__getitem__)
        latest = validated[best + 1 :][-NUM_LATEST:]
        if (
            len(latest) == NUM_LATEST
            and statistics.median(latest) > RISE * validated[best]
            and trained[-1] < trained[best]
        ):
            yield Problem(
                "overfitting",
                f"the validation loss has risen from {validated[best]:.4f} (epoch {best + 1}) to "
                f"{statistics.median(latest):.4f} while the training loss fell: the model "
                "memorizes the training images. More images, stronger augmentation or fewer epochs "
                "would help; the best epoch is kept",
            )

    def _outputs(self, metrics: Metrics, epochs: int, fraction: float) -> Iterator[Problem]:
        shares = dict(zip(self.class_map.names, self.class_frequencies, strict=True))
        foreign = [row.name for row in metrics.per_class if row.pixels and not shares[row.name]]
        if foreign:
            yield Problem(
                "class-not-in-training",
                f"the validation masks contain {', '.join(foreign)}, which no training mask "
                "contains: it cannot be learned and counts as wrong. Draw the splits again with: "
                "pixelwise data split",
            )
        shown = [entry for entry in metrics.per_class if entry.pixels]
        # At the end of the training outputs are final, however few epochs there were.
        is_past = (epochs > EPOCHS_OF_GRACE and fraction > SHARE_OF_GRACE) or fraction >= 1
        what = metrics.constant_prediction
        if is_past and what is not None:
            imbalance = (
                "" if self.is_weighted else f"rare classes may need more weight ({BALANCED}), or "
            )
            yield Problem(
                "constant-output",
                f"every validation pixel is predicted as {what}: {imbalance}the learning rate may "
                "be too high or too low",
            )
            return
        missed = [row.name for row in shown if shares[row.name] and not row.recall]
        if is_past and missed:
            pixels = sum(entry.pixels for entry in shown)
            rare = max(entry.pixels for entry in shown if entry.name in missed) / pixels
            remedies = "More images of them" + (
                " or larger crops" if self.is_weighted else f", larger crops or {BALANCED}"
            )
            yield Problem(
                "class-never-predicted",
                f"{', '.join(missed)} is never predicted correctly; each has at most {rare:.2%} of "
                f"the labeled pixels. {remedies} would help",
            )


def check_learning_rate(
    model: SegmentationModel, learning_rate: float, num_steps: int | None
) -> list[Problem]:
    """Check before the first step for a learning rate that is far too high or far too low.

    Args:
        model: Network with its initial weights.
        learning_rate: Highest learning rate of the schedule.
        num_steps: Number of steps of the whole training run; ``None`` if a time limit decides.
    """
    if learning_rate > MAX_TIMES_OWN_LEARNING_RATE * model.learning_rate:
        return [
            Problem(
                "learning-rate-too-high",
                f"the learning rate is {learning_rate:g}; {model.name} was tested up to "
                f"{model.learning_rate:g}. Lower it, or leave it out to use that",
            )
        ]
    if num_steps is None:
        return []
    weights = [values for values in model.parameters() if values.ndim > 1]
    total = sum(values.numel() for values in weights)
    typical = math.sqrt(sum(float(values.detach().square().sum()) for values in weights) / total)
    if learning_rate * num_steps >= MOVE * typical:
        return []
    return [
        Problem(
            "learning-rate-too-low",
            f"the learning rate {learning_rate:.1g} over {num_steps} steps moves a weight by at "
            f"most {learning_rate * num_steps:.1g}, but a typical weight is {typical:.1g}: nothing "
            "will be learned. Raise the learning rate, or train for longer",
        )
    ]


def check_images(images: Sequence[Array]) -> list[Problem]:
    """Check for constant images, as after a failed export, and for placeholder values.

    Args:
        images: Some of the training images, (H, W, C).
    """
    extreme = [value for image in images if (value := _extreme(image)) is not None]
    if extreme:
        return [
            Problem(
                "extreme-values",
                f"{len(extreme)} of {len(images)} training images contain values such as "
                f"{extreme[0]:.3g}, far beyond all others; perhaps a placeholder for missing data. "
                "They hide all other differences. Save such pixels as NaN or 0",
            )
        ]
    num_constant = sum(bool((image == image[:1, :1]).all()) for image in images)
    if num_constant <= CONSTANT_SHARE * len(images):
        return []
    return [
        Problem(
            "constant-images",
            f"{num_constant} of {len(images)} training images have a single color: nothing can be "
            "learned from them. View them with: pixelwise data show",
        )
    ]


def _extreme(image: Array) -> float | None:
    """Return the most extreme value of a float image if it cannot be a measurement."""
    if image.dtype.kind != "f":
        return None
    sizes = np.abs(image)
    largest, usual = float(sizes.max()), float(np.quantile(sizes, 0.99))
    if largest > MAX_MEASUREMENT or 0 < MAX_TIMES_QUANTILE * usual < largest:
        return float(image.flat[int(sizes.argmax())])
    return None


def check_normalization(images: Tensor) -> list[Problem]:
    """Check that normalized images have a plausible mean and standard deviation.

    Args:
        images: Normalized images, float (N, C, H, W).
    """
    mean, std = float(images.mean().abs()), float(images.std())
    if mean <= ODD_MEAN and ODD_STD[0] <= std <= ODD_STD[1]:
        return []
    return [
        Problem(
            "normalization",
            f"normalized images should have mean 0 and standard deviation 1. They have "
            f"{images.mean():.2g} and {std:.2g}: the recipe's mean and standard deviation belong "
            "to other images. Measure them on this data set (data.normalization=dataset)",
        )
    ]


def check_validation(
    train_means: Sequence[float], val_means: Sequence[float], std: float, num_leaked: int
) -> list[Problem]:
    """Check for validation images that repeat or differ strongly from the training images.

    Args:
        train_means: Mean value of each training image, in stored units.
        val_means: Mean value of each validation image, in stored units.
        std: Standard deviation of the pixels of the training images.
        num_leaked: Number of validation images that are near-duplicates of training images.
    """
    found = []
    if num_leaked:
        found.append(
            Problem(
                "leak",
                f"{num_leaked} of the {len(val_means)} compared validation images are nearly the "
                "same as a training image: the metrics will be too high. Separate them with: "
                "pixelwise data split",
            )
        )
    away = abs(float(np.mean(val_means)) - float(np.mean(train_means))) / max(std, 1e-9)
    if away > ALIEN:
        found.append(
            Problem(
                "validation-differs",
                f"the validation images are {away:.1f} standard deviations brighter or darker than "
                "the training images: the metrics will not tell how well the model learned. Draw "
                "the splits again with: pixelwise data split",
            )
        )
    return found
