"""Both label modes against references in plain numpy and in loops."""

import ast
import math
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

import pixelwise
from pixelwise.classes import ClassMap, LabelMode
from pixelwise.label_modes import MODES, Multiclass, Multilabel, mode_of
from pixelwise.metrics.confusion import COUNTS
from pixelwise.transforms.augmentation import MASK_INTERPOLATION, RESIZE_MASK

NAMES = ["multiclass", "multilabel"]
NUM_CLASSES, HEIGHT, WIDTH = 4, 9, 7
ROOT = Path(pixelwise.__file__).parent

one_mode = pytest.mark.parametrize("name", NAMES)


def some_mask(name, seed=0):
    rng = np.random.default_rng(seed)
    if name == "multilabel":
        mask = rng.integers(0, 256, (NUM_CLASSES, HEIGHT, WIDTH), np.uint8)
        mask[3] = 0
        return mask
    mask = rng.integers(0, NUM_CLASSES - 1, (HEIGHT, WIDTH), np.uint8)
    mask[:2, :3] = 255
    return mask


def some_logits(seed=1):
    shape = (NUM_CLASSES, HEIGHT, WIDTH)
    return torch.tensor(np.random.default_rng(seed).normal(0, 3, shape), dtype=torch.float32)


def reference_probabilities(name, logits):
    logits = logits.astype(np.float64)
    if name == "multilabel":
        return 1 / (1 + np.exp(-logits))
    exponents = np.exp(logits - logits.max(0))
    return exponents / exponents.sum(0)


def pixels():
    return np.ndindex(HEIGHT, WIDTH)


def hard(name, mask):
    """Of each class the pixels, written out: bool (K, H, W)."""
    planes = np.zeros((NUM_CLASSES, HEIGHT, WIDTH), bool)
    for row, column in pixels():
        for index in range(NUM_CLASSES):
            planes[index, row, column] = (
                mask[index, row, column] / 255 >= 0.5
                if name == "multilabel"
                else mask[row, column] == index
            )
    return planes


# --- the objects ---


def test_every_label_mode_of_a_recipe_has_its_object():
    assert list(MODES) == list(get_args(LabelMode)) == NAMES
    assert [type(mode_of(name)) for name in NAMES] == [Multiclass, Multilabel]
    assert [mode_of(name).name for name in NAMES] == NAMES


def test_each_package_has_an_entry_for_every_mode():
    assert list(COUNTS) == list(RESIZE_MASK) == list(MASK_INTERPOLATION) == NAMES


def _compares_a_mode(path):
    """The module compares a value with the name of a label mode, or chooses by it as a key."""
    nodes = ast.walk(ast.parse(path.read_text("utf-8")))
    parts = [part for node in nodes for part in
             ([node.left, *node.comparators] if isinstance(node, ast.Compare) else
              node.keys if isinstance(node, ast.Dict) else [])]  # fmt: skip
    return any(isinstance(part, ast.Constant) and part.value in NAMES for part in parts)


def test_no_other_module_asks_which_label_mode_it_is():
    found = {path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py")
             if _compares_a_mode(path)}  # fmt: skip
    assert not found


# --- logits ---


@one_mode
def test_a_decision_is_what_the_probabilities_say(name):
    logits = some_logits()
    found, chance = mode_of(name).decide(logits), reference_probabilities(name, logits.numpy())
    if name == "multiclass":
        assert found.dtype == torch.uint8
        assert np.array_equal(found.numpy(), chance.argmax(0))
    else:
        assert found.dtype == torch.bool
        assert np.array_equal(found.numpy(), chance > 0.5)


@one_mode
def test_a_batch_is_decided_as_its_images_are(name):
    mode, batch = mode_of(name), torch.stack([some_logits(seed) for seed in range(3)])
    assert torch.equal(mode.decide(batch), torch.stack([mode.decide(one) for one in batch]))
    alone = torch.stack([mode.probabilities(one) for one in batch])
    assert torch.allclose(mode.probabilities(batch), alone, rtol=1e-6)


@one_mode
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_probabilities_are_of_the_logits_over_the_temperature(name, temperature):
    logits = some_logits()
    found = mode_of(name).probabilities(logits, temperature).numpy()
    expected = reference_probabilities(name, logits.numpy() / temperature)
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-7)


