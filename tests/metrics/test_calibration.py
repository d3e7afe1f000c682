"""Calibration: known answers on drawn probabilities, and torchmetrics' definition by a loop."""

import numpy as np
import pytest

from pixelwise.metrics.calibration import NUM_BINS, Reliability, TemperatureFit


def add_to(fit, logits, target, name):
    """Let the fit draw from the decisions of one image."""
    fit.draw(lambda drawn: (logits[..., drawn], target[drawn]), logits.shape[-1], name)


def test_sure_and_right_alike_has_no_calibration_error():
    rng = np.random.default_rng(0)
    confidence = rng.random(400_000)
    reliability = Reliability()
    reliability.add(confidence, rng.random(400_000) < confidence)
    assert reliability.expected_calibration_error < 0.005


def test_always_sure_and_half_right_has_an_error_of_one_half():
    reliability = Reliability()
    reliability.add(np.ones(1000), np.arange(1000) % 2 == 0)
    assert reliability.expected_calibration_error == pytest.approx(0.5)
    assert reliability.curve == [(1.0, 0.5, 1000)]


def test_the_error_is_that_of_a_loop_over_the_bins():
    rng = np.random.default_rng(1)
    confidence, right = rng.beta(5, 2, 5000), rng.random(5000) < 0.7
    reliability = Reliability()
    for part in np.array_split(np.arange(5000), 7):
        reliability.add(confidence[part], right[part])
    expected = 0.0
    for number in range(NUM_BINS):
        inside = (confidence >= number / NUM_BINS) & (confidence < (number + 1) / NUM_BINS)
        if inside.any():
            expected += abs(right[inside].mean() - confidence[inside].mean()) * inside.mean()
    assert reliability.expected_calibration_error == pytest.approx(expected, abs=2e-3)


def test_risk_falls_with_coverage_where_the_surest_are_right():
    rng = np.random.default_rng(2)
    confidence = rng.random(50_000)
    reliability = Reliability()
    reliability.add(confidence, rng.random(50_000) < confidence)
    coverage, risk = reliability.risk_coverage
    assert coverage[-1] == 1
    assert (np.diff(coverage) >= 0).all()
    assert risk[np.searchsorted(coverage, 0.1)] < 0.1 < risk[-1]
    assert risk[-1] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_by_which_logits_were_scaled_is_found(factor):
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 2, (4, 20_000))
    shares = np.exp(logits) / np.exp(logits).sum(0)
    target = (rng.random(20_000) > shares.cumsum(0)).sum(0)
    fit = TemperatureFit(per_image=5000)
    for number, part in enumerate(np.array_split(np.arange(20_000), 4)):
        add_to(fit, logits[:, part] * factor, target[part].astype(np.uint8), str(number))
    assert fit.temperature() == pytest.approx(factor, rel=0.05)


def test_the_temperature_of_multilabel_decisions_is_found():
    rng = np.random.default_rng(4)
    logits = rng.normal(0, 2, 40_000)
    target = (rng.random(40_000) < 1 / (1 + np.exp(-logits))).astype(float)
    fit = TemperatureFit(per_image=40_000)
    add_to(fit, logits * 2, target, "one")
    assert fit.temperature() == pytest.approx(2, rel=0.05)


def test_without_a_labeled_pixel_the_temperature_is_1():
    assert TemperatureFit().temperature() == 1.0
    assert TemperatureFit().calibration_error_at(2.0) == 0.0


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("is_multiclass", [True, False])
def test_where_all_is_right_the_temperature_is_1(scale, is_multiclass):
    rng = np.random.default_rng(10)
    fit = TemperatureFit()
    for number in range(3):
        logits = scale * rng.normal(0, 2, (4, 1000) if is_multiclass else 1000)
        target = logits.argmax(0) if is_multiclass else (logits > 0).astype(float)
        add_to(fit, logits, target, str(number))
    assert fit.temperature() == 1.0


def test_an_end_of_the_range_is_no_temperature():
    rng = np.random.default_rng(11)
    for scale in (100.0, 0.01):  # fitting would be 100 and 0.01, beyond either end
        logits = rng.normal(0, 2, (4, 20_000))
        shares = np.exp(logits) / np.exp(logits).sum(0)
        target = (rng.random(20_000) > shares.cumsum(0)).sum(0)
        fit = TemperatureFit(per_image=20_000)
        add_to(fit, logits * scale, target.astype(np.uint8), "one")
        assert fit.temperature() == 1.0


