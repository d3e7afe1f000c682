"""The short part of fuzzing, and that the harness finds what it looks for; see fuzz.py."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("the harness limits memory as on Linux", allow_module_level=True)

import fuzz
from fuzz_targets import TARGETS


@pytest.fixture
def run():
    """Fuzz a target whose reader is replaced, as long as it takes."""

    def run(read, executions=12):
        target = replace(TARGETS["dataset card"], read=read)
        return fuzz.run(target, 0, range(executions), 600.0)

    return run


def test_a_few_damaged_files_of_every_kind():
    script = Path(fuzz.__file__)
    done = subprocess.run(
        [sys.executable, script, "--executions", str(20 * len(TARGETS)), "--minutes", "5"],
        env={**os.environ, "PIXELWISE_CACHE": "off"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.count("\n") == len(TARGETS) + 2


def test_an_error_that_is_not_of_pixelwise_is_found_once_for_each_place(run):
    def read(folder):
        raise KeyError(folder.name)

    outcome = run(read)
    assert outcome.executions == 12
    (finding,) = outcome.findings
    assert finding.startswith("KeyError at test_fuzz_harness.py:")


def test_a_process_that_dies_is_found_and_the_inputs_behind_it_are_read(run):
    def read(folder):
        if folder.name.endswith("5"):
            os._exit(3)
        return True

    outcome = run(read)
    assert outcome.executions == 12
    assert outcome.findings == {"died with code 3": "input 5"}


def test_too_much_memory_is_found(run):
    def read(folder):
        return len(bytearray(3 * 1024**3)) > len(folder.name)

    outcome = run(read, executions=1)
    assert [finding.partition(" ")[0] for finding in outcome.findings] == ["MemoryError"]


def test_what_takes_too_long_is_found(run, monkeypatch):
    monkeypatch.setattr(fuzz, "SECONDS", 0.5)

    def read(folder):
        while not folder.name.startswith("none"):
            pass

    assert list(run(read, executions=1).findings) == ["took more than 0.5 seconds"]
