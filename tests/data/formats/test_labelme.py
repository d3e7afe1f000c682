import base64
import io
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from pixelwise.classes import ClassMap
from pixelwise.data.dataset import open_dataset
from pixelwise.data.detection import detect_format
from pixelwise.data.formats.labelme import labelme_shapes
from pixelwise.data.formats.labelme.labelme import Labelme
from pixelwise.data.formats.labelme.labelme_shapes import paint_labelme
from pixelwise.data.sample import Record, Sample
from pixelwise.errors import DataError, FormatError, MaskError

SIZE = (12, 20)
TRIANGLE = [[2, 2], [10, 2], [2, 9]]
SQUARE = [[3, 3], [8, 8]]


def shape(label, points, kind="polygon", **entries):
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, **entries}


def bitmap(pixels):
    content = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.bool_)).save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode()


def annotate(folder, shapes, stem="0001", image="0001.png", size=SIZE, **entries):
    """An image and its JSON beside it, as LabelMe lays them."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}.png"
    if not path.exists():
        Image.fromarray(np.zeros((*size, 3), np.uint8)).save(path)
    content = {
        "version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": image,
        "imageData": None, "imageHeight": size[0], "imageWidth": size[1],
    }  # fmt: skip
    target = folder / f"{stem}.json"
    target.write_text(json.dumps(content | entries), encoding="utf-8")
    return target


def load(folder, class_map=None, **options):
    found = Labelme(**options)
    (record,) = found.records(folder)
    return found.load(record, class_map or found.class_map(folder, [record])).mask


def labelmes_own(kind, points, size):
    """LabelMe's own painting: on the whole image, with the points as they are."""
    picture = Image.new("L", size[::-1])
    draw = ImageDraw.Draw(picture)
    points = [tuple(point) for point in points]
    if kind == "circle":
        (x, y), edge = points
        radius = math.dist((x, y), edge)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=1, fill=1)
    elif kind == "point":
        ((x, y),) = points
        draw.ellipse((x - 5, y - 5, x + 5, y + 5), outline=1, fill=1)
    elif kind == "rectangle":
        (x0, y0), (x1, y1) = points
        box = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
        draw.rectangle(box, outline=1, fill=1)
    elif kind in ("line", "linestrip"):
        draw.line(points, fill=1, width=10)
    else:
        draw.polygon(points, outline=1, fill=1)
    return np.asarray(picture) > 0


COUNTS = {"polygon": (3, 9), "linestrip": (2, 5), "oriented_rectangle": (4, 4), "point": (1, 1)}


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_every_kind_of_shape_is_painted_as_labelme_paints_it(tmp_path_factory, data):
    size = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    kind = data.draw(
        st.sampled_from(
            ["polygon", "oriented_rectangle", "rectangle", "circle", "line", "linestrip", "point"]
        )
    )
    least, most = COUNTS.get(kind, (2, 2))
    corner = st.tuples(st.floats(-size[1], 2 * size[1]), st.floats(-size[0], 2 * size[0]))
    points = data.draw(st.lists(corner, min_size=least, max_size=most))
    (row, column), box = paint_labelme(kind, np.array(points), size, tmp_path_factory)
    painted = np.zeros(size, np.bool_)
    painted[row : row + box.shape[0], column : column + box.shape[1]] = box
    assert np.array_equal(painted, labelmes_own(kind, points, size))


@pytest.mark.real_data
def test_labelmes_example_gives_the_masks_that_labelme_made_of_it(test_data):
    dataset = open_dataset(test_data / "labelme" / "data_annotated")
    assert dataset.format.name == "labelme"
    assert dataset.class_map.names[:3] == ("_background_", "aeroplane", "bicycle")
    assert dataset.class_map.num_classes == 21
    voc = test_data / "labelme" / "data_dataset_voc" / "SegmentationClass"
    differing = total = 0
    for record in dataset.records:
        expected = np.asarray(Image.open(voc / f"{record.image.stem}.png"))
        differing += int((dataset.load(record).mask != expected).sum())
        total += expected.size
    # Pillow fills polygons a little differently since LabelMe's masks were made: one pixel in all.
    assert total == 544_000
    assert differing <= total // 1000


