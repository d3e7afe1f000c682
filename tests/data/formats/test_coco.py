"""COCO files are read as pycocotools reads them, wherever their images lie, and written for it."""

import copy
import json
import re
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as reference

from pixelwise.classes import IGNORE_INDEX, ClassMap
from pixelwise.data.dataset import open_dataset
from pixelwise.data.formats.coco.coco import Coco
from pixelwise.data.sample import Record, Sample
from pixelwise.errors import FormatError, MaskError, PixelwiseError

CATEGORIES = [{"id": 7, "name": "car"}, {"id": 3, "name": "road"}]


def square(left, top, side):
    right, bottom = left + side, top + side
    return [left, top, right, top, right, bottom, left, bottom]


def annotation(segmentation, category_id=3, image_id=1, **entries):
    return {
        "id": 11,
        "image_id": image_id,
        "category_id": category_id,
        "segmentation": segmentation,
        "iscrowd": 0,
        **entries,
    }


def content_of(*annotations, categories=CATEGORIES, **image):
    picture = {"id": 1, "file_name": "a.png", "width": 10, "height": 8, **image}
    return {
        "info": {},
        "images": [picture],
        "annotations": list(annotations),
        "categories": categories,
    }


def save_image(path, size=(8, 10)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((*size, 3), np.uint8)).save(path)
    return path


def save_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def read(folder, label_mode="multiclass"):
    """The masks of a folder and its class map."""
    coco = Coco(label_mode=label_mode)
    records = coco.records(folder)
    class_map = coco.class_map(folder, records)
    return [coco.load(record, class_map).mask for record in records], class_map


@pytest.fixture
def mask_of(tmp_path):
    """The mask of one image with the given annotations."""

    def load(*annotations, label_mode="multiclass", **options):
        save_image(tmp_path / "a.png")
        save_json(tmp_path / "coco.json", content_of(*annotations, **options))
        (mask,), _ = read(tmp_path, label_mode)
        return mask

    return load


def test_the_classes_are_the_background_and_the_categories_by_id(tmp_path):
    save_image(tmp_path / "a.png")
    save_json(tmp_path / "coco.json", content_of())
    assert read(tmp_path)[1].names == ("background", "road", "car")
    assert read(tmp_path, "multilabel")[1].names == ("road", "car")


def test_a_category_called_background_is_not_joined_by_another(tmp_path):
    save_image(tmp_path / "a.png")
    categories = [{"id": 0, "name": "_background_"}, {"id": 1, "name": "car"}]
    save_json(tmp_path / "coco.json", content_of(categories=categories))
    (mask,), class_map = read(tmp_path)
    assert class_map.names == ("_background_", "car")
    assert not mask.any()


def test_an_image_without_annotations_is_background(mask_of):
    assert mask_of().tolist() == np.zeros((8, 10)).tolist()


def test_the_polygons_of_an_annotation_are_united_where_they_overlap(mask_of):
    mask = mask_of(annotation([square(1, 1, 4), square(3, 3, 4)]))
    expected = np.zeros((8, 10), np.uint8)
    expected[1:5, 1:5] = expected[3:7, 3:7] = 1
    assert np.array_equal(mask, expected)


def test_of_two_equal_areas_the_later_lies_over_the_earlier(mask_of):
    road, car = annotation([square(0, 0, 6)], 3), annotation([square(2, 2, 6)], 7)
    assert mask_of(road, car)[3, 3] == 2
    assert mask_of(car, road)[3, 3] == 1


def test_multilabel_classes_keep_both(mask_of):
    road, car = annotation([square(0, 0, 6)], 3), annotation([square(2, 2, 6)], 7)
    mask = mask_of(road, car, label_mode="multilabel")
    assert mask.shape == (2, 8, 10)
    assert mask[:, 3, 3].tolist() == [255, 255]
    assert mask[:, 0, 0].tolist() == [255, 0]


