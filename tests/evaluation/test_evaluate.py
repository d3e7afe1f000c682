"""A model and a data set to metrics: counted again by loops, at the masks' own size."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from pixelwise.classes import ClassMap, numbered_names
from pixelwise.data.dataset import open_dataset
from pixelwise.data.sample import Sample
from pixelwise.errors import DataError
from pixelwise.evaluation.evaluate import (
    evaluate,
    evaluate_samples,
    fit_to_model,
    open_for_model,
)
from pixelwise.evaluation.headline_counts import MultilabelCounting
from pixelwise.models import create_model
from pixelwise.models.model_file import ModelCard, Preprocessing, TrainingData
from pixelwise.prediction.predictor import Predictor

IGNORED = 255
SIZES = [(21, 30), (21, 30), (17, 9), (1, 1), (40, 40), (3, 50)]


def predictor_of(class_map, *, mode="multiclass", scale=1.0, data=None, seed=0, tile=None):
    torch.manual_seed(seed)
    model = create_model("encoder-decoder", class_map.num_classes, 3)
    for weights in model.parameters():  # so that several classes are predicted
        torch.nn.init.normal_(weights, std=0.1)
    card = ModelCard(
        architecture="encoder-decoder",
        in_channels=3,
        class_map=class_map,
        label_mode=mode,
        preprocessing=Preprocessing(dtype="uint8", mean=(127,) * 3, std=(60,) * 3, scale=scale),
        training_size=(32, 32),
        metrics=None,
        data=data or TrainingData(fingerprint="other", images=(), split=None, split_seed=0),
        versions={},
    )
    return Predictor(model, card, device="cpu", tile=tile)


def write_images(folder, sizes, rng):
    folder.mkdir(parents=True, exist_ok=True)
    images = []
    for index, size in enumerate(sizes):
        image = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
        Image.fromarray(image).save(folder / f"{index:03}.png")
        images.append(image)
    return images


def index_folder(folder, *, sizes=SIZES, values=(0, 1, 2), ignored=True, seed=0):
    """images/ + masks/, and what was written: (image, mask) pairs."""
    rng = np.random.default_rng(seed)
    images = write_images(folder / "images", sizes, rng)
    (folder / "masks").mkdir()
    masks = []
    for index, size in enumerate(sizes):
        mask = rng.choice(values, size).astype(np.uint8)
        if ignored:
            mask[rng.random(size) < 0.2] = IGNORED
        mask.flat[0] = values[0]
        Image.fromarray(mask).save(folder / "masks" / f"{index:03}.png")
        masks.append(mask)
    return list(zip(images, masks, strict=True))


def class_folder(folder, names, *, sizes=SIZES, seed=0):
    """images/ + masks/CLASS/, and what was written: (image, masks (K, H, W)) pairs."""
    rng = np.random.default_rng(seed)
    images = write_images(folder / "images", sizes, rng)
    planes = []
    for size in sizes:
        plane = rng.choice([0, 0, 30, 127, 128, 200, 255], (len(names), *size)).astype(np.uint8)
        plane[:, 0, 0] = 255
        planes.append(plane)
    for position, name in enumerate(names):
        (folder / "masks" / name).mkdir(parents=True)
        for index, plane in enumerate(planes):
            Image.fromarray(plane[position]).save(folder / "masks" / name / f"{index:03}.png")
    return list(zip(images, planes, strict=True))


def raw_logits(predictor, image):
    """What the network says of an image, without the predictor."""
    tensor = torch.from_numpy((image.astype(np.float32) - 127) / 60).permute(2, 0, 1)[None]
    with torch.no_grad():
        return predictor.model.eval()(tensor)[0].numpy()


def confusion_of(pairs, num_classes):
    """Row: labeled; column: prediction; pixel by pixel."""
    counts = np.zeros((num_classes, num_classes), int)
    for prediction, mask in pairs:
        assert prediction.shape == mask.shape
        for guess, labeled in zip(prediction.flat, mask.flat, strict=True):
            if labeled != IGNORED:
                counts[labeled, guess] += 1
    return counts


def check_against(metrics, counts):
    hits, sizes, guesses = np.diag(counts), counts.sum(1), counts.sum(0)
    ious = []
    for index, entry in enumerate(metrics.per_class):
        assert entry.pixels == sizes[index]
        if sizes[index]:
            ious.append(hits[index] / (sizes[index] + guesses[index] - hits[index]))
            assert entry.iou == pytest.approx(ious[-1])
            assert entry.recall == pytest.approx(hits[index] / sizes[index])
        else:
            assert entry.iou is None
        if guesses[index]:
            assert entry.precision == pytest.approx(hits[index] / guesses[index])
    assert metrics.mean_iou == pytest.approx(np.mean(ious))
    assert metrics.pixel_accuracy == pytest.approx(hits.sum() / counts.sum())


def test_metrics_equal_a_recount_of_what_the_network_says(tmp_path):
    pairs = index_folder(tmp_path)
    predictor = predictor_of(ClassMap.build(numbered_names(3)))
    metrics = evaluate(predictor, open_dataset(tmp_path), "all")
    counts = confusion_of(
        [(raw_logits(predictor, image).argmax(0), mask) for image, mask in pairs], 3
    )
    assert (counts.sum(0) > 0).all()  # the recount is of some worth
    check_against(metrics, counts)
    assert metrics.images == len(SIZES)
    assert metrics.label_mode == "multiclass"
    assert metrics.extra == {}


@pytest.mark.parametrize("scale", [0.5, 1.0])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_metrics_are_taken_at_the_original_size_whatever_the_scale_and_tiles(tmp_path, scale, tile):
    pairs = index_folder(tmp_path)
    predictor = predictor_of(ClassMap.build(numbered_names(3)), scale=scale, tile=tile)
    metrics = evaluate(predictor, open_dataset(tmp_path), "all")
    counts = confusion_of([(predictor.predict(image), mask) for image, mask in pairs], 3)
    check_against(metrics, counts)
    assert counts.sum() == sum((mask != IGNORED).sum() for _, mask in pairs)


def test_the_loss_is_the_mean_cross_entropy_over_labeled_pixels(tmp_path):
    pairs = index_folder(tmp_path)
    predictor = predictor_of(ClassMap.build(numbered_names(3)))
    total, pixels = 0.0, 0
    for image, mask in pairs:
        powers = np.exp(raw_logits(predictor, image).astype(np.float64))
        probabilities = powers / powers.sum(0)
        for row, column in zip(*np.nonzero(mask != IGNORED), strict=True):
            total -= np.log(probabilities[mask[row, column], row, column])
            pixels += 1
    metrics = evaluate(predictor, open_dataset(tmp_path), "all")
    assert metrics.loss == pytest.approx(total / pixels, rel=1e-4)


def test_multilabel_metrics_equal_a_recount(tmp_path):
    names = ("cat", "dog")
    pairs = class_folder(tmp_path, names)
    predictor = predictor_of(ClassMap.build(names), mode="multilabel")
    metrics = evaluate(predictor, open_dataset(tmp_path), "all")
    hits, wrong, right, decisions, loss = [0, 0], [0, 0], 0, 0, 0.0
    for image, planes in pairs:
        probabilities = 1 / (1 + np.exp(-raw_logits(predictor, image).astype(np.float64)))
        for index in range(2):
            for probability, value in zip(
                probabilities[index].flat, planes[index].flat, strict=True
            ):
                guess, labeled, target = probability > 0.5, value >= 128, value / 255
                hits[index] += guess and labeled
                wrong[index] += guess != labeled
                right += guess == labeled
                decisions += 1
                loss -= target * np.log(probability) + (1 - target) * np.log(1 - probability)
    for index, entry in enumerate(metrics.per_class):
        assert entry.iou == pytest.approx(hits[index] / (hits[index] + wrong[index]))
    assert metrics.pixel_accuracy == pytest.approx(right / decisions)
    assert metrics.loss == pytest.approx(loss / decisions, rel=1e-4)
    assert metrics.label_mode == "multilabel"


def test_the_binary_loss_of_one_pixel_is_bounded():
    card = SimpleNamespace(class_map=SimpleNamespace(num_classes=1))
    predictor = SimpleNamespace(card=card, decide=lambda logits: (logits > 0).numpy())
    counting = MultilabelCounting(predictor)
    values = torch.tensor([[[-200.0, 200.0, 0.0, 2.0]]])
    counting.add(values, np.array([[[255, 0, 128, 255]]], np.uint8))
    worst = -np.log(1e-7)
    expected = (2 * worst + np.log(2) + np.log1p(np.exp(-2.0))) / 4
    assert counting.loss == pytest.approx(expected, rel=1e-6)


class Kept:
    """Keeps what a further metric is given."""

    name = "kept"

    def __init__(self):
        self.images = []

    def add(self, prediction, probabilities, mask):
        self.images.append((prediction, probabilities, mask))

    def figures(self):
        return {"images": len(self.images), "kept": 1}


def test_a_further_metric_sees_every_image_at_its_size_with_calibrated_probabilities(tmp_path):
    pairs = index_folder(tmp_path)
    plain = predictor_of(ClassMap.build(numbered_names(3)))
    card = plain.card.model_copy(update={"temperature": 2.0})
    predictor = Predictor(plain.model, card, device="cpu")
    kept = Kept()
    metrics = evaluate(predictor, open_dataset(tmp_path), "all", metrics=[kept])
    assert metrics.extra == {"kept_images": len(pairs), "kept": 1}
    for (prediction, probabilities, mask), (image, target) in zip(kept.images, pairs, strict=True):
        np.testing.assert_array_equal(prediction, predictor.predict(image))
        np.testing.assert_allclose(probabilities, predictor.probabilities(image), atol=1e-6)
        np.testing.assert_array_equal(mask, target)


def test_a_further_metric_of_multilabel_masks_gets_decisions_and_soft_masks(tmp_path):
    pairs = class_folder(tmp_path, ("cat", "dog"))
    predictor = predictor_of(ClassMap.build(("cat", "dog")), mode="multilabel")
    kept = Kept()
    metrics = evaluate(predictor, open_dataset(tmp_path), "all", metrics=[kept])
    assert metrics.to_json()["extra"] == {"kept_images": len(pairs), "kept": 1}
    for (prediction, probabilities, mask), (image, planes) in zip(kept.images, pairs, strict=True):
        np.testing.assert_array_equal(prediction, predictor.predict(image))
        np.testing.assert_allclose(probabilities, predictor.probabilities(image), atol=1e-6)
        np.testing.assert_array_equal(mask, planes)


def test_a_further_metric_changes_no_other_number(tmp_path):
    class_folder(tmp_path, ("cat", "dog"))
    predictor = predictor_of(ClassMap.build(("cat", "dog")), mode="multilabel")
    content = evaluate(predictor, open_dataset(tmp_path), "all", metrics=[Kept()]).to_json()
    del content["extra"]
    assert content == evaluate(predictor, open_dataset(tmp_path), "all").to_json()


def test_the_split_on_the_same_data_is_the_one_the_model_was_trained_with(tmp_path):
    index_folder(tmp_path, sizes=[(4, 4)] * 20)
    trained_on = open_dataset(tmp_path, split="50/20/30", split_seed=7)
    data = TrainingData(
        fingerprint=trained_on.fingerprint, images=(), split="50/20/30", split_seed=7
    )
    predictor = predictor_of(ClassMap.build(numbered_names(3)), data=data)
    dataset, chosen = open_for_model(predictor, tmp_path)
    assert chosen == "test"
    names = {record.name for record in dataset.split("test")}
    assert names == {record.name for record in trained_on.split("test")}
    assert len(names) == 6
    assert not names & {record.name for record in trained_on.split("train")}
    assert names != {record.name for record in open_dataset(tmp_path).split("test")}
    assert evaluate(predictor, dataset, chosen).images == 6


def test_a_folder_of_new_images_is_evaluated_whole(tmp_path):
    index_folder(tmp_path, sizes=[(4, 4)] * 8)
    data = TrainingData(fingerprint="of other images", images=(), split="70/30", split_seed=0)
    predictor = predictor_of(ClassMap.build(numbered_names(3)), data=data)
    dataset, chosen = open_for_model(predictor, tmp_path)
    assert chosen == "all"
    assert evaluate(predictor, dataset, chosen).images == 8


def test_the_split_that_was_asked_for_is_taken(tmp_path):
    index_folder(tmp_path, sizes=[(4, 4)] * 8)
    predictor = predictor_of(ClassMap.build(numbered_names(3)))
    assert open_for_model(predictor, tmp_path, split="train")[1] == "train"


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_lone_split_folder_is_enough(tmp_path, split):
    index_folder(tmp_path / split)
    predictor = predictor_of(ClassMap.build(numbered_names(3)))
    dataset, chosen = open_for_model(predictor, tmp_path)
    assert chosen == split
    assert evaluate(predictor, dataset, chosen).images == len(SIZES)


def test_a_split_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    index_folder(tmp_path / "val")
    predictor = predictor_of(ClassMap.build(numbered_names(3)))
    dataset, _ = open_for_model(predictor, tmp_path)
    with pytest.raises(DataError, match="val") as refusal:
        evaluate(predictor, dataset, "test")
    assert "It contains only val. Choose val, or all" in str(refusal.value)


def test_unnamed_classes_are_read_with_the_class_map_of_the_model(tmp_path):
    """The masks lack the model's last class, and store the others by other values than ids."""
    pairs = index_folder(tmp_path, values=(4, 6))
    class_map = ClassMap.build(("sky", "road", "car"), values=(6, 4, 2))
    predictor = predictor_of(class_map)
    dataset, chosen = open_for_model(predictor, tmp_path)
    metrics = evaluate(predictor, dataset, chosen)
    ids = {6: 0, 4: 1, IGNORED: IGNORED}
    counts = confusion_of(
        [
            (raw_logits(predictor, image).argmax(0), np.vectorize(ids.get)(mask))
            for image, mask in pairs
        ],
        3,
    )
    check_against(metrics, counts)
    assert metrics.absent_classes == ("car",)


