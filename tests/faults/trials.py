"""Runs commands in processes that are killed, or whose system calls fail.

One process imports everything once, and forks for each trial. A trial runs one command of the
command line in a folder of its own. ``judging`` says what must hold.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIBRARY_VARIABLE = "PIXELWISE_TEST_INJECTOR"

CALLS = ("open", "write", "fsync", "rename", "mkdir", "ftruncate")
"""The kinds of system calls that the injector can make fail."""

EPOCHS = 2


@dataclass(frozen=True)
class Verb:
    """A command under test.

    Attributes:
        words: The command, with ``{data}``, ``{run}``, ``{images}`` and ``{out}`` as folders.
        again: The command that continues after a fault; ``None`` repeats the same one.
        exact: Results, relative to ``{out}``, that must equal those of a run without a fault.
        whole: Further results, which must exist in the end.
    """

    words: tuple[str, ...]
    exact: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()
    again: tuple[str, ...] | None = None


TRAIN = (
    "train", "{data}", "--model", "unet-elu", "--epochs", str(EPOCHS), "--size", "32x32",
    "--batch-size", "4", "--set", "model.arguments={{filters: 4, depth: 2}}",
    "--set", "data.scale=1", "--device", "cpu",
)  # fmt: skip

VERBS: dict[str, Verb] = {
    "train": Verb(
        (*TRAIN, "--out", "{out}/run"),
        exact=("run/weights",),
        whole=("run/report.html", "run/metrics.json", "run/recipe.yaml", "run/history.csv"),
        again=("train", "--resume", "--out", "{out}/run"),
    ),
    "predict": Verb(
        ("predict", "{run}", "{images}", "--out", "{out}/masks", "--save", "overlay"),
        exact=("masks",),
    ),
    "convert": Verb(("data", "convert", "{data}", "{out}/copy", "--to", "class-masks"),
                    exact=("copy",)),
    "split": Verb(("data", "split", "{data}", "--redraw", "--out", "{out}/card.yaml"),
                  exact=("card.yaml",)),
    "check": Verb(("data", "check", "{data}", "--report", "{out}/page.html", "--write",
                   "{out}/card.yaml"), whole=("page.html", "card.yaml")),
    "evaluate": Verb(("evaluate", "{run}", "{data}", "--report", "{out}/page.html"),
                     whole=("page.html",)),
    "report": Verb(("report", "{run}", "--data", "{data}", "--out", "{out}/page.html"),
                   whole=("page.html",)),
    "review": Verb(("review", "{run}", "{data}", "--out", "{out}/review"),
                   exact=("review/review.csv",), whole=("review/review.html",)),
    "compare": Verb(
        ("compare", "{data}", "--models", "stacked-fcn,unet-elu(filters=4,depth=2)",
         "--epochs", "1", "--out", "{out}/cmp", "--set", "training.batch_size=4",
         "--set", "training.size=[32,32]", "--set", "data.scale=1"),
        whole=("cmp/comparison.html", "cmp/comparison.json"),
    ),
}  # fmt: skip


@dataclass
class Outcome:
    """How a command ended.

    Attributes:
        code: Its exit code; negative if a signal ended it.
        errors: What it wrote to stderr.
        calls: Number of system calls of the armed kind.
        seconds: How long it took.
    """

    code: int
    errors: str
    calls: int
    seconds: float


def build_injector(folder: Path) -> Path | None:
    """Compile the library that makes system calls fail; ``None`` without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    library = folder / "injector.so"
    source = HERE / "injector.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True)
    return library


class Bench:
    """Runs commands in forked processes.

    Args:
        home: A folder for data, a trained run, and the trials.
    """

    def __init__(self, home: Path) -> None:
        library = os.environ.get(LIBRARY_VARIABLE)
        self._injector = ctypes.CDLL(library) if library else None
        self.home = home
        self.places = {
            "data": home / "data", "run": home / "made" / "run", "images": home / "images",
        }  # fmt: skip
        self._import_all()
        self._make_inputs()

    @staticmethod
    def _import_all() -> None:
        """Import what the commands need, so that a fork costs milliseconds."""
        import matplotlib.figure  # noqa: F401
        import scipy.ndimage  # noqa: F401
        import torch

        from pixelwise.comparison import compare  # noqa: F401
        from pixelwise.doctor import check_data  # noqa: F401
        from pixelwise.reporting import model_report  # noqa: F401
        from pixelwise.training import train  # noqa: F401

        torch.set_num_threads(1)

    def _make_inputs(self) -> None:
        self.run(("data", "digits", "{data}", "--train", "12", "--val", "6", "--height", "40",
                  "--width", "40", "--multiclass"), self.home)  # fmt: skip
        images = self.places["images"]
        images.mkdir()
        for path in sorted((self.places["data"] / "val" / "images").iterdir())[:4]:
            shutil.copy(path, images)

    def train_first(self) -> None:
        """Train the run that some commands take, unless it is there."""
        if not self.places["run"].exists():
            made = self.run((*TRAIN, "--out", "{run}"), self.home)
            if made.code:
                raise SystemExit(f"the run for the trials cannot be trained:\n{made.errors}")

    def run(
        self,
        words: Sequence[str],
        out: Path,
        *,
        fault: tuple[str, int, int, bool] | None = None,
        kill_after: float | None = None,
    ) -> Outcome:
        """Run one command.

        Args:
            words: The command; see :class:`Verb`.
            out: The folder of its results, where calls may fail; it holds the cache too.
            fault: Kind, number, error and whether it happens once; the number -1 only counts.
            kill_after: Seconds after which the process is killed.
        """
        out.mkdir(parents=True, exist_ok=True)
        filled = [word.format(out=out, **self.places) for word in words]
        told, count = out.with_name(f"{out.name}.stderr"), out.with_name(f"{out.name}.count")
        count.unlink(missing_ok=True)
        started = time.perf_counter()
        child = os.fork()
        if child == 0:
            self._be_the_command(filled, out, told, count, fault)
        if kill_after is not None:
            time.sleep(kill_after)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        seconds = time.perf_counter() - started
        calls = int(count.read_text()) if count.is_file() else 0
        errors = told.read_text(errors="replace") if told.is_file() else ""
        return Outcome(os.waitstatus_to_exitcode(status), errors, calls, seconds)

    def _be_the_command(
        self,
        words: Sequence[str],
        out: Path,
        told: Path,
        count: Path,
        fault: tuple[str, int, int, bool] | None,
    ) -> None:
        """Run the command in this forked process, and leave it with its exit code."""
        code: object = 70
        try:
            os.setpgid(0, 0)
            stream = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(stream, 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.environ["PIXELWISE_CACHE"] = str(out / "cache")
            sys.argv = ["pixelwise", *words]
            from pixelwise.cli import main

            if fault is not None and self._injector is not None:
                kind, number, error, is_once = fault
                self._injector.faults_arm(
                    kind.encode(), ctypes.c_long(number), error, int(is_once), f"{out}/".encode()
                )
            main()
            code = 0
        except SystemExit as end:
            code = end.code
        except BaseException:
            traceback.print_exc()
        finally:
            if self._injector is not None:
                seen = self._injector.faults_seen
                seen.restype = ctypes.c_long
                number = seen()
                self._injector.faults_arm(b"", ctypes.c_long(-1), 0, 0, b"")
                count.write_text(str(number))
            sys.stderr.flush()
            os._exit(code if isinstance(code, int) else int(bool(code)))
