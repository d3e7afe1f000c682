"""Faults put into real training runs: each is reported, and healthy training runs report none."""

import dataclasses

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from pixelwise.data.digits import write_digits
from pixelwise.errors import MaskError, TrainingError
from pixelwise.training import finish as finish_module
from pixelwise.training import loop, plan
from pixelwise.training.events import WarningRaised
from pixelwise.training.run_folder import load_notes
from pixelwise.training.train import train

COLORS = np.array([(60, 60, 70), (200, 90, 60), (80, 190, 90)])
NAMES = ("ground", "red", "green")
SMALL = "model.arguments={filters: 4, depth: 2}"
TRAIN, VAL = 16, 6


@pytest.fixture(autouse=True)
def _without_pictures(monkeypatch):
    """Half the time of such short training runs goes into figures, which other tests look at."""
    monkeypatch.setattr(loop, "draw_curves", lambda *_: None)
    monkeypatch.setattr(finish_module, "_draw_pictures", lambda *_, **__: [])
    monkeypatch.setattr(finish_module, "write_run_report", lambda *_, **__: None)


@dataclasses.dataclass(frozen=True)
class Pair:
    """What is written for one image: uint8 or float32 (H, W, C), and class ids (H, W)."""

    split: str
    number: int
    image: np.ndarray
    mask: np.ndarray


def draw(rng, size):
    """Ellipses of two colors on a dark ground, with noise."""
    mask = np.zeros(size, np.uint8)
    rows, columns = np.mgrid[: size[0], : size[1]]
    for class_id in (1, 1, 2, 2):
        row, column = rng.uniform(0.15, 0.85, 2) * size
        high, wide = rng.uniform(3, 6, 2)
        mask[((rows - row) / high) ** 2 + ((columns - column) / wide) ** 2 < 1] = class_id
    image = COLORS[mask] + rng.normal(0, 10, (*size, 3))
    return np.clip(image, 0, 255).astype(np.uint8), mask


def drawn_pairs(size=(36, 36), num=(TRAIN, VAL)):
    rng = np.random.default_rng(0)
    counts = zip(("train", "val"), num, strict=True)
    return [Pair(split, n, *draw(rng, size)) for split, count in counts for n in range(count)]


def write(folder, pairs, names=NAMES):
    for pair in pairs:
        place = folder / pair.split
        for part in ("images", "masks"):
            (place / part).mkdir(parents=True, exist_ok=True)
        name = f"{pair.number:03d}"
        if pair.image.dtype == np.uint8:
            Image.fromarray(pair.image).save(place / "images" / f"{name}.png")
        else:
            path = place / "images" / f"{name}.tif"
            is_gray = pair.image.shape[-1] == 1
            tifffile.imwrite(
                path, pair.image[..., 0] if is_gray else pair.image, photometric="minisblack",
                planarconfig=None if is_gray else "contig",
            )  # fmt: skip
        Image.fromarray(np.ascontiguousarray(pair.mask)).save(place / "masks" / f"{name}.png")
    (folder / "dataset.yaml").write_text(f"classes: [{', '.join(names)}]\n")
    return folder


def changed(change, **options):
    """The drawn pairs, each with the image and the mask that ``change`` makes of it."""
    return [
        dataclasses.replace(pair, image=image, mask=mask)
        for pair in drawn_pairs(**options)
        for image, mask in [change(pair)]
    ]


def problems_of(data, folder, *overrides, **options):
    """The kinds that a training run says, with the epoch; its notes hold the same."""
    said = []
    settings = {"model": "unet-elu", "epochs": 3, "batch_size": 4, "device": "cpu", **options}
    try:
        train(
            data, out=folder / "run",
            listener=lambda event: said.append(event) if isinstance(event, WarningRaised) else None,
            overrides=["training.precision=float32", *overrides], **settings,
        )  # fmt: skip
    finally:
        assert list(load_notes(folder / "run").problems) == said
    return [(problem.kind, problem.epoch) for problem in said]


def shift(pair):
    return pair.image, np.roll(pair.mask, 12, axis=1)


LABEL_FAULTS = {
    "moved by 12 pixels": (shift, "labels-shifted"),
    "mirrored": (lambda pair: (pair.image, pair.mask[:, ::-1]), "labels-flipped-or-rotated"),
    "upside down": (lambda pair: (pair.image, pair.mask[::-1, ::-1]), "labels-flipped-or-rotated"),
    "turned by a quarter": (
        lambda pair: (pair.image, np.rot90(pair.mask)),
        "labels-flipped-or-rotated",
    ),
    "transposed": (lambda pair: (pair.image, pair.mask.T), "labels-flipped-or-rotated"),
}


