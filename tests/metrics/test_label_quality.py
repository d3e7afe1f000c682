"""Doubted labels: against a recount by loops, and on errors that were planted."""

import numpy as np
import pytest

from pixelwise.classes import ClassMap
from pixelwise.data.sample import Sample
from pixelwise.errors import DataError
from pixelwise.metrics.label_quality import Confidence, find_suspects

IGNORED = 255
CLASSES = ClassMap.build(["background", "cell", "dirt"])


def softmax(logits):
    powers = np.exp(logits - logits.max(0))
    return (powers / powers.sum(0)).astype(np.float32)


def sure_of(classes, num_classes=3, share=0.9):
    """Probabilities of a model that says these classes (H, W) everywhere with one certainty."""
    rest = (1 - share) / (num_classes - 1)
    planes = [np.where(classes == index, share, rest) for index in range(num_classes)]
    return np.stack(planes).astype(np.float32)


def answer(name, mask, probabilities, mode="multiclass"):
    image = np.zeros((*mask.shape[-2:], 3), np.uint8)
    return Sample(name, image, mask, mode), probabilities


def disc(size, row, column, radius):
    rows, columns = np.mgrid[: size[0], : size[1]]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def suspects_of(answers, class_map=CLASSES, mode="multiclass", **options):
    return find_suspects(lambda: iter(answers), class_map, mode, **options)


def scene():
    """Two cells, as they are."""
    target = np.zeros((60, 80), np.uint8)
    target[disc(target.shape, 15, 15, 8)] = 1
    target[disc(target.shape, 40, 55, 12)] = 1
    return target


def test_thresholds_are_the_mean_probability_of_what_is_labeled():
    rng = np.random.default_rng(0)
    confidence = Confidence(CLASSES, "multiclass")
    held = {0: [], 1: []}
    for _ in range(3):
        probabilities = softmax(rng.normal(size=(3, 7, 5)))
        mask = rng.choice([0, 1, IGNORED], (7, 5)).astype(np.uint8)
        confidence.add(probabilities, mask)
        for row, column in np.ndindex(mask.shape):
            if mask[row, column] != IGNORED:
                held[mask[row, column]].append(probabilities[mask[row, column], row, column])
    ((background, cell, dirt),) = confidence.thresholds
    assert background == pytest.approx(np.mean(held[0]))
    assert cell == pytest.approx(np.mean(held[1]))
    assert dirt == np.inf  # never labeled: nothing tells how sure of it is sure


def test_suspect_pixels_are_those_of_a_recount():
    rng = np.random.default_rng(1)
    mask = rng.choice([0, 1, 2, IGNORED], (24, 31), p=[0.4, 0.3, 0.2, 0.1]).astype(np.uint8)
    probabilities = softmax(2 * rng.normal(size=(3, 24, 31)))
    thresholds = [probabilities[index][mask == index].mean() for index in range(3)]
    expected = {}
    for place in np.ndindex(mask.shape):
        own = probabilities[(slice(None), *place)]
        best = int(own.argmax())
        if mask[place] not in (best, IGNORED) and own[best] >= thresholds[best]:
            expected[place] = f"{CLASSES.names[mask[place]]} -> {CLASSES.names[best]}"
    found = suspects_of([answer("a", mask, probabilities)], top=1000, min_area_px=1)
    pixels = {
        place: suspect.change
        for suspect in found
        for place in zip(*np.nonzero(suspect.inside(mask.shape)), strict=True)
    }
    assert len(expected) > 50
    assert pixels == expected
    assert sum(suspect.area_px for suspect in found) == len(expected)