def test_a_value_beyond_the_classes_of_the_model_is_refused_by_file_and_value(tmp_path):
    index_folder(tmp_path, values=(0, 1, 5), sizes=[(6, 6)])
    predictor = predictor_of(ClassMap.build(numbered_names(3)))
    dataset, chosen = open_for_model(predictor, tmp_path)
    with pytest.raises(DataError, match=r"000\.png") as refusal:
        evaluate(predictor, dataset, chosen)
    assert "5 (" in str(refusal.value)


def test_an_ignore_value_that_is_said_is_ignored_to_the_model_too(tmp_path):
    pairs = index_folder(tmp_path, values=(0, 1, 2, 7))
    predictor = predictor_of(ClassMap.build(numbered_names(3)))
    dataset, chosen = open_for_model(predictor, tmp_path, ignore=[7])
    metrics = evaluate(predictor, dataset, chosen)
    counts = confusion_of(
        [
            (raw_logits(predictor, image).argmax(0), np.where(mask == 7, IGNORED, mask))
            for image, mask in pairs
        ],
        3,
    )
    check_against(metrics, counts)


def test_an_ignore_value_that_is_a_class_of_the_model_is_refused(tmp_path):
    index_folder(tmp_path, values=(0, 1, 2))
    predictor = predictor_of(ClassMap.build(numbered_names(3)))
    with pytest.raises(DataError, match="class-2"):
        open_for_model(predictor, tmp_path, ignore=[2])


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a", "c"), ("a", "b", "c", "d")])
def test_other_classes_are_refused_with_both_lists(tmp_path, names):
    index_folder(tmp_path, values=range(len(names)))
    (tmp_path / "dataset.yaml").write_text(f"classes: [{', '.join(names)}]\n")
    predictor = predictor_of(ClassMap.build(("a", "b", "c")))
    with pytest.raises(DataError, match="a, b, c") as refusal:
        open_for_model(predictor, tmp_path)
    assert ", ".join(names) in str(refusal.value)


