"""Lists of pairs and annotation files that are wrong: all of it is said, and the rest is read."""

import pytest
from doctored import make_clean

from pixelwise.doctor import check_data


@pytest.fixture
def listed(tmp_path):
    """Folders of other names, and lists that pair their files."""
    folder = make_clean(tmp_path / "made")
    target = tmp_path / "data"
    for split in ("train", "val"):
        for what, name in (("images", "a"), ("masks", "b")):
            (target / split / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / split / what).rename(target / split / name)
        lines = [f"{split}/a/{n:03}.png {split}/b/{n:03}.png" for n in range(6)]
        (target / f"{split}.txt").write_text("\n".join(lines))
    return target


def found_in(folder):
    examination = check_data(folder)
    return {one.kind: one for one in examination.findings}, examination


def test_lists_that_are_right_give_no_finding(listed):
    found, examination = found_in(listed)
    assert not found
    assert examination.num_images == {"train": 6, "val": 6}


def test_each_missing_listed_file_is_a_finding(listed):
    for name in ("a/000", "b/003"):
        (listed / "train" / f"{name}.png").unlink()
    found, examination = found_in(listed)
    assert len(found["listed-file-missing"].details) == 2
    assert "line 1" in "".join(found["listed-file-missing"].details)
    assert examination.num_images == {"train": 4, "val": 6}


def test_an_image_in_two_lists_is_a_finding(listed):
    lines = (listed / "val.txt").read_text()
    (listed / "val.txt").write_text(f"{lines}\ntrain/a/000.png train/b/000.png")
    found, _ = found_in(listed)
    assert "train/a/000.png" in found["listed-twice"].details[0]


def test_images_without_a_split_are_findings_if_others_have_one(tmp_path):
    made, folder = make_clean(tmp_path / "made"), tmp_path / "data"
    folder.mkdir()
    for split, name in (("train", "train"), ("val", "extra")):
        (made / split / "images").rename(folder / name)
        (made / split / "masks").rename(folder / f"{name}_labels")
    found, examination = found_in(folder)
    assert len(found["split-not-given"].details) == 6
    assert "extra/000.png" in found["split-not-given"].details[0]
    assert examination.is_refused


def test_labels_that_cannot_be_read_are_a_finding(tmp_path):
    folder = make_clean(tmp_path / "data")
    (folder / "dataset.yaml").write_text("format: coco\n")
    (folder / "annotations.json").write_text('{"images": [')
    found, examination = found_in(folder)
    assert examination.is_refused
    assert {"unreadable-labels", "unknown-layout"} & set(found)
