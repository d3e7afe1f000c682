"""The objects that a caller of ``train`` gives in place of names in the recipe."""

from __future__ import annotations

from dataclasses import dataclass

from pixelwise.losses.base import Loss
from pixelwise.models.creation import GivenModel
from pixelwise.transforms.own_transform import OwnTransform


@dataclass(frozen=True)
class OwnParts:
    """Objects of the caller; ``None`` means that the recipe decides.

    Attributes:
        model: A class derived from ``torch.nn.Module``, or an instance.
        loss: A loss; see :data:`pixelwise.losses.base.Loss`.
        augmentation: A callable that augments crops; see
            :data:`pixelwise.transforms.own_transform.OwnTransform`.
    """

    model: GivenModel | None = None
    loss: Loss | None = None
    augmentation: OwnTransform | None = None


NO_OWN_PARTS = OwnParts()
