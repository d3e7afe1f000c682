"""Every registered loss equals an independent computation in numpy, without ignored pixels."""

import numpy as np
import pytest
import torch

from pixelwise.errors import ConfigError, TrainingError, UnknownNameError
from pixelwise.label_modes import mode_of
from pixelwise.losses.base import losses
from pixelwise.losses.class_weights import class_weights
from pixelwise.losses.constant import constant_loss, lowest_constant_loss
from pixelwise.losses.expression import build_loss, parse_loss, takes_class_weights
from pixelwise.losses.mean_loss import MeanLoss

NUM_CLASSES = 4
MODES = ("multiclass", "multilabel")
WEIGHTS = (0.5, 1.0, 2.0, 4.0)


def softmax(scores):
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def sigmoid(scores):
    return 1 / (1 + np.exp(-scores))


def some_batch(mode, seed=0, *, size=(5, 6)):
    """Logits, and a target with ignored pixels, in float64 and the types of training."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (2, NUM_CLASSES, *size))
    if mode == "multiclass":
        target = rng.integers(0, NUM_CLASSES, (2, *size))
        target[rng.random(target.shape) < 0.3] = 255
        return logits, target
    target = rng.choice([0.0, 0.2, 0.8, 1.0], logits.shape)
    ignored = np.broadcast_to(rng.random((2, 1, *size)) < 0.3, logits.shape)
    return logits, np.where(ignored, 255.0, target)


def members_of(mode, target):
    """Membership in each class and which elements count, both (N, K, H, W)."""
    if mode == "multilabel":
        return np.where(target == 255, 0, target), target != 255
    members = np.stack([target == index for index in range(NUM_CLASSES)], 1).astype(float)
    return members, np.broadcast_to((target != 255)[:, None], members.shape)


def binary_likelihood(mode, logits, target, weights=None):
    members, counts = members_of(mode, target)
    positive = np.ones(NUM_CLASSES) if weights is None else np.array(weights)
    share = sigmoid(logits)
    values = -(
        positive.reshape(-1, 1, 1) * members * np.log(share) + (1 - members) * np.log(1 - share)
    )
    return values[counts].mean()


def likelihood(mode, logits, target, weights=None):
    if mode == "multilabel":
        return binary_likelihood(mode, logits, target, weights)
    members, _ = members_of(mode, target)
    factors = np.ones(NUM_CLASSES) if weights is None else np.array(weights)
    surprise = -(members * np.log(softmax(logits))).sum(1)
    factor = (members * factors.reshape(-1, 1, 1)).sum(1)
    return (surprise * factor).sum() / (target != 255).sum()


def focal(mode, logits, target, gamma=2.0, alpha=None):
    members, counts = members_of(mode, target)
    share = sigmoid(logits)
    surprise = -(members * np.log(share) + (1 - members) * np.log(1 - share))
    values = (1 - np.exp(-surprise)) ** gamma * surprise
    if alpha is not None:
        values = values * (alpha * members + (1 - alpha) * (1 - members))
    return values[counts].mean()


def overlap(mode, logits, target, alpha=0.5, beta=0.5, gamma=1.0, smooth=0.0):
    members, counts = members_of(mode, target)
    share = (softmax if mode == "multiclass" else sigmoid)(logits) * counts
    found = []
    for index in range(NUM_CLASSES):
        reference, chance = members[:, index] * counts[:, index], share[:, index]
        hit = np.minimum(reference, chance).sum()  # lowest loss where soft labels are met exactly
        extra, missed = chance.sum() - hit, reference.sum() - hit
        score = (hit + smooth) / (hit + alpha * extra + beta * missed + smooth)
        found.append((1 - score) if reference.sum() else 0.0)
    return np.mean(found) ** gamma


def dice(mode, logits, target, smooth=0.0):
    return overlap(mode, logits, target, smooth=smooth)


def tversky(mode, logits, target, alpha=0.3, beta=0.7, gamma=1.0):
    return overlap(mode, logits, target, alpha, beta, gamma)


def jaccard_steps(reference):
    """Growth of the Jaccard loss with each further error, by its definition."""
    losses_so_far = [0.0]
    total = reference.sum()
    for count in range(1, len(reference) + 1):
        wrong = reference[:count]
        intersection, union = total - wrong.sum(), total + (1 - wrong).sum()
        losses_so_far.append(1 - intersection / union)
    return np.diff(losses_so_far)


def lovasz(mode, logits, target):
    members, counts = members_of(mode, target)
    if mode == "multilabel":
        reference = members[counts]
        errors = 1 - logits[counts] * (2 * reference - 1)
        order = np.argsort(-errors, kind="stable")
        return (np.maximum(errors[order], 0) * jaccard_steps(reference[order])).sum()
    found = []
    for index in range(NUM_CLASSES):
        reference = members[:, index][counts[:, index]]
        if reference.sum():
            errors = np.abs(reference - softmax(logits)[:, index][counts[:, index]])
            order = np.argsort(-errors, kind="stable")
            found.append((errors[order] * jaccard_steps(reference[order])).sum())
    return np.mean(found)


REFERENCES = {
    "ce": likelihood, "bce": binary_likelihood, "focal": focal, "dice": dice, "tversky": tversky,
    "lovasz": lovasz,
}  # fmt: skip
OPTIONS = {
    "focal": {"gamma": 1.5, "alpha": 0.25},
    "dice": {"smooth": 2.0},
    "tversky": {"alpha": 0.6, "beta": 0.2, "gamma": 2.0},
}

every_loss = pytest.mark.parametrize("name", losses.names())
both_modes = pytest.mark.parametrize("mode", MODES)


def tensors(logits, target, dtype=torch.float32):
    scores = torch.tensor(logits, dtype=dtype, requires_grad=True)
    whole = np.issubdtype(target.dtype, np.integer)
    return scores, torch.tensor(target, dtype=torch.int64 if whole else dtype)


@every_loss
@both_modes
def test_a_loss_equals_its_formula_in_numpy(name, mode):
    for seed in range(3):
        logits, target = some_batch(mode, seed)
        loss = build_loss(name, mode)
        assert loss(*tensors(logits, target)).item() == pytest.approx(
            REFERENCES[name](mode, logits, target), rel=1e-5
        )


@pytest.mark.parametrize("name", OPTIONS)
@both_modes
def test_the_options_of_a_loss_are_those_of_its_formula(name, mode):
    logits, target = some_batch(mode)
    options = ", ".join(f"{key}={value}" for key, value in OPTIONS[name].items())
    found = build_loss(f"{name}({options})", mode)(*tensors(logits, target)).item()
    assert found == pytest.approx(REFERENCES[name](mode, logits, target, **OPTIONS[name]), rel=1e-5)


@pytest.mark.parametrize("name", ["ce", "bce"])
@both_modes
def test_class_weights_weight_the_classes(name, mode):
    logits, target = some_batch(mode)
    loss = build_loss(name, mode, torch.tensor(WEIGHTS))
    expected = REFERENCES[name](mode, logits, target, WEIGHTS)
    assert loss(*tensors(logits, target)).item() == pytest.approx(expected, rel=1e-6)


@every_loss
@both_modes
def test_ignored_pixels_have_no_gradient(name, mode):
    logits, target = some_batch(mode)
    scores, target = tensors(logits, target)
    build_loss(name, mode)(scores, target).backward()
    ignored = (target == 255) if mode == "multilabel" else (target == 255)[:, None]
    assert (scores.grad[ignored.expand_as(scores)] == 0).all()
    assert (scores.grad != 0).any()


@every_loss
@both_modes
def test_a_batch_without_labels_has_loss_zero_and_no_nan(name, mode):
    logits, target = some_batch(mode)
    scores, target = tensors(logits, np.full_like(target, 255))
    loss = build_loss(name, mode)(scores, target)
    assert loss.shape == ()
    loss.backward()
    assert loss.item() == 0
    assert (scores.grad == 0).all()


@every_loss
@both_modes
def test_a_perfect_prediction_has_nearly_no_loss(name, mode):
    _, target = some_batch(mode)
    if mode == "multilabel":
        target = np.where(target == 255, 255.0, np.round(target))
    members, _ = members_of(mode, target)
    assert build_loss(name, mode)(*tensors(40 * members - 20, target)).item() < 1e-5


def test_a_sum_with_factors_is_the_sum_of_its_parts():
    logits, target = some_batch("multiclass")
    pair = tensors(logits, target)
    parts = [build_loss(name, "multiclass")(*pair).item() for name in ("ce", "dice", "focal")]
    found = build_loss("ce + 0.5 * dice + 2 * focal", "multiclass")(*pair).item()
    assert found == pytest.approx(parts[0] + 0.5 * parts[1] + 2 * parts[2])
    nested = build_loss("0.5 * (ce + 2 * dice)", "multiclass")(*pair).item()
    assert nested == pytest.approx(0.5 * parts[0] + parts[1])


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "ce +",
        "ce - dice",
        "ce * dice",
        "dice(1)",
        "__import__('os')",
        "ce()()",
        "focal(gamma=f())",
    ],
)
def test_other_expressions_are_refused_in_one_line(expression):
    with pytest.raises(ConfigError, match=r"loss must be a sum of names.*Losses: bce, ce, dice"):
        parse_loss(expression)


def test_unknown_losses_and_options_get_a_suggestion():
    with pytest.raises(UnknownNameError, match="Did you mean 'dice'"):
        build_loss("ce + dicee", "multiclass")
    with pytest.raises(UnknownNameError, match="Did you mean 'gamma'"):
        build_loss("focal(gama=2)", "multiclass")
    with pytest.raises(ConfigError, match="gamma"):
        build_loss("focal(gamma='two')", "multiclass")


def test_only_some_losses_take_class_weights():
    assert takes_class_weights("dice + ce")
    assert not takes_class_weights("dice + focal")


def half_dice(logits, target):
    return build_loss("0.5 * dice", "multiclass")(logits, target)


def test_a_function_of_an_imported_module_is_a_loss():
    pair = tensors(*some_batch("multiclass"))
    found = build_loss(f"{__name__}:half_dice", "multiclass")(*pair)
    assert found.item() == half_dice(*pair).item()
    with pytest.raises(ConfigError, match="Import not_there"):
        build_loss("not_there:loss", "multiclass")


@pytest.mark.parametrize(
    ("returned", "what"),
    [
        (lambda logits, _: logits, r"returned a tensor of shape \(2, 4, 5, 6\)"),
        (lambda *_: 3.0, "returned 3.0, which is no tensor"),
        (lambda *_: torch.tensor(1.0), "returned a constant without a gradient"),
        (lambda *_: torch.tensor(1), "a tensor of type int64 without a gradient"),
        (lambda _: None, "raised TypeError: .* takes 1 positional argument but 2 were given"),
        (lambda *_: 1 / 0, r"raised ZeroDivisionError: division by zero\. It was given logits"),
    ],
)
def test_a_loss_of_the_user_must_return_a_differentiable_number(monkeypatch, returned, what):
    monkeypatch.setitem(globals(), "half_dice", returned)
    pair = tensors(*some_batch("multiclass"))
    with pytest.raises(TrainingError, match=what) as refused:
        build_loss(f"{__name__}:half_dice", "multiclass")(*pair)
    assert str(refused.value).startswith(f"the loss '{__name__}:")
    monkeypatch.setitem(losses._entries, "mine", lambda: returned)
    for expression in ("mine", "ce + 0.5 * mine"):
        with pytest.raises(TrainingError, match=rf"the loss 'mine' .*{what}"):
            build_loss(expression, "multiclass")(*pair)


def mine(label_mode, *, width: int, power: float = 1.0):
    if power < 0:
        raise ValueError("power must not\nbe negative")
    return None if power > 9 else half_dice


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("mine", "'mine' cannot be built: missing a required .*'width'"),
        ("mine(width=1, power=-1)", "its builder raised ValueError: power must not be negative"),
        ("mine(width=1, power=10)", "builder of loss 'mine' must return a function .* Got None"),
        ("mine(label_mode=1)", "option of loss 'mine' .* Got 'label_mode'. Known: power, width$"),
        ("mine(widht=1)", "Did you mean 'width'"),
        ("ce(class_weights=1)", "Got 'class_weights'. It has none"),
    ],
)
def test_a_builder_that_fails_is_named_in_one_line(monkeypatch, expression, message):
    monkeypatch.setitem(losses._entries, "mine", mine)
    for whole in (expression, f"ce + {expression}"):
        with pytest.raises(ConfigError, match=message) as refused:
            build_loss(whole, "multiclass")
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("dice(2)", r"Options are NAME=NUMBER\. Got '2' in dice\(2\)\. Losses"),
        ("ce + dice(smooth=two)", r"Got 'two' in dice\(smooth=two\)"),
        ("ce - dice", r"Losses are summed with \+\. Got 'ce - dice'"),
        ("ce * dice", r"A factor is a number in front\. Got 'ce \* dice'"),
    ],
)
def test_a_wrong_expression_says_which_part_is_wrong(expression, message):
    with pytest.raises(ConfigError, match=message):
        parse_loss(expression)


def test_balanced_weights_have_mean_one_over_the_pixels_and_lift_rare_classes():
    shares = [0.9, 0.09, 0.01, 0.0]
    weights = class_weights("balanced", shares, "multiclass").tolist()
    mean = sum(weight * share for weight, share in zip(weights, shares, strict=True))
    assert mean == pytest.approx(1)
    assert weights[0] < weights[1] < weights[2]
    assert weights[2] / weights[0] == pytest.approx(np.sqrt(90), rel=1e-5)
    assert weights[3] == 1


def test_weights_in_the_recipe_are_taken_as_they_are_one_for_each_class():
    assert class_weights("none", [0.5, 0.5], "multiclass") is None
    weights = class_weights((1.0, 3.0), [0.5, 0.5], "multilabel")
    assert weights is not None
    assert weights.tolist() == [1, 3]
    with pytest.raises(ConfigError, match=r"each of the 2 classes\. Got 3"):
        class_weights((1.0, 3.0, 1.0), [0.5, 0.5], "multilabel")


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@both_modes
def test_no_constant_has_a_lower_cross_entropy_than_the_stated_one(mode, weights):
    logits, target = some_batch(mode, size=(20, 20))
    _, target = tensors(logits, target)
    weights = None if weights is None else torch.tensor(weights)
    loss = build_loss("ce", mode, weights)
    members, counts = members_of(mode, target.numpy())
    shares = torch.tensor((members * counts).sum((0, 2, 3)) / counts.sum((0, 2, 3)))
    lowest = lowest_constant_loss(loss, target, mode, shares, weights)
    free = torch.zeros(NUM_CLASSES, requires_grad=True)
    optimizer = torch.optim.LBFGS([free], max_iter=200, line_search_fn="strong_wolfe")

    def step():
        optimizer.zero_grad()
        value = loss(free.view(1, -1, 1, 1).expand(2, NUM_CLASSES, 20, 20), target)
        value.backward()
        return value

    optimizer.step(step)
    assert lowest == pytest.approx(step().item(), rel=1e-4)


def test_equal_logits_have_the_loss_of_guessing():
    _, target = tensors(*some_batch("multiclass"))
    guess = constant_loss(build_loss("ce", "multiclass"), target, torch.zeros(NUM_CLASSES))
    assert guess == pytest.approx(np.log(NUM_CLASSES), rel=1e-6)


@both_modes
def test_the_mean_loss_is_that_of_single_images(mode):
    rng = np.random.default_rng(0)
    loss, total = build_loss("dice", mode), []
    mean = MeanLoss(loss, mode)
    for _ in range(3):
        logits = torch.tensor(rng.normal(size=(NUM_CLASSES, 4, 5)), dtype=torch.float32)
        shape = (4, 5) if mode == "multiclass" else (NUM_CLASSES, 4, 5)
        mask = rng.integers(0, NUM_CLASSES if mode == "multiclass" else 256, shape).astype(np.uint8)
        mean.add(logits, mask)
        valid = torch.ones(1, 4, 5, dtype=torch.bool)
        target = mode_of(mode).loss_target(torch.tensor(mask)[None], valid)
        total.append(loss(logits[None], target).item())
    assert mean.mean == pytest.approx(np.mean(total))
