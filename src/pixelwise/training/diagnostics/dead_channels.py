"""Detects dead channels of activation layers during validation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pixelwise.errors import in_one_line
from pixelwise.training.diagnostics.watchdog import Problem

DEAD_SHARE = 0.8
"""A layer is reported if more than this share of its channels never exceeds zero."""


class DeadChannels:
    """Context manager that finds activation channels that never exceed zero.

    An exception in a hook is reported as a problem and does not stop the training.

    Args:
        model: Network whose ReLU layers are observed.
    """

    def __init__(self, model: nn.Module) -> None:
        # The key includes the width: a block may reuse one layer at several widths (bottleneck).
        self._alive: dict[tuple[str, int], Tensor] = {}
        self._layers = {
            name: layer for name, layer in model.named_modules() if isinstance(layer, nn.ReLU)
        }
        self._hooks: dict[str, torch.utils.hooks.RemovableHandle] = {}
        self._failed: dict[str, str] = {}

    def __enter__(self) -> DeadChannels:
        for name, layer in self._layers.items():

            def note(_: nn.Module, __: object, output: Tensor, name: str = name) -> None:
                try:
                    self._note(name, output)
                except Exception as error:  # unexpected outputs must not stop the network
                    self._failed[name] = in_one_line(error)
                    self._hooks[name].remove()

            self._hooks[name] = layer.register_forward_hook(note)
        return self

    def __exit__(self, *error: object) -> None:
        for hook in self._hooks.values():
            hook.remove()

    def _note(self, name: str, output: Tensor) -> None:
        if output.ndim <= 2:
            return
        alive = (output > 0).any(0).flatten(1).any(1)
        key = (name, len(alive))
        before = self._alive.get(key)
        self._alive[key] = alive if before is None else before | alive

    def problems(self) -> list[Problem]:
        """Return the problems found."""
        return [*self._dead(), *self._unwatched()]

    def _dead(self) -> list[Problem]:
        shares = {key: 1 - float(alive.float().mean()) for key, alive in self._alive.items()}
        dead = {key: share for key, share in shares.items() if share > DEAD_SHARE}
        if not dead:
            return []
        worst = max(dead, key=dead.__getitem__)
        return [
            Problem(
                "dead-activations",
                f"{dead[worst]:.0%} of the channels of {worst[0]} are zero on every image"
                + (f", as in {len(dead) - 1} other layers" if len(dead) > 1 else "")
                + ": they are dead and no longer learn. Train again with a lower learning "
                "rate or with normalization=batch",
            )
        ]

    def _unwatched(self) -> list[Problem]:
        if not self._failed:
            return []
        name, error = next(iter(self._failed.items()))
        return [
            Problem(
                "activations-not-observed",
                f"the channels of {name} could not be observed ({error}). This "
                "does not affect the training",
            )
        ]