def test_later_shapes_lie_over_earlier_ones_and_those_of_the_ignore_label_are_ignored(tmp_path):
    annotate(
        tmp_path,
        [
            shape("road", [[0, 0], [19, 11]], "rectangle"),
            shape("_background_", [[4, 4], [6, 6]], "rectangle"),
            shape("__ignore__", [[0, 0], [0, 3]], "rectangle"),
            shape("car", [[10, 10], [11, 11]], "rectangle", group_id=1),
            shape("car", [[14, 10], [15, 11]], "rectangle", group_id=1),
        ],
    )
    expected = np.full(SIZE, 2, np.uint8)
    expected[4:7, 4:7] = 0
    expected[:4, 0] = 255
    expected[10:12, 10:12] = expected[10:12, 14:16] = 1
    found = Labelme()
    class_map = found.class_map(tmp_path, found.records(tmp_path))
    assert class_map.names == ("_background_", "car", "road")
    assert np.array_equal(load(tmp_path), expected)


def test_multilabel_masks_keep_what_lies_below(tmp_path):
    square = shape("car", SQUARE, "rectangle")
    annotate(tmp_path, [shape("road", [[0, 0], [19, 11]], "rectangle"), square])
    mask = load(tmp_path, label_mode="multilabel")
    assert (mask[1] == 255).all()
    assert int((mask[0] == 255).sum()) == 36


@pytest.mark.parametrize("name", ["background", "_background_"])
@pytest.mark.parametrize("label", ["background", "_background_"])
def test_both_names_of_the_background_mean_it(tmp_path, name, label):
    annotate(tmp_path, [shape("car", TRIANGLE), shape(label, [[0, 0], [19, 11]], "rectangle")])
    assert not load(tmp_path, ClassMap.build((name, "car"))).any()


def test_background_is_ignored_where_no_class_is_called_so(tmp_path):
    annotate(tmp_path, [shape("car", SQUARE, "rectangle"), shape("_background_", TRIANGLE)])
    mask = load(tmp_path, ClassMap.build(("car", "road")))
    assert mask[2, 3] == 255
    assert mask[8, 8] == 0


def test_a_bitmap_is_painted_between_its_corners(tmp_path):
    pixels = np.random.default_rng(0).random((4, 6)) > 0.5
    annotate(tmp_path, [shape("car", [[7.0, 5.0], [12.0, 8.0]], "mask", mask=bitmap(pixels))])
    expected = np.zeros(SIZE, np.uint8)
    expected[5:9, 7:13] = pixels
    assert np.array_equal(load(tmp_path), expected)


def test_the_list_of_labels_gives_their_order(tmp_path):
    annotate(tmp_path / "data", [shape("road", TRIANGLE)])
    (tmp_path / "labels.txt").write_text("__ignore__\n_background_\nroad\ncar\n")
    found = Labelme()
    class_map = found.class_map(tmp_path / "data", found.records(tmp_path / "data"))
    assert class_map.names == ("_background_", "road", "car")


@pytest.mark.parametrize("image", ["../images/0001.png", "..\\images\\0001.png", "gone/0001.png",
                                   "C:\\elsewhere\\0001.png", "renamed.jpg"])  # fmt: skip
def test_images_are_found_in_their_own_folder(tmp_path, image):
    annotate(tmp_path / "annotations", [shape("car", TRIANGLE)], image=image)
    (tmp_path / "images").mkdir()
    (tmp_path / "annotations" / "0001.png").rename(tmp_path / "images" / "0001.png")
    found, _ = detect_format(tmp_path)
    assert found.name == "labelme"
    (record,) = found.records(tmp_path)
    assert record.image == tmp_path / "images" / "0001.png"
    assert record.name == "images/0001"


def test_splits_are_read_and_unlabeled_images_and_foreign_json_are_left_out(tmp_path):
    for split in ("train", "val"):
        annotate(tmp_path / split, [shape("car", TRIANGLE)])
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / split / "0002.png")
        (tmp_path / split / "coco.json").write_text('{"images": []}')
    records = Labelme().records(tmp_path)
    assert [(record.name, record.split) for record in records] == [
        ("train/0001", "train"),
        ("val/0001", "val"),
    ]


