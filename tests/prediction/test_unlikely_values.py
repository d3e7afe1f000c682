"""Logits that are no numbers are refused: every decision on them would be wrong in silence."""

import numpy as np
import pytest
import tifffile
import torch

from pixelwise.errors import DataError
from pixelwise.prediction.predict import predict
from pixelwise.prediction.predictor import Predictor
from pixelwise.prediction.unlikely_values import require_finite


def test_logits_that_are_no_numbers_are_refused():
    logits = torch.zeros(2, 4, 5)
    assert require_finite(logits, "a.tif") is logits
    huge = torch.full((2, 4, 5), 3e38)  # their sum is infinite, and they are not
    assert require_finite(huge, "a.tif") is huge
    for value in (float("nan"), float("inf"), -float("inf")):
        logits = torch.zeros(2, 4, 5)
        logits[1, 2, 3] = value
        with pytest.raises(DataError, match=r"a.tif must have values like.*for 5.00% of its"):
            require_finite(logits, "a.tif")


class Amplifier(torch.nn.Module):
    """Logits of which those of huge values are infinite minus infinite."""

    def forward(self, image):
        scaled = image[:, :1] * 1e35
        return torch.cat([scaled - scaled.clone(), scaled], 1)


def test_an_image_beyond_the_numbers_of_the_model_fails_alone_and_by_name(tmp_path):
    predictor = Predictor.from_model(Amplifier(), ["a", "b"], dtype="float32")
    (tmp_path / "in").mkdir()
    for name in ("a", "b", "c"):
        pixels = np.full((40, 50, 3), 0.5, np.float32)
        pixels[3:5, 3:5] = 5e8 if name == "b" else 0.25
        tifffile.imwrite(tmp_path / f"in/{name}.tif", pixels, photometric="rgb")
    found = predict(predictor, [tmp_path / "in"], out=tmp_path / "out")
    assert [path.name for path in found.written] == ["a.png", "c.png"]
    (failure,) = found.failed
    assert "b.tif must have values like those of the training images" in failure
    assert "for 0.20% of its pixels" in failure
    pixels = tifffile.imread(tmp_path / "in/b.tif")
    with pytest.raises(DataError, match="must have values like"):
        list(predictor.segment_rows(lambda start, stop: pixels[start:stop], (40, 50)))


@pytest.mark.parametrize("value", [3.4e38, -3.4e38, 1e20])
def test_placeholders_for_missing_data_are_refused_and_no_numbers_in_files_are_not(tmp_path, value):
    predictor = Predictor.from_model(torch.nn.Conv2d(3, 2, 1), ["a", "b"], dtype="float32")
    pixels = np.random.default_rng(0).random((40, 50, 3), np.float32)
    usual = predictor.predict(pixels)
    pixels[3, 4] = value
    with pytest.raises(DataError, match=r"must have values like.*placeholders for missing data"):
        predictor.predict(pixels)
    with pytest.raises(DataError, match="must have values like"):
        list(predictor.segment_rows(lambda start, stop: pixels[start:stop], (40, 50)))
    pixels[3, 4] = -9999
    assert (predictor.predict(pixels) != usual).sum() <= 1
    for missing in (np.nan, np.inf):
        pixels[3, 4] = missing
        tifffile.imwrite(tmp_path / "missing.tif", pixels, photometric="rgb")
        (found,) = predict(predictor, [tmp_path / "missing.tif"])
        assert (found.class_ids != usual).sum() <= 1
