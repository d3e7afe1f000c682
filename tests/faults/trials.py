"""Runs commands in processes that are killed, or whose system calls fail, and judges what is left.

One process imports everything once, and forks for each trial. A trial runs one command of the
command line in a folder of its own, is killed or fails, and is repeated without a fault. What
must hold:

- a file of the results is absent, as it was before, or whole, at every moment;
- an error is one line on stderr that names a file, without a traceback, and the exit code is 1;
- the repeated command ends with the same results as a run without a fault, and leaves no
  temporary files.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
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
    "compare": Verb(
        ("compare", "{data}", "--models", "unet-elu(filters=2,depth=1),segnet-basic(filters=2)",
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


@dataclass
class Tally:
    """What became of the trials of a verb.

    Attributes:
        tried: Number of trials.
        lost: What was lost or wrong, one line each; nothing may be.
        survived: Number of trials that ended well although something failed.
        refused: Number of trials that ended with an error of one line, or by the kill.
    """

    tried: int = 0
    survived: int = 0
    refused: int = 0
    lost: list[str] = field(default_factory=list)


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


class Judge:
    """Compares what a trial leaves with a run without a fault.

    Args:
        bench: Runs the commands.
        name: The verb.
    """

    def __init__(self, bench: Bench, name: str) -> None:
        self._bench, self.name, self._verb = bench, name, VERBS[name]
        self._trials = 0
        clean = bench.home / f"{name}-clean"
        self.clean = bench.run(self._verb.words, clean, fault=("write", -1, 0, True))
        if self.clean.code:
            raise SystemExit(f"{name} must run without a fault:\n{self.clean.errors}")
        self._expected = self._exact_results(clean)
        self._names = {path.relative_to(clean).as_posix() for path in _results(clean)}

    def count(self, kind: str) -> int:
        """Return how many calls of a kind the command makes in the folder of its results."""
        out = self._bench.home / f"{self.name}-{kind}-count"
        calls = self._bench.run(self._verb.words, out, fault=(kind, -1, 0, True)).calls
        shutil.rmtree(out)
        return calls

    def try_fault(self, fault: tuple[str, int, int, bool], tally: Tally) -> None:
        """Run the command with a failing system call."""
        self._try(tally, f"{fault[0]} number {fault[1]}, errno {fault[2]}", fault=fault)

    def try_kill(self, after: float, tally: Tally) -> None:
        """Run the command and kill it after some seconds."""
        self._try(tally, f"killed after {after:.3f} s", kill_after=after)

    def _try(
        self,
        tally: Tally,
        what: str,
        *,
        fault: tuple[str, int, int, bool] | None = None,
        kill_after: float | None = None,
    ) -> None:
        self._trials += 1
        out = self._bench.home / f"{self.name}-{self._trials}"
        done = self._bench.run(self._verb.words, out, fault=fault, kill_after=kill_after)
        tally.tried += 1
        wrong = [*self._wrong_end(done, out), *self._torn(out)]
        tally.survived += done.code == 0
        tally.refused += done.code != 0
        wrong += self._wrong_afterwards(out, has_ended=done.code == 0)
        tally.lost += [f"{self.name}, {what}: {line}" for line in wrong]
        for path in (out, out.with_name(f"{out.name}.stderr"), out.with_name(f"{out.name}.count")):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(True)

    def _wrong_end(self, done: Outcome, out: Path) -> Iterator[str]:
        if "Traceback" in done.errors:
            yield "a traceback: " + " | ".join(done.errors.strip().splitlines()[-3:])
        elif done.code == 1:
            last = done.errors.strip().splitlines()[-1:]
            if not last or not last[0].startswith("error: "):
                yield f"no error line: {done.errors[-200:]!r}"
            elif str(out) not in last[0]:
                yield f"the error names no file: {last[0]}"
        elif done.code not in (0, -signal.SIGKILL):
            yield f"exit code {done.code}: {done.errors[-200:]!r}"

    def _torn(self, out: Path) -> Iterator[str]:
        """Name the results that exist and cannot be read."""
        for path in _results(out):
            name = path.relative_to(out).as_posix()
            reason = unreadable(path)
            if reason:
                yield f"{name} is half written: {reason}"

    def _wrong_afterwards(self, out: Path, *, has_ended: bool) -> Iterator[str]:
        """Repeat the command without a fault, and compare its results."""
        words = self._verb.words
        if self._verb.again and (out / "run" / "recipe.yaml").is_file():
            words = self._verb.again
        if not (has_ended and self._is_all_there(out)):
            again = self._bench.run(words, out)
            refused = again.code == 1 and ("exists" in again.errors or "must be" in again.errors)
            if again.code and not (refused and self._is_all_there(out)):
                yield f"the repeated command failed: {again.errors.strip().splitlines()[-1:]}"
                return
        if self._exact_results(out) != self._expected:
            yield "the results differ from those of a run without a fault"
        missing = [name for name in self._verb.whole if not (out / name).is_file()]
        if missing:
            yield f"{', '.join(missing)} is missing in the end"
        left = [
            path.relative_to(out).as_posix()
            for path in out.rglob(".*")
            if "cache" not in path.relative_to(out).parts and path.suffix != ".journal"
        ]
        if left:
            yield f"left behind: {', '.join(sorted(left)[:3])}"

    def _is_all_there(self, out: Path) -> bool:
        there = {path.relative_to(out).as_posix() for path in _results(out)}
        return self._names <= there

    def _exact_results(self, out: Path) -> dict[str, str]:
        found = {}
        for name in self._verb.exact:
            place = out / name
            if place.name == "weights":
                found[name] = weights_of(place.with_name("model.safetensors"))
                continue
            for path in [place] if place.is_file() else sorted(place.rglob("*")):
                if path.is_file() and not path.name.startswith("."):
                    digest = hashlib.sha256(path.read_bytes()).hexdigest()
                    found[path.relative_to(out).as_posix()] = digest
        return found


def _results(out: Path) -> Iterator[Path]:
    """Yield the files of the results; hidden ones and the cache are none."""
    for path in sorted(out.rglob("*")):
        parts = path.relative_to(out).parts
        is_hidden = any(part.startswith(".") for part in parts)
        if path.is_file() and not is_hidden and parts[0] != "cache":
            yield path


def weights_of(path: Path) -> str:
    """Return a hash of the weights of a model file; empty if there is none."""
    from safetensors.torch import load_file

    if not path.is_file():
        return ""
    weights = load_file(path)
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode() + weights[name].numpy().tobytes())
    return digest.hexdigest()


def unreadable(path: Path) -> str | None:
    """Return why a file of the results is not whole; ``None`` if it is."""
    try:
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".yaml":
            import yaml

            yaml.safe_load(path.read_text())
        elif path.suffix in (".png", ".jpg"):
            from PIL import Image

            with Image.open(path) as picture:
                picture.load()
        elif path.suffix == ".safetensors":
            weights_of(path)
        elif path.suffix == ".html" and not path.read_text().rstrip().endswith("</html>"):
            return "it does not end with </html>"
        elif path.stat().st_size == 0:
            return "it is empty"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def spread_over(count: int, most: int) -> list[int]:
    """Return at most some of the numbers below ``count``, spread over all of them."""
    if count <= most:
        return list(range(count))
    return sorted({round(number * (count - 1) / (most - 1)) for number in range(most)})
