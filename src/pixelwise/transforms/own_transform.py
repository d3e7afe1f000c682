"""Apply an augmentation given from Python: any callable on tensors, or one of albumentations."""

from __future__ import annotations

import random
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pixelwise.classes import LabelMode
from pixelwise.errors import ConfigError, PixelwiseError, in_one_line
from pixelwise.transforms.augmentation import TensorSample, ignored_outside

OwnTransform = Callable[..., Any]
"""A callable that takes and returns an image and a mask.

It is called as the transforms of torchvision v2 are: ``transform(image, mask)``, with a
``tv_tensors.Image`` (C, H, W), uint8 or float32 in stored units, and a ``tv_tensors.Mask``
(P + 1, H, W), uint8. The first P planes are the mask: class ids, 255 is ignored (P = 1), or one
plane per class, 0 to 255 for 0 to 1. The last plane is 255 inside of the image and 0 outside. It
moves with the mask, so that pixels which a movement fills with 0 are ignored. Both must be
returned with the shape and dtype that they had.

A transform of albumentations is called as ``transform(image=image, mask=mask)`` with arrays
(H, W, C) and (H, W, P + 1).
"""

INSIDE = 255
"""Value of the last plane inside of the image."""


def transform_name(transform: OwnTransform) -> str:
    """Return a name for the recipe: ``module:qualname`` of a function, or the text of an object."""
    if hasattr(transform, "__qualname__"):
        return f"{transform.__module__}:{transform.__qualname__}"
    if repr(transform) == object.__repr__(transform):  # the class has no text of its own
        return f"{type(transform).__module__}:{type(transform).__qualname__}"
    # Addresses differ in every process, and would make equal transforms look different.
    return re.sub(r" at 0x[0-9a-f]+", "", " ".join(repr(transform).split()))


def check_transform(recorded: str | None, transform: OwnTransform | None) -> None:
    """Check that a transform can be called, and is given if the recipe names one.

    Args:
        recorded: ``augmentation.transform`` of the recipe.
        transform: The argument ``augmentation``.

    Raises:
        ConfigError: It cannot be called, or it is missing.
    """
    if transform is not None and (isinstance(transform, type) or not callable(transform)):
        raise ConfigError(
            "augmentation must be a callable that takes an image and a mask, such as "
            f"v2.Compose([...]). Got {transform!r}"
        )
    if transform is None and recorded is not None:
        raise ConfigError(
            f"the recipe needs its augmentation again, which is a Python object: {recorded}. Give "
            "it from Python as augmentation=..., or remove augmentation.transform from the recipe"
        )


def transformed(
    sample: TensorSample, transform: OwnTransform, label_mode: LabelMode, rng: np.random.Generator
) -> TensorSample:
    """Apply a callable to a crop.

    The global generators of torch (CPU), numpy and ``random`` are seeded from ``rng`` while it
    runs, and restored afterwards. They belong to the whole process: no other thread may use them.

    Args:
        sample: The crop; a callable that writes in place does not change it.
        transform: The callable.
        label_mode: Determines the value of ignored pixels.
        rng: Provides the seed.

    Raises:
        ConfigError: The callable returned something else than an image and a mask of the same
            shape and dtype.
    """
    inside = sample.valid[None].to(torch.uint8) * INSIDE
    image = sample.image.clone()
    planes = torch.cat([sample.mask.reshape(-1, *sample.valid.shape), inside])
    seed = int(rng.integers(2**32))
    call = _call_albumentations if _is_albumentations(transform) else _call_on_tensors
    with _seeded(transform, seed), _named_mistakes(transform, image, planes):
        returned = call(transform, image, planes)
    new_image, new_planes = _checked(returned, sample.image, planes)
    changed = TensorSample(
        new_image, new_planes[:-1].reshape(sample.mask.shape), new_planes[-1] == INSIDE
    )
    return ignored_outside(changed, label_mode)


@contextmanager
def _named_mistakes(transform: OwnTransform, image: Tensor, planes: Tensor) -> Iterator[None]:
    """Name the callable that raises an error, and its step.

    Raises:
        ConfigError: It raised anything but a PixelwiseError.
    """
    given = f"{_words(image)} and {_words(planes)}"
    try:
        yield
    except (PixelwiseError, MemoryError):
        raise
    except Exception as error:  # whatever the code of a user raises
        step = _failed_step(transform, error)
        where = transform_name(transform) if step is None else f"its step {type(step).__name__}"
        raise ConfigError(
            "augmentation must work on images in stored units and their mask planes, here "
            f"{given}. Got an error of {where}: {in_one_line(error)}. Leave out steps that "
            "normalize or need another type: pixelwise normalizes after the augmentation"
        ) from error


def _failed_step(transform: OwnTransform, error: Exception) -> object | None:
    """Return the step of a composed transform in which an error was raised, if it has steps."""
    steps = list(getattr(transform, "transforms", ()))
    frames = (frame.f_locals.get("self") for frame, _ in traceback.walk_tb(error.__traceback__))
    return next((found for found in frames if any(found is step for step in steps)), None)


def _is_albumentations(transform: OwnTransform) -> bool:
    """Whether the object is called with named arrays; albumentations need not be installed."""
    return {"image", "mask"} <= set(getattr(transform, "available_keys", ()))


def _call_on_tensors(transform: OwnTransform, image: Tensor, planes: Tensor) -> Any:
    from torchvision import tv_tensors

    returned = transform(tv_tensors.Image(image), tv_tensors.Mask(planes))
    if not isinstance(returned, list | tuple):
        return returned
    return [part.as_subclass(Tensor) if isinstance(part, Tensor) else part for part in returned]


def _call_albumentations(transform: OwnTransform, image: Tensor, planes: Tensor) -> Any:
    arrays = (part.permute(1, 2, 0).contiguous().numpy() for part in (image, planes))
    returned = transform(**dict(zip(("image", "mask"), arrays, strict=True)))
    return [_from_array(returned[name]) for name in ("image", "mask")]


def _from_array(part: Any) -> Any:
    if not isinstance(part, np.ndarray):
        return part
    part = part[..., None] if part.ndim == 2 else part  # OpenCV drops the axis of a single channel
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(part, -1, 0)))


def _checked(returned: Any, image: Tensor, planes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the image and the mask planes.

    Raises:
        ConfigError: They are missing, or have another shape or dtype.
    """
    parts = returned if isinstance(returned, list | tuple) else [returned]
    wanted = f"{_words(image)} and {_words(planes)}"
    found = " and ".join(map(_words, parts)) or "nothing"
    if found != wanted:
        raise ConfigError(
            "augmentation must return the image and the mask with the shapes and types that it "
            f"was given: {wanted}. It returned {found}. Leave out steps that crop, resize or "
            "convert: pixelwise does that"
        )
    return parts[0], parts[1]


def _words(part: Any) -> str:
    if not isinstance(part, Tensor):
        return type(part).__name__
    return f"{tuple(part.shape)} {str(part.dtype).removeprefix('torch.')}"


@contextmanager
def _seeded(transform: OwnTransform, seed: int) -> Iterator[None]:
    """Seed the global generators of the process inside the context, and restore them after it."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002  foreign code draws from it
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  as above
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed CUDA as well
    if hasattr(transform, "set_random_seed"):  # albumentations 2 has generators of its own
        transform.set_random_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002  as above
        torch.set_rng_state(before[2])
