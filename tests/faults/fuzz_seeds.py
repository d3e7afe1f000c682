"""Small sound files of every kind, made by the writers of the other tests."""

import functools
import importlib.util
import io
import json
import tempfile
from pathlib import Path
from types import ModuleType

import numpy as np
import safetensors.torch
import torch
import yaml
from PIL import Image

TESTS = Path(__file__).resolve().parent.parent

Files = dict[Path, bytes]
"""The files of a folder by relative path."""


@functools.cache
def neighbor(path: str) -> ModuleType:
    """Return another module of the tests."""
    spec = importlib.util.spec_from_file_location(f"seeds_of_{Path(path).stem}", TESTS / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pictures(suffixes: tuple[str, ...]) -> list[Files]:
    """Return one folder for each picture of a kind."""
    found = neighbor("data/test_fuzz.py").PICTURES
    return [
        {Path(f"picture.{suffixes[0]}"): content}
        for name, content in found.items()
        if name.rpartition(".")[2] in suffixes
    ]


def data_set(name: str) -> Files | None:
    """Return a data set in a format that is written; ``None`` for one that is only read."""
    files = neighbor("data/test_fuzz.py").data_set_of(name)
    return files and {path: content for path, content in files.items() if path.suffix != ".yaml"
                      or path.name == "data.yaml"}  # fmt: skip


def read_only_data_set(name: str) -> Files:
    """Return a data set in a format that is only read, as its own tests make it."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _READ_ONLY[name](folder)
        return files_in(folder)


def files_in(folder: Path) -> Files:
    """Return all files of a folder."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder): path.read_bytes() for path in found}


def _coco_panoptic(folder: Path) -> None:
    tests = neighbor("data/formats/test_coco_panoptic.py")
    numbers = np.full((4, 6), 300)
    numbers[1:3] = 255
    tests.save(folder, "train", numbers, [(300, 1, 0), (255, 92, 0)])


def _label_studio(folder: Path) -> None:
    tests = neighbor("data/formats/test_label_studio.py")
    tests.save_image(folder / "images/a.png")
    shape = tests.polygon("road", [10, 10], [90, 10], [90, 90])
    tests.save(folder, tests.task(1, "a.png", shape, tests.brush("car")))


def _label_studio_masks(folder: Path) -> None:
    tests = neighbor("data/formats/test_label_studio_masks.py")
    tests.save(folder / "images/task-3.png", np.zeros((20, 30, 3)))
    tests.save_mask(folder, 3, "road", (0, 0, 10, 10))


def _labelbox(folder: Path) -> None:
    tests = neighbor("data/formats/test_labelbox.py")
    tests.save_image(folder / "a.png")
    tests.save(folder, tests.row("a.png", tests.square("Road", 2, 3, 9)))


def _supervisely(folder: Path) -> None:
    tests = neighbor("data/formats/test_supervisely.py")
    shapes = (tests.polygon("car", tests.SQUARE), tests.bitmap("car", tests.RING, [5, 5]))
    tests.save(folder, "a.png", *shapes)


def _via(folder: Path) -> None:
    tests = neighbor("data/formats/test_via.py")
    image = tests.save_image(folder / "a.png")
    shapes = (tests.square(2, 3, 9, label="car"), tests.rect(1, 1, 5, 5, label="road"))
    tests.save_json(folder / "via.json", tests.metadata(tests.entry(image, *shapes)))


def _dicom_seg(folder: Path) -> None:
    tests = neighbor("data/formats/test_dicom.py")
    voxels, labels = tests.organs(0)
    slices = tests.save_series(folder / "ct", voxels)
    tests.save_segmentation(folder / "seg.dcm", slices, labels, ["liver", "spleen"])


def _rle_table(folder: Path) -> None:
    tests = neighbor("data/formats/test_rle_tables.py")
    masks = tests.blobs(4)
    rows = [(f"im{at}.jpg", 1, tests.encoded(mask == 1)) for at, mask in enumerate(masks)]
    tests.write(folder, rows, ("ImageId", "ClassId", "EncodedPixels"), masks)


_READ_ONLY = {
    "dicom-seg": _dicom_seg,
    "rle-table": _rle_table,
    "coco-panoptic": _coco_panoptic,
    "label-studio": _label_studio,
    "label-studio-masks": _label_studio_masks,
    "labelbox": _labelbox,
    "supervisely": _supervisely,
    "via": _via,
}


def png(pixels: np.ndarray) -> bytes:
    """Return a picture as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def masks_with(names: dict[str, str], *, in_color: bool) -> Files:
    """Return a data set of two images, with a table of its classes or a list of its images."""
    ids = np.zeros((12, 16), np.uint8)
    ids[3:9, 4:12] = 1
    colors = np.array([(0, 0, 0), (128, 64, 0)], np.uint8)
    image = np.random.default_rng(0).integers(0, 255, (12, 16, 3)).astype(np.uint8)
    files = {Path(path): text.encode() for path, text in names.items()}
    for stem in ("a", "b"):
        files[Path(f"images/{stem}.png")] = png(image)
        files[Path(f"masks/{stem}.png")] = png(colors[ids] if in_color else ids)
    return files


CLASS_TABLES = [
    masks_with({"classes.txt": "background\nroad\n"}, in_color=False),
    masks_with({"label_names.json": '{"0": "background", "1": "road"}'}, in_color=False),
    masks_with({"classes.csv": "id,name\n0,background\n1,road\n"}, in_color=False),
    masks_with({"class_dict.csv": "name,r,g,b\nbackground,0,0,0\nroad,128,64,0\n"}, in_color=True),
    masks_with({"label_colors.txt": "0 0 0 background\n128 64 0 road\n"}, in_color=True),
    masks_with({"labelmap.txt": "# label:color_rgb:parts:actions\nbackground:0,0,0::\n"
                "road:128,64,0::\n"}, in_color=True),
    masks_with({"palette.json": '[{"name": "background", "color": [0, 0, 0]}, '
                '{"name": "road", "color": "#804000"}]'}, in_color=True),
]  # fmt: skip

LISTS = [
    masks_with({"train.txt": "a\n", "val.txt": "b\n"}, in_color=False),
    masks_with({"train.txt": "images/a.png masks/a.png\n", "val.txt": "images/b.png masks/b.png\n"},
               in_color=False),
    masks_with({"pairs.csv": "image,mask,split\nimages/a.png,masks/a.png,train\n"
                "images/b.png,masks/b.png,val\n"}, in_color=False),
]  # fmt: skip

RECIPE = yaml.safe_dump(
    {
        "data": {"path": "data", "ignore": [255], "resize": {"letterbox": [64, 96]}, "bands": [1]},
        "model": {"name": "unet", "arguments": {"filters": 8}},
        "training": {"epochs": 3, "size": [32, 32], "betas": [0.9, 0.99], "loss": "ce + dice"},
        "augmentation": {"orientation": "free", "scale": [0.5, 2.0], "noise": 0.1},
    }
).encode()


def card() -> bytes:
    """Return a dataset card."""
    return neighbor("data/test_fuzz.py").CARD.encode()


@functools.cache
def model_file() -> bytes:
    """Return a model file of a few weights."""
    from pixelwise.models.model_file import save_model_file

    tests = neighbor("models/test_model_file.py")
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "model.safetensors"
        save_model_file(path, tests.small_model(), tests.card())
        return path.read_bytes()


def signed_model(change_text, change_weights) -> bytes:
    """Return a model file whose description or weights were changed and whose checksum is right."""
    from pixelwise.models.model_file import METADATA_KEY, _with_checksum

    content = model_file()
    size = int.from_bytes(content[:8], "little")
    described = json.loads(json.loads(content[8 : 8 + size])["__metadata__"][METADATA_KEY])
    described.pop("sha256")
    weights = change_weights(safetensors.torch.load(content))
    text = change_text(json.dumps(described).encode()).decode("utf-8", "replace")
    signed = _with_checksum(text, weights) if text else text
    return safetensors.torch.save(weights, {METADATA_KEY: signed})


@functools.cache
def checkpoint() -> bytes:
    """Return the checkpoint of a run that began."""
    from pixelwise.training.checkpoint import CHECKPOINT_NAME, Progress, save_checkpoint

    layer = torch.nn.Linear(3, 2)
    parts = {"model": layer, "optimizer": torch.optim.Adam(layer.parameters())}
    with tempfile.TemporaryDirectory() as temporary:
        history = [{"epoch": 0, "loss": 1.5}]
        save_checkpoint(Path(temporary), parts, Progress("abc", 1, 2, history=history))
        return (Path(temporary) / CHECKPOINT_NAME).read_bytes()