def test_a_format_that_is_named_is_found_behind_any_number_of_foreign_files(tmp_path):
    for number in range(22):
        (tmp_path / f"000{number:02}_meta.json").write_text("{}")
    annotate(tmp_path, [shape("cat", TRIANGLE)], stem="0001")
    dataset = open_dataset(tmp_path, format="labelme")
    assert [record.name for record in dataset.records] == ["0001"]


def test_a_missing_image_is_refused_by_name(tmp_path):
    path = annotate(tmp_path, [shape("car", TRIANGLE)], image="0001.jpg", imageData="AAAA")
    (tmp_path / "0001.png").unlink()
    with pytest.raises(FormatError, match=r"0001\.json must have its image '0001\.jpg'"):
        Labelme().records(tmp_path)
    assert path.exists()


def test_no_image_is_taken_from_far_outside(tmp_path):
    folder = tmp_path / "a" / "b"
    annotate(folder, [shape("car", TRIANGLE)], image="../../secret.png")
    (folder / "0001.png").rename(tmp_path / "secret.png")
    with pytest.raises(FormatError, match="must have its image"):
        Labelme().records(folder)


def test_another_size_is_refused_with_both_sizes(tmp_path):
    annotate(tmp_path, [shape("car", TRIANGLE)], imageHeight=20, imageWidth=12)
    with pytest.raises(MaskError, match=r"as large as its image 0001\.png, 20 x 12\. Got 12 x 20"):
        load(tmp_path)


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_shapes_on_a_rotated_photograph_are_where_labelme_showed_them(tmp_path, orientation):
    """LabelMe shows photographs upright and stores the size and the corners of that view."""
    pixels = np.zeros((*SIZE, 3), np.uint8)
    turned = orientation in (6, 8)
    height, width = SIZE[::-1] if turned else SIZE
    annotate(tmp_path, [shape("car", [[1, 2], [4, 2], [4, 7], [1, 7]])], image="0001.jpg",
             imageHeight=height, imageWidth=width)  # fmt: skip
    picture = Image.fromarray(pixels)
    exif = picture.getexif()
    exif[0x0112] = orientation
    picture.save(tmp_path / "0001.jpg", exif=exif)
    (tmp_path / "0001.png").unlink(missing_ok=True)
    dataset = open_dataset(tmp_path)
    mask = dataset.load(dataset.records[0]).mask
    assert mask.shape == (height, width)
    assert mask[2:8, 1:5].all()
    assert mask.sum() == 24


