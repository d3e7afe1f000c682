"""The doctor's page: self-contained, escaped, and with pictures of what was found."""

import base64
import io
import re

import numpy as np
import pytest
from parsed_page import Page
from PIL import Image

from pixelwise.doctor import check_data
from pixelwise.reporting.data_check_page import MARK_COLOR, write_data_check_page


def picture_of(attributes):
    content = base64.b64decode(attributes["src"].partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


@pytest.fixture
def page_of(tmp_path):
    def make(folder):
        examination = check_data(folder)
        write_data_check_page(examination, tmp_path / "page.html")
        return examination, Page((tmp_path / "page.html").read_text(encoding="utf-8"))

    return make


@pytest.fixture
def folder(tmp_path, make_index_dataset):
    return make_index_dataset(tmp_path / "data", size=(64, 64), splits=("train", "val"))


def test_every_finding_and_class_is_on_the_page(folder, page_of):
    (folder / "train/images/000.png").write_bytes(b"broken")
    Image.fromarray(np.full((64, 64), 255, np.uint8)).save(folder / "train/masks/001.png")
    examination, page = page_of(folder)
    assert {"corrupt-image", "all-ignored"} <= {one.kind for one in examination.findings}
    for finding in examination.findings:
        assert finding.title in page.text
        assert finding.kind in page.text
    for row in examination.classes:
        assert row.name in page.text
    assert page.text.index("corrupt-image") < page.text.index("all-ignored")


def test_nothing_is_fetched_from_anywhere(folder, page_of):
    _, page = page_of(folder)
    assert page.images()
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "object")
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith("data:")
    assert not re.search(r"url\(|@import", page.text)


def test_names_of_files_are_escaped(folder, page_of):
    name = '<img src=x onerror="alert(1)">'
    (folder / "train/images/000.png").rename(folder / f"train/images/{name}.png")
    (folder / "train/masks/000.png").rename(folder / f"train/masks/{name}.png")
    Image.fromarray(np.full((64, 64), 255, np.uint8)).save(folder / f"train/masks/{name}.png")
    _, page = page_of(folder)
    assert name in page.text
    assert all(image["src"].startswith("data:") for image in page.images())


def test_marked_pixels_are_drawn_where_they_are(folder, page_of):
    (folder / "dataset.yaml").write_text("classes: [a, b, c]\nformat: index-masks\n")
    path = folder / "train/masks/000.png"
    mask = np.array(Image.open(path))
    mask[8:24, 40:56] = 77
    Image.fromarray(mask).save(path)
    examination, page = page_of(folder)
    assert examination.findings[0].kind == "unexpected-values"
    drawn = picture_of(page.images()[0])
    is_marked = np.abs(drawn - MARK_COLOR).sum(-1) < 200
    assert is_marked[10:22, 42:54].mean() > 0.9
    is_marked[6:26, 38:58] = False
    assert is_marked.mean() < 0.01


def test_the_samples_are_drawn_independently_of_the_splits(tmp_path, make_index_dataset):
    folder = make_index_dataset(tmp_path / "data", num_images=60)
    write_data_check_page(check_data(folder), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    shown = re.findall(r" · (train|val|test) · ", page)
    assert len(shown) >= 6
    assert shown.count("train") >= len(shown) // 2
