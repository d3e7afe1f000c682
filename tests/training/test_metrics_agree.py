"""One model has one set of metrics: training, report, evaluate and predict agree to the last digit.

The metrics are computed in float32 whatever the training computed in, so these tests hold on every
processor; ``make test-instruction-sets`` runs them with other instruction sets.
"""

import json

import numpy as np
import pytest
from PIL import Image

from pixelwise import evaluate, load_model, predict, report_run, train
from pixelwise.training.run_folder import read_history

PRECISIONS = ("float32", "bfloat16")


@pytest.fixture(scope="module")
def data(tmp_path_factory, make_index_dataset):
    folder = tmp_path_factory.mktemp("agree") / "data"
    return make_index_dataset(folder, num_images=6, splits=("train", "val"))


@pytest.fixture(scope="module", params=PRECISIONS)
def run(request, data, tmp_path_factory):
    """A training run of two epochs in one precision."""
    overrides = ["model.arguments={filters: 4, depth: 2}", f"training.precision={request.param}"]
    return train(
        data, model="unet-elu", out=tmp_path_factory.mktemp("agree") / "run", epochs=2,
        batch_size=2, device="cpu", overrides=overrides,
    )  # fmt: skip


def test_history_model_file_and_evaluate_say_the_same(run, data):
    kept = read_history(run.folder)[run.best_epoch - 1]
    card = load_model(run.folder, device="cpu").card.metrics
    metrics = json.loads((run.folder / "metrics.json").read_text("utf-8"))
    again = evaluate(load_model(run.folder, device="cpu"), data, "val").to_json()
    for name in ("mean_iou", "pixel_accuracy"):
        assert metrics[name] == card[name] == again[name]
        assert round(again[name], 6) == kept[f"val_{name}"]
    assert report_run(run.folder, device="cpu").metrics.mean_iou == again["mean_iou"]


def test_the_precision_of_the_metrics_is_in_the_model_file(run):
    assert load_model(run.folder, device="cpu").card.metrics["precision_of_model"] == "float32"


def test_metrics_of_predicted_files_are_those_of_evaluate(run, data, tmp_path):
    metrics = evaluate(load_model(run.folder, device="cpu"), data, "val")
    images = sorted((data / "val" / "images").iterdir())
    predict(load_model(run.folder, device="cpu"), images, tmp_path)
    intersection, union = np.zeros(256), np.zeros(256)
    for image in images:
        mask = np.asarray(Image.open(data / "val" / "masks" / f"{image.stem}.png"))
        found = np.asarray(Image.open(tmp_path / f"{image.stem}.png"))
        for number in range(len(metrics.per_class)):
            ours, theirs = found[mask != 255] == number, mask[mask != 255] == number
            intersection[number] += (ours & theirs).sum()
            union[number] += (ours | theirs).sum()
    shown = [number for number, row in enumerate(metrics.per_class) if row.pixels]
    assert metrics.mean_iou == pytest.approx((intersection / union.clip(1))[shown].mean(), abs=1e-9)


def test_the_output_names_bfloat16_if_a_model_is_evaluated_in_it(run, data):
    predictor = load_model(run.folder, device="cpu", precision="bfloat16")
    assert evaluate(predictor, data, "val").to_json()["precision_of_model"] == "bfloat16"
