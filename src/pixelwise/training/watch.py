"""The watchdog beside the loop: what it looks at, and when; findings go to the listener once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence

import torch

from pixelwise.data.batches import Batch
from pixelwise.data.preprocessing import normalise
from pixelwise.data.sample import Sample
from pixelwise.data.splitting.duplicates import MAX_DISTANCE, perceptual_hash
from pixelwise.scoring.scores import Scores
from pixelwise.training.alignment import check_alignment
from pixelwise.training.events import Listener, Said
from pixelwise.training.setup import Prepared
from pixelwise.training.watchdog import (
    Alarm,
    DeadChannels,
    Watchdog,
    check_normalisation,
    check_rate,
    check_validation,
)

NUM_LOOKED_AT = 32
"""Images of each split that are compared with their masks, and with the other split."""

TITLE = "watch out"


class Watch:
    """Looks at one training.

    Attributes:
        alarms: What was said, in one line each.

    Args:
        prepared: Data and model.
        listener: Told of every finding.
    """

    def __init__(self, prepared: Prepared, listener: Listener) -> None:
        self.alarms: list[str] = []
        self._prepared = prepared
        self._listener = listener
        self._watchdog = Watchdog(
            prepared.dataset.class_map,
            prepared.card.label_mode,
            prepared.statistics.class_frequencies,
        )

    def before_training(self, num_steps: int | None) -> None:
        """Look at rate, labels, normalisation and validation images, a few seconds at most.

        Args:
            num_steps: Steps of the training; ``None`` where the clock decides.
        """
        prepared = self._prepared
        rate = prepared.recipe.training.learning_rate
        if rate is not None and num_steps is not None:
            self._say(check_rate(prepared.model, rate, num_steps))
        training, validation = (
            _spread(samples) for samples in (prepared.training, prepared.validation)
        )
        self._say(check_alignment(training))
        batch = next(prepared.batches.epoch(0))
        self._say(check_normalisation(normalise(batch.image, prepared.card.preprocessing)))
        leaked = _num_near(training, validation)
        means = [[float(sample.image.mean()) for sample in some] for some in (training, validation)]
        deviation = float(torch.tensor(prepared.statistics.std).mean())
        self._say(check_validation(means[0], means[1], deviation, leaked))

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
        if len(history) == 1:
            self._say(self._watchdog.after_first_epoch())
        self._say(self._watchdog.after_epoch(history, scores, fraction))

    def watch_activations(self, score: Callable[[], Scores]) -> Scores:
        """Score while the channels of the network are watched; dead ones are said.

        Args:
            score: Runs the network over the validation images.
        """
        with DeadChannels(self._prepared.model) as channels:
            scores = score()
        self._say(self._watchdog.fresh(channels.alarms()))
        return scores

    def _say(self, alarms: Iterable[Alarm]) -> None:
        lines = tuple(alarm.text for alarm in alarms)
        if lines:
            self.alarms += lines
            self._listener(Said(TITLE, lines))


def _spread(samples: Sequence[Sample]) -> list[Sample]:
    """Some of the samples, evenly over all."""
    step = max(1, len(samples) // NUM_LOOKED_AT)
    places = itertools.islice(range(0, len(samples), step), NUM_LOOKED_AT)
    return [samples[place] for place in places]


def _num_near(training: Sequence[Sample], validation: Sequence[Sample]) -> int:
    """How many validation images are nearly the same as one of the training images."""
    ours = [perceptual_hash(sample.image) for sample in training]
    theirs = [perceptual_hash(sample.image) for sample in validation]
    return sum(any((one ^ other).bit_count() <= MAX_DISTANCE for one in ours) for other in theirs)