def test_a_missing_object_is_found_where_it_is():
    target = scene()
    mask = target.copy()
    mask[disc(mask.shape, 15, 15, 8)] = 0
    (suspect,) = suspects_of([answer("a", mask, sure_of(target))])
    assert (suspect.given, suspect.suggested) == ("background", "cell")
    assert suspect.box == (7, 7, 17, 17)
    np.testing.assert_array_equal(suspect.inside(mask.shape), disc(mask.shape, 15, 15, 8))
    assert suspect.confidence == pytest.approx(0.9)
    # Far from every label of a cell: each pixel counts with all of 0.9 - 0.05.
    assert suspect.score == pytest.approx(0.85 * np.sqrt(0.85 * suspect.area_px), rel=1e-5)


@pytest.mark.parametrize("grown_px", [1, 2, 3])
@pytest.mark.parametrize("kind", ["missing", "extra", "wrong"])
def test_errors_of_objects_rank_above_fringes_that_are_much_longer(kind, grown_px):
    target = np.zeros((200, 200), np.uint8)
    target[20:150, 20:150] = 1
    small = disc(target.shape, 175, 175, 7)
    target[small] = {"missing": 1, "extra": 0, "wrong": 1}[kind]
    target[5:10, 170:190] = 2
    mask = target.copy()
    mask[small] = {"missing": 0, "extra": 1, "wrong": 2}[kind]
    mask[20 - grown_px : 150 + grown_px, 20 - grown_px : 150 + grown_px] = 1
    first, *rest = suspects_of([answer("a", mask, sure_of(target))])
    np.testing.assert_array_equal(first.inside(mask.shape), small)
    assert [suspect.change for suspect in rest] == ["cell -> background"]
    assert rest[0].area_px > 3 * first.area_px or grown_px == 1
    assert first.score > 1.5 * rest[0].score


def test_a_thin_object_that_is_not_there_counts_more_than_a_fringe_as_wide():
    target = np.zeros((80, 80), np.uint8)
    target[10:60, 10:40] = 1
    mask = target.copy()
    mask[10:40, 70:73] = 1  # a stroke that is not there
    mask[10:40, 40:43] = 1  # as much along a border
    first, second = suspects_of([answer("a", mask, sure_of(target))])
    assert first.box == (10, 70, 30, 3)
    assert second.box == (10, 40, 30, 3)
    assert first.score > 1.5 * second.score


def test_ignored_pixels_are_never_suspect():
    target = scene()
    mask = np.full_like(target, IGNORED)
    mask[:, 40:] = target[:, 40:]
    wrong = sure_of(np.where(target == 1, 0, 1))
    right = answer("b", target, sure_of(target))  # so that the model knows the classes
    found = suspects_of([answer("a", mask, wrong), right], min_area_px=1)
    assert {one.name for one in found} == {"a"}
    assert not any((mask[one.place][one.region] == IGNORED).any() for one in found)


def test_masks_of_ignored_pixels_alone_are_refused():
    with pytest.raises(DataError, match="labeled pixels"):
        suspects_of([answer("a", np.full((4, 4), IGNORED, np.uint8), sure_of(np.zeros((4, 4))))])


def test_an_unsure_model_doubts_nothing():
    target = scene()
    mask = target.copy()
    mask[disc(mask.shape, 15, 15, 8)] = 0
    probabilities = sure_of(target)
    doubtful = disc(mask.shape, 15, 15, 8)
    probabilities[:, doubtful] = np.array([0.3, 0.6, 0.1], np.float32)[:, None]
    assert suspects_of([answer("a", mask, probabilities)]) == []


def test_a_timid_class_is_doubted_by_its_own_measure():
    """0.6 is much for a class that the model never gives more: it is less than 0.9 elsewhere."""
    target = scene()
    mask = target.copy()
    mask[disc(mask.shape, 15, 15, 8)] = 0
    probabilities = sure_of(target)
    probabilities[:, target == 1] = np.array([0.3, 0.6, 0.1], np.float32)[:, None]
    (suspect,) = suspects_of([answer("a", mask, probabilities)])
    assert suspect.area_px == disc(mask.shape, 15, 15, 8).sum()


