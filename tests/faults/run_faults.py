"""Kills commands at random moments, and makes each of their writing system calls fail.

    python tests/faults/run_faults.py kills --moments 200 --folder /tmp --folder /dev/shm
    python tests/faults/run_faults.py calls --each 40

Prints a table per verb: tried, survived, ended with an error, lost. Exit code 1 if anything is
lost. Linux only; needs a C compiler for ``calls``.
"""

from __future__ import annotations

import argparse
import errno
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from judging import Judge, Tally, spread_over
from trials import CALLS, LIBRARY_VARIABLE, VERBS, Bench, build_injector

ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES)
"""Errors that stay, as on a full, broken or forbidden disk."""


def main() -> int:
    """Run the trials that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("kills", "calls"))
    parser.add_argument("--verb", action="append", choices=VERBS)
    parser.add_argument("--moments", type=int, default=200, help="kills in all")
    parser.add_argument("--each", type=int, default=20, help="calls of a kind that fail")
    parser.add_argument("--folder", action="append", help="where to work, such as /dev/shm")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.what == "calls" and LIBRARY_VARIABLE not in os.environ:
        return _again_with_injector()
    verbs = options.verb or list(VERBS)
    lost = 0
    for place in options.folder or [tempfile.gettempdir()]:
        with tempfile.TemporaryDirectory(dir=place, prefix="faults-") as home:
            bench = Bench(Path(home))
            for verb in verbs:
                started = time.perf_counter()
                judge, tally = Judge(bench, verb), Tally()
                for trial in _trials(options, judge, len(verbs)):
                    trial(tally)
                lost += len(tally.lost)
                _print(place, verb, tally, time.perf_counter() - started)
    print(f"lost: {lost}", flush=True)
    return int(lost > 0)


def _trials(options: argparse.Namespace, judge: Judge, num_verbs: int) -> Iterator[object]:
    if options.what == "kills":
        moments = random.Random(options.seed)
        places = len(options.folder or [1])
        for _ in range(max(1, options.moments // num_verbs // places)):
            after = moments.uniform(0, 1.1 * judge.clean.seconds)
            yield lambda tally, after=after: judge.try_kill(after, tally)
        return
    for kind in CALLS:
        numbers = spread_over(judge.count(kind), options.each)
        for index, number in enumerate(numbers):
            fault = (kind, number, ERRORS[index % len(ERRORS)], False)
            yield lambda tally, fault=fault: judge.try_fault(fault, tally)
            if kind == "write" and index % 4 == 0:
                for gentle in (errno.EINTR, 0):  # the call can be repeated; 0 writes half
                    fault = (kind, number, gentle, True)
                    yield lambda tally, fault=fault: judge.try_fault(fault, tally)


def _print(place: str, verb: str, tally: Tally, seconds: float) -> None:
    print(
        f"{place:10} {verb:10} tried {tally.tried:4}  survived {tally.survived:4}  "
        f"ended {tally.refused:4}  lost {len(tally.lost):3}  {seconds:6.0f} s",
        flush=True,
    )
    for line in tally.lost[:20]:
        print(f"    {line}", flush=True)


def _again_with_injector() -> int:
    with tempfile.TemporaryDirectory() as folder:
        library = build_injector(Path(folder))
        if library is None:
            print("a C compiler is needed to make system calls fail")
            return 1
        environment = {
            **os.environ,
            "LD_PRELOAD": str(library),
            LIBRARY_VARIABLE: str(library),
            "OMP_NUM_THREADS": "1",
        }
        return subprocess.run([sys.executable, *sys.argv], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