def test_other_classes_are_refused_when_the_data_set_was_opened_by_hand(tmp_path):
    class_folder(tmp_path, ("cat", "dog"))
    predictor = predictor_of(ClassMap.build(("cat", "cow")), mode="multilabel")
    with pytest.raises(DataError, match="cow"):
        evaluate(predictor, open_dataset(tmp_path), "all")


@pytest.mark.parametrize("mode", ["multiclass", "multilabel"])
def test_another_label_mode_is_refused(tmp_path, mode):
    if mode == "multilabel":
        index_folder(tmp_path)
    else:
        class_folder(tmp_path, ("class-0", "class-1"))
    predictor = predictor_of(ClassMap.build(numbered_names(2)), mode=mode)
    with pytest.raises(DataError, match=f"{mode} masks"):
        open_for_model(predictor, tmp_path)


def test_fitting_twice_is_fitting_once(tmp_path):
    index_folder(tmp_path, values=(0, 1, 2, 7))
    predictor = predictor_of(ClassMap.build(numbered_names(3)))
    once = fit_to_model(predictor, open_dataset(tmp_path, ignore=[7]))
    assert fit_to_model(predictor, once).class_map == once.class_map


def test_masks_that_are_all_ignored_are_refused():
    predictor = predictor_of(ClassMap.build(numbered_names(2)))
    ignored = Sample(
        "a", np.zeros((4, 4, 3), np.uint8), np.full((4, 4), IGNORED, np.uint8), "multiclass"
    )
    with pytest.raises(DataError, match="ignored"):
        evaluate_samples(predictor, [ignored], 1)