def test_a_crowd_is_ignored_beneath_the_objects(mask_of):
    car = annotation([square(2, 2, 3)], 7)
    crowd = annotation([square(0, 0, 6)], 7, iscrowd=1)
    mask = mask_of(car, crowd)
    assert mask[3, 3] == 2
    assert mask[0, 0] == IGNORE_INDEX
    assert mask[7, 9] == 0


@pytest.mark.parametrize("is_packed", [True, False])
def test_run_lengths_with_a_hole_are_those_of_pycocotools(mask_of, is_packed):
    region = np.zeros((8, 10), np.uint8, order="F")
    region[1:7, 2:9] = 1
    region[3:5, 4:6] = 0
    runs = reference.encode(region)
    counts = runs["counts"].decode()
    if not is_packed:
        starts = np.flatnonzero(np.diff(region.T.ravel())) + 1
        counts = np.diff([0, *starts, region.size]).tolist()
    mask = mask_of(annotation({"size": [8, 10], "counts": counts}))
    assert np.array_equal(mask, region)


# numpy 2 warns of how pycocotools hands out its arrays.
OLD_ARRAYS = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@OLD_ARRAYS
@settings(deadline=None, max_examples=50)
@given(
    corners=st.lists(
        st.tuples(st.integers(-500, 6500), st.integers(-500, 4500)), min_size=3, max_size=9
    )
)
def test_polygons_are_those_of_pycocotools_but_for_its_rounding(tmp_path_factory, corners):
    """It rounds outlines to fifths of a pixel: only pixels with the center so near may differ."""
    folder = tmp_path_factory.mktemp("one")
    save_image(folder / "a.png", (40, 60))
    corners = [(x / 100, y / 100) for x, y in corners]
    flat = [number for corner in corners for number in corner]
    content = content_of(annotation([flat]), width=60, height=40)
    save_json(folder / "coco.json", content)
    (mask,), _ = read(folder)
    expected = reference.decode(reference.merge(reference.frPyObjects([flat], 40, 60)))
    rows, columns = np.nonzero(mask != expected)
    outline = shapely.LinearRing(corners)
    centers = shapely.points(columns + 0.5, rows + 0.5)
    assert (shapely.distance(centers, outline) < 0.3).all()


@pytest.mark.parametrize("prefix", ["", "JPEGImages/", "C:\\work\\set\\", "/home/other/images/"])
def test_an_image_is_found_by_the_end_of_its_path(tmp_path, prefix):
    save_image(tmp_path / "photos" / "deep" / "a.png")
    save_json(tmp_path / "coco.json", content_of(file_name=f"{prefix}a.png"))
    (record,) = Coco().records(tmp_path)
    assert record.image == tmp_path / "photos" / "deep" / "a.png"


def test_the_longest_end_of_a_path_decides(tmp_path):
    for place in ("one", "two"):
        save_image(tmp_path / place / "a.png")
    save_json(tmp_path / "coco.json", content_of(file_name="/data/two/a.png"))
    (record,) = Coco().records(tmp_path)
    assert record.image == tmp_path / "two" / "a.png"


def test_an_image_that_may_be_two_is_refused_with_both_names(tmp_path):
    for place in ("one", "two"):
        save_image(tmp_path / place / "a.png")
    save_json(tmp_path / "coco.json", content_of())
    with pytest.raises(FormatError, match=r"one/a\.png or .*two/a\.png"):
        Coco().records(tmp_path)


def test_an_image_outside_the_folder_is_not_found(tmp_path):
    outside = save_image(tmp_path / "outside" / "secret.png")
    for file_name in ("../outside/secret.png", str(outside)):
        save_json(tmp_path / "data" / "coco.json", content_of(file_name=file_name))
        with pytest.raises(FormatError, match=r"must name images below .*data"):
            Coco().records(tmp_path / "data")


