"""Folders as people published them: the check and the opening agree, and traps stay closed."""

import json

import pytest

from pixelwise.data.dataset import open_dataset
from pixelwise.doctor import check_data
from pixelwise.errors import PixelwiseError

SETS = (
    "animals-cvat-voc", "banknotes", "boundaries-mat", "bowel-ultrasound", "breast-prefix",
    "camvid-prepped", "chest-demo", "dibco-prefix", "drone-people-via", "frame-mask", "freespace",
    "oilspill", "optic-disc", "parking-tiles", "rf-mask-small", "rocks", "soybean-lists",
    "tutorial-pairs",
)  # fmt: skip

CANNOT_BE_READ = {"unknown-layout", "unreadable-labels", "gray-levels"}


@pytest.mark.real_data
@pytest.mark.parametrize("name", SETS)
def test_the_check_and_the_opening_of_a_published_folder_agree(test_data, name):
    expected = json.loads((test_data / "wild" / f"{name}.json").read_text())
    folder = test_data / "wild" / name / expected["point_at"]
    examination = check_data(folder)
    kinds = {finding.kind for finding in examination.findings}
    try:
        dataset = open_dataset(folder, cache=False)
    except PixelwiseError:
        assert kinds & CANNOT_BE_READ
        return
    assert not kinds & CANNOT_BE_READ
    assert not expected["should_be_refused"]
    assert examination.dataset.class_map == dataset.class_map
    for record in dataset.records:  # what the check finds usable can be loaded, and vice versa
        assert (record in examination.usable) == _loads(dataset, record)


def _loads(dataset, record):
    try:
        dataset.load(record)
    except PixelwiseError:
        return False
    return True