def test_one_image_that_is_all_ignored_does_not_stop_the_others(tmp_path):
    pairs = index_folder(tmp_path)
    predictor = predictor_of(ClassMap.build(numbered_names(3)))
    samples = [
        Sample(str(index), image, mask, "multiclass") for index, (image, mask) in enumerate(pairs)
    ]
    ignored = dataclasses.replace(samples[0], mask=np.full_like(samples[0].mask, IGNORED))
    with_ignored = evaluate_samples(predictor, [*samples, ignored], 7)
    without = evaluate_samples(predictor, samples, 6)
    assert with_ignored.images == 7
    assert dataclasses.replace(with_ignored, images=6) == without


def test_the_order_of_the_images_does_not_change_the_metrics(tmp_path):
    pairs = index_folder(tmp_path)
    predictor = predictor_of(ClassMap.build(numbered_names(3)))
    samples = [
        Sample(str(index), image, mask, "multiclass") for index, (image, mask) in enumerate(pairs)
    ]
    forwards = evaluate_samples(predictor, samples, 6)
    backwards = evaluate_samples(predictor, samples[::-1], 6)
    assert forwards.per_class == backwards.per_class
    assert forwards.loss == pytest.approx(backwards.loss)


def test_progress_tells_of_every_image(tmp_path):
    index_folder(tmp_path)
    told = []
    evaluate(
        predictor_of(ClassMap.build(numbered_names(3))),
        open_dataset(tmp_path),
        "all",
        on_progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(done, 6) for done in range(1, 7)]


