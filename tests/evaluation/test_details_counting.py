"""What a report needs beside the headlines is the same wherever it is counted; workers end."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_evaluate import predictor_of

from pixelwise.classes import ClassMap, numbered_names
from pixelwise.data.sample import Sample
from pixelwise.evaluation import details_counting, headline_counts
from pixelwise.evaluation.details_counting import Image, num_workers
from pixelwise.evaluation.evaluate import evaluate_samples

IGNORED = 255
MODES = ("multiclass", "multilabel")


def samples_of(mode, count=7):
    rng = np.random.default_rng(0)
    samples = []
    for index in range(count):
        size = (30 + 3 * index, 50)
        image = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
        if mode == "multiclass":
            mask = rng.choice([0, 1, 2, IGNORED], size).astype(np.uint8)
        else:
            mask = rng.choice([0, 90, 200, 255], (3, *size)).astype(np.uint8)
        samples.append(Sample(f"{index}", image, mask, mode))
    return samples


def detailed(mode, **options):
    predictor = predictor_of(ClassMap.build(numbered_names(3)), mode=mode)
    samples = samples_of(mode)
    return evaluate_samples(predictor, samples, len(samples), detailed=True, **options)


@pytest.fixture
def start(monkeypatch):
    """Have as many workers started as are wanted, however little there is to do."""

    def start(count):
        monkeypatch.setattr(details_counting, "num_workers", lambda *_: count)

    return start


@pytest.mark.parametrize("mode", MODES)
def test_details_are_the_same_with_any_number_of_workers(start, mode):
    found = []
    for count in (0, 1, 3):
        start(count)
        told = []
        found.append(detailed(mode, on_progress=lambda *step, told=told: told.append(step)))
        assert told == [(done, 7) for done in range(1, 8)]
        assert not multiprocessing.active_children()
    for other in found[1:]:
        assert other.to_json() == found[0].to_json()
        ours, theirs = other.detail, found[0].detail
        assert np.array_equal(ours.counts, theirs.counts)
        assert np.array_equal(ours.confidence.thresholds, theirs.confidence.thresholds)


@pytest.mark.parametrize("mode", MODES)
def test_counts_on_an_accelerator_are_those_in_main_memory(monkeypatch, mode):
    here = detailed(mode).to_json()
    monkeypatch.setattr(headline_counts, "_is_in_main_memory", lambda _: False)
    there = detailed(mode).to_json()
    assert there.pop("loss") == pytest.approx(here.pop("loss"), rel=1e-5)
    assert there == here


@pytest.mark.parametrize("value", [-200.0, 200.0, 0.0, 2.0, -15.0])
@pytest.mark.parametrize("label", [0, 90, 255])
def test_the_binary_loss_on_an_accelerator_has_the_same_bound(monkeypatch, value, label):
    def loss():
        card = SimpleNamespace(class_map=SimpleNamespace(num_classes=1))
        predictor = SimpleNamespace(card=card, decide=lambda logits: (logits > 0).numpy())
        counting = headline_counts.MultilabelCounting(predictor)
        counting.add(torch.full((1, 1, 1), value), np.full((1, 1, 1), label, np.uint8))
        return counting.loss

    here = loss()
    monkeypatch.setattr(headline_counts, "_is_in_main_memory", lambda _: False)
    # Near 1, a float32 probability is coarser than the float32 logit.
    assert loss() == pytest.approx(here, rel=1e-2, abs=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_only_counts_come_from_an_accelerator_to_the_host(monkeypatch, mode):
    sample = samples_of(mode)[0]
    predictor = predictor_of(ClassMap.build(numbered_names(3)), mode=mode)
    counting = headline_counts.COUNTING[mode](predictor)
    logits = next(predictor.logits_of([(sample.name, sample.image)]))
    monkeypatch.setattr(headline_counts, "_is_in_main_memory", lambda _: False)
    copied, cpu = [], torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda self: copied.append(self.numel()) or cpu(self))
    assert counting.add(logits, sample.mask) is None
    assert max(copied) <= 12


def test_headlines_with_and_without_details_are_the_same():
    predictor = predictor_of(ClassMap.build(numbered_names(3)))
    samples = samples_of("multiclass")
    alone = evaluate_samples(predictor, samples, len(samples)).to_json()
    both = detailed("multiclass").to_json()
    different = {name for name in alone if alone[name] != both[name]}
    assert different == {"intervals", "per_class"}  # which are drawn with the details


def image_of(*shape):
    plane = np.zeros(shape[1:], np.uint8)
    return Image("a", np.zeros(shape, np.float32), plane, plane)


def test_workers_are_started_where_there_is_enough_to_do(monkeypatch):
    monkeypatch.setattr(details_counting, "num_cores", lambda: 8)
    large = image_of(11, 360, 480)
    assert num_workers(1, large) == 0
    assert num_workers(24, large) == 0
    assert num_workers(100, large) == 3
    assert num_workers(1000, large) == 8
    assert num_workers(200, image_of(2, 20, 20)) == 0
    monkeypatch.setattr(details_counting, "num_cores", lambda: 128)
    assert num_workers(100_000, large) == details_counting.MAX_WORKERS
    monkeypatch.setattr(details_counting, "num_cores", lambda: 1)
    assert num_workers(1000, large) == 0


def test_a_process_that_may_have_no_children_counts_by_itself(monkeypatch):
    monkeypatch.setattr(details_counting, "may_start_processes", lambda: False)
    assert num_workers(1000, image_of(11, 360, 480)) == 0


def test_where_a_worker_is_killed_this_process_continues(start):
    start(0)
    expected = detailed("multiclass").to_json()
    start(2)
    killed = []

    def kill(done, _):
        if not killed and done == 1:
            killed.extend(child.pid for child in multiprocessing.active_children())
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    assert detailed("multiclass", on_progress=kill).to_json() == expected
    assert killed


def test_without_worker_processes_this_process_counts(start, monkeypatch):
    start(0)
    expected = detailed("multiclass").to_json()
    start(2)

    def refuse(*_):
        raise OSError("Resource temporarily unavailable")

    monkeypatch.setattr("pixelwise.evaluation.worker_processes._Worker._Popen", refuse)
    assert detailed("multiclass").to_json() == expected


def test_an_error_ends_the_workers_at_once(start):
    start(2)
    seen = []

    def stop(*_):
        seen.extend(multiprocessing.active_children())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        detailed("multiclass", on_progress=stop)
    assert seen
    assert not multiprocessing.active_children()


SCRIPT = """
import sys
from pathlib import Path
Path(sys.argv[1]).open("a").write("script ran\\n")
sys.path[:0] = {paths!r}
from test_evaluate import predictor_of
from test_details_counting import samples_of
from pixelwise.classes import ClassMap, numbered_names
from pixelwise.evaluation import details_counting
from pixelwise.evaluation.evaluate import evaluate_samples
import multiprocessing, signal, time
# A shell that starts the tests in the background has SIGINT ignored, which children inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)
details_counting.num_workers = lambda *_: 2
predictor = predictor_of(ClassMap.build(numbered_names(3)))

def step(*_):
    if len(sys.argv) > 2:
        print(*[child.pid for child in multiprocessing.active_children()], flush=True)
        time.sleep(60)

evaluate_samples(predictor, samples_of("multiclass"), 7, detailed=True, on_progress=step)
print("done")
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT.format(paths=[str(here) for here in sys.path if "tests" in here]))
    return [sys.executable, str(path), str(tmp_path / "log")]


def test_a_script_without_a_guard_is_not_run_again_by_the_workers(script, tmp_path):
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    assert done.stdout == "done\n"
    assert (tmp_path / "log").read_text() == "script ran\n"


def is_running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_the_process_that_uses_them(script, number):
    with subprocess.Popen(
        [*script, "wait"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            pids = [int(word) for word in process.stdout.readline().split()]
            assert len(pids) == 2
            if number == signal.SIGINT:  # as a terminal sends it, to all of them
                os.killpg(process.pid, number)
            else:
                process.kill()
            _, err = process.communicate(timeout=60)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    assert err.count("Traceback") == (number == signal.SIGINT)  # the script's own, and no worker's
    until = time.monotonic() + 30
    while any(map(is_running, pids)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(map(is_running, pids))
