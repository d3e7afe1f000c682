"""Calibration: known answers on drawn probabilities, and torchmetrics' definition by a loop."""

import numpy as np
import pytest

from pixelwise.scoring.calibration import NUM_BINS, Reliability, TemperatureFit


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
    for part in np.array_split(np.arange(20_000), 4):
        fit.add(logits[:, part] * factor, target[part].astype(np.uint8))
    assert fit.temperature() == pytest.approx(factor, rel=0.05)


def test_the_temperature_of_overlapping_decisions_is_found():
    rng = np.random.default_rng(4)
    logits = rng.normal(0, 2, 40_000)
    target = (rng.random(40_000) < 1 / (1 + np.exp(-logits))).astype(float)
    fit = TemperatureFit(per_image=40_000)
    fit.add(logits * 2, target)
    assert fit.temperature() == pytest.approx(2, rel=0.05)


def test_without_a_labelled_pixel_the_temperature_is_1():
    assert TemperatureFit().temperature() == 1.0