def trained_on_the_train_split_of(dataset):
    return TrainingData(
        fingerprint=dataset.fingerprint,
        images=tuple(record.key for record in dataset.split("train")),
        selected_by=tuple(record.key for record in dataset.split("val")),
        split=dataset.drawn_split,
        split_seed=dataset.split_seed,
    )


def test_images_that_the_model_was_trained_on_are_counted_under_any_name(tmp_path):
    index_folder(tmp_path / "first", sizes=[(5, 5)] * 10)
    dataset = open_dataset(tmp_path / "first")
    data = trained_on_the_train_split_of(dataset)
    predictor = predictor_of(ClassMap.build(numbered_names(3)), data=data)
    assert evaluate(predictor, tmp_path / "first").seen_in_training == 0
    assert evaluate(predictor, tmp_path / "first", "train").seen_in_training == 6
    splits = ("val", "train", "all")
    selected = [evaluate(predictor, tmp_path / "first", split).selected_on for split in splits]
    assert selected == [2, 0, 2]
    (tmp_path / "first").rename(tmp_path / "moved")
    for kind in ("images", "masks"):  # names change places, contents stay what they are
        folder = tmp_path / "moved" / kind
        (folder / "000.png").rename(folder / "999.png")
    # The folder is another one now, so all of it is evaluated: the six are told apart.
    metrics = evaluate(predictor, tmp_path / "moved")
    assert (metrics.images, metrics.seen_in_training) == (10, 6)