@pytest.mark.parametrize("fault", LABEL_FAULTS)
def test_labels_that_lie_wrong_are_told_before_the_first_step(fault, tmp_path):
    change, kind = LABEL_FAULTS[fault]
    data = write(tmp_path / "data", changed(change, size=(60, 60)))
    assert problems_of(data, tmp_path, SMALL) == [(kind, 0)]


def test_the_watchdog_reports_labels_of_other_images(tmp_path):
    pairs = drawn_pairs()
    others = [
        dataclasses.replace(pair, mask=pairs[place - 1].mask) for place, pair in enumerate(pairs)
    ]
    data = write(tmp_path / "data", others)
    assert problems_of(data, tmp_path, SMALL) == [("labels-of-other-images", 0)]


@pytest.mark.parametrize(
    ("model", "learning_rate"), [("stacked-fcn", 0.1), ("encoder-decoder", 0.3)]
)
def test_the_watchdog_reports_a_learning_rate_a_hundred_times_too_high(
    model, learning_rate, tmp_path
):
    data = write(tmp_path / "data", drawn_pairs())
    setting = f"training.learning_rate={learning_rate}"
    found = problems_of(data, tmp_path, setting, model=model, epochs=6)
    assert "learning-rate-too-high" in dict(found)
    assert not set(dict(found)) & {
        "loss-flat",
        "learning-rate-too-low",
        "overfitting",
        "labels-shifted",
    }


def test_a_learning_rate_that_makes_the_loss_no_number_stops_the_training(tmp_path):
    data = write(tmp_path / "data", drawn_pairs())
    with pytest.raises(
        TrainingError, match=r"the loss '.*' must be finite.*Lower the learning rate"
    ):
        problems_of(data, tmp_path, "training.learning_rate=0.5", model="resunet", epochs=3)


def test_a_learning_rate_that_moves_nothing_is_told_at_once_and_the_flat_loss_later(tmp_path):
    data = write(tmp_path / "data", drawn_pairs())
    found = problems_of(data, tmp_path, SMALL, "training.learning_rate=1e-9", epochs=4)
    assert found == [("learning-rate-too-low", 0), ("loss-flat", 3)]


def test_the_watchdog_reports_a_class_absent_from_the_training_masks(tmp_path):
    def without_green(pair):
        keep = pair.mask != 2
        return pair.image, pair.mask if pair.split == "val" else pair.mask * keep

    data = write(tmp_path / "data", changed(without_green))
    found = problems_of(data, tmp_path, SMALL)
    assert found == [("class-not-in-training", 1)]


def test_the_watchdog_reports_crops_with_only_ignored_pixels(tmp_path):
    def labeled_in_a_corner(pair):
        mask = np.full_like(pair.mask, 255)
        mask[:3, :6] = np.arange(6) // 2
        return pair.image, pair.mask if pair.split == "val" else mask

    pairs = changed(labeled_in_a_corner, size=(64, 64), num=(4, 4))
    data = write(tmp_path / "data", pairs)
    assert ("ignored-crops", 1) in problems_of(data, tmp_path, SMALL, size=(16, 16), epochs=2)


def test_the_watchdog_reports_training_images_in_the_validation_split(tmp_path):
    pairs = [pair for pair in drawn_pairs() if pair.split == "train"]
    copies = [dataclasses.replace(pair, split="val") for pair in pairs[:VAL]]
    data = write(tmp_path / "data", [*pairs, *copies])
    assert problems_of(data, tmp_path, SMALL) == [("leak", 0)]


def test_the_watchdog_reports_validation_images_of_another_kind(tmp_path):
    def inverted(pair):
        return 255 - pair.image if pair.split == "val" else pair.image, pair.mask

    data = write(tmp_path / "data", changed(inverted))
    assert problems_of(data, tmp_path, SMALL) == [("validation-differs", 0)]


def test_the_watchdog_reports_dead_activations(tmp_path, monkeypatch):
    honest = plan.create_model

    def dead(*arguments, **options):
        model = honest(*arguments, **options)
        layers = [layer for layer in model.modules() if isinstance(layer, torch.nn.Conv2d)]
        torch.nn.init.constant_(layers[1].bias, -1000)
        return model

    monkeypatch.setattr(plan, "create_model", dead)
    data = write(tmp_path / "data", drawn_pairs())
    found = problems_of(data, tmp_path, model="stacked-fcn")
    assert found[0] == ("dead-activations", 1)
    assert set(dict(found)) <= {"dead-activations", "constant-output"}


