"""The watchdog beside the loop: what it looks at, and when; each finding is said and kept once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from pixelwise.data.batches import Batch
from pixelwise.data.sample import Sample, spread
from pixelwise.data.splits.near_duplicates import MAX_DISTANCE, perceptual_hash
from pixelwise.metrics.metrics import Scores
from pixelwise.training.diagnostics.alignment import check_alignment
from pixelwise.training.diagnostics.dead_channels import DeadChannels
from pixelwise.training.diagnostics.watchdog import (
    Alarm,
    Watchdog,
    check_images,
    check_normalisation,
    check_rate,
    check_validation,
)
from pixelwise.training.events import Alarmed, Listener
from pixelwise.training.run_folder import Notes, load_notes, save_notes
from pixelwise.training.setup import Prepared
from pixelwise.transforms.preprocessing import normalise

NUM_LOOKED_AT = 32
"""Images of each split that are compared with their masks, and with the other split."""


class Watch:
    """Looks at one training.

    Attributes:
        notes: The run's, with what was said before an interruption.

    Args:
        prepared: Data and model.
        folder: The run's folder.
        listener: Told of every finding.
    """

    def __init__(self, prepared: Prepared, folder: Path, listener: Listener) -> None:
        before = load_notes(folder)
        self.notes = Notes(before.reasons or tuple(prepared.reasons), before.alarms)
        self._folder = folder
        self._prepared = prepared
        self._listener = listener
        self._watchdog = Watchdog(
            prepared.dataset.class_map,
            prepared.card.label_mode,
            prepared.statistics.class_frequencies,
            prepared.class_weights is not None,
            {alarm.kind for alarm in before.alarms},
        )

    def before_training(self, num_steps: int | None) -> None:
        """Look at rate, labels, normalisation and validation images, a few seconds at most.

        Args:
            num_steps: Steps of the training; ``None`` where the clock decides.
        """
        prepared = self._prepared
        save_notes(self._folder, self.notes)
        rate = prepared.recipe.training.learning_rate
        if rate is not None:
            self._say_fresh(check_rate(prepared.model, rate, num_steps))
        training, validation = (
            spread(samples, NUM_LOOKED_AT) for samples in (prepared.training, prepared.validation)
        )
        empty = check_images([sample.image for sample in training])
        self._say_fresh(empty)
        if empty:
            return  # of such images, nothing else is worth saying
        self._say_fresh(check_alignment(training))
        batch = next(prepared.batches.epoch(0))
        self._say_fresh(check_normalisation(normalise(batch.image, prepared.card.preprocessing)))
        leaked = _num_near(training, validation)
        means = [
            [float(sample.image.mean(dtype=np.float64)) for sample in some]
            for some in (training, validation)
        ]
        deviation = float(torch.tensor(prepared.statistics.std).mean())
        self._say_fresh(check_validation(means[0], means[1], deviation, leaked))

    def saw(self, batch: Batch) -> None:
        """Note a batch of the first epoch."""
        self._watchdog.saw_batch(batch.mask, batch.valid)

    def after_epoch(
        self, history: Sequence[dict[str, float]], scores: Scores, fraction: float
    ) -> None:
        """Look at what the epochs so far gave.

        Args:
            history: The rows of ``history.csv``.
            scores: Of the last validation.
            fraction: Share of the training that is done.
        """
        epoch = len(history)
        # Of an epoch that was cut by the clock or by an interruption, nobody has seen all crops.
        is_whole = self._watchdog.num_crops == self._prepared.batches.crops_per_epoch
        if epoch == 1 and is_whole:
            self._say(self._watchdog.after_first_epoch(), epoch)
        self._say(self._watchdog.after_epoch(history, scores, fraction), epoch)

    def watch_activations(self, score: Callable[[], Scores], epoch: int) -> Scores:
        """Score while the channels of the network are watched; dead ones are said.

        Args:
            score: Runs the network over the validation images.
            epoch: Which has ended, from 1.
        """
        with DeadChannels(self._prepared.model) as channels:
            scores = score()
        self._say_fresh(channels.alarms(), epoch)
        return scores

    def _say_fresh(self, found: Iterable[Alarm], epoch: int = 0) -> None:
        self._say(self._watchdog.fresh(found), epoch)

    def _say(self, found: Iterable[Alarm], epoch: int) -> None:
        """Say and keep what was found."""
        said = tuple(Alarmed(epoch, alarm.kind, alarm.text) for alarm in found)
        if said:
            self.notes = Notes(self.notes.reasons, (*self.notes.alarms, *said))
            save_notes(self._folder, self.notes)
        for alarm in said:
            self._listener(alarm)


def _num_near(training: Sequence[Sample], validation: Sequence[Sample]) -> int:
    """How many validation images are nearly the same as one of the training images."""
    ours = [perceptual_hash(sample.image) for sample in training]
    theirs = [perceptual_hash(sample.image) for sample in validation]
    return sum(any((one ^ other).bit_count() <= MAX_DISTANCE for one in ours) for other in theirs)