def test_soft_targets_have_a_temperature_though_every_decision_is_right():
    logits = np.linspace(-3, 3, 1000)
    fit = TemperatureFit()
    add_to(fit, 3 * logits, 1 / (1 + np.exp(-logits)), "one")
    assert fit.temperature() == pytest.approx(3, rel=0.01)


def drawn_images(num_images, num_pixels, rng):
    """Logits twice as large as they should be, and what they really say, of some images."""
    for number in range(num_images):
        logits = rng.normal(0, 2, (3, num_pixels))
        shares = np.exp(logits) / np.exp(logits).sum(0)
        target = (rng.random(num_pixels) > shares.cumsum(0)).sum(0)
        yield 2 * logits, target.astype(np.uint8), f"image{number}"


@pytest.mark.parametrize("max_total", [2000, 200_000])
def test_the_temperature_does_not_hang_on_the_order_of_the_images(max_total):
    images = list(drawn_images(12, 1500, np.random.default_rng(5)))
    fits = [TemperatureFit(per_image=1000, max_total=max_total) for _ in range(2)]
    for forward, backward in zip(images, images[::-1], strict=True):
        add_to(fits[0], *forward)
        add_to(fits[1], *backward)
    assert fits[0].temperature() == fits[1].temperature()
    assert fits[0].temperature() == pytest.approx(2, rel=0.15)


def test_no_more_pixels_than_the_budget_are_kept():
    fit = TemperatureFit(per_image=1000, max_total=3000)
    for image in drawn_images(40, 1000, np.random.default_rng(6)):
        add_to(fit, *image)
        assert sum(map(len, fit._keys)) <= 6000
    fit.temperature()
    assert sum(map(len, fit._keys)) == 3000


def test_the_error_that_a_temperature_leaves_is_measured():
    fit = TemperatureFit(per_image=50_000)
    for image in drawn_images(2, 50_000, np.random.default_rng(7)):
        add_to(fit, *image)
    assert fit.calibration_error_at(1.0) > 0.05
    assert fit.calibration_error_at(2.0) < 0.01


def test_a_temperature_does_not_fix_images_that_are_off_in_both_directions():
    rng = np.random.default_rng(8)
    fit, reliability = TemperatureFit(per_image=4000), Reliability()
    for number in range(20):
        sure, accuracy = ((0.9, 0.65), (0.65, 0.9))[number % 2]
        is_right = rng.random(4000) < accuracy
        logits = np.zeros((2, 4000))
        logits[0] = np.log(sure / (1 - sure))
        add_to(fit, logits, (~is_right).astype(np.uint8), str(number))
        reliability.add(np.full(4000, sure), is_right)
    error = reliability.expected_calibration_error
    assert error == pytest.approx(0.25, abs=0.02)
    assert fit.calibration_error_at(fit.temperature()) > 0.5 * error
    assert reliability.overconfidence == pytest.approx(0, abs=0.02)


def test_overconfidence_has_the_sign_of_what_is_wrong():
    for sure, accuracy in ((0.9, 0.6), (0.6, 0.9)):
        reliability = Reliability()
        is_right = np.arange(1000) < 1000 * accuracy
        reliability.add(np.full(1000, sure), is_right)
        assert reliability.overconfidence == pytest.approx(sure - accuracy)


def test_what_a_temperature_leaves_counts_large_images_by_their_size():
    fit, reliability = TemperatureFit(per_image=500), Reliability()
    rng = np.random.default_rng(9)
    for number, (count, sure, accuracy) in enumerate(
        [(200_000, 0.95, 0.8)] + [(1000, 0.9, 0.9)] * 9
    ):
        is_right = rng.random(count) < accuracy
        logits = np.zeros((2, count))
        logits[0] = np.log(sure / (1 - sure))
        add_to(fit, logits, (~is_right).astype(np.uint8), str(number))
        reliability.add(np.full(count, sure), is_right)
    error = reliability.expected_calibration_error
    assert error == pytest.approx(0.144, abs=0.01)
    assert fit.calibration_error_at(1.0) == pytest.approx(error, abs=0.03)
