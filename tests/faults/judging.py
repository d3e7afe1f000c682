"""Judges what a killed or failed command leaves, against a run of it without a fault.

What must hold:

- a file of the results is absent, as it was before, or whole, at every moment;
- an error is one line on stderr that names a file, without a traceback, and the exit code is 1;
- the repeated command ends with the same results as a run without a fault, and leaves no
  temporary files.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from trials import VERBS, Bench, Outcome


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


class Judge:
    """Compares what a trial leaves with a run without a fault.

    Args:
        bench: Runs the commands.
        name: The verb.
    """

    def __init__(self, bench: Bench, name: str) -> None:
        self._bench, self.name, self._verb = bench, name, VERBS[name]
        self._trials = 0
        if any("{run}" in word for word in self._verb.words):
            bench.train_first()
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
