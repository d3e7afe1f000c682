import math

import numpy as np
import pytest
import torch

from pixelwise.errors import ConfigError
from pixelwise.label_modes.likelihood import binary_cross_entropy_loss, cross_entropy_loss
from pixelwise.losses.losses import class_weights, constant_loss


def cross_entropy_by_hand(logits, mask, weights=None):
    total, pixels = 0.0, 0
    for n, row, column in np.ndindex(mask.shape):
        reference = mask[n, row, column]
        if reference == 255:
            continue
        scores = logits[n, :, row, column]
        log_sum = math.log(sum(math.exp(score) for score in scores))
        total += (log_sum - scores[reference]) * (1 if weights is None else weights[reference])
        pixels += 1
    return total / max(1, pixels)


def some_multiclass(seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(2, 4, 5, 3))
    mask = rng.integers(0, 4, size=(2, 5, 3))
    mask[0, :2] = 255
    return logits, mask


@pytest.mark.parametrize("weights", [None, [0.5, 1.0, 2.0, 4.0]])
def test_cross_entropy_equals_a_loop_over_labeled_pixels(weights):
    logits, mask = some_multiclass()
    loss = cross_entropy_loss(
        torch.tensor(logits),
        torch.tensor(mask),
        class_weights=None if weights is None else torch.tensor(weights, dtype=torch.float64),
    )
    assert loss.item() == pytest.approx(cross_entropy_by_hand(logits, mask, weights), rel=1e-9)


def test_ignored_pixels_have_no_gradient_in_cross_entropy():
    logits, mask = some_multiclass()
    scores = torch.tensor(logits, requires_grad=True)
    cross_entropy_loss(scores, torch.tensor(mask)).backward()
    ignored = np.broadcast_to((mask == 255)[:, None], logits.shape)
    assert (scores.grad.numpy()[ignored] == 0).all()
    assert (scores.grad.numpy()[~ignored] != 0).all()


def test_a_batch_of_ignored_pixels_alone_has_loss_zero_and_no_nan():
    scores = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = cross_entropy_loss(scores, torch.full((1, 4, 4), 255))
    loss.backward()
    assert loss.item() == 0
    assert (scores.grad == 0).all()


def test_binary_cross_entropy_equals_a_loop_with_soft_targets():
    rng = np.random.default_rng(1)
    logits, mask = rng.normal(size=(2, 3, 4, 5)), rng.random((2, 3, 4, 5))
    valid = rng.random((2, 4, 5)) > 0.3
    total, count = 0.0, 0
    for n, k, row, column in np.ndindex(logits.shape):
        if valid[n, row, column]:
            share = 1 / (1 + math.exp(-logits[n, k, row, column]))
            target = mask[n, k, row, column]
            total -= target * math.log(share) + (1 - target) * math.log(1 - share)
            count += 1
    loss = binary_cross_entropy_loss(*map(torch.tensor, (logits, mask, valid)))
    assert loss.item() == pytest.approx(total / count, rel=1e-9)


def test_pixels_beyond_the_image_have_no_gradient_in_binary_cross_entropy():
    scores = torch.randn(1, 2, 4, 4, requires_grad=True)
    valid = torch.ones(1, 4, 4, dtype=torch.bool)
    valid[:, :, 2:] = False
    binary_cross_entropy_loss(scores, torch.rand(1, 2, 4, 4), valid).backward()
    assert (scores.grad[..., 2:] == 0).all()
    assert (scores.grad[..., :2] != 0).all()


def test_balanced_weights_have_mean_one_over_the_pixels_and_lift_rare_classes():
    shares = [0.9, 0.09, 0.01, 0.0]
    weights = class_weights("balanced", shares, "multiclass").tolist()
    mean = sum(weight * share for weight, share in zip(weights, shares, strict=True))
    assert mean == pytest.approx(1)
    assert weights[0] < weights[1] < weights[2]
    assert weights[2] / weights[0] == pytest.approx(math.sqrt(90), rel=1e-5)
    assert weights[3] == 1


def test_weights_in_the_recipe_are_taken_as_they_are_one_for_each_class():
    assert class_weights("none", [0.5, 0.5], "multiclass") is None
    weights = class_weights((1.0, 3.0), [0.5, 0.5], "multilabel")
    assert weights is not None
    assert weights.tolist() == [1, 3]
    with pytest.raises(ConfigError, match=r"each of the 2 classes\. Got 3"):
        class_weights((1.0, 3.0, 1.0), [0.5, 0.5], "multilabel")


def test_no_constant_logits_have_a_lower_loss_than_the_stated_one():
    _, mask = some_multiclass()
    labeled = mask[mask != 255]
    shares = [float((labeled == number).mean()) for number in range(4)]
    lowest = constant_loss(shares, "multiclass")

    def loss_of(logits):
        planes = torch.tensor(logits).view(1, 4, 1, 1).expand(2, 4, 5, 3)
        return float(cross_entropy_loss(planes, torch.tensor(mask)))

    best = [math.log(share) for share in shares]
    assert loss_of(best) == pytest.approx(lowest)
    for index in range(4):
        other = list(best)
        other[index] += 0.1
        assert loss_of(other) > lowest


@pytest.mark.parametrize("label_mode", ["multiclass", "multilabel"])
def test_with_class_weights_too_no_constant_has_a_lower_loss(label_mode):
    weights = torch.tensor([0.5, 1.0, 2.0, 4.0])
    if label_mode == "multiclass":
        _, mask = some_multiclass()
        mask = torch.tensor(mask)
        shares = [float((mask[mask != 255] == number).double().mean()) for number in range(4)]
    else:
        mask = torch.rand(2, 4, 5, 3, generator=torch.Generator().manual_seed(0))
        shares = mask.mean((0, 2, 3)).tolist()
    logits = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=200, tolerance_change=1e-12)

    def loss():
        planes = logits.view(1, 4, 1, 1).expand(2, 4, 5, 3)
        if label_mode == "multiclass":
            return cross_entropy_loss(planes, mask, class_weights=weights.double())
        valid = torch.ones(2, 5, 3, dtype=torch.bool)
        return binary_cross_entropy_loss(
            planes, mask.double(), valid, class_weights=weights.double()
        )

    def step():
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    optimizer.step(step)
    assert constant_loss(shares, label_mode, weights) == pytest.approx(loss().item(), rel=1e-4)


def test_of_multilabel_masks_the_constant_is_each_class_s_mean_coverage():
    mask = torch.rand(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    shares = mask.mean((0, 2, 3))
    valid = torch.ones(3, 4, 4, dtype=torch.bool)
    planes = shares.logit().view(1, 2, 1, 1).expand_as(mask)
    assert constant_loss(shares.tolist(), "multilabel") == pytest.approx(
        float(binary_cross_entropy_loss(planes, mask, valid)), rel=1e-5
    )