def test_the_training_data_opened_with_another_split_is_refused(tmp_path):
    index_folder(tmp_path, sizes=[(4, 4)] * 20)
    data = trained_on_the_train_split_of(open_dataset(tmp_path, split="70/30"))
    predictor = predictor_of(ClassMap.build(numbered_names(3)), data=data)
    for other in (open_dataset(tmp_path), open_dataset(tmp_path, split="70/30", split_seed=1)):
        with pytest.raises(DataError, match=r"70/30 with seed 0\. Got"):
            evaluate(predictor, other, "test")
    same = open_dataset(tmp_path, split="70/30")
    assert evaluate(predictor, same, "test").seen_in_training == 0


def test_new_images_in_a_lone_train_folder_are_evaluated_whole(tmp_path):
    index_folder(tmp_path / "train", sizes=[(4, 4)] * 10)
    predictor = predictor_of(ClassMap.build(numbered_names(3)))
    dataset, chosen = open_for_model(predictor, tmp_path)
    assert dataset.is_val_set_aside
    assert chosen == "all"
    assert len(dataset.split(chosen)) == 10


def test_a_class_that_was_ignored_in_training_is_ignored_again(tmp_path):
    index_folder(tmp_path, values=(0, 1, 2))
    (tmp_path / "dataset.yaml").write_text("classes: [road, tree, unlabeled]\n")
    class_map = open_dataset(tmp_path, ignore=[2]).class_map
    assert class_map.names == ("road", "tree")
    dataset, chosen = open_for_model(predictor_of(class_map), tmp_path)
    assert dataset.class_map.names == ("road", "tree")
    masks = [dataset.load(record).mask for record in dataset.split(chosen)]
    assert {value for mask in masks for value in mask.flat} <= {0, 1, IGNORED}


def test_values_without_names_are_said_to_be_read_as_the_classes_of_the_model(
    tmp_path, make_index_dataset, make_model_file, run_cli
):
    data = make_index_dataset(tmp_path / "data", num_images=3)
    names = ClassMap.build(("sky", "road", "car"))
    model = make_model_file(tmp_path / "model.safetensors", class_map=names)
    code, _, err = run_cli("evaluate", model, data)
    assert code == 0
    words = "their values are read as its classes, 0 sky, 1 road, 2 car. Check that they mean"
    assert words in " ".join(err.split())
    own = trained_on_the_train_split_of(open_dataset(data))
    opened, _ = open_for_model(predictor_of(names, data=own), data)
    assert not any("are read as" in note for note in opened.notes)