@one_mode
@pytest.mark.parametrize("is_weighted", [False, True])
def test_the_loss_is_the_mean_surprise_of_what_is_labeled(name, is_weighted):
    logits, mask = some_logits().numpy(), some_mask(name)
    chance = reference_probabilities(name, logits)
    weights = np.array([0.5, 1.0, 2.0, 4.0]) if is_weighted else np.ones(NUM_CLASSES)
    valid = np.ones((HEIGHT, WIDTH), bool)
    valid[-2:] = name == "multiclass"  # multiclass says it by 255
    total = count = 0.0
    for row, column in pixels():
        if name == "multiclass" and mask[row, column] != 255:
            label = mask[row, column]
            total -= weights[label] * math.log(chance[label, row, column])
            count += 1
        elif name == "multilabel" and valid[row, column]:
            for index in range(NUM_CLASSES):
                target, share = mask[index, row, column] / 255, chance[index, row, column]
                total -= weights[index] * target * math.log(share)
                total -= (1 - target) * math.log(1 - share)
                count += 1
    given = torch.tensor(weights, dtype=torch.float32) if is_weighted else None
    mode, logits, mask, valid = (
        mode_of(name),
        *(torch.tensor(x)[None] for x in (logits, mask, valid)),
    )
    loss = mode.loss(logits, mode.loss_target(mask, valid), given)
    assert loss.item() == pytest.approx(total / count, rel=1e-5)


def test_balanced_weights_follow_the_root_of_the_frequencies():
    shares = np.array([0.81, 0.18, 0.01, 0.0])
    roots = 1 / np.sqrt(shares[:3])
    expected = [*(roots / (roots * shares[:3]).sum()), 1]
    found = mode_of("multiclass").balanced_weights(torch.tensor(shares))
    np.testing.assert_allclose(found.numpy(), expected)
    expected = [1, math.sqrt(0.82 / 0.18), math.sqrt(99), 1]
    found = mode_of("multilabel").balanced_weights(torch.tensor(shares))
    np.testing.assert_allclose(found.numpy(), expected)


# --- batches ---


@one_mode
def test_crops_without_a_label_are_found(name):
    mask = torch.tensor(np.stack([some_mask(name, seed) for seed in range(3)]))
    valid = torch.ones(3, HEIGHT, WIDTH).bool()
    mask[1], valid[1] = mode_of(name).padding, False
    assert mode_of(name).labeled_crops(mask, valid).tolist() == [True, False, True]


def test_without_a_validity_every_multilabel_crop_counts():
    mask = torch.zeros(3, NUM_CLASSES, HEIGHT, WIDTH, dtype=torch.uint8)
    assert mode_of("multilabel").labeled_crops(mask, None).tolist() == [True] * 3


@one_mode
def test_a_batch_has_the_classes_and_frequencies_of_its_labeled_pixels(name):
    masks = np.stack([some_mask(name, seed) for seed in range(2)])
    valid = np.ones((2, HEIGHT, WIDTH), bool)
    valid[0, :3] = False
    if name == "multiclass":
        masks[~valid] = 255
        shares = [(masks[masks != 255] == index).mean() for index in range(NUM_CLASSES)]
    else:
        shares = [masks[:, index][valid].mean() / 255 for index in range(NUM_CLASSES)]
    mask, valid = torch.tensor(masks), torch.tensor(valid)
    found = mode_of(name).batch_frequencies(mask, valid, NUM_CLASSES)
    np.testing.assert_allclose(found.numpy(), shares, rtol=1e-6)
    shown = mode_of(name).classes_in_batch(mask, NUM_CLASSES)
    assert shown.tolist() == [True, True, True, False]


# --- masks ---


@one_mode
def test_masks_are_counted_pixel_by_pixel(name):
    mask, mode = some_mask(name), mode_of(name)
    planes = hard(name, mask)
    pixels_, num_ignored = mode.count(mask, NUM_CLASSES)
    assert pixels_.dtype == np.int64
    assert pixels_.tolist() == planes.sum((1, 2)).tolist()
    assert num_ignored == (6 if name == "multiclass" else 0)
    assert mode.classes_shown(mask, NUM_CLASSES).tolist() == planes.any((1, 2)).tolist()
    assert mode.num_labeled(mask) == planes.sum()
    assert [plane.tolist() for plane in mode.planes(mask, NUM_CLASSES)] == planes.tolist()
    covered, num_ignored_too = mode.coverage(mask, NUM_CLASSES)
    soft = mask.astype(float).sum((1, 2)) / 255 if name == "multilabel" else planes.sum((1, 2))
    assert covered.tolist() == soft.tolist()
    assert num_ignored_too == num_ignored


def test_a_soft_mask_shows_its_class_from_one_half_on():
    mask = np.zeros((3, 4, 5), np.uint8)
    mask[1, 0, 0], mask[2, 0, 0] = 127, 128
    mode = mode_of("multilabel")
    assert mode.classes_shown(mask, 3).tolist() == [False, False, True]
    assert mode.count(mask, 3)[0].tolist() == [0, 0, 1]
    assert mode.hard(mask).sum((1, 2)).tolist() == [0, 0, 255]
    assert mode.is_soft(mask)
    assert not mode.is_soft(mode.hard(mask))


