"""One sample, written in every format that can hold it, reads back pixel by pixel."""

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from pixelwise.classes import IGNORE_INDEX, ClassMap
from pixelwise.data.convert import convert_data
from pixelwise.data.dataset import open_dataset
from pixelwise.data.detection import detect_format
from pixelwise.data.formats import MaskContent, formats
from pixelwise.data.sample import Record, Sample
from pixelwise.errors import FormatError

SIZES = st.tuples(st.integers(1, 23), st.integers(1, 23))

CLASS_MAPS = {
    "background and two": ClassMap.build(("background", "road", "car")),
    "background and one": ClassMap.build(("background", "building")),
    "no background": ClassMap.build(("sky", "road", "tree"), ignore=(11,)),
}


@st.composite
def multiclass_masks(draw, num_classes):
    """Blobs with holes, lines, single pixels and ignored ones, up to pure noise."""
    height, width = draw(SIZES)
    mask = np.full((height, width), draw(st.sampled_from([0, 1, IGNORE_INDEX])), np.uint8)
    for _ in range(draw(st.integers(0, 6))):
        top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        bottom, right = draw(st.integers(top, height - 1)), draw(st.integers(left, width - 1))
        value = draw(st.sampled_from([*range(num_classes), IGNORE_INDEX]))
        mask[top : bottom + 1, left : right + 1] = value
    if draw(st.booleans()):
        noise = draw(arrays(np.uint8, mask.shape, elements=st.integers(0, num_classes - 1)))
        place = draw(arrays(np.bool_, mask.shape))
        mask[place] = noise[place]
    return mask


@st.composite
def multilabel_masks(draw, num_classes):
    shape = (num_classes, *draw(SIZES))
    return draw(arrays(np.uint8, shape, elements=st.sampled_from([0, 255])))


def write_and_read(folder, name, sample, class_map):
    """The mask that is read after a write; ``None`` where the format cannot hold it."""
    content = MaskContent.of(sample, class_map)
    if content.label_mode not in formats.create(name).label_modes:
        return None
    found = formats.create(name, label_mode=sample.label_mode)
    image = folder / "source" / "0001.png"
    image.parent.mkdir(parents=True)
    Image.fromarray(sample.image).save(image)
    record = Record("0001", image)
    out = folder / "out"
    out.mkdir()
    if found.refusal(content):
        with pytest.raises(FormatError, match="cannot be written as"):
            found.write(out, [(record, sample)], class_map)
        return None
    found.write(out, [(record, sample)], class_map)
    (read,) = found.records(out)
    assert read.name.rsplit("/", 1)[-1] == "0001"
    again = found.load(read, class_map)
    assert np.array_equal(again.image, sample.image)
    assert again.label_mode == sample.label_mode
    return again.mask


@pytest.mark.parametrize("classes", CLASS_MAPS)
@pytest.mark.parametrize("name", formats.names())
def test_multiclass_masks_read_back_as_they_were_written(tmp_path_factory, name, classes):
    class_map = CLASS_MAPS[classes]

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(mask=multiclass_masks(class_map.num_classes))
    def check(mask):
        image = np.zeros((*mask.shape, 3), np.uint8)
        sample = Sample("0001", image, mask, "multiclass")
        again = write_and_read(tmp_path_factory.mktemp("one"), name, sample, class_map)
        assert again is None or np.array_equal(again, mask)

    check()


@pytest.mark.parametrize("name", formats.names())
def test_multilabel_masks_read_back_as_they_were_written(tmp_path_factory, name):
    class_map = ClassMap.build(("road", "car", "mark"))

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(mask=multilabel_masks(class_map.num_classes))
    def check(mask):
        image = np.zeros((*mask.shape[1:], 3), np.uint8)
        sample = Sample("0001", image, mask, "multilabel")
        again = write_and_read(tmp_path_factory.mktemp("one"), name, sample, class_map)
        assert again is None or np.array_equal(again, mask)

    check()


