"""What a file says about itself is shown without a network being built or its code being run."""

import json
import pickle

import pytest
import torch
import yaml

import pixelwise
from pixelwise.classes import ClassMap
from pixelwise.errors import ModelFileError, PixelwiseError
from pixelwise.models import model_file
from pixelwise.training import run_folder

NAMES = ("road", "car \x1b[31m")


@pytest.fixture(scope="module")
def run(tmp_path_factory, make_index_dataset):
    folder = tmp_path_factory.mktemp("inspected")
    data = make_index_dataset(folder / "data", num_images=24)
    pixelwise.train(data, model="stacked-fcn", epochs=2, size=(8, 8), out=folder / "run")
    return folder / "run"


@pytest.fixture(autouse=True)
def _nothing_is_built(monkeypatch, request):
    if "run" not in request.fixturenames:
        return
    request.getfixturevalue("run")

    def forbidden(*_, **__):
        raise AssertionError("a network was built")

    monkeypatch.setattr(model_file, "build_model", forbidden)
    monkeypatch.setattr(model_file, "outlined", forbidden)


def test_a_model_file_is_shown(run):
    found = pixelwise.inspect(run)
    assert (found.kind, found.is_intact) == ("model file", True)
    card = model_file.load_card(run)
    facts = found.to_json()
    assert facts["architecture"] == "stacked-fcn"
    assert facts["classes"] == list(card.class_map.names)
    assert facts["training"]["images"] == len(card.data.images)
    assert facts["metrics"]["mean_iou"] == card.metrics["mean_iou"]
    told = json.loads((run / "metrics.json").read_text())["intervals"]
    assert facts["metrics"]["intervals"]["mean_iou"] == told["mean_iou"]
    assert told["mean_iou"]["low"] < told["mean_iou"]["high"]
    assert facts["bands"] == 3
    assert facts["weights"]["bytes"] == 4 * facts["weights"]["numbers"] > 0
    assert facts["bytes"] == (run / "model.safetensors").stat().st_size
    json.dumps(facts)


def test_a_checkpoint_is_shown(run):
    found = pixelwise.inspect(run / "last.ckpt")
    assert (found.kind, found.is_intact) == ("checkpoint", True)
    assert found.facts["is_done"] is True
    best = [row["epoch"] for row in run_folder.read_history(run) if row["is_best"]]
    assert found.facts["best_epoch"] == best[-1]
    assert found.facts["weights"]["numbers"] > 0
    json.dumps(found.to_json())


def test_a_recipe_and_a_card_are_shown(run, tmp_path):
    recipe = pixelwise.inspect(run / "recipe.yaml")
    assert recipe.kind == "recipe"
    assert recipe.facts["model"]["name"] == "stacked-fcn"
    card = {"classes": list(NAMES), "splits": {"train": ["a", "b"], "val": ["c"]}, "bands": [3, 1]}
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump(card))
    found = pixelwise.inspect(tmp_path)
    assert found.kind == "dataset card"
    assert found.facts["classes"] == list(NAMES)
    assert found.facts["splits"] == {"train": 2, "val": 1}
    assert found.facts["bands"] == [3, 1]


@pytest.mark.parametrize("name", ["model.safetensors", "last.ckpt"])
def test_a_wrong_checksum_is_shown_and_told_by_the_exit_code(run, run_cli, tmp_path, name):
    content = bytearray((run / name).read_bytes())
    place = content.rindex(b"layers") - 4000 if name == "last.ckpt" else len(content) - 5
    content[place] ^= 1
    (tmp_path / name).write_bytes(content)
    code, out, err = run_cli("inspect", tmp_path / name)
    if code == 1 and not out:  # the flip may hit what has to be parsed
        assert name in err
    else:
        assert code == 1
        assert "checksum: wrong: the file was damaged or edited" in out
    assert run_cli("inspect", run / name)[0] == 0


def test_the_command_prints_lines_or_one_document(run, run_cli, make_model_file, tmp_path):
    code, out, _ = run_cli("inspect", run)
    assert code == 0
    assert "architecture: stacked-fcn" in out
    assert "checksum: right" in out
    code, out, _ = run_cli("inspect", run, "--json")
    assert json.loads(out)["checksum"] == "right"
    model = make_model_file(tmp_path / "named.safetensors", class_map=ClassMap.build(NAMES))
    code, out, _ = run_cli("inspect", model)
    assert "car \\x1b[31m" in out


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("name", ["x.ckpt", "x.safetensors", "x.yaml", "x.png", "x"])
@pytest.mark.parametrize("content", ["pickle", "torch", "text", "empty", "deep"])
def test_anything_else_is_refused_in_one_line(tmp_path, name, content):
    path, mark = tmp_path / name, tmp_path / "was-run"
    if content == "torch":
        torch.save(Trap(mark), path)
    else:
        path.write_bytes(
            {
                "pickle": pickle.dumps(Trap(mark)),
                "text": b"hello",
                "empty": b"",
                "deep": b"[" * 100_000,
            }[content]
        )
    if name == "x.yaml" and content == "empty":
        assert pixelwise.inspect(path).kind == "dataset card"
        return
    with pytest.raises(PixelwiseError) as refusal:
        pixelwise.inspect(path)
    assert "\n" not in str(refusal.value)
    assert name in str(refusal.value)
    assert not mark.exists()


def test_a_model_of_another_module_is_shown_without_it(run, tmp_path):
    import safetensors.torch

    description, weights = model_file.read_parts(run / "model.safetensors")
    content = json.loads(description)
    content |= {"architecture": "not_here:Net", "defined_in": "not_here"}
    content.pop("sha256")
    path = tmp_path / "model.safetensors"
    signed = model_file._with_checksum(json.dumps(content), weights)
    safetensors.torch.save_file(weights, path, {model_file.METADATA_KEY: signed})
    found = pixelwise.inspect(path)
    assert found.is_intact
    assert found.facts["defined_in"] == "not_here"
    with pytest.raises(ModelFileError):
        pixelwise.load_model(path)