def test_of_multiclass_masks_nothing_is_soft():
    mask, mode = some_mask("multiclass"), mode_of("multiclass")
    assert not mode.is_soft(mask)
    assert np.array_equal(mode.hard(mask), mask)


@one_mode
def test_only_multiclass_masks_have_ignored_pixels(name):
    mask, mode = some_mask(name), mode_of(name)
    where = np.zeros((HEIGHT, WIDTH), bool)
    where[4] = True
    before = mode.ignored(mask)
    assert before.sum() == (6 if name == "multiclass" else 0)
    mode.ignore(mask, where)
    expected = before | where if name == "multiclass" else np.zeros_like(where)
    assert np.array_equal(mode.ignored(mask), expected)
    assert mode.holds_ids == (name == "multiclass")


@one_mode
def test_padding_is_learned_and_counted_nowhere(name):
    mode, mask = mode_of(name), some_mask(name)
    padded = np.pad(mask, [(0, 0)] * (mask.ndim - 2) + [(0, 3), (0, 2)],
                    constant_values=mode.padding)  # fmt: skip
    for count in (mode.count, mode.coverage):
        assert count(padded, NUM_CLASSES)[0].tolist() == count(mask, NUM_CLASSES)[0].tolist()


def test_ids_are_resized_by_the_pixel_at_the_center():
    mask = some_mask("multiclass")
    twice = np.repeat(np.repeat(mask, 2, 0), 2, 1)
    small = RESIZE_MASK["multiclass"](torch.tensor(twice), (HEIGHT, WIDTH))
    assert np.array_equal(small.numpy(), mask)
    assert np.array_equal(RESIZE_MASK["multiclass"](small, twice.shape).numpy(), twice)


def test_soft_masks_are_resized_as_images_are():
    ramp = np.broadcast_to(np.arange(0, 64, 2, dtype=np.uint8), (NUM_CLASSES, 8, 32))
    small = RESIZE_MASK["multilabel"](torch.tensor(ramp.copy()), (4, 16)).numpy()
    pairs = ramp[:, ::2].reshape(NUM_CLASSES, 4, 16, 2).mean(-1)
    assert small.dtype == np.uint8
    assert np.array_equal(small[..., 1:-1], pairs[..., 1:-1])


# --- regions of annotation files ---


@one_mode
def test_the_regions_of_a_mask_paint_it_again(name):
    mode = mode_of(name)
    mask = mode.hard(some_mask(name))
    painted = mode.blank((HEIGHT, WIDTH), NUM_CLASSES, 0)
    everywhere = slice(0, HEIGHT), slice(0, WIDTH)
    for index, region in mode.regions(mask, 0):
        mode.paint(painted, everywhere, region, index)
    assert np.array_equal(painted, mask)


def test_a_pixel_loses_a_class_only_where_classes_overlap():
    place, region = (slice(1, 3), slice(2, 4)), np.array([[True, False], [True, True]])
    for name in NAMES:
        mode, mask = mode_of(name), mode_of(name).hard(some_mask(name))
        expected = mask.copy()
        if name == "multilabel":
            for row, column in ((1, 2), (2, 2), (2, 3)):
                expected[1, row, column] = 0
        mode.erase(mask, place, region, 1)
        assert np.array_equal(mask, expected)


def test_an_ignored_region_leaves_multilabel_masks_as_they_are():
    mask = some_mask("multilabel")
    before = mask.copy()
    mode_of("multilabel").paint(mask, (slice(0, 2), slice(0, 2)), np.ones((2, 2), bool), 255)
    assert np.array_equal(mask, before)


# --- pictures ---


@one_mode
def test_an_index_picture_shows_the_likeliest_class(name):
    chance = reference_probabilities(name, some_logits().numpy()).astype(np.float32)
    found = mode_of(name).numbers(chance)
    assert found.dtype == np.uint8
    for row, column in pixels():
        likeliest = max(range(NUM_CLASSES), key=lambda index: chance[index, row, column])
        if name == "multilabel":
            likeliest = likeliest + 1 if chance[likeliest, row, column] > 0.5 else 0
        assert found[row, column] == likeliest


@one_mode
def test_every_number_of_a_picture_has_a_color(name):
    mode, class_map = mode_of(name), ClassMap.build(["background", "a", "b", "c"])
    palette = mode.palette(class_map)
    assert len(palette) == NUM_CLASSES + (name == "multilabel")
    assert palette[-NUM_CLASSES:] == class_map.colors
    assert mode.untinted(class_map) == 0
    assert mode.class_without_objects(class_map) == (0 if name == "multiclass" else None)
    assert mode.numbers_of_mask(some_mask(name)).max() < len(palette)