def test_the_names_of_cocos_own_files_say_the_splits(tmp_path):
    for split in ("train", "val"):
        # The same name in both, as the ids of two exports may be: the split says which it is.
        save_image(tmp_path / f"{split}2017" / "a.png")
        annotations = tmp_path / "annotations"
        save_json(annotations / f"instances_{split}2017.json", content_of())
        save_json(annotations / f"captions_{split}2017.json", {"annotations": [], "images": []})
    records = Coco().records(tmp_path)
    assert [(record.name, record.split) for record in records] == [
        ("train2017/a", "train"),
        ("val2017/a", "val"),
    ]


def test_the_folders_of_a_roboflow_export_say_the_splits(tmp_path):
    for split in ("train", "valid", "test"):
        save_image(tmp_path / split / "a.png")
        save_json(tmp_path / split / "_annotations.coco.json", content_of())
    records = Coco().records(tmp_path)
    assert [(record.image.parent.name, record.split) for record in records] == [
        ("test", "test"),
        ("train", "train"),
        ("valid", "val"),
    ]


def test_the_folders_of_the_images_say_the_splits_of_a_single_file(tmp_path):
    content = content_of()
    content["images"] = [
        {"id": number, "file_name": f"{split}/{number}.png"}
        for number, split in enumerate(("train", "val"))
    ]
    for image in content["images"]:
        save_image(tmp_path / "images" / image["file_name"])
    save_json(tmp_path / "all.json", content)
    assert [record.split for record in Coco().records(tmp_path)] == ["train", "val"]
    save_image(tmp_path / "images" / "extra" / "2.png")
    content["images"].append({"id": 2, "file_name": "extra/2.png"})
    save_json(tmp_path / "all.json", content)
    assert {record.split for record in Coco().records(tmp_path)} == {None}


def test_splits_that_only_some_files_say_are_refused(tmp_path):
    save_image(tmp_path / "a.png")
    save_json(tmp_path / "train.json", content_of())
    save_image(tmp_path / "b.png")
    save_json(tmp_path / "more.json", content_of(file_name="b.png"))
    with pytest.raises(FormatError, match=r"split of every image or of none.* 1 of 2, .*b\.png"):
        open_dataset(tmp_path)


RUNS = {"size": [8, 10], "counts": [80]}