def test_of_multilabel_masks_what_is_missing_and_what_is_extra_is_found_per_class():
    names = ClassMap.build(["one", "two"])
    target = np.zeros((2, 40, 60), np.uint8)
    target[0, 5:15, 5:15] = 255
    target[1, 10:25, 10:30] = 255
    target[1, 30:38, 40:58] = 255
    mask = target.copy()
    mask[0, 5:15, 5:15] = 0
    mask[0, 25:38, 5:20] = 200  # soft, and not there
    probabilities = np.where(target > 0, 0.95, 0.02).astype(np.float32)
    probabilities[0, 0:3, 40:60] = 0.95
    mask[0, 0:3, 40:60] = 255
    found = suspects_of([answer("a", mask, probabilities, "multilabel")], names, "multilabel")
    assert {(one.given, one.suggested, one.box) for one in found} == {
        (None, "one", (5, 5, 10, 10)),
        ("one", None, (25, 5, 13, 15)),
    }
    assert {one.change for one in found} == {"not one -> one", "one -> not one"}
    assert all(one.confidence == pytest.approx(0.95, abs=0.04) for one in found)


def test_the_best_of_many_are_those_of_the_whole_ranking():
    rng = np.random.default_rng(2)
    answers = [
        answer(f"{index}", rng.integers(0, 3, (30, 30)).astype(np.uint8), softmax(noise))
        for index, noise in enumerate(3 * rng.normal(size=(6, 3, 30, 30)))
    ]
    whole = suspects_of(answers, top=10_000, min_area_px=1)
    assert len(whole) > 200
    assert suspects_of(answers, top=7, min_area_px=1) == whole[:7]
    scores = [one.score for one in whole]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("mode", ["multiclass", "multilabel"])
def test_a_missing_thing_is_more_doubt_than_a_long_fringe(mode):
    """The depth of what is denied counts, recounted here pixel by pixel."""

    def answered(labeled, said):
        if mode == "multiclass":
            return sure_of(said, 2), labeled
        planes = np.where(said, 0.9, 0.1)[None].astype(np.float32)
        return planes, (labeled * 255)[None].astype(np.uint8)

    class_map = ClassMap.build(["ground", "cell"] if mode == "multiclass" else ["cell"])
    confidence = Confidence(class_map, mode)
    target = np.zeros((40, 60), np.uint8)
    target[20:40] = 1
    fringed, missing = target.copy(), target.copy()
    fringed[18:20] = 1  # 120 pixels, two deep
    missing[4:13, 4:13] = 1  # 81 pixels, up to five deep
    assert confidence.disagreement(*answered(target, target)) == 0
    fringe = confidence.disagreement(*answered(target, fringed))
    thing = confidence.disagreement(*answered(target, missing))
    certainty = 0.8
    assert fringe == pytest.approx(certainty * 60 * (1 + 1), rel=1e-3)
    depths = sum(min(row, column, 10 - row, 10 - column)
                 for row in range(1, 10) for column in range(1, 10))  # fmt: skip
    assert thing == pytest.approx(certainty * depths, rel=1e-3)
    assert thing > fringe


def test_labels_of_a_class_that_the_model_never_finds_are_not_doubted():
    rng = np.random.default_rng(0)
    mask = np.zeros((40, 40), np.uint8)
    mask[10:30, 10:30] = 1
    probabilities = np.stack([np.full(mask.shape, 0.97), np.full(mask.shape, 0.03)])
    probabilities = (probabilities + rng.normal(0, 0.001, probabilities.shape)).astype(np.float32)
    class_map = ClassMap.build(("road", "pavement"))
    sample = Sample("one", np.zeros((40, 40, 3), np.uint8), mask, "multiclass")
    confidence = Confidence(class_map, "multiclass")
    confidence.add(probabilities, mask)
    assert confidence.unknown == ["pavement"]
    assert list(confidence.suspects((sample, probabilities))) == []