@pytest.mark.parametrize("content", [90.0, np.nan])
def test_images_that_hold_nothing_are_told_and_not_taken_for_other_faults(content, tmp_path):
    def blank(pair):
        image = pair.image.astype(np.float32)
        return np.full_like(image, content) if pair.split == "train" else image, pair.mask

    data = write(tmp_path / "data", changed(blank))
    assert problems_of(data, tmp_path, SMALL) == [("constant-images", 0)]


def test_a_mark_for_missing_data_is_told_and_not_taken_for_other_faults(tmp_path):
    def marked(pair):
        image = pair.image.astype(np.float32)
        image[:2, :2] = np.finfo(np.float32).min
        return image, pair.mask

    data = write(tmp_path / "data", changed(marked))
    assert problems_of(data, tmp_path, SMALL)[0] == ("extreme-values", 0)


def test_the_watchdog_reports_a_class_of_negligible_weight(tmp_path):
    data = write(tmp_path / "data", drawn_pairs())
    weights = "training.class_weights=[1,1,0.000001]"
    found = problems_of(data, tmp_path, SMALL, weights, "training.learning_rate=0.05", epochs=5)
    assert "class-never-predicted" in dict(found)


def test_the_watchdog_reports_overfitting(tmp_path):
    def nothing_to_see(pair):
        rng = np.random.default_rng(100 * (pair.split == "val") + pair.number)
        return rng.integers(0, 256, pair.image.shape).astype(np.uint8), pair.mask

    data = write(tmp_path / "data", changed(nothing_to_see, size=(32, 32), num=(4, 6)))
    found = problems_of(
        data, tmp_path, "model.arguments={filters: 16, depth: 2, dropout: 0}",
        "training.learning_rate=0.01", "training.patience=100",
        "augmentation.orientation=fixed", "augmentation.scale=[1, 1]", epochs=30, batch_size=2,
    )  # fmt: skip
    assert "overfitting" in dict(found)
    assert not set(dict(found)) & {"learning-rate-too-high", "learning-rate-too-low", "loss-flat"}


def test_masks_of_one_class_are_refused_before_anything_is_trained(tmp_path):
    data = write(tmp_path / "data", changed(lambda pair: (pair.image, pair.mask * 0)))
    with pytest.raises(MaskError, match="at least two classes"):
        train(data, out=tmp_path / "run", model="unet-elu", epochs=1, device="cpu")


def test_a_resumed_training_does_not_repeat_warnings(tmp_path):
    data = write(tmp_path / "data", changed(shift, size=(60, 60)))
    said = []

    def stop(event):
        said.append(event)
        if isinstance(event, WarningRaised):
            raise KeyboardInterrupt

    options = {"out": tmp_path / "run", "device": "cpu"}
    with pytest.raises(KeyboardInterrupt):
        train(data, model="unet-elu", epochs=3, batch_size=4, overrides=[SMALL], listener=stop,
              **options)  # fmt: skip
    before = load_notes(tmp_path / "run")
    train(resume=True, listener=said.append, **options)
    assert [event.kind for event in said if isinstance(event, WarningRaised)] == ["labels-shifted"]
    assert load_notes(tmp_path / "run") == before
    assert before.reasons


def two_classes(pair):
    return pair.image, (pair.mask > 0).astype(np.uint8)


def with_ignored_and_sixteen_bits(pair):
    mask = pair.mask.copy()
    mask[:3] = 255
    return pair.image[..., :1].astype(np.uint16) * 250, mask


def four_bands_with_holes(pair):
    image = np.concatenate([pair.image, pair.image[..., :1]], axis=-1).astype(np.float32)
    image[-5:, -5:] = np.nan
    return image, pair.mask


HEALTHY = {
    "three classes": (lambda pair: (pair.image, pair.mask), "unet-elu", 20, NAMES),
    "two classes": (two_classes, "unet", 20, NAMES[:2]),
    "16-bit gray with ignored pixels": (
        with_ignored_and_sixteen_bits,
        "encoder-decoder",
        30,
        NAMES,
    ),
    "float bands with holes": (four_bands_with_holes, "resunet", 6, NAMES),
}
"""What is changed, the model, its epochs, and the classes."""


@pytest.mark.parametrize("kind", HEALTHY)
def test_a_healthy_training_hears_nothing(kind, tmp_path):
    change, model, epochs, names = HEALTHY[kind]
    data = write(tmp_path / "data", changed(change), names)
    overrides = [SMALL] if model.startswith("unet") else []
    assert problems_of(data, tmp_path, *overrides, model=model, epochs=epochs) == []


def test_a_healthy_training_on_multilabel_digits_hears_nothing(tmp_path):
    write_digits(tmp_path / "data", num_train=24, num_val=8)
    assert problems_of(tmp_path / "data", tmp_path, SMALL, model="unet-elu", epochs=4) == []
