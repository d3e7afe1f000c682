"""Runs the watchdog's checks during training; each problem is reported and saved once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from pixelwise.data.batches import Batch
from pixelwise.data.sample import Sample
from pixelwise.data.splits.near_duplicates import MAX_DISTANCE, perceptual_hash
from pixelwise.io.counting import spread
from pixelwise.label_modes import mode_of
from pixelwise.losses.constant import constant_loss
from pixelwise.metrics.metrics import Metrics
from pixelwise.training.diagnostics.alignment import check_alignment
from pixelwise.training.diagnostics.dead_channels import DeadChannels
from pixelwise.training.diagnostics.watchdog import (
    Problem,
    Watchdog,
    check_images,
    check_learning_rate,
    check_normalization,
    check_validation,
)
from pixelwise.training.events import Listener, WarningRaised
from pixelwise.training.plan import Plan
from pixelwise.training.run_folder import Notes, load_notes, save_notes
from pixelwise.transforms.preprocessing import normalize

NUM_LOOKED_AT = 32
"""Number of images per split that are checked against their masks and the other split."""


class Observer:
    """Runs the diagnostics of one training run.

    Attributes:
        notes: Notes of the run, including the warnings from before an interruption.

    Args:
        plan: Plan of the training.
        folder: Run folder.
        listener: Callback that receives each warning.
    """

    def __init__(self, plan: Plan, folder: Path, listener: Listener) -> None:
        before = load_notes(folder)
        self.notes = Notes(before.reasons or tuple(plan.reasons), before.problems)
        self._folder = folder
        self._plan = plan
        self._listener = listener
        self._watchdog = Watchdog(
            plan.dataset.class_map,
            plan.card.label_mode,
            plan.measured.statistics.class_frequencies,
            _guessing_loss(plan),
            plan.step.class_weights is not None,
            {problem.kind for problem in before.problems},
        )

    def before_training(self, num_steps: int | None) -> None:
        """Check learning rate, labels, normalization and validation images; takes a few seconds.

        Args:
            num_steps: Number of training steps; ``None`` if a time limit decides.
        """
        plan = self._plan
        save_notes(self._folder, self.notes)
        learning_rate = plan.recipe.training.learning_rate
        if learning_rate is not None:
            self._say_fresh(check_learning_rate(plan.model, learning_rate, num_steps))
        training, validation = (
            spread(samples, NUM_LOOKED_AT) for samples in (plan.training, plan.validation)
        )
        empty = check_images([sample.image for sample in training])
        self._say_fresh(empty)
        if empty:
            return  # the other checks are meaningless on such images
        self._say_fresh(check_alignment(training))
        batch = next(plan.batches.epoch(0))
        self._say_fresh(check_normalization(normalize(batch.image, plan.card.preprocessing)))
        leaked = _num_near(training, validation)
        means = [
            [float(sample.image.mean(dtype=np.float64)) for sample in some]
            for some in (training, validation)
        ]
        std = float(np.mean(plan.measured.statistics.std))
        self._say_fresh(check_validation(means[0], means[1], std, leaked))

    def saw(self, batch: Batch) -> None:
        """Record a batch of the first epoch."""
        self._watchdog.saw_batch(batch.mask, batch.valid)

    def after_epoch(
        self, history: Sequence[dict[str, float]], metrics: Metrics, fraction: float
    ) -> None:
        """Check the results of the epochs so far.

        Args:
            history: Rows of ``history.csv``.
            metrics: Metrics of the latest validation.
            fraction: Completed share of the training, 0 to 1.
        """
        epoch = len(history)
        # An epoch shortened by the time limit or an interruption has not shown all crops.
        is_whole = self._watchdog.num_crops == self._plan.batches.crops_per_epoch
        if epoch == 1 and is_whole:
            self._say(self._watchdog.after_first_epoch(), epoch)
        self._say(self._watchdog.after_epoch(history, metrics, fraction), epoch)

    def watch_activations(self, evaluate: Callable[[], Metrics], epoch: int) -> Metrics:
        """Evaluate the model and report channels that are dead on all validation images.

        Args:
            evaluate: Function that runs the network over the validation images.
            epoch: Number of the epoch that has ended, from 1.

        Returns:
            The metrics from ``evaluate``.
        """
        with DeadChannels(self._plan.model) as channels:
            metrics = evaluate()
        self._say_fresh(channels.problems(), epoch)
        return metrics

    def _say_fresh(self, found: Iterable[Problem], epoch: int = 0) -> None:
        self._say(self._watchdog.fresh(found), epoch)

    def _say(self, found: Iterable[Problem], epoch: int) -> None:
        """Report and save the problems."""
        said = tuple(WarningRaised(epoch, problem.kind, problem.text) for problem in found)
        if said:
            self.notes = Notes(self.notes.reasons, (*self.notes.problems, *said))
            save_notes(self._folder, self.notes)
        for problem in said:
            self._listener(problem)


def _num_near(training: Sequence[Sample], validation: Sequence[Sample]) -> int:
    """Return the number of validation images that are near-duplicates of training images."""
    ours = [perceptual_hash(sample.image) for sample in training]
    theirs = [perceptual_hash(sample.image) for sample in validation]
    return sum(any((one ^ other).bit_count() <= MAX_DISTANCE for one in ours) for other in theirs)


def _guessing_loss(plan: Plan) -> float:
    """Return the loss of a prediction without preference, on the mask of the first image."""
    mask = torch.from_numpy(plan.training[0].mask)[None]
    valid = torch.ones(1, *mask.shape[-2:], dtype=torch.bool)
    target = mode_of(plan.card.label_mode).loss_target(mask, valid)
    logits = torch.zeros(plan.card.class_map.num_classes)
    return constant_loss(plan.step.criterion, target.to(plan.device), logits)
