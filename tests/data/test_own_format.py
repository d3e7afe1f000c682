"""Mistakes in a label format of the user are errors that name the image and the format."""

import warnings

import numpy as np
import pytest

import pixelwise
from pixelwise import ClassMap, Sample, check_data, open_dataset
from pixelwise.data.formats import NO, Confidence, Format, formats
from pixelwise.data.sample import Record
from pixelwise.errors import DataError, FormatError, MaskError
from pixelwise.io.images import read_image

NAME = "own-arrays"


class OwnArrays(Format):
    """images/NAME.png, with ids in masks/NAME.png; a subclass makes a mistake in image 001."""

    name, layout = NAME, "images/NAME.png + labels.csv"

    def detect(self, folder):
        return Confidence(1.0, "a list") if (folder / "labels.csv").is_file() else NO

    def records(self, folder):
        images = sorted((folder / "images").glob("*.png"))
        return [Record(path.stem, path, (folder / "labels.csv",)) for path in images]

    def class_map(self, *_):
        return ClassMap.build(["a", "b", "c"])

    def load(self, record, _):
        image = read_image(record.image)
        mask = read_image(record.image.parent.parent / "masks" / record.image.name)[..., 0]
        if record.name == "001":
            return self.mistaken(record, image, mask)
        return Sample(record.name, image, mask, self.label_mode)


def given(**changes):
    """A mistake that only changes the arguments of the sample."""

    def load(format_, record, image, mask):
        arguments = {
            "name": record.name,
            "image": image,
            "mask": mask,
            "label_mode": format_.label_mode,
        }
        found = {name: change(arguments[name]) for name, change in changes.items()}
        return Sample(**{**arguments, **found})

    return load


def raising(error):
    def load(*_):
        raise error

    return load


MISTAKES = {
    "an error": (raising(ValueError("odd runs")), r"raised ValueError: odd runs\. Correct"),
    "a missing file": (raising(FileNotFoundError("x.csv")), "raised FileNotFoundError: x.csv"),
    "an error in two lines": (raising(KeyError("a\nb")), "raised KeyError: "),
    "a DataError": (raising(DataError("the runs must be pairs. Got 3")), "the runs must be pairs"),
    "nothing": (lambda *_: None, "must return a Sample. Got NoneType"),
    "another name": (given(name=lambda _: "x"), "the name of its record, '001'"),
    "another label mode": (given(label_mode=lambda _: "multilabel"), "and 'multilabel'"),
    "int64": (
        given(mask=lambda mask: mask.astype(np.int64)),
        r"uint8 \(16, 16\)\. Got int64 \(16,",
    ),
    "another size": (given(mask=lambda mask: mask[:9]), r"uint8 \(16, 16\)\. Got uint8 \(9, 16\)"),
    "a list": (given(mask=lambda mask: mask.tolist()), "Got list"),
    "an id beyond": (given(mask=lambda mask: mask + 4), r"below 3, or 255 .* Got 4, 5, 6"),
    "no channels": (given(image=lambda image: image[..., 0]), r"channels\).*Got uint8 \(16, 16\)"),
    "float64": (given(image=lambda image: image / 255), r"float32\. Got float64 \(16, 16, 3\)"),
}


@pytest.fixture
def data(tmp_path, make_index_dataset, monkeypatch):
    """A folder of the format, which is registered for one test."""
    formats.names()
    monkeypatch.setattr(formats, "_entries", {**formats._entries, NAME: OwnArrays})
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "labels.csv").touch()
    return make_index_dataset(tmp_path / "data", num_images=8)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_of_an_own_format_names_image_and_format(data, monkeypatch, mistake):
    load, words = MISTAKES[mistake]
    monkeypatch.setattr(OwnArrays, "mistaken", load, raising=False)
    dataset = open_dataset(data)
    for record in dataset.records:
        if record.name != "001":
            assert dataset.load(record).mask.shape == (16, 16)
    with pytest.raises(DataError, match=words) as refused:
        dataset.load(next(record for record in dataset.records if record.name == "001"))
    assert str(refused.value).startswith("001 (labels.csv): ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_data_check_lists_it_and_continues(data, monkeypatch, mistake):
    monkeypatch.setattr(OwnArrays, "mistaken", MISTAKES[mistake][0], raising=False)
    found = check_data(data)
    assert sum(found.num_images.values()) == 7
    (refused,) = [one for one in found.findings if one.severity == "refused"]
    assert refused.kind == "label-refused"
    assert "001 (labels.csv)" in refused.details[0]


@pytest.mark.parametrize("mistake", ["an error", "int64", "another size", "an id beyond"])
def test_training_says_the_same(data, monkeypatch, tmp_path, mistake):
    load, words = MISTAKES[mistake]
    monkeypatch.setattr(OwnArrays, "mistaken", load, raising=False)
    with pytest.raises(DataError, match=words):
        pixelwise.train(data, model="stacked-fcn", epochs=1, split="100/0/0", out=tmp_path / "run")


def test_an_error_that_names_the_image_is_left_as_it_is(data, monkeypatch):
    error = MaskError("images/001.png must have runs. Got none")
    monkeypatch.setattr(OwnArrays, "mistaken", raising(error), raising=False)
    with pytest.raises(MaskError) as refused:
        open_dataset(data).load(open_dataset(data).records[1])
    assert refused.value is error


@pytest.mark.parametrize("method", ["detect", "records", "class_map"])
def test_the_other_methods_of_an_own_format_are_named_too(data, monkeypatch, method):
    monkeypatch.setattr(OwnArrays, method, raising(ValueError("odd list")))
    with pytest.raises(
        DataError, match=rf"`{method}` of the format '{NAME}' raised ValueError: odd"
    ):
        open_dataset(data)


def test_ignored_pixels_and_correct_samples_pass_without_a_warning(data, monkeypatch):
    ignored = given(mask=lambda mask: np.full_like(mask, 255))
    monkeypatch.setattr(OwnArrays, "mistaken", ignored, raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert check_data(data).is_refused is False


def test_a_format_without_a_writer_is_refused_with_the_folder_that_was_given(data, tmp_path):
    with pytest.raises(FormatError) as refused:
        pixelwise.convert_data(data, tmp_path / "out", NAME)
    assert str(refused.value).startswith(f"{tmp_path / 'out'} cannot be written as {NAME}")
    assert not (tmp_path / "out").exists()
