import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from pixelwise.config import load_recipe
from pixelwise.errors import ConfigError, DataError, ModelFileError, TrainingError
from pixelwise.metrics.extra import extra_metrics
from pixelwise.prediction.loading import load_model
from pixelwise.training import loop
from pixelwise.training.checkpoint import read_checkpoint
from pixelwise.training.diagnostics.observer import Observer
from pixelwise.training.events import EpochEnded, Message, StepEnded
from pixelwise.training.run_folder import read_history
from pixelwise.training.train import train


def write_shapes(folder, *, num_images=10, size=(24, 24), sizes=None, mode="RGB", seed=0):
    """Bright discs on a dark ground, with their masks: easy enough to learn in seconds."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for index in range(num_images):
        height, width = (sizes or [size])[index % len(sizes or [size])]
        rows, columns = np.mgrid[:height, :width]
        center = rng.uniform(0.3, 0.7, 2) * (height, width)
        disc = (rows - center[0]) ** 2 + (columns - center[1]) ** 2 < (min(height, width) / 4) ** 2
        gray = np.where(disc, 200, 40) + rng.integers(0, 30, (height, width))
        pixels = np.repeat(gray[..., None], len(mode), -1) if len(mode) > 1 else gray
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"images/{index:02d}.png")
        Image.fromarray(disc.astype(np.uint8)).save(folder / f"masks/{index:02d}.png")
    return folder


def weights_of(path):
    return safetensors.torch.load_file(path)


def assert_same_weights(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


FIXED = "training.memory_format=channels_last"
"""Measured, it may differ between two runs on a busy machine, and with it their last digits."""

SMALL = {
    "model": "unet-elu", "epochs": 4, "batch_size": 3, "device": "cpu", "overrides": [FIXED],
}  # fmt: skip
"""unet-elu has dropout, so that a generator out of step is noticed."""


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    data = write_shapes(folder / "data")
    events = []
    outcome = train(data, out=folder / "run", listener=events.append, **SMALL)
    return data, outcome, events


def test_a_run_folder_holds_everything_the_design_names(whole_run):
    _, outcome, _ = whole_run
    names = {path.name for path in outcome.folder.iterdir()}
    assert names == {
        "recipe.yaml", "model.safetensors", "last.ckpt", "history.csv", "metrics.json",
        "curves.png", "pictures", "report.html", "notes.json",
    }  # fmt: skip
    assert not list(outcome.folder.rglob(".*"))


def test_history_has_one_row_per_epoch_and_the_best_is_what_was_kept(whole_run):
    _, outcome, events = whole_run
    rows = [event.row for event in events if isinstance(event, EpochEnded)]
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    best = max(rows, key=lambda row: (row["val_mean_iou"], -row["val_loss"]))
    assert outcome.best_epoch == best["epoch"]
    assert outcome.metrics.mean_iou == pytest.approx(best["val_mean_iou"], rel=1e-4)
    lines = (outcome.folder / "history.csv").read_text().splitlines()
    assert len(lines) == 5
    assert lines[0].startswith("epoch,train_loss,val_loss,val_mean_iou")


def test_a_metric_that_is_undefined_at_first_has_its_column(tmp_path, monkeypatch):
    names = iter([(), (), ("own",), ("own",)])  # the first: it is tried before the training

    class Late:
        name = "own"

        def __init__(self):
            self.values = dict.fromkeys(next(names), 1.0)

        def add(self, prediction, probabilities, mask):
            pass

        def figures(self):
            return self.values

    monkeypatch.setattr(extra_metrics, "_entries", {"own": Late})
    monkeypatch.setattr("pixelwise.training.check_names.create_metrics", lambda _: [])
    overrides = [FIXED, "training.metrics=[own]"]
    data = write_shapes(tmp_path / "data")
    outcome = train(data, out=tmp_path / "run", **{**SMALL, "epochs": 2, "overrides": overrides})
    first, second = read_history(outcome.folder)
    assert math.isnan(first["own"])
    assert second["own"] == outcome.metrics.extra["own"] == 1.0


def test_every_choice_is_said_with_its_reason_before_the_first_step(whole_run):
    _, _, events = whole_run
    first_step = next(i for i, event in enumerate(events) if isinstance(event, StepEnded))
    said = " ".join(
        line for event in events[:first_step] if isinstance(event, Message) for line in event.lines
    )
    for choice in ("format", "splits", "learning rate", "precision", "crops", "augmentation"):
        assert choice in said


def test_the_recipe_of_a_run_has_no_open_choice_and_gives_the_same_weights_again(
    whole_run, tmp_path
):
    _, outcome, _ = whole_run
    recipe = load_recipe(outcome.folder / "recipe.yaml")
    open_choices = [name for name, value in recipe.training.model_dump().items() if value is None]
    assert open_choices == ["minutes"]
    again = train(recipe=outcome.folder / "recipe.yaml", out=tmp_path / "again")
    assert_same_weights(
        weights_of(outcome.folder / "model.safetensors"),
        weights_of(again.folder / "model.safetensors"),
    )


def test_metrics_json_is_what_the_outcome_says(whole_run):
    _, outcome, _ = whole_run
    content = json.loads((outcome.folder / "metrics.json").read_text())
    assert content["mean_iou"] == outcome.metrics.mean_iou
    assert content["split"] == "val"


@pytest.mark.parametrize("stop_at", [1, 3, 4, 7])
def test_a_run_stopped_at_any_step_ends_with_the_weights_of_one_never_stopped(
    whole_run, tmp_path, stop_at
):
    data, whole, _ = whole_run
    steps = 0

    def stop(event):
        nonlocal steps
        if isinstance(event, StepEnded):
            steps += 1
            if steps == stop_at:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(data, out=tmp_path / "run", listener=stop, **SMALL)
    assert (tmp_path / "run" / "model.safetensors").is_file()
    torch.manual_seed(987)  # another process would not have our generator's state
    resumed = train(out=tmp_path / "run", resume=True)
    assert resumed.epochs == 4
    for name in ("model.safetensors",):
        assert_same_weights(weights_of(whole.folder / name), weights_of(resumed.folder / name))
    last = [
        torch.load(folder / "last.ckpt", weights_only=True)["model"]
        for folder in (whole.folder, resumed.folder)
    ]
    assert_same_weights(*last)


@pytest.mark.slow
def test_a_run_killed_with_signal_9_and_resumed_equals_one_never_killed(tmp_path):
    data = write_shapes(tmp_path / "data", num_images=24, size=(96, 96))

    def command(out, *more):
        return [
            sys.executable, "-m", "pixelwise", "train", str(data), "--model", "unet-elu",
            "--epochs", "14", "--batch-size", "4", "--device", "cpu", "--set", FIXED,
            "--out", str(out), *more,
        ]  # fmt: skip

    subprocess.run(command(tmp_path / "whole"), check=True, capture_output=True)
    victim = subprocess.Popen(
        command(tmp_path / "killed"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    checkpoint = tmp_path / "killed" / "last.ckpt"

    def steps_saved():
        """24 images, 70 % of them to train on, in batches of 4: 4 steps an epoch."""
        if not checkpoint.is_file():
            return 0
        progress = torch.load(checkpoint, weights_only=True)["progress"]
        return progress["epoch"] * 4 + progress["step"]

    while steps_saved() == 0:
        assert victim.poll() is None, victim.communicate()
        time.sleep(0.05)
    time.sleep(0.1)  # into the steps after the checkpoint, whose work is lost
    os.kill(victim.pid, signal.SIGKILL)
    victim.communicate()
    assert 0 < steps_saved() < 56, "the run must be killed between its start and its end"
    resume = [sys.executable, "-m", "pixelwise", "train", "--resume", "--out"]
    subprocess.run([*resume, str(tmp_path / "killed")], check=True, capture_output=True)
    assert_same_weights(
        weights_of(tmp_path / "whole" / "model.safetensors"),
        weights_of(tmp_path / "killed" / "model.safetensors"),
    )
    metrics = [(tmp_path / run / "metrics.json").read_text() for run in ("whole", "killed")]
    assert metrics[0] == metrics[1]


def state_of(folder):
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*.*")}


def test_a_finished_run_is_not_written_again_when_it_is_resumed(whole_run):
    _, outcome, _ = whole_run
    before, said = state_of(outcome.folder), []
    again = train(out=outcome.folder, resume=True, listener=said.append)
    assert state_of(outcome.folder) == before
    assert (again.epochs, again.best_epoch) == (4, outcome.best_epoch)
    assert again.metrics.mean_iou == outcome.metrics.mean_iou
    titles = [event.title for event in said if isinstance(event, Message)]
    assert "the run is finished, so there is nothing to resume" in titles


def test_a_run_killed_while_it_wrote_its_report_is_finished_when_resumed(whole_run, tmp_path):
    _, outcome, _ = whole_run
    killed = tmp_path / "killed"
    shutil.copytree(outcome.folder, killed)
    before = (killed / "metrics.json").read_text()
    for name in ("report.html", "metrics.json"):
        (killed / name).unlink()
    train(out=killed, resume=True)
    assert (killed / "report.html").is_file()
    assert (killed / "metrics.json").read_text() == before


def test_a_run_is_never_written_over(whole_run):
    data, outcome, _ = whole_run
    with pytest.raises(ConfigError, match="contains a run"):
        train(data, out=outcome.folder, **SMALL)


def test_resume_refuses_another_recipe(whole_run):
    _, outcome, _ = whole_run
    with pytest.raises(ConfigError, match="must keep its recipe"):
        train(out=outcome.folder, resume=True, epochs=9)


def test_resume_refuses_changed_data(tmp_path):
    data = write_shapes(tmp_path / "data")
    train(data, out=tmp_path / "run", model="stacked-fcn", epochs=1)
    for folder in ("images", "masks"):
        (data / folder / "00.png").rename(data / folder / "99.png")
    with pytest.raises(ModelFileError, match="differs: 3 of its 6 train images"):
        train(out=tmp_path / "run", resume=True)


def empty(data):
    shutil.rmtree(data)
    data.mkdir()


def missing(data):
    shutil.rmtree(data)


def of_other_images(data):
    shutil.rmtree(data)
    write_shapes(data, seed=1)


def of_more_images(data):
    for folder in ("images", "masks"):
        shutil.copy(data / folder / "00.png", data / folder / "99.png")
    Image.new("RGB", (24, 24)).save(data / "images/99.png")


def of_other_classes(data):
    (data / "dataset.yaml").write_text("classes: [sky, sun]")


def of_more_classes(data):
    (data / "dataset.yaml").write_text("classes: [class-0, class-1, sun]")


def of_other_masks(data):
    Image.new("L", (24, 24)).save(data / "masks/00.png")


OTHER_DATA = {
    empty: "must contain",
    missing: "does not exist",
    of_other_images: "it has none of the run's training images",
    of_more_images: r"1 of its \d+ (train|val) images were not in the run",
    of_other_classes: "its classes are sky, sun, and those of the run class-0, class-1",
    of_more_classes: "its classes are class-0, class-1, sun, and those of the run class-0, class-1",
    of_other_masks: "files, masks or splits differ",
}


@pytest.mark.parametrize("change", OTHER_DATA)
def test_resume_with_other_data_names_the_path_and_what_differs(one_epoch, tmp_path, change):
    data, run = tmp_path / "data", tmp_path / "run"
    shutil.copytree(one_epoch / "data", data)
    shutil.copytree(one_epoch / "run", run)
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace(str(one_epoch / "data"), str(data)))
    change(data)
    with pytest.raises((DataError, ModelFileError), match=OTHER_DATA[change]) as error_info:
        train(out=run, resume=True)
    message = str(error_info.value)
    assert re.match(
        f"`data` must be the data set that the run in {run} was trained on. {data} differs: |"
        f"the data set of the run in {run} cannot be opened at {data} ",
        message,
    )
    assert "recipe.yaml" in message
    assert "\n" not in message


@pytest.fixture(scope="module")
def one_epoch(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    train(write_shapes(folder / "data"), out=folder / "run", model="stacked-fcn", epochs=1)
    return folder


def test_resume_without_a_run_says_what_is_missing(tmp_path):
    with pytest.raises(ModelFileError, match="`out` must be the folder of a run to resume"):
        train(out=tmp_path / "nothing", resume=True)


def test_a_cut_checkpoint_is_refused_by_name(tmp_path):
    data = write_shapes(tmp_path / "data")
    train(data, out=tmp_path / "run", model="stacked-fcn", epochs=1)
    checkpoint = tmp_path / "run" / "last.ckpt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(ModelFileError, match=r"last\.ckpt"):
        train(out=tmp_path / "run", resume=True)


def test_every_flipped_bit_of_a_checkpoint_is_noticed_and_named(tmp_path):
    data = write_shapes(tmp_path / "data")
    train(data, out=tmp_path / "run", model="stacked-fcn", epochs=1)
    checkpoint = tmp_path / "run" / "last.ckpt"
    content = checkpoint.read_bytes()
    rng = random.Random(0)
    for place in (0, len(content) - 1, len(content) - 100, *rng.choices(range(len(content)), k=30)):
        changed = bytearray(content)
        changed[place] ^= 1 << rng.randrange(8)
        checkpoint.write_bytes(changed)
        with pytest.raises(ModelFileError, match=r"last\.ckpt must be as pixelwise wrote it"):
            read_checkpoint(checkpoint)
    with pytest.raises(ModelFileError, match=r"last\.ckpt must be as pixelwise wrote it"):
        train(out=tmp_path / "run", resume=True)
    checkpoint.write_bytes(content)
    assert zipfile.ZipFile(checkpoint).comment.startswith(b"sha256:")
    train(out=tmp_path / "run", resume=True)


def test_small_images_of_mixed_sizes_are_learned(tmp_path):
    sizes = [(24, 24), (17, 40), (33, 20), (9, 9)]
    data = write_shapes(tmp_path / "data", num_images=20, sizes=sizes)
    outcome = train(
        data, out=tmp_path / "run", model="encoder-decoder", epochs=25, batch_size=4, seed=1
    )
    assert outcome.metrics.mean_iou > 0.8


@pytest.mark.parametrize("mode", ["L", "RGB", "five"])
def test_images_of_one_three_and_five_channels_train(tmp_path, mode):
    if mode == "five":  # no PNG holds that many: TIFF does
        import tifffile

        data = write_shapes(tmp_path / "data", mode="L")
        for path in sorted((data / "images").iterdir()):
            gray = np.asarray(Image.open(path))
            tifffile.imwrite(
                path.with_suffix(".tif"),
                np.stack([gray] * 5, -1),
                photometric="minisblack",
                planarconfig="contig",
            )
            path.unlink()
        channels = 5
    else:
        data = write_shapes(tmp_path / "data", mode=mode)
        channels = len(mode)
    outcome = train(data, out=tmp_path / "run", model="stacked-fcn", epochs=1)
    assert load_model(outcome.folder).card.in_channels == channels


def test_sixteen_bit_images_keep_their_depth(tmp_path):
    data = write_shapes(tmp_path / "data", mode="L")
    for path in sorted((data / "images").iterdir()):
        deep = np.asarray(Image.open(path)).astype(np.uint16) * 200
        Image.fromarray(deep).save(path)
    outcome = train(data, out=tmp_path / "run", model="stacked-fcn", epochs=1)
    card = load_model(outcome.folder).card
    assert card.preprocessing.dtype == "uint16"
    assert card.preprocessing.mean[0] > 255


def test_training_stops_when_patience_is_out(tmp_path):
    data = write_shapes(tmp_path / "data")
    outcome = train(
        data,
        out=tmp_path / "run",
        model="stacked-fcn",
        epochs=50,
        # Nothing moves at this learning rate, so no epoch is better than the first.
        overrides=["training.learning_rate=1e-12", "training.patience=2"],
    )
    assert outcome.epochs == outcome.best_epoch + 2


def test_a_run_that_patience_ends_is_judged_at_its_end(tmp_path, monkeypatch):
    shares = []
    after_epoch = Observer.after_epoch

    def seen(self, history, metrics, fraction):
        shares.append(fraction)
        after_epoch(self, history, metrics, fraction)

    monkeypatch.setattr(Observer, "after_epoch", seen)
    train(
        write_shapes(tmp_path / "data"),
        out=tmp_path / "run",
        model="stacked-fcn",
        epochs=50,
        overrides=["training.learning_rate=1e-12", "training.patience=1"],
    )
    assert shares[-1] == 1.0
    assert max(shares[:-1]) < 0.5


def test_a_resumed_run_knows_how_long_its_validation_takes(tmp_path):
    data = write_shapes(tmp_path / "data")
    train(data, out=tmp_path / "run", model="stacked-fcn", epochs=1)
    kept = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["progress"]
    assert kept["validation_s"] > 0


def test_a_loss_that_is_no_number_ends_the_run_with_advice(tmp_path):
    data = write_shapes(tmp_path / "data")
    with pytest.raises(TrainingError, match="Lower the learning rate"):
        train(
            data,
            out=tmp_path / "run",
            model="stacked-fcn",
            epochs=5,
            overrides=["training.learning_rate=1e30", "training.warmup=0"],
        )


@pytest.fixture
def drawings(monkeypatch):
    """How many epochs were in each drawing of the curves."""
    seen = []
    monkeypatch.setattr(loop, "draw_curves", lambda history, _: seen.append(len(history)))
    return seen


def test_curves_are_not_drawn_at_every_epoch_of_a_short_training(tmp_path, drawings):
    train(write_shapes(tmp_path / "data"), out=tmp_path / "run", model="stacked-fcn", epochs=6)
    assert drawings == [6]


def test_curves_are_drawn_at_every_epoch_that_is_long_beside_drawing(
    tmp_path, drawings, monkeypatch
):
    monkeypatch.setattr(loop, "CURVES_S", 0.0)
    monkeypatch.setattr(loop, "CURVES_SHARE", 1e6)  # of the time since the last drawing
    train(write_shapes(tmp_path / "data"), out=tmp_path / "run", model="stacked-fcn", epochs=3)
    assert drawings == [1, 2, 3]


def test_the_time_of_the_last_drawing_decides_about_the_next(tmp_path, drawings, monkeypatch):
    monkeypatch.setattr(loop, "CURVES_S", 0.0)
    monkeypatch.setattr(
        loop, "draw_curves", lambda history, _: (drawings.append(len(history)), time.sleep(0.5))
    )
    train(write_shapes(tmp_path / "data"), out=tmp_path / "run", model="stacked-fcn", epochs=4)
    assert drawings == [1, 4]


def test_a_stopped_or_failed_training_leaves_the_curves_of_all_its_epochs(tmp_path, drawings):
    data = write_shapes(tmp_path / "data")

    def stop(event):
        if isinstance(event, StepEnded) and event.epoch == 3:
            raise KeyboardInterrupt

    def fail(event):
        if isinstance(event, StepEnded) and event.epoch == 3:
            raise TrainingError

    for listener, error in ((stop, KeyboardInterrupt), (fail, TrainingError)):
        with pytest.raises(error):
            train(data, out=tmp_path / error.__name__, listener=listener, **SMALL)
    assert drawings == [2, 2]


def test_a_budget_in_minutes_ends_the_run(tmp_path, ticking_clock):
    data = write_shapes(tmp_path / "data")
    began = time.perf_counter()
    outcome = train(data, out=tmp_path / "run", model="stacked-fcn", minutes=0.3)
    # By this clock pictures and report take no time, for which six seconds are set aside.
    assert 18 - 6 - 2 <= time.perf_counter() - began <= 18
    assert outcome.epochs >= 1
    recipe = load_recipe(outcome.folder / "recipe.yaml")
    assert (recipe.training.minutes, recipe.training.epochs) == (0.3, None)


def test_epochs_and_minutes_together_are_refused(tmp_path):
    data = write_shapes(tmp_path / "data")
    with pytest.raises(ConfigError, match="epochs or minutes"):
        train(data, out=tmp_path / "run", epochs=1, minutes=1)
    assert not (tmp_path / "run").exists()


def test_a_folder_without_validation_images_is_refused_before_training(tmp_path):
    data = write_shapes(tmp_path / "data", num_images=1)
    with pytest.raises(DataError, match="val"):
        train(data, out=tmp_path / "run", epochs=1)
    assert not (tmp_path / "run").exists()


def test_class_weights_change_what_is_learned(tmp_path):
    data = write_shapes(tmp_path / "data")
    runs = [
        train(
            data,
            out=tmp_path / name,
            model="stacked-fcn",
            epochs=1,
            overrides=[f"training.class_weights={name}"],
        )
        for name in ("none", "balanced")
    ]
    first, second = (weights_of(run.folder / "model.safetensors") for run in runs)
    assert not torch.equal(*(weights["layers.0.0.0.weight"] for weights in (first, second)))


INTERRUPTED = """
import json, os, signal, sys
import torch
from pixelwise.training.events import StepEnded
from pixelwise.training.train import train

data, out, options = json.loads(sys.argv[1])
backward, num_steps = torch.Tensor.backward, 0

def count(event):
    global num_steps
    num_steps += isinstance(event, StepEnded)

def interrupted(loss):
    backward(loss)
    if num_steps == 3:
        os.kill(os.getpid(), signal.SIGINT)  # inside the fourth step

torch.Tensor.backward = interrupted
try:
    train(data, out=out, listener=count, **options)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_control_c_inside_a_step_ends_the_step_first(whole_run, tmp_path):
    # In a process of its own: a signal that goes astray would end the one that runs the tests.
    data, whole, _ = whole_run
    task = json.dumps([str(data), str(tmp_path / "run"), SMALL])
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", INTERRUPTED, task],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr
    progress = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["progress"]
    assert progress["epoch"] * 2 + progress["step"] == 4
    resumed = train(out=tmp_path / "run", resume=True)
    assert_same_weights(
        weights_of(whole.folder / "model.safetensors"),
        weights_of(resumed.folder / "model.safetensors"),
    )
