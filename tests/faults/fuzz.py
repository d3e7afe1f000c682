"""Damages small files at random and reads them: only errors of pixelwise may come out.

    python tests/faults/fuzz.py --executions 20000 --minutes 30

Every target runs in a process of its own with 2 GiB of memory beyond what it starts with and 5
seconds of computing for each input. A process that dies or hangs is a finding, and another one
continues behind that input. ``--only TARGET --seed S --first N --executions 1`` repeats a finding.
"""

import argparse
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from fuzz_targets import TARGETS, Target, run_one

MEMORY_BYTES = 2 * 1024**3
SECONDS = 5.0
"""Computing time of one input; on a busy machine, more time passes."""

MOST_FINDINGS = 5
"""Different findings of one target after which it is left."""

HEADER = f"{'target':26} {'executions':>10} {'seconds':>8} {'refused':>8} {'accepted':>8} findings"


@dataclass
class Outcome:
    """What happened to the inputs of one target."""

    name: str
    executions: int = 0
    seconds: float = 0.0
    counts: Counter = field(default_factory=Counter)
    findings: dict[str, str] = field(default_factory=dict)

    def row(self) -> str:
        """Return the line of the table."""
        refused, accepted = self.counts["refused"], self.counts["accepted"]
        return (
            f"{self.name:26} {self.executions:>10,} {self.seconds:>8.1f} {refused:>8,} "
            f"{accepted:>8,} {len(self.findings):>8}"
        )


def child(target: Target, seed: int, numbers: range, answers: Connection) -> None:
    """Run inputs of a target and send what happened to each: accepted, refused, or a finding."""
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY_BYTES,) * 2)
    folder = Path(tempfile.mkdtemp())
    try:
        for number in numbers:
            try:
                answers.send("accepted" if run_one(target, number, seed, folder) else "refused")
            except Exception as error:  # a finding
                last = traceback.extract_tb(error.__traceback__)[-1]
                where = f"{Path(last.filename).name}:{last.lineno} {last.name}"
                answers.send((f"{type(error).__name__} at {where}", str(error)[:200]))
            for place in folder.iterdir():
                shutil.rmtree(place, ignore_errors=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(target: Target, seed: int, numbers: range, seconds: float) -> Outcome:
    """Run inputs of one target in child processes until all are done or the time is up."""
    outcome = Outcome(target.name)
    began = time.monotonic()
    fork = multiprocessing.get_context("fork")  # the modules are loaded already
    while numbers and (time.monotonic() - began < seconds) and not _is_enough(outcome):
        answers, theirs = fork.Pipe(duplex=False)
        process = fork.Process(target=child, args=(target, seed, numbers, theirs))
        process.start()
        theirs.close()
        done, problem = _follow(process, answers, outcome, numbers, began + seconds)
        process.kill()
        process.join()
        answers.close()
        numbers = numbers[done:]
        if problem:
            outcome.findings.setdefault(problem, f"input {numbers[0]}")
            outcome.executions += 1
            numbers = numbers[1:]
    outcome.seconds = time.monotonic() - began
    return outcome


def _is_enough(outcome: Outcome) -> bool:
    return len(outcome.findings) >= MOST_FINDINGS


def _follow(
    process: multiprocessing.Process,
    answers: Connection,
    outcome: Outcome,
    numbers: range,
    until: float,
) -> tuple[int, str | None]:
    """Count the answers of a child; return their number, and what was wrong if it died or hung."""
    began_s = 0.0
    for done, number in enumerate(numbers):
        if time.monotonic() > until or _is_enough(outcome):
            return done, None
        while not answers.poll(1.0):
            if _computed_s(process) - began_s > SECONDS:
                return done, f"took more than {SECONDS:g} seconds"
        try:
            answer = answers.recv()
        except EOFError:
            process.join()
            return done, f"died with code {process.exitcode}"
        outcome.executions += 1
        if isinstance(answer, str):
            outcome.counts[answer] += 1
        else:
            outcome.findings.setdefault(answer[0], f"input {number}: {answer[1]}")
        began_s = _computed_s(process)
    return len(numbers), None


def _computed_s(process: multiprocessing.Process) -> float:
    """Return the computing time of a process; 0 if it has ended."""
    try:
        words = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def fuzz(names: list[str], executions: int, minutes: float, seed: int, first: int) -> Outcome:
    """Fuzz targets and print the table; return the sum."""
    end = time.monotonic() + minutes * 60
    total = Outcome("all")
    print(HEADER, flush=True)
    for place, name in enumerate(names):
        seconds = (end - time.monotonic()) / (len(names) - place)
        most = -(-executions // len(names))
        one = run(TARGETS[name], seed, range(first, first + most), seconds)
        print(one.row(), flush=True)
        for kind, message in one.findings.items():
            print(f"    {kind}: {message}", flush=True)
            total.findings[f"{name}: {kind}"] = message
        total.executions += one.executions
        total.seconds += one.seconds
        total.counts += one.counts
    print(total.row())
    return total


def main() -> int:
    """Fuzz as the command line says; the exit code is 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--executions", type=int, default=20_000, help="of all targets together")
    parser.add_argument("--minutes", type=float, default=30.0, help="for all targets together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--only", action="append", choices=TARGETS, help="may be repeated")
    given = parser.parse_args()
    names = given.only or list(TARGETS)
    found = fuzz(names, given.executions, given.minutes, given.seed, given.first)
    return 1 if found.findings else 0


if __name__ == "__main__":
    sys.exit(main())
