"""The card that the doctor writes, the command line, and the fast part that a training runs."""

import json
import time

import numpy as np
import pytest
from doctored import boxes, make_clean, photograph, save

from pixelwise.classes import ClassMap
from pixelwise.data.card import find_card
from pixelwise.data.dataset import open_dataset
from pixelwise.data.sample import Sample
from pixelwise.doctor import check_data
from pixelwise.doctor.quick_check import QuickCheck
from pixelwise.doctor.suggested_card import write_card
from pixelwise.errors import DataError, OutputError


@pytest.fixture
def smoothed(tmp_path):
    """Black and white masks, one of them with smoothed edges."""
    from PIL import Image, ImageFilter

    folder = make_clean(tmp_path / "data", (0, 255, 255))
    path = folder / "train/masks/000.png"
    Image.open(path).filter(ImageFilter.BoxBlur(1)).save(path)
    return folder


def test_the_card_gives_the_same_classes_back(tmp_path):
    folder = make_clean(tmp_path / "data")
    examination = check_data(folder)
    write_card(examination, tmp_path / "card.yaml")
    dataset = open_dataset(tmp_path / "card.yaml")
    assert dataset.class_map == examination.dataset.class_map
    assert dataset.records == examination.dataset.records
    text = (tmp_path / "card.yaml").read_text()
    assert "# 6 train, 6 val images" in text
    assert "in 6 images" in text


def test_the_check_reads_smoothed_masks_as_the_opening_does(smoothed):
    examination = check_data(smoothed)
    assert [one.kind for one in examination.findings] == [
        "unexpected-decided", "black-and-white-masks"
    ]  # fmt: skip
    assert examination.dataset.class_map == open_dataset(smoothed).class_map


def test_what_was_refused_can_be_read_with_the_card(smoothed, tmp_path):
    examination = check_data(smoothed, unexpected="error")
    assert examination.is_refused
    card_file = tmp_path / "card.yaml"
    write_card(examination, card_file)
    card, _, _ = find_card(card_file)
    assert card.unexpected == "nearest"
    assert "ignored border" in card_file.read_text() or "ignore: it is left out" in (
        card_file.read_text()
    )
    again = check_data(card_file)
    assert not again.is_refused
    assert [one.kind for one in again.findings] == ["unexpected-decided"]


def test_a_card_is_never_written_over(tmp_path):
    examination = check_data(make_clean(tmp_path / "data"))
    (tmp_path / "card.yaml").write_text("mine")
    with pytest.raises(OutputError, match="must be a new file"):
        write_card(examination, tmp_path / "card.yaml")
    assert (tmp_path / "card.yaml").read_text() == "mine"


def test_no_card_is_written_of_an_unknown_layout(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="known layout"):
        write_card(check_data(tmp_path / "empty"), tmp_path / "card.yaml")


def test_the_command_exits_with_1_where_something_is_refused(smoothed, tmp_path, run_cli):
    code, out, _ = run_cli("data", "check", smoothed, "--unexpected", "error")
    assert code == 1
    assert "[anti-aliased-masks]" in out
    code, out, _ = run_cli("data", "check", make_clean(tmp_path / "good"))
    assert code == 0
    assert "nothing found" in out


def test_json_is_one_document(smoothed, tmp_path, run_cli):
    code, out, _ = run_cli(
        "data", "check", smoothed, "--unexpected", "error", "--json",
        "--report", tmp_path / "page.html",
        "--write", tmp_path / "card.yaml",
    )  # fmt: skip
    content = json.loads(out)
    assert code == 1
    assert content["is_refused"]
    assert content["findings"][0]["kind"] == "anti-aliased-masks"
    assert content["findings"][0]["files"] == [str(smoothed / "train/masks/000.png")]
    assert (tmp_path / "page.html").is_file()
    assert (tmp_path / "card.yaml").is_file()


def multiclass(name, image, mask):
    return Sample(name, image, mask, "multiclass")


def test_the_fast_part_says_what_passes_by():
    rng = np.random.default_rng(0)
    look = QuickCheck(ClassMap.build(("background", "cat", "dog", "cow")))
    picture = photograph(rng)
    look.look(multiclass("a", picture, boxes(rng)), "train")
    look.look(multiclass("b", photograph(rng), np.full((64, 64), 255, np.uint8)), "train")
    look.look(multiclass("c", photograph(rng), np.zeros((64, 64), np.uint8)), "train")
    look.look(multiclass("d", np.full_like(picture, 7), boxes(rng)), "train")
    look.look(multiclass("e", picture, boxes(rng, (0, 1))), "val")
    text = "\n".join(look.lines())
    told = ("a (train) = e (val)", "every pixel is ignored: 1 (b)", "without any object: 1 (c)",
            "single color: 1 (d)", "no mask shows: 1 (cow)",
            "in validation or test: 1 (dog)")  # fmt: skip
    assert [words for words in told if words not in text] == []
    assert [line.split(":")[0] for line in look.lines()] == ["harmful"] * 4 + ["notable"] * 2


def test_the_fast_part_is_silent_on_clean_samples():
    rng = np.random.default_rng(0)
    look = QuickCheck(ClassMap.build(("background", "cat", "dog")))
    for split in ("train", "val"):
        for number in range(4):
            look.look(multiclass(f"{split}{number}", photograph(rng), boxes(rng)), split)
    assert look.lines() == ()


def test_sparse_pictures_that_differ_in_few_pixels_are_not_called_the_same():
    look = QuickCheck(ClassMap.build(("background", "spot")))
    for place, split in enumerate(("train", "val"), start=1):
        mask = np.zeros((64, 64), np.uint8)
        mask[place, 1] = 1
        look.look(multiclass(split, mask[..., None] * 200, mask), split)
    assert look.lines() == ()


@pytest.mark.real_data
def test_the_fast_part_costs_little_beside_reading(test_data):
    dataset = open_dataset(test_data / "camvid")
    look = QuickCheck(dataset.class_map)
    records = dataset.split("train")[:60]
    started = time.process_time()
    samples = [dataset.load(record) for record in records]
    read_s = time.process_time() - started
    started = time.process_time()
    for sample in samples:
        look.look(sample, "train")
    assert time.process_time() - started < 0.15 * read_s  # measured: 0.05; a busy machine wavers


def test_training_says_what_the_fast_part_found(tmp_path):
    from pixelwise.training.events import Message
    from pixelwise.training.train import train

    folder = make_clean(tmp_path / "data")
    save(folder / "val/images/000.png", np.zeros((64, 64, 3), np.uint8))
    events = []
    train(folder, out=tmp_path / "run", epochs=1, size=(32, 32), batch_size=4, device="cpu",
          model="stacked-fcn", listener=events.append)  # fmt: skip
    lines = [line for event in events if isinstance(event, Message) for line in event.lines]
    assert "harmful: Images of a single color: 1 (val/images/000)" in lines
