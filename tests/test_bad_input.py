"""The "Bad input" list: one line that names file and value, exit 1, and nothing lost."""

import errno
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from pixelwise.classes import ClassMap

FAST = ("--set", "training.precision=float32", "--device", "cpu", "--epochs", "1", "--model",
        "stacked-fcn")  # fmt: skip


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


def tree(folder):
    """Every file below a folder with its content."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def refused(run_cli):
    """Run a command that must fail; gives its one error line."""

    def run(*arguments):
        code, out, err = run_cli(*arguments)
        errors = [line for line in err.splitlines() if line.startswith("error: ")]
        assert code == 1, err
        assert out == ""
        assert len(errors) == 1, err
        assert err.endswith(errors[0] + "\n"), "the error is not the last line"
        assert "Traceback" not in err
        assert "Warning" not in err
        return errors[0]

    return run


@pytest.fixture
def dataset(tmp_path, make_index_dataset):
    return make_index_dataset(tmp_path / "data", num_images=8)


@pytest.fixture
def model(tmp_path, make_model_file):
    return make_model_file(tmp_path / "model.safetensors")


def spoil(path, damage):
    content = path.read_bytes()
    path.write_bytes(
        {
            "zero bytes": b"",
            "text": b"this is no picture\n",
            "truncated": content[: len(content) // 2],
        }[damage]
    )


@pytest.mark.parametrize("verb", ["train", "evaluate"])
class TestData:
    """What is wrong with the data is said alike in training and in evaluation."""

    @pytest.fixture
    def refused_data(self, verb, refused, tmp_path, model):
        def run(data, *arguments):
            if verb == "evaluate":
                return refused("evaluate", model, data, "--split", "all", *arguments)
            line = refused("train", data, "--out", tmp_path / "run", *FAST, *arguments)
            assert not (tmp_path / "run").exists(), "a run folder without a run"
            return line

        return run

    def test_an_empty_folder(self, refused_data, tmp_path):
        (tmp_path / "empty").mkdir()
        line = refused_data(tmp_path / "empty")
        assert f"{tmp_path / 'empty'} must contain images with masks. Got nothing" in line

    def test_a_missing_folder(self, refused_data, tmp_path):
        assert "nowhere does not exist" in refused_data(tmp_path / "nowhere")

    def test_an_image_without_mask(self, refused_data, dataset):
        (dataset / "masks/003.png").unlink()
        line = refused_data(dataset)
        assert f"{dataset}/images/003.png must have a mask {dataset}/masks/003.png" in line

    def test_a_mask_of_another_size(self, refused_data, dataset):
        save(dataset / "masks/003.png", np.zeros((16, 15)))
        line = refused_data(dataset)
        assert f"{dataset}/masks/003.png must be as large as its image 003.png, 16 x 16" in line
        assert "Got 15 x 16" in line

    @pytest.mark.parametrize("damage", ["zero bytes", "text", "truncated"])
    @pytest.mark.parametrize("kind", ["images", "masks"])
    def test_a_damaged_file(self, refused_data, dataset, kind, damage):
        if damage == "truncated":
            noise = np.random.default_rng(0).integers(0, 3, (16, 16))
            save(dataset / kind / "003.png", noise)
        spoil(dataset / kind / "003.png", damage)
        line = refused_data(dataset)
        assert f"{dataset}/{kind}/003.png must be " in line
        assert "Restore or remove it" in line

    def test_a_value_outside_the_class_map(self, refused_data, dataset):
        (dataset / "dataset.yaml").write_text(
            yaml.safe_dump({"classes": ["class-0", "class-1", "class-2"]})
        )
        mask = np.zeros((16, 16))
        mask[2:4, 2:4] = 77
        save(dataset / "masks/003.png", mask)
        line = refused_data(dataset)
        assert f"{dataset}/masks/003.png must contain class ids 0, 1, 2" in line
        assert "Got 77 (4 pixels, nearest class 2)" in line
        assert "--ignore 77" in line

    def test_a_color_mask(self, refused_data, dataset):
        save(dataset / "masks/003.png", np.random.default_rng(0).integers(0, 255, (16, 16, 3)))
        assert f"{dataset}/masks/003.png must contain one class id per pixel" in refused_data(
            dataset
        )

    def test_everything_ignored(self, refused_data, dataset):
        for path in (dataset / "masks").iterdir():
            save(path, np.full((16, 16), 255))
        line = refused_data(dataset)
        assert "masks (images/" in line
        assert "All are ignored" in line

    def test_a_folder_that_fits_two_formats(
        self, refused_data, tmp_path, make_object_dataset, make_class_dataset
    ):
        both = tmp_path / "both"
        make_object_dataset(both)
        make_class_dataset(both)
        line = refused_data(both)
        assert f"{both} fits several formats" in line
        assert "--format" in line

    def test_a_broken_card(self, refused_data, dataset):
        (dataset / "dataset.yaml").write_text("classes: [a, b\n")
        line = refused_data(dataset)
        assert f"{dataset}/dataset.yaml must be a readable YAML file" in line


def test_one_class_only_is_refused_before_training(refused, dataset, tmp_path):
    for path in (dataset / "masks").iterdir():
        save(path, np.zeros((16, 16)))
    line = refused("train", dataset, "--out", tmp_path / "run", *FAST)
    assert "training masks (images/" in line
    assert "at least two classes. Got only 'class-0'" in line
    assert not (tmp_path / "run").exists()


def test_tiny_and_thin_images_simply_work(run_cli, model, tmp_path, make_index_dataset):
    data = tmp_path / "data"
    make_index_dataset(data, num_images=4, splits=("train", "val"))
    for split in ("train", "val"):
        for name, size in (("dot", (1, 1)), ("line", (1, 5000)), ("column", (700, 1))):
            save(data / split / "images" / f"{name}.png", np.full((*size, 3), 90))
            save(data / split / "masks" / f"{name}.png", np.ones(size))
    code, out, err = run_cli("evaluate", model, data, "--split", "all")
    assert code == 0, err
    assert "14 images" in out
    code, _, err = run_cli("train", data, "--out", tmp_path / "run", *FAST, "--size", "16x16")
    assert code == 0, err
    out = tmp_path / "out"
    code, _, err = run_cli("predict", tmp_path / "run", data / "val/images", "--out", out)
    assert code == 0, err
    for name, size in (("dot", (1, 1)), ("line", (5000, 1)), ("column", (1, 700))):
        with Image.open(out / f"{name}.png") as picture:
            assert picture.size == size


def test_images_of_one_pixel_alone_can_be_trained_on(run_cli, tmp_path):
    for index in range(8):
        save(tmp_path / f"data/images/{index}.png", [[[index * 30] * 3]])
        save(tmp_path / f"data/masks/{index}.png", [[index % 2]])
    code, _, err = run_cli("train", tmp_path / "data", "--out", tmp_path / "run", *FAST)
    assert code == 0, err


@pytest.mark.parametrize("damage", ["half", "empty", "text", "picture", "pickle", "bare weights"])
@pytest.mark.parametrize("verb", ["evaluate", "predict"])
def test_a_model_file_cut_or_of_another_kind(refused, dataset, model, tmp_path, verb, damage):
    content = model.read_bytes()
    if damage == "pickle":
        import torch

        torch.save({"weights": torch.zeros(3)}, model)
    elif damage == "bare weights":
        import torch
        from safetensors.torch import save_file

        save_file({"weights": torch.zeros(3)}, model)
    else:
        model.write_bytes(
            {
                "half": content[: len(content) // 2],
                "empty": b"",
                "text": b"not a model\n" * 50,
                "picture": (dataset / "images/000.png").read_bytes(),
            }[damage]
        )
    arguments = (dataset,) if verb == "evaluate" else (dataset / "images", "--out", tmp_path / "o")
    line = refused(verb, model, *arguments)
    assert f"{model} must be a " in line
    assert not (tmp_path / "o").exists()


def test_a_missing_model_file_is_an_error(refused, dataset, tmp_path):
    line = refused("evaluate", tmp_path / "none.safetensors", dataset)
    assert f"{tmp_path / 'none.safetensors'} is neither" in line


def test_a_dataset_with_other_classes_than_the_model(
    refused, tmp_path, dataset, make_model_file, make_class_dataset
):
    model = make_model_file(
        tmp_path / "named.safetensors", class_map=ClassMap.build(("sky", "road", "car"))
    )
    (dataset / "dataset.yaml").write_text(yaml.safe_dump({"classes": ["sky", "road", "tree"]}))
    line = refused("evaluate", model, dataset)
    assert f"{dataset} must have the model's 3 classes sky, road, car. Got 3: sky, road, tr" in line
    multilabel = make_class_dataset(tmp_path / "multilabel")
    line = refused("evaluate", model, multilabel)
    assert f"{multilabel} must have multiclass masks, like the model. Got multilabel" in line


def test_a_dataset_with_more_classes_than_the_model(refused, tmp_path, make_index_dataset, model):
    data = make_index_dataset(tmp_path / "more", num_classes=5)
    line = refused("evaluate", model, data)
    assert "masks/000.png must contain class ids 0, 1, 2" in line
    assert "Got 3 (" in line


def test_an_ignore_value_said_to_evaluate_is_ignored(run_cli, tmp_path, make_index_dataset, model):
    data = make_index_dataset(tmp_path / "data", num_classes=3, ignored=7, num_images=2)
    code, out, err = run_cli("evaluate", model, data, "--split", "all", "--ignore", 7, "--json")
    assert code == 0, err
    evaluated = sum(entry["pixels"] for entry in json.loads(out)["per_class"])
    assert evaluated == 2 * 15 * 16


def test_images_of_another_kind_than_the_models(refused, run_cli, tmp_path, model, dataset):
    for path in (dataset / "images").iterdir():
        Image.fromarray(np.zeros((16, 16), np.uint16)).save(path)
    line = refused("evaluate", model, dataset)
    assert "images/000 must be uint8" in line
    assert "Got uint16" in line


def test_a_broken_image_is_reported_and_the_rest_still_predicted(run_cli, model, dataset, tmp_path):
    spoil(dataset / "images/001.png", "zero bytes")
    spoil(dataset / "images/004.png", "text")
    out = tmp_path / "out"
    code, stdout, err = run_cli("predict", model, dataset / "images", "--out", out)
    assert code == 1
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2
    assert f"{dataset}/images/001.png" in errors[0]
    assert f"{dataset}/images/004.png" in errors[1]
    assert "6 files written, 2 images failed" in stdout
    assert sorted(path.name for path in out.iterdir()) == [
        f"{number:03d}.png" for number in (0, 2, 3, 5, 6, 7)
    ]


def test_predicting_from_nothing_or_no_image(refused, model, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "letter.doc").write_text("dear")
    out = tmp_path / "out"
    assert "empty" in refused("predict", model, tmp_path / "empty", "--out", out)
    assert "letter.doc must be an image" in refused(
        "predict", model, tmp_path / "letter.doc", "--out", out
    )
    assert "gone.png" in refused("predict", model, tmp_path / "gone.png", "--out", out)


def test_results_never_go_over_the_inputs(refused, model, dataset):
    before = tree(dataset)
    line = refused("predict", model, dataset / "images", "--out", dataset / "images")
    assert f"{dataset}/images" in line
    assert tree(dataset) == before


def test_a_file_where_the_output_folder_must_be(refused, model, dataset, tmp_path):
    taken = tmp_path / "taken"
    taken.write_text("my notes")
    for out in (taken, taken / "inner"):
        for command in (
            ("predict", model, dataset / "images", "--out", out),
            ("train", dataset, "--out", out, *FAST),
            ("data", "digits", out, "--train", 1, "--val", 1),
        ):
            line = refused(*command)
            assert str(taken) in line
            assert "write" in line or "must be new or empty" in line
    assert taken.read_text() == "my notes"


def full_disk(*arguments, **options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_no_room_on_disk_while_making_digits(refused, tmp_path, monkeypatch):
    monkeypatch.setattr(Image.Image, "save", full_disk)
    line = refused("data", "digits", tmp_path / "digits", "--train", 2, "--val", 1)
    assert f"cannot write {tmp_path / 'digits'}: No space left on device" in line
    assert list(tmp_path.iterdir()) == []


def test_no_room_on_disk_while_predicting(refused, run_cli, model, dataset, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert run_cli("predict", model, dataset / "images", "--out", out)[0] == 0
    before = tree(out)
    monkeypatch.setattr(Image.Image, "save", full_disk)
    line = refused("predict", model, dataset / "images", "--out", out)
    assert f"cannot write {out / '000.png'}: No space left on device" in line
    assert tree(out) == before


def test_no_room_on_disk_for_the_first_file_of_a_run(refused, dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "write_text", full_disk)
    line = refused("train", dataset, "--out", tmp_path / "run", *FAST)
    assert f"cannot write {tmp_path / 'run/recipe.yaml'}: No space left on device" in line
    assert tree(tmp_path / "run") == {}


def test_no_room_on_disk_leaves_the_model_that_was_there(model, make_model_file, monkeypatch):
    from pixelwise.errors import OutputError

    before = tree(model.parent)
    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OutputError, match=r"model\.safetensors: No space left on device"):
        make_model_file(model)
    assert tree(model.parent) == before


def test_a_run_is_never_written_over_and_a_cut_checkpoint_is_named(refused, run_cli, dataset,
                                                                   tmp_path):  # fmt: skip
    run = tmp_path / "run"
    assert run_cli("train", dataset, "--out", run, *FAST)[0] == 0
    before = tree(run)
    assert f"{run} contains a run" in refused("train", dataset, "--out", run, *FAST)
    assert tree(run) == before
    checkpoint = run / "last.ckpt"
    checkpoint.write_bytes(before["last.ckpt"][: len(before["last.ckpt"]) // 2])
    line = refused("train", "--resume", "--out", run)
    assert f"{checkpoint} must be as pixelwise wrote it" in line
    after = tree(run)
    assert {name: after[name] for name in after if name != "last.ckpt"} == {
        name: before[name] for name in before if name != "last.ckpt"
    }
    shutil.rmtree(run)
    assert f"{run} contains no recipe.yaml" in refused("train", "--resume", "--out", run)


def test_wrong_options_name_the_value(refused, dataset, model, tmp_path):
    train = ("train", dataset, "--out", tmp_path / "run")
    assert "'unett'. Did you mean 'unet'?" in refused(*train, "--model", "unett")
    assert "Got '64'" in refused(*train, "--size", "64")
    assert "Did you mean 'epochs'?" in refused(*train, "--set", "training.epoch=3")
    assert "Got '70/70'" in refused(*train, *FAST, "--split", "70/70")
    assert "Got 'tpu'" in refused("evaluate", model, dataset, "--device", "tpu")
    assert "Got 'dev'" in refused("evaluate", model, dataset, "--split", "dev")
    line = refused("predict", model, dataset / "images", "--out", tmp_path / "o", "--save", "png")
    assert "'png'" in line
    assert not (tmp_path / "run").exists()


def test_debug_shows_where_an_error_came_from(monkeypatch, tmp_path):
    from pixelwise.cli import main
    from pixelwise.errors import DataError

    monkeypatch.setenv("PIXELWISE_DEBUG", "")
    monkeypatch.setattr(sys, "argv", ["pixelwise", "--debug", "train", str(tmp_path / "nowhere")])
    with pytest.raises(DataError, match="nowhere"):
        main()


def test_wrong_usage_exits_with_2(run_cli):
    assert run_cli("train", "--no-such-option")[0] == 2
    assert run_cli("no-such-verb")[0] == 2
