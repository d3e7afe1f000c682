"""The lock of a run folder: one process writes a run, and a killed one leaves nothing behind."""

import errno
import os
import platform
import shutil
import signal
import subprocess
import sys

import pytest

from pixelwise.config import Recipe
from pixelwise.errors import ConfigError, PixelwiseWarning
from pixelwise.training import train as training
from pixelwise.training.run_folder import claimed_run_folder
from pixelwise.training.run_lock import LOCK_NAME, OWNER_NAME, run_lock
from pixelwise.training.train import train

SMALL = {"model": "stacked-fcn", "epochs": 1, "batch_size": 2}


@pytest.fixture(scope="module")
def data(tmp_path_factory, make_index_dataset):
    folder = tmp_path_factory.mktemp("locked") / "data"
    return make_index_dataset(folder, num_images=4, splits=("train", "val"))


@pytest.fixture
def run(data, tmp_path):
    """A finished run."""
    return train(data, out=tmp_path / "run", **SMALL).folder


def refused(*arguments, **more):
    with pytest.raises(ConfigError, match="must be written by one process") as error:
        train(*arguments, **more)
    assert f"Process {os.getpid()} on {platform.node()}, since 2" in str(error.value)


def test_a_run_that_is_being_written_is_neither_resumed_nor_started_again(data, run, tmp_path):
    with run_lock(run):
        refused(out=run, resume=True)
    with claimed_run_folder(tmp_path / "other", "unet", "data") as begun:
        refused(data, out=begun, **SMALL)


def test_the_second_training_is_refused_before_it_reads_the_data(data, run, monkeypatch):
    monkeypatch.setattr(training, "open_as_in", lambda *_: pytest.fail("the data were opened"))
    with run_lock(run):
        refused(out=run, resume=True)


def test_a_process_that_was_killed_owns_nothing_and_leaves_nothing(run):
    code = f"""
from pathlib import Path
from pixelwise.files import written_aside
from pixelwise.training.run_lock import run_lock
with run_lock(Path({str(run)!r})), written_aside(Path({str(run / "model.safetensors")!r})) as aside:
    aside.write_text("half")
    print("locked", flush=True)
    input()
"""
    with subprocess.Popen(
        [sys.executable, "-P", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout.readline() == b"locked\n"
        with pytest.raises(ConfigError, match=f"Process {child.pid} on"), run_lock(run):
            pass
        child.send_signal(signal.SIGKILL)
    before = {path.name for path in run.iterdir()}
    assert any(name.startswith(".model.part-") for name in before)
    with run_lock(run):
        pass
    assert {path.name for path in run.iterdir() if path.name.startswith(".")} == {LOCK_NAME}
    train(out=run, resume=True)
    assert not list(run.rglob(".*"))  # a finished run needs no lock


@pytest.fixture
def killed(run, tmp_path):
    """A run that was killed between its recipe and its first checkpoint."""
    folder = tmp_path / "killed"
    folder.mkdir()
    shutil.copy(run / "recipe.yaml", folder)
    for name in (LOCK_NAME, OWNER_NAME):
        (folder / name).touch()
    return folder


def test_a_run_killed_before_its_first_checkpoint_is_resumed_from_the_start(killed, run):
    train(out=killed, resume=True)
    for name in ("model.safetensors", "metrics.json"):
        assert (killed / name).read_bytes() == (run / name).read_bytes()


def test_a_run_killed_before_its_first_checkpoint_can_be_started_again(data, killed):
    train(data, out=killed, **{**SMALL, "epochs": 2})
    assert len((killed / "history.csv").read_text().splitlines()) == 3


def test_a_recipe_of_the_user_is_not_taken_for_a_run_that_was_killed(data, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "recipe.yaml").write_text(Recipe().to_yaml())
    with pytest.raises(ConfigError, match="contains a run"):
        train(data, out=folder, **SMALL)


def test_a_dry_run_of_a_run_that_is_being_written_is_possible(run):
    with run_lock(run):
        train(out=run, resume=True, dry_run=True)


@pytest.mark.skipif(sys.platform == "win32", reason="the system's call is another one there")
@pytest.mark.parametrize("name", ["ENOLCK", "EOPNOTSUPP", "EIO"])
def test_on_a_network_drive_without_locks_a_run_is_trained_with_a_warning(
    data, tmp_path, monkeypatch, name
):
    import fcntl

    def refuse(*_):
        raise OSError(getattr(errno, name), "no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.warns(PixelwiseWarning, match="cannot be locked .*no locks here"):
        run = train(data, out=tmp_path / "run", **SMALL).folder
    assert (run / "report.html").is_file()
    foreign = run / ".model.part-abcdefgh.safetensors"
    foreign.write_bytes(b"half")
    with pytest.warns(PixelwiseWarning, match="cannot be locked"):
        train(out=run, resume=True)
    assert foreign.exists()  # it may be that of a living process
