"""Polygons that cross themselves or leave their image, and those that only look as if they did."""

import json

import numpy as np
import pytest
from doctored import photograph, save
from scipy.ndimage import gaussian_filter

from pixelwise import convert_data
from pixelwise.doctor import check_data
from pixelwise.doctor.polygon_checks import crosses_itself

BOX = [[10, 10], [40, 10], [40, 40], [10, 40]]
BOW_TIE = [[10, 10], [40, 40], [40, 10], [10, 40]]
LOOP_TWICE = [*BOX, *[[x + 5, y + 5] for x, y in BOX]]
KEYHOLE = [[0, 0], [40, 0], [40, 40], [0, 40], [0, 0],
           [10, 10], [10, 20], [20, 20], [20, 10], [10, 10]]  # fmt: skip
TOUCHING = [[0, 0], [10, 10], [20, 0], [20, 20], [10, 10], [0, 20]]


@pytest.mark.parametrize(
    ("ring", "expected"),
    [(BOX, False), (BOW_TIE, True), (LOOP_TWICE, True), (KEYHOLE, False), (TOUCHING, False)],
)
def test_only_crossings_that_change_what_is_filled_count(ring, expected):
    assert crosses_itself(np.array(ring, float)) is expected


def label(folder, name, *rings):
    rng = np.random.default_rng(int(name))
    save(folder / f"{name}.png", photograph(rng))
    shapes = [
        {"label": "cat", "points": ring, "shape_type": "polygon", "group_id": None, "flags": {}}
        for ring in rings
    ]
    content = {"version": "5.0.0", "flags": {}, "shapes": shapes, "imagePath": f"{name}.png",
               "imageData": None, "imageHeight": 64, "imageWidth": 64}  # fmt: skip
    (folder / f"{name}.json").write_text(json.dumps(content))


def test_bad_polygons_are_found_in_a_format_that_has_them(tmp_path):
    for number in range(4):
        label(tmp_path, str(number), BOX)
    label(tmp_path, "4", BOX, BOW_TIE)
    label(tmp_path, "5", BOX, [[50, 50], [90, 50], [90, 60]])
    found = {one.kind: one for one in check_data(tmp_path).findings}
    assert found["self-intersecting-polygons"].details == ("4.json: 1 of 2 polygons in 4.png",)
    assert found["self-intersecting-polygons"].examples[0].marks.any()
    assert found["polygons-outside-image"].details == (
        "5.json: 1 of 2 polygons in 5.png, by up to 26.0 px",
    )


def test_what_pixelwise_exports_with_holes_is_not_called_harmful(tmp_path):
    """Bridges to several holes cross each other, and are passed in both directions."""
    rng = np.random.default_rng(0)
    for number in range(8):
        noise = gaussian_filter(rng.normal(size=(96, 96)), 3)
        mask = (noise > 0.03).astype(np.uint8) + 2 * (noise < -0.12).astype(np.uint8)
        save(tmp_path / "data" / "images" / f"{number}.png", photograph(rng, 96))
        save(tmp_path / "data" / "masks" / f"{number}.png", mask)
    for name in ("yolo", "polygon-text", "labelme", "coco"):
        convert_data(tmp_path / "data", tmp_path / name, name)
        found = check_data(tmp_path / name).findings
        assert [one.kind for one in found if one.severity != "notable"] == []
