"""Files and folders of another user: one line names what cannot be read, or it is left alone."""

import ctypes
import os
import sys

import pytest

import pixelwise
from pixelwise.errors import PixelwiseError

if sys.platform != "linux":
    pytest.skip("rights are taken away as on Linux", allow_module_level=True)

FAST = ("--device", "cpu", "--epochs", "1", "--model", "stacked-fcn")
VERSION = 0x20080522
"""Version of the structures of the two system calls."""

MAY_READ_ALL = 1 << 1 | 1 << 2
"""Capabilities of root to read and to search whatever the rights say."""


@pytest.fixture
def _no_privileges():
    """This thread has no more rights than the files give it, also where it runs as root."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(VERSION, 0)
    held = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable, in two parts
    assert libc.capget(header, held) == 0
    less = (ctypes.c_uint32 * 6)(*held)
    less[0] &= ~MAY_READ_ALL
    assert libc.capset(header, less) == 0
    yield
    assert libc.capset(header, held) == 0


@pytest.fixture(scope="module")
def files(tmp_path_factory, make_index_dataset):
    """A data set in split folders with a card, and a run that was trained on it."""
    folder = tmp_path_factory.mktemp("permissions")
    data = make_index_dataset(folder / "data", splits=("train", "val"), num_images=3)
    (data / "dataset.yaml").write_text("classes: [a, b, c]\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        pixelwise.train("data", model="stacked-fcn", epochs=1, device="cpu", out="run")
    return folder


@pytest.fixture
def forbid():
    """Take all rights to a file or folder away until the end of the test."""
    taken = []

    def take(path):
        taken.append((path, path.stat().st_mode))
        path.chmod(0)

    yield take
    for path, mode in reversed(taken):
        path.chmod(mode)


VERBS = {
    "check": ("data", "check", "data"),
    "split": ("data", "split", "data", "--out", "OUT/card.yaml"),
    "convert": ("data", "convert", "data", "OUT/copy", "--to", "coco"),
    "train": ("train", "data", "--out", "OUT/other", *FAST),
    "evaluate": ("evaluate", "run", "data"),
    "review": ("review", "run", "data", "--split", "all", "--out", "OUT/found"),
    "predict": ("predict", "run", "data", "--out", "OUT/masks"),
    "resume": ("train", "--resume", "--out", "run"),
    "report": ("report", "run", "--out", "OUT/again.html"),
    "inspect": ("inspect", "run"),
}
OF_DATA = ("data", "data/train", "data/val/images", "data/train/masks",
           "data/val/images/001.png", "data/val/masks/002.png", "data/dataset.yaml")  # fmt: skip
OF_A_RUN = ("run", "run/model.safetensors", "run/recipe.yaml", "run/last.ckpt")
UNREAD = {
    **{("predict", place): 0 for place in ("data/val/masks/002.png",
                                           "data/dataset.yaml")},
    **{("inspect", place): 0 for place in ("run/recipe.yaml", "run/last.ckpt")},
    **{(verb, "run/last.ckpt"): 0 for verb in ("evaluate", "review", "predict", "report")},
    **{(verb, "run/recipe.yaml"): 0 for verb in ("evaluate", "review", "predict")},
}  # fmt: skip
"""Pairs of a command and of something that it does not need, with its exit code."""


@pytest.mark.usefixtures("_no_privileges")
@pytest.mark.parametrize("place", OF_DATA + OF_A_RUN)
def test_what_may_not_be_read_is_named_by_every_command(
    files, tmp_path, forbid, run_cli, monkeypatch, place
):
    monkeypatch.chdir(files)
    forbid(files / place)
    assert not os.access(place, os.R_OK, effective_ids=True)
    uses_run = ("evaluate", "review", "predict", "resume", "report", "inspect")
    for verb, words in VERBS.items():
        if place in OF_A_RUN and verb not in uses_run:
            continue
        if place in OF_DATA and verb in ("resume", "inspect"):
            continue
        code, out, err = run_cli(*(word.replace("OUT", str(tmp_path)) for word in words))
        if (verb, place) in UNREAD:
            assert code == UNREAD[verb, place], (verb, err)
            continue
        assert code in (1, 2), (verb, out, err)
        said = out + err
        assert "Traceback" not in said, verb
        named = place.removeprefix("data/") if verb == "check" else place
        assert named in said, (verb, said)
        assert "ermission denied" in said or "not readable" in said, (verb, said)


@pytest.mark.usefixtures("_no_privileges")
def test_what_may_not_be_read_is_an_error_of_pixelwise_in_python(files, forbid):
    uses = {
        "data": (pixelwise.open_dataset, pixelwise.check_data, pixelwise.train),
        "run": (pixelwise.load_model,),
    }
    forbid(files)
    for name, functions in uses.items():
        for use in functions:
            with pytest.raises(PixelwiseError, match="must be readable"):
                use(files / name)
