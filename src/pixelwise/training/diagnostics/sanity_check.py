"""Sanity check: overfits one batch before the training, then restores the weights."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch

from pixelwise.data.batches import Batch, Chance, random_for
from pixelwise.label_modes import mode_of
from pixelwise.losses.losses import constant_loss
from pixelwise.training.plan import Plan

MAX_STEPS = 150
"""Maximum number of steps; a small batch is overfitted in fewer if it can be learned."""

ENOUGH = 0.5
"""The loss must fall to this share of the best loss without looking at the images."""

LEAST_LOSS = 0.02
"""A loss of this value always passes: nearly all pixels of a batch may be of one class."""

LEARNING_RATE = 3e-3
"""Learning rate of Adam; higher than usual, as the model only has to fit this batch."""


@dataclass(frozen=True)
class SanityCheck:
    """Result of the sanity check.

    Attributes:
        first: Loss before the first step; NaN if no crop is labeled.
        last: Lowest loss.
        constant: Lowest loss of a prediction that is the same for all pixels.
        steps: Number of steps taken.
    """

    first: float
    last: float
    constant: float
    steps: int

    @property
    def is_passed(self) -> bool:
        """Whether the batch was overfitted."""
        return math.isfinite(self.first) and self.last <= _bound(self.constant)

    @property
    def text(self) -> str:
        """The result in one line."""
        if not self.steps:
            return (
                "the crops of an epoch must contain labeled pixels. All are ignored. Check the "
                "ignore value (--ignore), or train on larger crops (--size)"
            )
        fall = (
            f"the loss of one batch went from {self.first:.4f} to {self.last:.4f} in {self.steps} "
            f"steps at a learning rate of {LEARNING_RATE:g}; the best constant prediction has "
            f"a loss of {self.constant:.4f}"
        )
        if self.is_passed:
            return f"{fall}: the model can fit the labels"
        return (
            f"{fall}: it should have fallen to half of that. The model cannot fit the labels. View "
            "images and masks with: pixelwise data show; or use a model with more filters"
        )


def _bound(constant: float) -> float:
    return max(ENOUGH * constant, LEAST_LOSS)


def overfit_one_batch(plan: Plan) -> SanityCheck:
    """Overfit the first batch that contains labels, then restore the model's weights.

    Args:
        plan: Plan of the training.
    """
    model = plan.model
    weights = copy.deepcopy(model.state_dict())
    mode = mode_of(plan.card.label_mode)
    batches = plan.batches.epoch(0)
    labeled = (one for one in batches if mode.labeled_crops(one.mask, one.valid).any())
    batch = next(labeled, None)
    if batch is None:
        return SanityCheck(math.nan, math.nan, math.nan, 0)
    constant = _constant_loss(plan, batch)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    model.train()
    first, lowest, step = math.nan, math.inf, 0
    try:
        for step in range(1, MAX_STEPS + 1):
            # Reseed at every step, so that jitter and dropout stay the same.
            torch.manual_seed(0)
            loss = plan.step.loss(batch, random_for(Chance.STEP, 0))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            value = loss.item()
            first = value if step == 1 else first
            lowest = min(lowest, value)
            if lowest <= _bound(constant) or not math.isfinite(value):
                break
    finally:
        model.load_state_dict(weights)
        model.zero_grad(set_to_none=True)
    return SanityCheck(first, lowest, constant, step)


def _constant_loss(plan: Plan, batch: Batch) -> float:
    """Return the lowest loss of a prediction that is the same for all pixels of the batch."""
    label_mode, num_classes = plan.card.label_mode, plan.card.class_map.num_classes
    frequencies = mode_of(label_mode).batch_frequencies(batch.mask, batch.valid, num_classes)
    found = constant_loss(frequencies.tolist(), label_mode, plan.step.class_weights)
    return found * (1.0 + sum(plan.model.auxiliary_weights))
