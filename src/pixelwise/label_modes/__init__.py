"""The two label modes; each is an object that implements what differs between them.

No other code branches on the label mode: see docs/decisions/0022-label-mode.md. Counting and
resizing, which belong to other packages, have tables by the name of the mode instead.
"""

from pixelwise.classes import LabelMode
from pixelwise.label_modes.base import THRESHOLD, Mode
from pixelwise.label_modes.multiclass import Multiclass
from pixelwise.label_modes.multilabel import Multilabel

__all__ = ["THRESHOLD", "Mode", "Multiclass", "Multilabel", "mode_of"]

MODES: dict[str, Mode] = {mode.name: mode for mode in (Multiclass(), Multilabel())}


def mode_of(name: LabelMode) -> Mode:
    """Return the object for the label mode named in a recipe, card or sample."""
    return MODES[name]
