"""What a stranger may put into a folder ends in one line, and in time."""

import json
import os
import signal
import struct
from contextlib import contextmanager

import numpy as np
import pytest
import tifffile

from pixelwise.data.dataset import open_dataset
from pixelwise.doctor.examination import check_data
from pixelwise.errors import DataError, FormatError
from pixelwise.files import MAX_TEXT_BYTES, open_regular, text_lines
from pixelwise.training.run_folder import NOTES_NAME, Notes, load_notes

# Files that some label format, list or table looks for.
LOOKED_AT = ("train.txt", "train.csv", "annotations.json", "annotations.xml", "classes.txt",
             "label_colors.txt", "images/a.json", "ImageSets/Segmentation/train.txt", "data.yaml",
             "dataset.yaml", "via_region_data.csv", "meta.json", "class_dict.csv")  # fmt: skip

needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")


@contextmanager
def within(seconds):
    """Fail what waits for ever, rather than wait with it."""

    def late(*_):
        raise AssertionError(f"took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@needs_pipes
@pytest.mark.parametrize("name", LOOKED_AT)
def test_a_pipe_in_a_data_set_is_not_waited_for(tmp_path, make_index_dataset, name):
    folder = make_index_dataset(tmp_path / "data", num_images=4)
    pipe = folder / name
    pipe.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(pipe)
    with within(30):
        check_data(folder)


@needs_pipes
def test_a_pipe_in_a_run_folder_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / NOTES_NAME)
    with within(30):
        assert load_notes(tmp_path) == Notes()


@needs_pipes
def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    with within(30), pytest.raises(OSError, match="it is a pipe or a device"):
        open_regular(tmp_path / "pipe")
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "missing")
    for name in ("file", "link"):
        with open_regular(tmp_path / name) as file:
            assert file.read() == b"content"


def test_a_text_file_of_any_size_is_not_read_whole(tmp_path):
    huge = tmp_path / "labelmap.txt"
    with huge.open("wb") as file:
        file.truncate(MAX_TEXT_BYTES + 1)
    with pytest.raises(DataError, match=r"labelmap.txt must be a readable text file.*268,435,456"):
        text_lines(huge)


def test_a_list_whose_first_line_never_ends_is_no_list(tmp_path, make_index_dataset):
    folder = make_index_dataset(tmp_path / "data", num_images=4)
    with (folder / "train.txt").open("wb") as file:
        file.write(b"images/a.png ")
        file.truncate(2**31)
    with within(30):
        assert len(open_dataset(folder).records) == 4


def test_notes_that_are_nested_without_end_are_no_notes(tmp_path):
    (tmp_path / NOTES_NAME).write_text("[" * 100_000)
    assert load_notes(tmp_path) == Notes()


def test_a_file_with_a_hundred_thousand_classes_is_refused_at_once(tmp_path):
    (tmp_path / "images").mkdir()
    tifffile.imwrite(tmp_path / "images/a.tif", np.zeros((16, 16, 3), np.uint8))
    content = {
        "images": [{"id": 1, "file_name": "a.tif", "width": 16, "height": 16}],
        "categories": [{"id": number, "name": f"c{number}"} for number in range(100_000)],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]]}
        ],
    }
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    with within(30), pytest.raises(FormatError, match=r"must name 1 to 255 classes.*Got 100001"):
        open_dataset(tmp_path)


def promise(path, height, width):
    """Write a gray TIFF of 100 bytes whose header promises this size."""
    entries = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1),
               (273, 4, 8), (277, 3, 1), (278, 4, height), (279, 4, 100)]  # fmt: skip
    fields = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    header = b"II*\0" + struct.pack("<IH", 8, len(entries))
    path.write_bytes(header + fields + b"\0\0\0\0" + b"\0" * 100)


def test_a_header_that_promises_billions_of_windows_is_refused(tmp_path, make_index_dataset):
    folder = make_index_dataset(tmp_path / "data", num_images=4)
    (image, *_) = sorted(folder.rglob("images/**/*.png"))
    promise(image.with_suffix(".tif"), 2**32 - 1, 2**32 - 1)
    image.unlink()
    with within(30), pytest.raises(DataError, match=r"at most 1,048,576 windows. 4294967295 x"):
        open_dataset(folder)