@pytest.mark.parametrize("name", formats.names())
def test_a_converted_data_set_keeps_names_classes_and_splits(tmp_path, make_index_dataset, name):
    make_index_dataset(tmp_path / "in", num_images=3, size=(9, 13), splits=("train", "val"))
    (tmp_path / "in" / "dataset.yaml").write_text("classes: [background, thing, other]\n")
    dataset = open_dataset(tmp_path / "in")
    sample = dataset.load(dataset.records[0])
    target = formats.create(name)
    if target.refusal(MaskContent.of(sample, target.stored(dataset.class_map))):
        with pytest.raises(FormatError, match=f"cannot be written as {name}"):
            convert_data(dataset, tmp_path / "out", name)
        assert not (tmp_path / "out").exists()
        return
    convert_data(dataset, tmp_path / "out", name)
    again = open_dataset(tmp_path / "out")
    assert again.format.name == name
    assert again.class_map.names == dataset.class_map.names
    assert again.class_map.colors == dataset.class_map.colors
    masks = [again.load(record).mask for record in again.records]
    assert len(masks) == len(dataset.records)
    by_split = sorted((record.split, record.image.stem) for record in dataset.records)
    assert len({record.name for record in again.records}) == len(by_split)
    assert sorted(record.split for record in again.records) == [split for split, _ in by_split]
    total = sum(int((dataset.load(record).mask == 1).sum()) for record in dataset.records)
    assert sum(int((mask == 1).sum()) for mask in masks) == total


@pytest.mark.parametrize("name", formats.names())
def test_every_format_that_is_written_is_found_again_by_looking(tmp_path, name):
    mode = formats.create(name).label_modes[0]
    class_map = ClassMap.build(("background", "thing"))
    rng = np.random.default_rng(0)
    ids = (rng.random((12, 17)) > 0.5).astype(np.uint8)
    mask = ids if mode == "multiclass" else np.stack([ids * 255, 255 - ids * 255])
    images = tmp_path / "source"
    images.mkdir()
    Image.fromarray(np.zeros((12, 17, 3), np.uint8)).save(images / "0001.png")
    sample = Sample("0001", np.zeros((12, 17, 3), np.uint8), mask, mode)
    found = formats.create(name)
    class_map = found.stored(class_map)
    if found.refusal(MaskContent.of(sample, class_map)):
        pytest.skip(f"{name} cannot hold background and thing")
    out = tmp_path / "out"
    out.mkdir()
    pairs = [
        (dataclasses.replace(Record("0001", images / "0001.png"), name=stem), sample)
        for stem in ("0001", "0002")
    ]
    found.write(out, pairs, class_map)
    again, reason = detect_format(out)
    assert again.name == name
    assert reason


def test_what_a_card_says_of_the_images_goes_along(tmp_path, make_index_dataset):
    source = make_index_dataset(tmp_path / "in", num_images=3)
    card = "bands: [3, 1]\naugmentation: {orientation: fixed}\n"
    (source / "dataset.yaml").write_text(card)
    convert_data(open_dataset(source), tmp_path / "out", "color-masks")
    converted = open_dataset(tmp_path / "out")
    assert converted.bands == (3, 1)
    assert converted.augmentation.orientation == "fixed"


TEXT_FORMATS = ("coco", "cvat", "geojson", "labelme", "polygon-text", "yolo")


@pytest.mark.parametrize("name", TEXT_FORMATS)
def test_a_byte_order_mark_before_labels_changes_nothing(tmp_path, make_index_dataset, name):
    data = make_index_dataset(tmp_path / "in", num_images=3)
    convert_data(open_dataset(data), tmp_path / name, name)

    def masks():
        dataset = open_dataset(tmp_path / name, cache=False)
        assert dataset.format.name == name
        return [dataset.load(record).mask.tobytes() for record in dataset.records]

    plain = masks()
    marked = 0
    for path in (tmp_path / name).rglob("*"):
        if path.suffix in (".json", ".geojson", ".xml", ".txt"):
            path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
            marked += 1
    assert marked
    assert masks() == plain
