"""Losses of segmentation_models.pytorch: Dice, Tversky, Lovász and focal loss."""

from __future__ import annotations

from torch import Tensor

from pixelwise.classes import IGNORE_INDEX, LabelMode
from pixelwise.label_modes import mode_of
from pixelwise.losses.base import Loss, losses


@losses.register("dice")
def dice(label_mode: LabelMode, *, smooth: float = 0.0, log_loss: bool = False) -> Loss:
    """Build the Dice loss of the batch, averaged over the classes.

    A class without a pixel in the batch adds 0 and still counts in the average.

    Args:
        label_mode: Label mode of the target.
        smooth: Added to intersection and sum.
        log_loss: Use ``-log(dice)`` instead of ``1 - dice``.

    Reference:
        Milletari et al., V-Net (2016), arXiv:1606.04797; for soft labels as by Wang et al.,
        Jaccard metric losses (2023), arXiv:2302.05666.
    """
    import segmentation_models_pytorch as smp  # takes seconds to import

    return smp.losses.DiceLoss(  # type: ignore[no-any-return]
        label_mode, ignore_index=IGNORE_INDEX, smooth=smooth, log_loss=log_loss
    )


@losses.register("tversky")
def tversky(
    label_mode: LabelMode, *, alpha: float = 0.3, beta: float = 0.7, gamma: float = 1.0
) -> Loss:
    """Build the Tversky loss: a Dice loss that weights false positives and false negatives.

    Args:
        label_mode: Label mode of the target.
        alpha: Weight of false positives; 0.5 for both weights gives Dice.
        beta: Weight of false negatives.
        gamma: Exponent of the loss (focal Tversky).

    Reference:
        Salehi et al., Tversky loss function (2017), arXiv:1706.05721.
    """
    import segmentation_models_pytorch as smp  # takes seconds to import

    return smp.losses.TverskyLoss(  # type: ignore[no-any-return]
        label_mode, ignore_index=IGNORE_INDEX, alpha=alpha, beta=beta, gamma=gamma
    )


@losses.register("lovasz")
def lovasz(label_mode: LabelMode) -> Loss:
    """Build the Lovász loss, a surrogate of the IoU: it sorts all pixels, so it is slow.

    Multiclass masks use the Lovász-softmax, averaged over the classes in the batch; multilabel
    masks use the Lovász hinge over all classes together.

    Args:
        label_mode: Label mode of the target.

    Reference:
        Berman et al., The Lovász-Softmax loss (2018), arXiv:1705.08790.
    """
    import segmentation_models_pytorch as smp  # takes seconds to import

    loss = smp.losses.LovaszLoss(label_mode, ignore_index=IGNORE_INDEX)
    # Without labeled pixels, the library returns an empty tensor instead of 0.
    return lambda logits, target: loss(logits, target).sum()


@losses.register("focal")
def focal(label_mode: LabelMode, *, gamma: float = 2.0, alpha: float | None = None) -> Loss:
    """Build the focal loss: binary cross-entropy that fades for pixels already predicted well.

    It is averaged over labeled pixels and classes; for multiclass masks, each class is separated
    from all others.

    Args:
        label_mode: Label mode of the target.
        gamma: Exponent; 0 gives the binary cross-entropy.
        alpha: Weight of positive pixels, 0 to 1, and ``1 - alpha`` of negative ones; ``None``
            weights both by 1.

    Reference:
        Lin et al., Focal Loss for Dense Object Detection (2017), arXiv:1708.02002.
    """
    import segmentation_models_pytorch as smp  # takes seconds to import

    # The mode "binary" is right for members of any number of classes. The sum is divided here,
    # because the library's mean of no pixels is not a number.
    total = smp.losses.FocalLoss(
        "binary", gamma=gamma, alpha=alpha, ignore_index=IGNORE_INDEX, reduction="sum"
    )
    mode = mode_of(label_mode)

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        members = mode.memberships(target, logits.shape[1])
        value: Tensor = total(logits, members) / (members != IGNORE_INDEX).sum().clamp(min=1)
        return value

    return loss
