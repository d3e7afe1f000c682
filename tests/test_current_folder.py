"""Processes that pixelwise starts never import a module from the current folder."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from pixelwise.evaluation.worker_processes import worker_processes
from pixelwise.prediction import costs
from pixelwise.prediction.costs import peak_memory_mb


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """A current folder with modules of usual names, and the file that they would write."""
    folder, mark = tmp_path / "data", tmp_path / "was-run"
    folder.mkdir()
    for name in ("pixelwise", "multiprocessing", "torch", "numpy", "importlib", "json"):
        (folder / f"{name}.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    monkeypatch.chdir(folder)
    return mark


def test_worker_processes_do_not(trap):
    with worker_processes(1, os.getpid, ()) as pool:
        assert pool.submit(os.getpid).result(60) != os.getpid()
    assert not trap.exists()
    assert "PYTHONSAFEPATH" not in os.environ


@pytest.mark.skipif(not costs.STATUS.is_file(), reason="only Linux tells a process's peak memory")
def test_the_process_that_measures_memory_does_not(trap, make_model_file, tmp_path):
    path = make_model_file(tmp_path / "model.safetensors")
    assert peak_memory_mb(path, np.zeros((64, 64, 3), np.uint8), torch.device("cpu")) is not None
    assert not trap.exists()


@pytest.mark.parametrize("words", ["models", "data check ../data", "train ../data", "no-verb"])
def test_a_current_folder_that_was_deleted_is_named(tmp_path, words):
    line = f"mkdir gone && cd gone && rmdir ../gone && '{sys.executable}' -m pixelwise {words}"
    done = subprocess.run(
        ["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: the current folder must exist. It was deleted")
    assert done.stderr.count("\n") == 1
