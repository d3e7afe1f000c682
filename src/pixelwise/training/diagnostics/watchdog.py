"""What goes wrong in trainings, said in one line with what to try, as soon as it can be known.

Each check looks at numbers that the training has anyway, or at a few images once. A finding is said
once; a healthy run hears nothing. :mod:`pixelwise.training.diagnostics.alignment` holds the one
check that compares labels with images.
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

EPOCHS_OF_GRACE = 2
"""Epochs before outputs are judged: the first ones of any run may be all of one class."""

SHARE_OF_GRACE = 0.4
"""Share of the training before a class may be missed: rare ones come late, and slow learners say
all of one class for long."""

FLAT_FALL = 0.01
"""A loss that has fallen by less than this share over the epochs of grace is flat."""

RISING_SHARE = 0.25
"""Share of the training in which the learning rate rises by default: a loss may be flat so long,
for of few images an epoch is a single step."""

RISE = 1.5
"""A training loss above this many times its first value, or a validation loss above its best."""

NUM_LATEST = 3
"""Epochs after the best one that must tell of overfitting, by their median: one may be noise."""

EXPLODED = 10.0
"""A first epoch with a mean loss of this many times that of guessing went astray within it."""

IGNORED_CROPS = 0.5
"""More wholly ignored crops than this share are worth a word."""

MOVE = 0.05
"""Adam moves a weight by about the learning rate in each step: when all steps together move less
than this share of a typical weight, the network cannot get away from where it started."""

ODD_MEAN, ODD_STD = 3.0, (0.02, 10.0)
"""Normalized images have mean 0 and standard deviation 1, or lie between 0 and 1: far from
these."""

EXTREME, EXTREMELY = 1e30, 1e4
"""Values beyond this, or beyond this many times what 99 % of an image stay below, measure
nothing."""

CONSTANT_SHARE = 0.25
"""More images of a single color than this share are no accident."""

MAX_TIMES_OWN_LEARNING_RATE = 20.0
"""A learning rate of this many times what the model is known to take is an accident."""

BALANCED = "--set training.class_weights=balanced"

ALIEN = 1.5
"""Validation images whose mean differs by this many standard deviations of the training images are
others."""


@dataclass(frozen=True)
class Problem:
    """One finding.

    Attributes:
        kind: A stable name.
        text: What is wrong and what to try, in one line.
    """

    kind: str
    text: str


@dataclass
class Watchdog:
    """Watches one training.

    Attributes:
        class_map: The classes.
        label_mode: Of the masks.
        class_frequencies: Share of the training pixels that is of each class.
        is_weighted: The loss weighs the classes already.
        said: Kinds that were said already, and are not said again.
        num_crops: How many crops of the first epoch were seen.
    """

    class_map: ClassMap
    label_mode: LabelMode
    class_frequencies: Sequence[float]
    is_weighted: bool = False
    said: set[str] = field(default_factory=set)
    num_crops: int = 0
    _sampled: Tensor | None = None
    _ignored_crops: int = 0

    def saw_batch(self, mask: Tensor, valid: Tensor | None = None) -> None:
        """Note which classes a batch of the first epoch shows.

        Args:
            mask: Multiclass: int (N, H, W). Multilabel: (N, K, H, W).
            valid: What of it counts, for multilabel masks.
        """
        mode = mode_of(self.label_mode)
        shown = mode.classes_in_batch(mask, self.class_map.num_classes)
        self._ignored_crops += int((~mode.labeled_crops(mask, valid)).sum())
        self.num_crops += len(mask)
        self._sampled = shown if self._sampled is None else self._sampled | shown

    def after_first_epoch(self) -> list[Problem]:
        """What the crops of the first epoch tell."""
        return self.fresh(self._sampling())

    def after_epoch(
        self, history: Sequence[dict[str, float]], metrics: Metrics, fraction: float
    ) -> list[Problem]:
        """What the epochs so far tell.

        Args:
            history: Rows with ``train_loss`` and ``val_loss``, from the first epoch on.
            metrics: Of the last epoch's validation.
            fraction: Share of the training that is done.
        """
        found = [*self._losses(history, fraction), *self._outputs(metrics, len(history), fraction)]
        return self.fresh(found)

    def fresh(self, found: Iterable[Problem]) -> list[Problem]:
        """Those that were not said before."""
        fresh = [problem for problem in found if problem.kind not in self.said]
        self.said.update(problem.kind for problem in fresh)
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
                f"no crop of the first epoch showed {', '.join(missed)}, which the training masks "
                "do hold. Train on larger crops (--size), or on more images of it",
            )
        if self._ignored_crops > IGNORED_CROPS * self.num_crops:
            yield Problem(
                "ignored-crops",
                f"{self._ignored_crops} of {self.num_crops} crops of the first epoch are ignored "
                "all over: nothing is learned from them. Train on larger crops (--size), or check "
                "the ignore value (--ignore)",
            )

    def _losses(self, history: Sequence[dict[str, float]], fraction: float) -> Iterator[Problem]:
        trained = [row["train_loss"] for row in history]
        validated = [row["val_loss"] for row in history]
        guessing = mode_of(self.label_mode).guessing_loss(self.class_map.num_classes)
        if trained[0] > EXPLODED * max(guessing, math.log(2)):
            yield Problem(
                "learning-rate-too-high",
                f"the training loss of the first epoch is {trained[0]:.3g}, and mere guessing has "
                f"{guessing:.2g}. The learning rate is too high: a tenth of it is worth a try "
                "(--set training.learning_rate=...)",
            )
        elif len(history) > EPOCHS_OF_GRACE and trained[-1] > RISE * trained[0]:
            yield Problem(
                "learning-rate-too-high",
                f"the training loss has risen from {trained[0]:.4f} to {trained[-1]:.4f}. The "
                "learning rate is too high: a third of it is worth a try (--set "
                "training.learning_rate=...)",
            )
        elif (
            len(history) > EPOCHS_OF_GRACE
            and fraction > RISING_SHARE
            and min(trained[1:]) > (1 - FLAT_FALL) * trained[0]
        ):
            yield Problem(
                "loss-flat",
                f"the training loss has not fallen in {len(history)} epochs ({trained[0]:.4f} to "
                f"{trained[-1]:.4f}). See whether model and labels can meet: --sanity-check. If "
                "they do, try another learning rate",
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
                "memorizes the images. More images, stronger augmentation, or fewer epochs would "
                "help; the best epoch is kept",
            )

    def _outputs(self, metrics: Metrics, epochs: int, fraction: float) -> Iterator[Problem]:
        shares = dict(zip(self.class_map.names, self.class_frequencies, strict=True))
        foreign = [row.name for row in metrics.per_class if row.pixels and not shares[row.name]]
        if foreign:
            yield Problem(
                "class-not-in-training",
                f"the validation masks show {', '.join(foreign)}, which no training mask shows: it "
                "cannot be learned, and counts as wrong. Draw the splits again with: pixelwise "
                "data split",
            )
        shown = [entry for entry in metrics.per_class if entry.pixels]
        # At the end, however short the training was, what it says is what it will say.
        is_past = (epochs > EPOCHS_OF_GRACE and fraction > SHARE_OF_GRACE) or fraction >= 1
        what = metrics.constant_prediction
        if is_past and what is not None:
            drowned = "" if self.is_weighted else f"rare classes may be drowned ({BALANCED}), or "
            yield Problem(
                "constant-output",
                f"every validation pixel is predicted as {what}: {drowned}the learning rate may be "
                "too high or too low",
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
                f"{', '.join(missed)} is never predicted right, at most {rare:.2%} of the labeled "
                f"pixels each. {remedies} would help",
            )


def check_learning_rate(
    model: SegmentationModel, learning_rate: float, num_steps: int | None
) -> list[Problem]:
    """Say before the first step that the learning rate is far too high, or moves nothing.

    Args:
        model: The network as it starts.
        learning_rate: The highest learning rate of the schedule.
        num_steps: Steps of the whole training; ``None`` where the clock decides.
    """
    if learning_rate > MAX_TIMES_OWN_LEARNING_RATE * model.learning_rate:
        return [
            Problem(
                "learning-rate-too-high",
                f"the learning rate is {learning_rate:g}, and {model.name} is known to take "
                f"{model.learning_rate:g} well. Lower it, or leave it out",
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
            f"most {learning_rate * num_steps:.1g}, and a typical weight is {typical:.1g}: nothing "
            "will be learned. Raise it, or train for longer",
        )
    ]


def check_images(images: Sequence[Array]) -> list[Problem]:
    """Say that images hold nothing, as after an export that failed, or values that stand for none.

    Args:
        images: Some of the training images, (H, W, C).
    """
    extreme = [value for image in images if (value := _extreme(image)) is not None]
    if extreme:
        return [
            Problem(
                "extreme-values",
                f"{len(extreme)} of {len(images)} training images hold values such as "
                f"{extreme[0]:.3g}, far beyond all their others: a mark for missing data, perhaps. "
                "Beside them everything else looks alike. Save such pixels as NaN or 0",
            )
        ]
    num_constant = sum(bool((image == image[:1, :1]).all()) for image in images)
    if num_constant <= CONSTANT_SHARE * len(images):
        return []
    return [
        Problem(
            "constant-images",
            f"{num_constant} of {len(images)} training images are of a single color: nothing can "
            "be learned from them. Look at them with: pixelwise data show",
        )
    ]


def _extreme(image: Array) -> float | None:
    """The largest value of an image of fractions, where it cannot be a measurement."""
    if image.dtype.kind != "f":
        return None
    sizes = np.abs(image)
    largest, usual = float(sizes.max()), float(np.quantile(sizes, 0.99))
    if largest > EXTREME or 0 < EXTREMELY * usual < largest:
        return float(image.flat[int(sizes.argmax())])
    return None


def check_normalization(images: Tensor) -> list[Problem]:
    """Say that images reach the network in other units than it expects.

    Args:
        images: Normalized images (N, C, H, W), float.
    """
    mean, std = float(images.mean().abs()), float(images.std())
    if mean <= ODD_MEAN and ODD_STD[0] <= std <= ODD_STD[1]:
        return []
    return [
        Problem(
            "normalization",
            f"normalized images should have mean 0 and standard deviation 1. They have "
            f"{images.mean():.2g} and {std:.2g}: mean and standard deviation are of other images. "
            "Leave them to the data (data.normalization=dataset)",
        )
    ]


def check_validation(
    train_means: Sequence[float], val_means: Sequence[float], std: float, num_leaked: int
) -> list[Problem]:
    """Say that validation images are the training images again, or of another world.

    Args:
        train_means: Mean value of each training image, in stored units.
        val_means: Mean value of each validation image.
        std: Of the training images' pixels.
        num_leaked: Validation images of which a near-duplicate is trained on.
    """
    found = []
    if num_leaked:
        found.append(
            Problem(
                "leak",
                f"{num_leaked} of the {len(val_means)} validation images looked at are nearly the "
                "same as a training image: the metrics will be too good. Part them with: "
                "pixelwise data split",
            )
        )
    away = abs(float(np.mean(val_means)) - float(np.mean(train_means))) / max(std, 1e-9)
    if away > ALIEN:
        found.append(
            Problem(
                "alien-validation",
                f"the validation images are {away:.1f} standard deviations brighter or darker than "
                "the training images: the metrics say little about either. Draw the splits again "
                "with: pixelwise data split",
            )
        )
    return found
