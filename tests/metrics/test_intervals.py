"""Bootstrap: the right width, the right coverage, and no difference where there is none."""

import numpy as np
import pytest
from scipy import stats

from pixelwise.metrics.formulas import iou, mean_iou, multiclass_accuracy
from pixelwise.metrics.intervals import Bootstrap, bootstrap, paired_bootstrap


def accuracies(rights, pixels=100):
    """Counts of images of one class pair whose accuracy is given."""
    counts = np.zeros((len(rights), 4, 2), np.int64)
    counts[:, 0, 0] = rights
    counts[:, 2, 0] = pixels - np.asarray(rights)
    return counts


def test_the_interval_is_as_wide_as_scipys():
    rng = np.random.default_rng(0)
    rights = rng.integers(60, 100, 40)
    found = bootstrap(accuracies(rights), multiclass_accuracy)
    expected = stats.bootstrap(
        (rights / 100,), np.mean, method="percentile", n_resamples=5000, rng=0
    ).confidence_interval
    assert found.low == pytest.approx(expected.low, abs=0.005)
    assert found.high == pytest.approx(expected.high, abs=0.005)


def test_nineteen_of_twenty_intervals_hold_the_true_value():
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(200):
        rights = rng.binomial(100, rng.beta(8, 2, 60))
        interval = bootstrap(accuracies(rights), multiclass_accuracy)
        held += interval.low <= 0.8 <= interval.high
    assert 0.9 <= held / 200 <= 0.98


def test_one_image_gives_no_interval():
    assert bootstrap(accuracies([90]), multiclass_accuracy) is None
    assert Bootstrap(accuracies([90])).class_intervals(iou) == [None, None]


def test_a_class_that_is_never_shown_has_no_interval():
    first, second = Bootstrap(accuracies([90, 70, 80])).class_intervals(iou)
    assert 0.7 <= first.low <= first.high <= 0.9
    assert second is None


def test_the_same_model_twice_makes_no_difference():
    counts = accuracies(np.random.default_rng(2).integers(50, 100, 30))
    found = paired_bootstrap(counts, counts, multiclass_accuracy)
    assert (found.value, found.p_value) == (0.0, 1.0)


def test_a_model_that_is_better_on_every_image_is_better():
    rights = np.random.default_rng(3).integers(50, 90, 30)
    found = paired_bootstrap(accuracies(rights + 5), accuracies(rights), multiclass_accuracy)
    assert found.value == pytest.approx(0.05)
    assert found.interval.low > 0
    assert found.p_value < 0.01


def test_pairing_finds_what_two_intervals_cannot_tell_apart():
    rng = np.random.default_rng(4)
    rights = rng.integers(20, 90, 40)
    better = rights + rng.integers(0, 4, 40)
    ours, theirs = (bootstrap(accuracies(r), multiclass_accuracy) for r in (better, rights))
    assert ours.low < theirs.high
    found = paired_bootstrap(accuracies(better), accuracies(rights), multiclass_accuracy)
    assert found.p_value < 0.05


def test_models_of_other_images_are_not_compared():
    with pytest.raises(ValueError, match="same images"):
        paired_bootstrap(accuracies([1, 2]), accuracies([1]), mean_iou)


def test_the_p_value_of_few_images_is_exact():
    rights = np.array([60, 70, 80, 65, 75])
    found = paired_bootstrap(accuracies(rights + 5), accuracies(rights), multiclass_accuracy)
    assert found.p_value == 2 / 2**5  # all swapped or none
    rng = np.random.default_rng(5)
    one, two = rng.integers(50, 90, (2, 10))
    expected = stats.permutation_test(
        (one, two), lambda a, b: (a - b).mean(), permutation_type="samples", n_resamples=np.inf
    ).pvalue
    found = paired_bootstrap(accuracies(one), accuracies(two), multiclass_accuracy)
    assert found.p_value == pytest.approx(expected)


def test_one_image_that_shows_the_class_tells_nothing():
    counts = np.zeros((6, 4, 1), np.int64)
    counts[:, 3, 0] = 10000
    counts[0, :, 0] = [80, 0, 20, 9900]
    assert bootstrap(counts, mean_iou) is None
    assert Bootstrap(counts).class_intervals(iou) == [None]
    found = paired_bootstrap(counts, counts, mean_iou)
    assert (found.interval, found.p_value) == (None, 1.0)


def test_a_class_of_one_image_shifts_no_interval_of_the_mean():
    counts = np.zeros((40, 4, 3), np.int64)
    counts[:, 0, :2], counts[:, 2, :2] = 900, 50
    counts[0, 2, 2] = 100
    assert bootstrap(counts, mean_iou) is None
    assert bootstrap(counts, multiclass_accuracy) is not None
