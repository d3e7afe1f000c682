"""Names that are no text, too long, empty or repeated: they work, or one line refuses them."""

import csv
import json
import os
import shutil

import pytest
import safetensors.torch
import yaml

import pixelwise
from pixelwise.classes import ClassMap
from pixelwise.errors import ConfigError, ModelFileError, PixelwiseError
from pixelwise.files import write_json, write_text
from pixelwise.models.model_file import METADATA_KEY, _with_checksum, load_card
from pixelwise.text import portable, printable, shortened

FAST = ("--device", "cpu", "--epochs", "1", "--model", "stacked-fcn",
        "--set", "training.precision=float32")  # fmt: skip
RAW = os.fsdecode(b"bad\xff\xfe")
SHOWN = "bad%FF%FE"

WRONG_NAMES = {
    "there must be 1 to 255 classes. Got 300": [f"class {number}" for number in range(300)],
    "class names must be Unicode text. Got 'b\\ud800'": ["a", "b\ud800"],
    "class names must not be empty. Got '' for class 1": ["a", ""],
    "class names must not be empty. Got ' \\t' for class 1": ["a", " \t"],
    "class names must be unique. Got a twice": ["a", "b", "a"],
    "class names must have at most 200 characters. Got bbbb": ["a", "b" * 5000],
}


@pytest.fixture
def data(tmp_path, make_index_dataset):
    return make_index_dataset(tmp_path / "data", num_images=8)


@pytest.fixture
def not_unicode(data):
    """A data set whose files have names that are not UTF-8."""
    for path in sorted(data.rglob("*.png")):
        path.rename(path.with_name(f"{RAW}{path.name}"))
    return data


@pytest.mark.parametrize("wanted", WRONG_NAMES)
class TestClassNames:
    """The same names are refused in the same words, wherever they come from."""

    def test_in_python(self, wanted):
        with pytest.raises(ConfigError) as refusal:
            ClassMap.build(WRONG_NAMES[wanted])
        assert wanted in str(refusal.value)

    @pytest.mark.parametrize("as_entries", [False, True])
    def test_in_a_card(self, wanted, as_entries, data, run_cli):
        names = WRONG_NAMES[wanted]
        entries = [{"name": name} for name in names] if as_entries else names
        (data / "dataset.yaml").write_text(json.dumps({"classes": entries}))
        code, _, err = run_cli("train", data, "--out", data.parent / "run", *FAST)
        assert code == 1
        (line,) = err.splitlines()
        assert line.startswith(f"error: {data / 'dataset.yaml'}: {wanted}")
        assert len(line) < 400

    def test_in_a_model_file(self, wanted, tmp_path, make_model_file):
        model = make_model_file(tmp_path / "model.safetensors")
        weights = safetensors.torch.load_file(model)
        content = json.loads(load_card(model).model_dump_json())
        names = WRONG_NAMES[wanted]
        content["class_map"] |= {"names": names, "values": list(range(len(names)))}
        description = _with_checksum(json.dumps(content), weights)
        safetensors.torch.save_file(weights, model, {METADATA_KEY: description})
        with pytest.raises(ModelFileError) as refusal:
            pixelwise.load_model(model)
        # The parser of JSON refuses half of a pair before the names are looked at.
        assert wanted[:60] in str(refusal.value) or "Unicode" in wanted
        assert f"{model} must contain a valid description" in str(refusal.value)

    def test_in_an_annotation_file(self, wanted, tmp_path, make_index_dataset):
        names = WRONG_NAMES[wanted]
        data = make_index_dataset(tmp_path / "data", num_images=3)
        pixelwise.convert_data(data, tmp_path / "coco", "coco")
        (tmp_path / "coco/dataset.yaml").unlink()
        for path in (tmp_path / "coco/annotations").iterdir():
            content = json.loads(path.read_text())
            content["categories"] = [{"id": at, "name": name} for at, name in enumerate(names, 1)]
            path.write_text(json.dumps(content))
        with pytest.raises(PixelwiseError) as refusal:
            pixelwise.open_dataset(tmp_path / "coco")
        assert str(tmp_path / "coco") in str(refusal.value)
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("text", ["x" * 5000, "a\0b", "a\ud800b", "y" * 256 + "/z"])
@pytest.mark.parametrize(
    "use",
    [
        pixelwise.open_dataset,
        pixelwise.check_data,
        pixelwise.load_model,
        lambda text: pixelwise.train(text, out="run"),
        lambda text: pixelwise.train("digits", recipe=text),
        lambda text: pixelwise.predict("model.safetensors", "a.png", text),
    ],
)
def test_a_path_that_cannot_exist_is_refused_in_one_line(tmp_path, monkeypatch, use, text):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PixelwiseError) as refusal:
        use(text)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 400
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["x" * 5000, "a\0b"])
def test_the_path_of_a_card_that_cannot_exist_is_refused(data, path):
    (data / "dataset.yaml").write_text(json.dumps({"path": path}))
    with pytest.raises(ConfigError, match=r"dataset\.yaml: `path` must be a path"):
        pixelwise.open_dataset(data)