@one_mode
def test_errors_are_what_is_wrong_and_what_is_missed(name):
    mode, mask = mode_of(name), some_mask(name)
    chance = reference_probabilities(name, some_logits().numpy()).astype(np.float32)
    wrong, missed = mode.errors(chance, mask)
    for row, column in pixels():
        said = chance[:, row, column]
        if name == "multiclass":
            label = mask[row, column]
            expected = (label not in (255, said.argmax()), False)
        else:
            pairs = [(said[i] > 0.5, mask[i, row, column] >= 128) for i in range(NUM_CLASSES)]
            expected = ((True, False) in pairs, (False, True) in pairs)
        assert (wrong[row, column], missed[row, column]) == expected
    planes = np.stack(mode.decided_planes(chance))
    assert planes.tolist() == [
        (chance.argmax(0) == i if name == "multiclass" else chance[i] > 0.5).tolist()
        for i in range(NUM_CLASSES)
    ]


# --- metrics ---


@one_mode
def test_counts_and_accuracy_equal_a_loop(name):
    mode, mask = mode_of(name), some_mask(name)
    decision = mode.decide(some_logits()).numpy()
    counts = COUNTS[name](NUM_CLASSES)
    counts.add(decision, mask)
    said = np.stack(list(mode.planes(decision, NUM_CLASSES)))
    there, labeled = hard(name, mask), ~mode.ignored(mask)
    expected = [[(s & t & labeled).sum(), (s & ~t & labeled).sum(), (~s & t & labeled).sum(),
                 (~s & ~t & labeled).sum()] for s, t in zip(said, there, strict=True)]  # fmt: skip
    assert counts.per_image[0].T.tolist() == expected
    right = (decision == mask)[labeled] if name == "multiclass" else decision == there
    assert float(counts.accuracy(counts.per_image.sum(0))) == pytest.approx(right.mean())
    assert counts.label_mode == name


@one_mode
def test_every_labeled_decision_has_its_confidence_and_its_logits(name):
    mode, mask, logits = mode_of(name), some_mask(name), some_logits().numpy()
    chance = reference_probabilities(name, logits).astype(np.float32)
    decision = mode.decide(torch.tensor(logits)).numpy()
    sure, right = (list(each.ravel()) for each in mode.confidences(chance, decision, mask))
    expected_sure, expected_right, expected_logits, expected_targets = [], [], [], []
    for index in range(NUM_CLASSES if name == "multilabel" else 1):
        for row, column in pixels():
            if name == "multilabel":
                yes = chance[index, row, column]
                expected_sure.append(yes if yes > 0.5 else 1 - yes)
                target = mask[index, row, column]
                expected_right.append((yes > 0.5) == (target >= 128))
                expected_logits.append(logits[index, row, column])
                expected_targets.append(target / 255)
            elif mask[row, column] != 255:
                column_of = chance[:, row, column]
                expected_sure.append(column_of.max())
                expected_right.append(column_of.argmax() == mask[row, column])
                expected_logits.append(logits[:, row, column])
                expected_targets.append(mask[row, column])
    np.testing.assert_allclose(sure, expected_sure, rtol=1e-6)
    assert right == expected_right
    own, targets = np.array(expected_logits).T, np.array(expected_targets)
    numbers = np.random.default_rng(2).permutation(mode.num_decisions(mask))[:20]
    assert mode.num_decisions(mask) == own.shape[-1]
    places = mode.places(mask, numbers)
    at = places if name == "multilabel" else (slice(None), *places)
    assert np.array_equal(logits[at], own[..., numbers])
    assert np.array_equal(mode.target(mask[places]), targets[numbers])


@one_mode
def test_choices_are_one_of_many_or_many_of_two(name):
    mode, mask = mode_of(name), some_mask(name)
    names = tuple("abcd")
    choices = list(mode.choices(mask))
    assert mode.choice_shape(NUM_CLASSES) == (len(choices), 4 if name == "multiclass" else 2)
    chance = reference_probabilities(name, some_logits().numpy()).astype(np.float32)
    answers = list(mode.choice_probabilities(chance))
    if name == "multiclass":
        assert mode.choice_names(names) == [names]
        assert np.array_equal(choices[0], mask)
        assert np.array_equal(answers[0], chance)
    else:
        assert mode.choice_names(names) == [(None, one) for one in names]
        assert np.array_equal(np.stack(choices), hard(name, mask))
        assert np.array_equal([yes for _, yes in answers], chance)
        assert np.array_equal([no for no, _ in answers], 1 - chance)
    values = np.arange(8.0).reshape(-1, answers[0].shape[0])[: len(choices)]
    assert mode.per_class(values).tolist() == ([0, 1, 2, 3] if len(choices) == 1 else [1, 3, 5, 7])
