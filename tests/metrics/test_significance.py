"""Ranking: means over seeds, paired differences, Holm's correction."""

import numpy as np
import pytest

from pixelwise.metrics.formulas import mean_iou, multiclass_accuracy
from pixelwise.metrics.intervals import paired_bootstrap
from pixelwise.metrics.significance import holm, rank_models


def counts_of(rng, quality, *, num_images=30, num_seeds=1, num_classes=3):
    """Counts (N, S, 4, K) of models that get about ``quality`` of each class right."""
    pixels = rng.integers(50, 200, (num_images, 1, num_classes))
    hits = rng.binomial(pixels, quality, (num_images, num_seeds, num_classes))
    missed = pixels - hits
    extra = rng.permuted(missed, axis=-1)
    rest = pixels.sum(-1, keepdims=True) - hits - missed - extra
    return np.stack([hits, extra, missed, rest], axis=2)


def test_the_best_model_is_first_and_significance_is_relative_to_it():
    rng = np.random.default_rng(0)
    ranked = rank_models({"bad": counts_of(rng, 0.6), "good": counts_of(rng, 0.9)}, mean_iou)
    assert [entry.name for entry in ranked] == ["good", "bad"]
    assert ranked[0].behind is None
    assert ranked[1].behind.value == pytest.approx(ranked[0].value - ranked[1].value)
    assert ranked[1].p_value < 0.05
    assert not ranked[1].is_tied_with_best
    assert ranked[0].interval.low < ranked[0].value < ranked[0].interval.high


def test_the_same_counts_twice_show_no_difference():
    counts = counts_of(np.random.default_rng(1), 0.8)
    first, second = rank_models({"one": counts, "two": counts.copy()}, mean_iou)
    assert (first.name, second.name) == ("one", "two")
    assert second.behind.value == 0
    assert second.p_value == 1
    assert second.is_tied_with_best


def test_a_value_is_the_mean_over_the_seeds():
    counts = counts_of(np.random.default_rng(2), 0.7, num_seeds=3)
    (only,) = rank_models({"only": counts}, mean_iou)
    by_seed = [float(mean_iou(counts[:, seed].sum(0))) for seed in range(3)]
    assert only.by_seed == pytest.approx(by_seed)
    assert only.value == pytest.approx(np.mean(by_seed))
    assert only.spread == pytest.approx(max(by_seed) - min(by_seed))


def test_a_difference_of_one_seed_is_that_of_the_paired_bootstrap():
    rng = np.random.default_rng(3)
    one, two = counts_of(rng, 0.8), counts_of(rng, 0.78)
    ranked = rank_models({"one": one, "two": two}, mean_iou)
    best, other = (one, two) if ranked[0].name == "one" else (two, one)
    assert ranked[1].behind == paired_bootstrap(best[:, 0], other[:, 0], mean_iou)


def test_models_of_different_numbers_of_seeds_can_be_compared():
    rng = np.random.default_rng(4)
    ranked = rank_models(
        {"two": counts_of(rng, 0.9, num_seeds=2), "three": counts_of(rng, 0.6, num_seeds=3)},
        mean_iou,
    )
    assert ranked[1].behind.value == pytest.approx(ranked[0].value - ranked[1].value)


def test_one_image_tells_nothing_apart():
    rng = np.random.default_rng(5)
    ranked = rank_models(
        {"a": counts_of(rng, 0.9, num_images=1), "b": counts_of(rng, 0.2, num_images=1)}, mean_iou
    )
    assert ranked[1].is_tied_with_best
    assert ranked[0].interval is None


def test_holms_correction_is_that_of_the_textbook():
    # Four values, each times the number of those that are not smaller, never falling.
    assert holm([0.01, 0.04, 0.03, 0.005], 4) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([], 0) == []
    assert holm([0.9, 0.8], 2) == [1.0, 1.0]
    assert holm([0.01, 0.02], 3) == pytest.approx([0.03, 0.04])  # of three pairs that could be


@pytest.mark.parametrize("num_images", [5, 20])
@pytest.mark.parametrize("num_models", [2, 5])
def test_equal_models_are_seldom_told_apart(num_models, num_images):
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(40):
        right = rng.integers(600, 900, num_images)
        counts = {}
        for name in map(str, range(num_models)):
            rights = right + rng.normal(0, 30, num_images).round().astype(int)
            counts[name] = np.zeros((num_images, 1, 4, 2), np.int64)
            counts[name][:, 0, 0, 0], counts[name][:, 0, 2, 0] = rights, 1000 - rights
        wrong += any(
            not entry.is_tied_with_best for entry in rank_models(counts, multiclass_accuracy)
        )
    assert wrong / 40 <= 0.1