def test_a_rotation_in_the_image_file_is_named_as_the_cause(tmp_path):
    annotate(tmp_path, [shape("car", TRIANGLE)], image="0001.jpg")
    picture = Image.fromarray(np.zeros((*SIZE, 3), np.uint8))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "0001.jpg", exif=exif)
    (tmp_path / "0001.png").unlink()
    with pytest.raises(MaskError, match="EXIF rotation"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("entry", "match"),
    [
        (shape("car", [[1, 1], [2, 2]]), "polygon with 3 to"),
        (shape("car", [[1, 1]], "circle"), "circle with 2 points"),
        (shape("car", TRIANGLE, "brush"), "Got 'brush'"),
        (shape("car", [[1, 1], [2, 2], [1e6, 5]]), "Got a corner at"),
        (shape("bus", TRIANGLE), "Got 'bus'"),
        (shape("car", [[1, 1], [3, 3]], "mask"), "with two corners and an image"),
        (shape("car", [[1, 1], [3, 3]], "mask", mask="no base64 !"), "cannot identify image"),
        (shape("car", [[1, 1], [3, 3]], "mask", mask=bitmap(np.ones((9, 9)))), "3 x 3. Got 9 x 9"),
        (shape("car", [[1, 1], [300, 3]], "mask", mask=bitmap(np.ones((3, 3)))), "inside its"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(tmp_path, entry, match):
    annotate(tmp_path, [entry])
    with pytest.raises(DataError, match=match):
        load(tmp_path, ClassMap.build(("_background_", "car")))


def write(folder, mask, class_map, label_mode="multiclass"):
    """Write one mask; gives the shapes of its file."""
    size = mask.shape[-2:]
    picture = folder / "source.png"
    Image.fromarray(np.zeros((*size, 3), np.uint8)).save(picture)
    sample = Sample("0001", np.zeros((*size, 3), np.uint8), mask, label_mode)
    (folder / "out").mkdir()
    Labelme(label_mode).write(folder / "out", [(Record("0001", picture), sample)], class_map)
    return json.loads((folder / "out" / "0001.json").read_text())["shapes"]


def test_what_lies_in_holes_is_written_as_polygons_that_a_person_can_edit(tmp_path):
    mask = np.zeros((40, 40), np.uint8)
    mask[2:38, 2:38] = 1
    mask[6:30, 6:30] = 0
    mask[10:20, 10:20] = 2
    mask[12:15, 12:15] = 255
    class_map = ClassMap.build(("background", "road", "car"))
    shapes = write(tmp_path, mask, class_map)
    assert [(entry["label"], entry["shape_type"], len(entry["points"])) for entry in shapes] == [
        (label, "polygon", 4) for label in ("road", "background", "car", "__ignore__")
    ]
    assert np.array_equal(load(tmp_path / "out", class_map), mask)
    by_hand = np.zeros((40, 40), np.uint8)  # as LabelMe would paint it
    for value, entry in zip((1, 0, 2, 255), shapes, strict=True):
        by_hand[labelmes_own("polygon", entry["points"], (40, 40))] = value
    assert np.array_equal(by_hand, mask)


def test_ignored_pixels_are_written_out_where_no_class_is_the_background(tmp_path):
    mask = np.full((10, 10), 255, np.uint8)
    mask[2:5, 2:5] = 0
    shapes = write(tmp_path, mask, ClassMap.build(("sky", "road")))
    assert {entry["label"] for entry in shapes} == {"sky", "__ignore__"}


def test_multilabel_regions_with_holes_keep_them(tmp_path):
    planes = np.zeros((2, 16, 16), np.uint8)
    planes[0, 2:14, 2:14] = 255
    planes[0, 5:9, 5:9] = 0
    planes[1, 4:10, 4:10] = 255
    class_map = ClassMap.build(("road", "car"))
    kinds = [entry["shape_type"] for entry in write(tmp_path, planes, class_map, "multilabel")]
    assert kinds == ["mask", "polygon"]
    assert np.array_equal(load(tmp_path / "out", class_map, label_mode="multilabel"), planes)


def test_noise_is_written_with_a_bounded_number_of_shapes(tmp_path, monkeypatch):
    monkeypatch.setattr(labelme_shapes, "MAX_POLYGONS", 20)
    mask = (np.random.default_rng(0).random((80, 80)) > 0.5).astype(np.uint8)
    class_map = ClassMap.build(("background", "thing"))
    kinds = [entry["shape_type"] for entry in write(tmp_path, mask, class_map)]
    assert 0 < kinds.count("polygon") <= 20
    assert kinds.count("mask") == 2
    assert np.array_equal(load(tmp_path / "out", class_map), mask)


ODD = [None, -1, 1e308, 2**70, float("nan"), "", "\x00", "x" * 5000, [], {}, [[1]],
       "../../../etc/passwd", "/", "mask"]  # fmt: skip


def places(value, here=()):
    """Every place inside JSON."""
    yield here
    for key in value if isinstance(value, dict) else range(len(value)):
        if isinstance(value[key], dict | list):
            yield from places(value[key], (*here, key))
        else:
            yield (*here, key)


def test_no_json_makes_anything_else_than_our_errors(tmp_path, is_read, damaged):
    found, class_map = Labelme(), ClassMap.build(("_background_", "car"))
    good = [
        shape("car", TRIANGLE),
        shape("car", [[1, 1], [3, 3]], "mask", mask=bitmap(np.ones((3, 3)))),
        shape("car", SQUARE, "circle"),
    ]
    path = annotate(tmp_path, good)
    text, num_read = path.read_text(), 0
    for place in [place for place in places(json.loads(text)) if place]:
        for odd in ODD:
            changed = json.loads(text)
            inside = changed
            for key in place[:-1]:
                inside = inside[key]
            inside[place[-1]] = odd
            path.write_text(json.dumps(changed))
            num_read += is_read(found, tmp_path, class_map)
    for content in damaged(text.encode(), 150):
        path.write_bytes(content)
        num_read += is_read(found, tmp_path, class_map)
    for content in (b"[" * 100_000, b"\xff\xfe\x00", b"", b'{"shapes":' * 20_000):
        path.write_bytes(content)
        assert not is_read(found, tmp_path, class_map)
    assert num_read > 50
