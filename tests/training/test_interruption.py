"""A training that Ctrl-C stops: what was reached is saved before anything else, and said."""

import os
import signal
import subprocess
import sys

import pytest
import torch

from pixelwise.errors import ENDING_SIGNALS, OutputError, Terminated
from pixelwise.training import loop
from pixelwise.training.events import Message, StepEnded
from pixelwise.training.interruption import interrupted_when_asked
from pixelwise.training.step import TrainingStep
from pixelwise.training.train import train


@pytest.fixture
def data(tmp_path, make_index_dataset):
    return make_index_dataset(tmp_path / "data", num_images=4, splits=("train", "val"))


@pytest.fixture
def default_signals():
    """The ending signals do what they usually do, also where ``nohup`` has one ignored."""
    before = {signum: signal.signal(signum, signal.SIG_DFL) for signum in ENDING_SIGNALS}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


def stopped(data, out, listener):
    """Train until the listener interrupts, and return the message about it."""
    said = []

    def hear(event):
        said.append(event)
        listener(event)

    with pytest.raises(KeyboardInterrupt):
        train(data, out=out, model="stacked-fcn", epochs=4, batch_size=2, listener=hear)
    (message,) = (e for e in said if isinstance(e, Message) and e.title.startswith("stopped"))
    return message.title


def progress_in(run):
    return torch.load(run / "last.ckpt", weights_only=True)["progress"]


def stop_in_epoch_2(event):
    if isinstance(event, StepEnded) and event.epoch == 2:
        raise KeyboardInterrupt


@pytest.mark.parametrize("error", [OutputError, KeyboardInterrupt])
def test_progress_is_saved_before_the_curves_are_drawn(data, tmp_path, monkeypatch, error):
    run, seen = tmp_path / "run", []

    def fail(*_):
        seen.append(progress_in(run)["epoch"] * 2 + progress_in(run)["step"])
        raise error

    monkeypatch.setattr(loop, "draw_curves", fail)
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", 0.0)
    title = stopped(data, run, stop_in_epoch_2)
    assert title == "stopped; all progress is saved"
    assert seen == [3]


def test_a_training_stopped_inside_a_step_says_up_to_where_it_is_saved(data, tmp_path, monkeypatch):
    steps, loss = [], TrainingStep.loss

    def interrupted(self, *arguments):
        if steps.count("ended") == 3:
            raise KeyboardInterrupt
        return loss(self, *arguments)

    monkeypatch.setattr(TrainingStep, "loss", interrupted)
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", 1e9)  # a checkpoint after every epoch
    ended = lambda event: steps.append("ended") if isinstance(event, StepEnded) else None  # noqa: E731
    title = stopped(data, tmp_path / "run", ended)
    assert title == "stopped inside a step; saved up to epoch 2, step 0"
    assert (progress_in(tmp_path / "run")["epoch"], progress_in(tmp_path / "run")["step"]) == (1, 0)


def test_a_second_control_c_while_saving_waits_for_the_files(data, tmp_path, monkeypatch):
    save = loop.save_checkpoint

    def impatient(*arguments):
        if arguments[-1].step or arguments[-1].epoch:
            os.kill(os.getpid(), signal.SIGINT)
        save(*arguments)

    monkeypatch.setattr(loop, "save_checkpoint", impatient)
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", 0.0)
    assert stopped(data, tmp_path / "run", stop_in_epoch_2) == "stopped; all progress is saved"
    assert progress_in(tmp_path / "run")["step"] == 1


def test_the_second_control_c_interrupts_immediately():
    with interrupted_when_asked() as check:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            check()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.usefixtures("default_signals")
@pytest.mark.parametrize("signum", ENDING_SIGNALS)
def test_a_signal_that_ends_the_process_saves_like_control_c(data, tmp_path, signum):
    before = signal.getsignal(signum)

    def listener(event):
        if isinstance(event, StepEnded) and event.epoch == 2:
            os.kill(os.getpid(), signum)

    with pytest.raises(Terminated) as ended:
        train(
            data, out=tmp_path / "run", model="stacked-fcn", epochs=4, batch_size=2,
            listener=listener,
        )  # fmt: skip
    assert ended.value.signum == signum
    assert (progress_in(tmp_path / "run")["epoch"], progress_in(tmp_path / "run")["step"]) == (1, 1)
    assert signal.getsignal(signum) is before


def test_an_ignored_signal_stays_ignored(monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupted_when_asked() as check:
            os.kill(os.getpid(), signal.SIGHUP)
            check()
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("default_signals")
@pytest.mark.parametrize("signum", ENDING_SIGNALS)
def test_the_command_line_exits_with_the_number_of_the_signal(data, tmp_path, signum):
    command = [
        sys.executable, "-m", "pixelwise", "train", str(data), "--out", str(tmp_path / "run"),
        "--model", "stacked-fcn", "--epochs", "5000", "--batch-size", "2",
    ]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as child:
        lines = []
        for line in child.stderr:
            lines.append(line)
            if line.startswith("epoch 1/"):
                child.send_signal(signum)
        child.wait()
    assert child.returncode == 128 + signum
    assert f"stopped by {signum.name}" in lines[-1]
    assert any("stopped; all progress is saved" in line for line in lines)
    assert progress_in(tmp_path / "run")["epoch"] >= 1
