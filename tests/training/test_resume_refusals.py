"""What a resumed run cannot take is named in one line, by the argument that was given."""

import io
import os
import shutil

import pytest
import torch

import pixelwise
from pixelwise.errors import ConfigError, PixelwiseError
from pixelwise.training import checkpoint


@pytest.fixture(scope="module")
def data(tmp_path_factory, make_index_dataset):
    return make_index_dataset(tmp_path_factory.mktemp("first") / "data", num_images=8)


@pytest.fixture(scope="module")
def run(data):
    return pixelwise.train(
        data, model="stacked-fcn", loss="ce", epochs=1, size=(8, 8), out=data.parent / "run"
    ).folder


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--model", "unet"), "Got --model unet."),
        (("--epochs", "5"), "Got --epochs 5."),
        (("--loss", "dice"), "Got --loss dice."),
        (("--epochs", "5", "--seed", "3"), "Got --epochs 5, --seed 3."),
        (("--set", "training.epochs=5"), "Got --set."),
        (("--recipe", "other.yaml"), "Got --recipe."),
        (("--metric", "area"), "Got --metric"),
    ],
)
def test_another_setting_is_named_by_its_option(run, run_cli, monkeypatch, options, named):
    monkeypatch.setattr("pixelwise.training.train.registered_names", tuple)
    code, _, err = run_cli("train", "--resume", "--out", run, *options)
    assert code == 1
    assert err.startswith("error: a resumed run must keep its recipe")
    assert named in err


def test_in_python_it_is_named_by_its_argument(run):
    with pytest.raises(ConfigError, match=r"Got `epochs` 5, `batch_size` 3\. .* another `out`"):
        pixelwise.train(resume=True, out=run, epochs=5, batch_size=3)


def test_a_setting_that_is_given_again_is_no_other(run):
    again = pixelwise.train(
        resume=True, out=run, model="stacked-fcn", loss="ce", epochs=1, size=(8, 8)
    )
    assert again.folder == run


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (None, "needs `out`, the folder of the run to resume. Got none"),
        (
            "nothing",
            "folder of a run to resume. nothing contains no recipe.yaml",
        ),
    ],
)
def test_a_run_that_is_not_there_is_refused(out, message):
    with pytest.raises(PixelwiseError, match=message):
        pixelwise.train(resume=True, out=out)


def test_other_data_is_refused_in_a_short_line(run, tmp_path, make_index_dataset):
    other = make_index_dataset(tmp_path / "other", num_images=8, seed=3)
    with pytest.raises(PixelwiseError) as refused:
        pixelwise.train(other, resume=True, out=run)
    message = str(refused.value).replace(str(tmp_path), "").replace(str(run), "")
    assert message == (
        "`data` must be the data set that the run in  was trained on. /other differs: it has none "
        "of the run's training images. Give the data of the run, correct data.path in "
        "/recipe.yaml, or start a new run with another `out`"
    )


@pytest.mark.parametrize("minutes", [float("inf"), float("nan"), -1, 0])
@pytest.mark.parametrize("verb", ["train", "compare", "review"])
def test_a_budget_that_never_ends_is_refused_before_data_is_read(
    verb, minutes, run, run_cli, tmp_path
):
    nothing = tmp_path / "nothing"
    given = {
        "train": ("train", nothing),
        "compare": ("compare", nothing, "--models", "unet"),
        "review": ("review", run, nothing, "--folds", 2),
    }[verb]
    code, _, err = run_cli(*given, f"--minutes={minutes}")
    assert code in (1, 2)
    assert "minutes" in err
    assert "does not exist" not in err
    assert "finite number" in err or "greater than" in err


@pytest.mark.parametrize("key", ["learning_rate", "clip_norm", "weight_decay", "minutes"])
@pytest.mark.parametrize("value", [".inf", ".nan"])
def test_no_number_of_a_recipe_is_infinite(key, value):
    with pytest.raises(ConfigError, match=f"training.{key} must be a finite number. Got"):
        pixelwise.load_recipe(overrides=f"training.{key}={value}")


class Trap:
    """Unpickling it makes a folder."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("place", ["progress", "model", "all"])
@pytest.mark.parametrize("is_signed", [True, False])
def test_code_in_a_checkpoint_is_refused_and_not_run(run, tmp_path, place, is_signed):
    victim, mark = tmp_path / "run", tmp_path / "was-run"
    shutil.copytree(run, victim)
    path = victim / checkpoint.CHECKPOINT_NAME
    content = Trap(mark)
    if place != "all":
        content = {**checkpoint.read_checkpoint(path), place: Trap(mark)}
    buffer = io.BytesIO()
    torch.save(content, buffer)
    archive = buffer.getvalue()
    path.write_bytes(checkpoint._with_checksum(archive) if is_signed else archive)
    (victim / "metrics.json").unlink()
    with pytest.raises(PixelwiseError, match=r"last\.ckpt must be"):
        pixelwise.train(out=victim, resume=True)
    with pytest.raises(PixelwiseError, match=r"last\.ckpt must be"):
        pixelwise.inspect(path)
    assert not mark.exists()
    torch.load(buffer, weights_only=buffer.seek(0))
    assert mark.exists()  # the trap would have sprung