def test_names_that_are_not_utf8_go_through_every_verb(not_unicode, tmp_path, run_cli, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*words):
        code, out, err = run_cli(*words)
        assert code == 0, (words, err)
        assert RAW not in out + err
        return out

    run("data", "check", not_unicode, "--report", "check.html")
    run("data", "split", not_unicode, "--out", "split.yaml")
    run("train", "split.yaml", "--out", "run", *FAST)
    run("evaluate", "run", "split.yaml", "--split", "all", "--report", "evaluation.html")
    run("report", "run", "--out", "again.html")
    run("review", "run", "split.yaml", "--out", "review")
    (image,) = (path for path in (not_unicode / "images").iterdir() if "3" in path.name)
    written = json.loads(run("predict", "run", not_unicode / "images", "--out", "out", "--json"))
    assert f"out/{SHOWN}003.png" in written["written"]
    assert (tmp_path / "out" / image.name).is_file()
    for target in ("coco", "yolo", "labelme", "index-masks"):
        run("data", "convert", not_unicode, f"as-{target}", "--to", target)
        run("data", "check", f"as-{target}")
    names = yaml.safe_load((tmp_path / "split.yaml").read_text("utf-8"))["splits"]
    assert f"images/{SHOWN}000" in {name for split in names.values() for name in split}
    for page in tmp_path.rglob("*.html"):
        page.read_text("utf-8")
    table = (tmp_path / "review/review.csv").read_text("utf-8")
    rows = list(csv.DictReader(table.splitlines()))
    assert all(SHOWN in row["image"] for row in rows)


ODD = ("a\nb", "c'd\"e", "\U0001f600", "\u202egnp", "tab\tx", " lead", "trail ", "%s", "-x", "a\\b",
       "<script>alert(1)<|script>", "&amp;")  # fmt: skip


def test_names_of_every_kind_go_through_every_verb(data, tmp_path, run_cli, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for kind in ("images", "masks"):
        files = sorted((data / kind).iterdir())
        for number, name in enumerate(ODD):
            shutil.copy(files[number % len(files)], data / kind / f"{name}.png")
        for path in files:
            path.unlink()

    def run(*words):
        code, out, err = run_cli(*words)
        assert code == 0, (words, err)
        return out

    run("data", "check", data, "--report", "check.html")
    run("data", "split", data, "--out", "split.yaml")
    run("train", "split.yaml", "--out", "run", *FAST)
    run("evaluate", "run", "split.yaml", "--split", "all", "--report", "evaluation.html")
    run("review", "run", "split.yaml", "--split", "all", "--out", "review")
    written = json.loads(run("predict", "run", data / "images", "--out", "out", "--json"))
    assert len(written["written"]) == len(ODD)
    assert {path.stem for path in (tmp_path / "out").iterdir()} == set(ODD)
    plain = pixelwise.open_dataset(data, cache=False)
    masks = {record.name: plain.load(record).mask for record in plain.records}
    for target in ("coco", "yolo", "labelme", "cvat", "geojson", "voc", "polygon-text"):
        run("data", "convert", data, f"as-{target}", "--to", target)
        again = pixelwise.open_dataset(f"as-{target}", cache=False)
        assert len(again.records) == len(ODD), target
        found = [again.load(record).mask.tobytes() for record in again.records]
        assert sorted(found) == sorted(mask.tobytes() for mask in masks.values()), target
    for page in tmp_path.rglob("*.html"):
        text = page.read_text("utf-8")
        assert "<script>alert" not in text
        assert "\u202e" not in text


def test_a_damaged_file_whose_name_is_not_utf8_is_named(not_unicode, tmp_path, run_cli):
    (image,) = (path for path in (not_unicode / "images").iterdir() if "3" in path.name)
    image.write_bytes(b"no picture")
    code, _, err = run_cli("train", not_unicode, "--out", tmp_path / "run", *FAST)
    assert code == 1
    assert f"images/{SHOWN}003.png must be a readable image" in err


def test_folders_whose_names_are_not_utf8_hold_data_and_runs(data, tmp_path, run_cli):
    folder = tmp_path / RAW
    folder.mkdir()
    shutil.move(data, folder / "data")
    assert run_cli("train", folder / "data", "--out", folder / "run", *FAST)[0] == 0
    code, out, err = run_cli("evaluate", folder / "run", folder / "data", "--json")
    assert code == 0, err
    json.loads(out)
    assert run_cli("train", "--resume", "--out", folder / "run")[0] == 0


@pytest.mark.parametrize("letter", ["x", "é"])
def test_data_whose_names_are_as_long_as_they_can_be(data, tmp_path, run_cli, letter):
    for path in data.rglob("*.png"):
        stem = letter * ((251 - len(path.stem)) // len(letter.encode()))
        path.rename(path.with_name(f"{stem}{path.stem}.png"))
    report = ("--report", tmp_path / "check.html")
    assert run_cli("data", "check", data, *report)[0] == 0
    code, _, err = run_cli("train", data, "--out", tmp_path / "run", *FAST)
    assert code == 0, err
    assert run_cli("review", tmp_path / "run", data, "--out", tmp_path / "review")[0] == 0
    code, _, err = run_cli("data", "convert", data, tmp_path / "out", "--to", "labelme")
    assert code == 0, err


def test_one_form_for_all_names_that_are_no_text():
    assert portable(RAW) == printable(RAW) == SHOWN
    assert portable("\ud83d") == printable("\ud83d") == "\\ud83d"
    assert portable("straße 道路 😀") == "straße 道路 😀"
    assert portable(SHOWN) == SHOWN  # what was read back is the same name


def test_files_of_text_are_always_utf8(tmp_path):
    write_text(tmp_path / "a.html", f"<p>{RAW}")
    assert (tmp_path / "a.html").read_text("utf-8") == f"<p>{SHOWN}"
    write_json(tmp_path / "a.json", {RAW: [RAW, 1, None, ("é", 2.5)]})
    content = (tmp_path / "a.json").read_text("utf-8")
    assert json.loads(content) == {SHOWN: [SHOWN, 1, None, ["é", 2.5]]}


def test_a_long_text_is_shown_by_its_ends():
    assert shortened("short", 10) == "short"
    assert shortened("ab" * 50 + "z", 6) == "aba...abz (101 characters)"
