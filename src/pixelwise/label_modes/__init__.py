"""The two label modes, each an object that does whatever differs between them.

Nothing else in the package asks which mode labels have: see docs/decisions/0022-label-mode.md.
"""

from pixelwise.classes import LabelMode
from pixelwise.label_modes.base import THRESHOLD, Mode
from pixelwise.label_modes.multiclass import Multiclass
from pixelwise.label_modes.multilabel import Multilabel

__all__ = ["THRESHOLD", "Mode", "Multiclass", "Multilabel", "mode_of"]

MODES: dict[str, Mode] = {mode.name: mode for mode in (Multiclass(), Multilabel())}


def mode_of(name: LabelMode) -> Mode:
    """The object of a label mode by its name, as recipes, cards and samples hold it."""
    return MODES[name]