DAMAGED = {
    "not a number": (annotation([[float("nan")] * 6]), "finite corners"),
    "beyond all images": (annotation([[-1e308, -1e308, 1e308, 1e308, 3, 9]]), "finite corners"),
    "another size": (annotation({**RUNS, "size": [10, 8]}), "height and width"),
    "a huge size": (annotation({**RUNS, "size": [10**9, 10**9]}), "height and width"),
    "too many runs": (annotation({**RUNS, "counts": [70, 20]}), "fill 10 x 8"),
    "huge runs": (annotation({**RUNS, "counts": [10**30]}), "fill 10 x 8"),
    "negative runs": (annotation({**RUNS, "counts": [90, -10]}), "fill 10 x 8"),
    "damaged counts": (annotation({**RUNS, "counts": "\x00"}), "as COCO packs them"),
    "endless counts": (annotation({**RUNS, "counts": "ooooooooo0"}), "at most 7 characters"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_region_is_refused_when_it_is_loaded(mask_of, case):
    bad, message = DAMAGED[case]
    with pytest.raises(PixelwiseError, match=message) as error_info:
        mask_of(bad)
    assert "coco.json" in str(error_info.value)
    assert "\n" not in str(error_info.value)


BAD_ANNOTATIONS = {
    "a box alone": (annotation([], bbox=[1, 1, 2, 2]), "a segmentation but have none"),
    "no segmentation": (annotation(None), "a segmentation but have none"),
    "an empty part": (annotation([[]]), "3 corners .* have 0 numbers"),
    "an unknown image": (annotation([square(1, 1, 2)], image_id=5), "image_id '5'"),
    "an unknown category": (annotation([square(1, 1, 2)], 4), "category_id 4"),
    "two corners": (annotation([[1, 1, 2, 2]]), "3 corners .* have 4 numbers"),
    "two corners in a flat list": (annotation([1, 1, 2, 2]), "3 corners .* have 4 numbers"),
    "an odd number": (annotation([[*square(1, 1, 2), 3]]), "have 9 numbers"),
    "text": (annotation([["one"] * 6]), "segmentation as COCO defines it but have"),
    "no category": ({"id": 11, "image_id": 1}, "category_id as COCO defines it"),
    "no object": (3, "its keys as COCO defines it but have 3"),
}


@pytest.mark.parametrize("case", BAD_ANNOTATIONS)
def test_a_bad_annotation_among_many_good_ones_is_left_out_and_said(tmp_path, case):
    bad, message = BAD_ANNOTATIONS[case]
    save_image(tmp_path / "a.png")
    good = [annotation([square(number % 4, 0, 1)]) for number in range(30)]
    save_json(tmp_path / "coco.json", content_of(*good, bad))
    dataset = open_dataset(tmp_path)
    (note,) = [note for note in dataset.notes if "left out" in note]
    assert note.startswith("1 of 31 annotations are left out: 1 (id ")
    assert re.search(message, note)
    assert (dataset.load(dataset.records[0]).mask > 0).sum() == 4


@pytest.mark.parametrize("case", BAD_ANNOTATIONS)
def test_bad_annotations_above_the_accepted_share_are_refused(tmp_path, case):
    bad, message = BAD_ANNOTATIONS[case]
    save_image(tmp_path / "a.png")
    save_json(tmp_path / "coco.json", content_of(*[annotation([square(1, 1, 2)])] * 9, bad))
    with pytest.raises(FormatError, match=rf"at most 5 % .*1 of 10 in coco\.json.*{message}"):
        open_dataset(tmp_path)
    with pytest.raises(FormatError, match=r"`max_bad_annotations=0\.1`"):
        open_dataset(tmp_path)
    assert len(open_dataset(tmp_path, max_bad_annotations=0.1).records) == 1
    (tmp_path / "dataset.yaml").write_text("max_bad_annotations: 0.2\n")
    assert len(open_dataset(tmp_path).records) == 1


def test_the_good_part_of_a_bad_annotation_is_kept(mask_of):
    assert mask_of(annotation([[1, 1, 2, 2], square(1, 1, 2)])).sum() == 4


def test_a_polygon_without_the_list_around_it_is_read(mask_of):
    assert mask_of(annotation(square(1, 1, 2))).sum() == 4


def test_all_kinds_of_bad_annotations_are_refused_in_one_message(tmp_path):
    boxes = [annotation([], bbox=[1, 1, 2, 2]) | {"id": number} for number in range(1, 8)]
    strangers = [annotation([square(1, 1, 2)], image_id=number) for number in (5, 6)]
    save_image(tmp_path / "a.png")
    bad = (*boxes, *strangers, annotation([[0.0] * 6], 4))
    save_json(tmp_path / "coco.json", content_of(annotation([square(1, 1, 2)]), *bad))
    with pytest.raises(FormatError) as error_info:
        open_dataset(tmp_path)
    message = str(error_info.value)
    assert "10 of 11 in coco.json: 7 (id 1, id 2, id 3, id 4, ...) must have a segm" in message
    assert "2 (id 11, id 11) must have an image of the file but have the image_id '5', " in message
    assert "1 (id 11) must have a category of the file" in message
    assert "`max_bad_annotations=0.91`" in message


def test_files_of_boxes_alone_are_refused_and_nothing_is_proposed(tmp_path):
    for split in ("train", "val", "test"):
        save_image(tmp_path / split / "a.png")
        content = content_of(annotation([], bbox=[1, 1, 2, 2]))
        save_json(tmp_path / split / f"{split}.coco.json", content)
    with pytest.raises(FormatError, match=r"test\.coco\.json and 2 more") as error_info:
        open_dataset(tmp_path)
    assert "max_bad_annotations" not in str(error_info.value)


def test_a_facade_after_its_windows_does_not_hide_them(mask_of):
    windows = [annotation([square(left, 1, 2)], 7) for left in (1, 6)]
    facade = annotation([[0, 0, 10, 0, 10, 8, 0, 8]], 3)
    mask = mask_of(*windows, facade)
    assert (mask == 2).sum() == 8
    assert (mask == 1).sum() == 72


def test_run_lengths_take_their_place_by_area_too(mask_of):
    whole = annotation({"size": [8, 10], "counts": [0, 80]}, 3)
    mask = mask_of(annotation([square(1, 1, 2)], 7), whole)
    assert (mask == 2).sum() == 4


def test_more_than_255_objects_in_an_image_are_read(mask_of):
    cells = [annotation([square(n % 30, n // 30, 1)], 3 + 4 * (n % 2)) for n in range(600)]
    mask = mask_of(*cells, width=None, height=None)
    assert ((mask == 1) | (mask == 2)).all()


ROBOFLOW = [
    {"id": 0, "name": "facade", "supercategory": "none"},
    {"id": 1, "name": "window", "supercategory": "facade"},
    {"id": 2, "name": "facade", "supercategory": "facade"},
]


def test_an_unused_category_that_names_the_project_is_no_class(tmp_path):
    save_image(tmp_path / "a.png")
    found = annotation([square(1, 1, 2)], 2)
    save_json(tmp_path / "coco.json", content_of(found, categories=ROBOFLOW))
    dataset = open_dataset(tmp_path)
    assert dataset.class_map.names == ("background", "window", "facade")
    assert any("unused category 'facade'" in note for note in dataset.notes)
    used = annotation([square(1, 1, 2)], 0)
    save_json(tmp_path / "coco.json", content_of(used, categories=ROBOFLOW[:2]))
    assert open_dataset(tmp_path).class_map.names == ("background", "facade", "window")


def test_a_size_that_is_not_the_images_is_refused(mask_of):
    with pytest.raises(MaskError, match=r"as large as its image a\.png, 10 x 8\. Got 20 x 8"):
        mask_of(width=20)


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        ([{"id": 1, "name": "car"}, {"id": 2, "name": "car"}], "'car' twice"),
        ([{"id": 1, "name": "car"}, {"id": 1, "name": "bus"}], "every category its own id"),
        ([{"id": number, "name": str(number)} for number in range(255)], "1 to 255 classes"),
    ],
)
def test_categories_that_are_no_classes_are_refused(tmp_path, categories, message):
    save_image(tmp_path / "a.png")
    save_json(tmp_path / "coco.json", content_of(categories=categories))
    with pytest.raises(FormatError, match=message):
        read(tmp_path)


def test_files_that_name_a_category_differently_are_refused(tmp_path):
    for split, name in (("train", "car"), ("val", "bus")):
        save_image(tmp_path / split / "a.png")
        content = content_of(categories=[{"id": 1, "name": name}])
        save_json(tmp_path / split / "_annotations.coco.json", content)
    with pytest.raises(FormatError, match=r"Got 'bus' for the id 1, which is 'car'"):
        read(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        '{"version": "4.5", "shapes": [], "imagePath": "a.png", "imageData": null}',
        '{"type": "FeatureCollection", "features": []}',
        '{"metrics": {"images": 3}}',
        '{"shapes": [], "flags": {"images": [], "annotations": []}}',
        '["images", [], {"images": []}]',
        "",
    ],
)
def test_json_files_of_other_tools_are_not_detected_as_this_format(tmp_path, text):
    save_image(tmp_path / "a.png")
    (tmp_path / "a.json").write_text(text)
    assert Coco().detect(tmp_path).score == 0
    with pytest.raises(FormatError, match="must contain a JSON file with images"):
        Coco().records(tmp_path)


def long_entry(num_bytes, kind):
    """Something that stands before the lists in real files, of about this many bytes."""
    return {
        "one text": '\\"{[ ' * (num_bytes // 8),
        "a list": [{"id": 1, "url": "https://example.org/[1]"}] * (num_bytes // 50),
        "nested": {"images": {str(key): [key] for key in range(num_bytes // 14)}},
    }[kind]


@pytest.mark.parametrize("kind", ["one text", "a list", "nested"])
@pytest.mark.parametrize("num_bytes", [10_000, 20_000, 3_000_000])
def test_the_lists_are_found_behind_entries_of_any_length(tmp_path, num_bytes, kind):
    save_image(tmp_path / "a.png")
    content = {"about": long_entry(num_bytes, kind), **content_of(annotation([square(1, 1, 4)]))}
    save_json(tmp_path / "coco.json", content)
    assert Coco().detect(tmp_path).score > 0.9
    (mask,), _ = read(tmp_path)
    assert mask.sum() == 16


@pytest.mark.parametrize("first", ["images", "annotations", "categories"])
def test_each_list_alone_tells_the_kind_whatever_its_order(tmp_path, first):
    content = content_of(annotation([square(1, 1, 4)]))
    ordered = {"about": long_entry(20_000, "a list"), first: content.pop(first), **content}
    save_image(tmp_path / "a.png")
    save_json(tmp_path / "coco.json", ordered)
    assert Coco().detect(tmp_path).score > 0.9


@pytest.mark.parametrize("prefix", [b"\xef\xbb\xbf", b" \n\t"])
def test_what_stands_before_the_first_brace_does_not_hide_the_lists(tmp_path, prefix):
    save_image(tmp_path / "a.png")
    path = save_json(tmp_path / "coco.json", content_of())
    path.write_bytes(prefix + path.read_bytes())
    assert Coco().detect(tmp_path).score > 0.9


@pytest.mark.parametrize(
    "damage",
    [
        b'{"a":["]',
        b'{"a":"' + b"\\" * 9,
        b"{" * 200_000,
        b'{"a":' + b"[" * 200_000,
        b'{"a',
        b"{}}]",
    ],
)
def test_a_cut_or_foreign_file_is_of_no_kind_and_ends_the_look(tmp_path, damage):
    save_image(tmp_path / "a.png")
    (tmp_path / "coco.json").write_bytes(damage)
    assert Coco().detect(tmp_path).score == 0


def test_of_thousands_of_large_other_files_only_some_are_looked_into_deeply(tmp_path, monkeypatch):
    looks = []
    monkeypatch.setattr(
        "pixelwise.data.formats.coco.coco.has_entry", lambda *arguments: looks.append(arguments)
    )
    for number in range(100):
        save_json(tmp_path / f"{number}.json", {"a": "b" * 20_000})
    assert Coco().detect(tmp_path).score == 0
    assert sum(len(arguments) == 2 for arguments in looks) == 20


@OLD_ARRAYS
def test_pycocotools_reads_back_what_is_written(tmp_path):
    from pycocotools.coco import COCO

    save_image(tmp_path / "source.png", (20, 30))
    rng = np.random.default_rng(3)
    mask = rng.choice(np.array([0, 1, 2, IGNORE_INDEX], np.uint8), (20, 30))
    class_map = ClassMap.build(("background", "road", "car"))
    sample = Sample("one", np.zeros((20, 30, 3), np.uint8), mask, "multiclass")
    record = Record("train/one", tmp_path / "source.png", split="train")
    out = tmp_path / "out"
    Coco().write(out, [(record, sample)], class_map)
    coco = COCO(out / "annotations" / "instances_train.json")
    assert [entry["name"] for entry in coco.loadCats(coco.getCatIds())] == ["road", "car"]
    (image,) = coco.loadImgs(coco.getImgIds())
    assert (out / "train" / image["file_name"]).is_file()
    painted = np.zeros_like(mask)
    for entry in coco.loadAnns(coco.getAnnIds()):
        runs = coco.annToRLE(entry)
        assert entry["area"] == reference.area(runs)
        assert entry["bbox"] == reference.toBbox(runs).tolist()
        value = IGNORE_INDEX if entry["iscrowd"] else entry["category_id"]
        painted[coco.annToMask(entry) == 1] = value
    assert np.array_equal(painted, mask)


VALUES = st.sampled_from(
    [None, True, -1, 0, 2, 10**12, 10**400, 0.5, float("nan"), float("inf"), "", "a.png", "\x00",
     "\ud800", "../a.png", "a/" * 3000, [], [[]], [None], {}, {"size": [8, 10], "counts": "0"}]
)  # fmt: skip


def masks_or_message(folder):
    """What a folder gives; whatever else it raises fails the test."""
    try:
        return read(folder)[0], ""
    except PixelwiseError as error:
        return [], str(error)


def places_in(content, place=()):
    """The path to every value of a JSON document."""
    yield place
    keys = content.keys() if isinstance(content, dict) else range(len(content))
    for key in keys:
        if isinstance(content[key], (dict, list)):
            yield from places_in(content[key], (*place, key))
        else:
            yield (*place, key)


INTACT = content_of(
    annotation([square(1, 1, 4)]),
    annotation({"size": [8, 10], "counts": "d12120R1"}, iscrowd=1),
    annotation({"size": [8, 10], "counts": [10, 20, 50]}),
)

PLACES = [place for place in places_in(INTACT) if place]


@settings(deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))
@given(changes=st.lists(st.tuples(st.sampled_from(PLACES), VALUES), min_size=1, max_size=3))
def test_a_changed_value_gives_a_mask_or_an_error_of_ours(tmp_path_factory, changes):
    folder = tmp_path_factory.mktemp("one")
    save_image(folder / "a.png")
    content = json.loads(json.dumps(INTACT))
    for place, value in changes:
        inside = content
        try:
            for key in place[:-1]:
                inside = inside[key]
            inside[place[-1]] = copy.deepcopy(value)  # a later change may reach into it
        except (KeyError, IndexError, TypeError):  # an earlier change took the place away
            continue
    save_json(folder / "coco.json", content)
    masks, message = masks_or_message(folder)
    assert all(mask.shape == (8, 10) for mask in masks)
    assert "\n" not in message
    assert len(message) < 1000


@settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))
@given(
    position=st.integers(0, 400),
    length=st.integers(0, 30),
    inserted=st.binary(max_size=6) | st.just(b"[" * 100_000),
)
def test_damaged_bytes_give_a_mask_or_an_error_of_ours(
    tmp_path_factory, position, length, inserted
):
    folder = tmp_path_factory.mktemp("one")
    save_image(folder / "a.png")
    intact = json.dumps(INTACT).encode()
    damaged = intact[:position] + inserted + intact[position + length :]
    (folder / "coco.json").write_bytes(damaged)
    masks, message = masks_or_message(folder)
    assert masks or str(folder) in message


@pytest.mark.real_data
def test_labelmes_coco_file_agrees_with_its_voc_masks(test_data):
    """The classes are the same; up to 1 % of the pixels differ, for labelme paints outlines too."""
    folder = test_data / "labelme"
    dataset = open_dataset(folder, format="coco")
    names = Path(folder / "labels.txt").read_text().split("\n")[1:]
    assert dataset.class_map.names == tuple(name for name in names if name)
    assert len(dataset.records) == 3
    for record in dataset.records:
        mask = dataset.load(record).mask
        file = folder / "data_dataset_voc" / "SegmentationClass" / f"{record.image.stem}.png"
        target = np.asarray(Image.open(file))
        known = target != IGNORE_INDEX
        assert set(np.unique(mask[known])) == set(np.unique(target[known]))
        agreement = (mask == target)[known].mean()
        assert agreement > 0.99
