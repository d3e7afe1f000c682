"""A guard against getting slower: ratios that matter, held against those that were stored.

    make bench-guard                        five minutes on 2 cores; exit 1 where a ratio is worse
    python benchmarks/guard.py --only help counting
    python benchmarks/guard.py --store      on a quiet machine: what is held against from now on

A ratio is what ours takes over what its reference takes, both measured here in turns, round by
round: less is better, and a slower machine slows both. A ratio is worse where it exceeds the stored
one by more than a tenth and by more than three times the noise, the larger of then and now; the
noise is the median distance of the rounds from their median. One that seems worse is measured once
more, and the better measurement counts. Ratios that were stored on another kind of machine, with
other cores or instruction sets, are shown and fail nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from measuring import (
    machine,
    make_model,
    median_and_noise,
    print_table,
    results_file,
    versions_of,
    write_results,
)

SLOWER_SHARE = 0.10
"""A ratio may be worse by this share of the stored one."""

NOISES = 3
"""And by this many times the noise."""

NAME = "guard"
TRAINING_EPOCHS = 3
"""Of each training run; the first one does not count."""


@dataclass(frozen=True)
class Ratio:
    """What ours takes over what its reference takes; less is better.

    Attributes:
        ratio: The median of the rounds.
        noise: The median distance of the rounds from it.
        rounds: One ratio for each round.
    """

    ratio: float
    noise: float
    rounds: tuple[float, ...]

    @classmethod
    def of(cls, ours: Sequence[float], reference: Sequence[float]) -> Ratio:
        """The ratio of two series, taken round by round.

        Args:
            ours: What ours took in each round, above 0.
            reference: What the reference took in the same rounds, in the same unit.
        """
        rounds = tuple(own / other for own, other in zip(ours, reference, strict=True))
        return cls(*median_and_noise(rounds), rounds)


@dataclass(frozen=True)
class Verdict:
    """One ratio against the stored one.

    Attributes:
        name: What was measured.
        now: The ratio.
        stored: The one held against; ``None`` where there is none.
        allowed: The largest ratio that passes; ``None`` where nothing is stored.
    """

    name: str
    now: Ratio
    stored: Ratio | None
    allowed: float | None

    @property
    def is_worse(self) -> bool:
        """It exceeds what is allowed."""
        return self.allowed is not None and self.now.ratio > self.allowed

    @property
    def words(self) -> str:
        """What the table says of it."""
        if self.stored is None or self.allowed is None:
            return "not stored"
        if self.is_worse:
            return "WORSE"
        if self.now.ratio > (1 + SLOWER_SHARE) * self.stored.ratio:
            return "within the noise"
        better_at = self.stored.ratio - (self.allowed - self.stored.ratio)
        return "better: store it" if self.now.ratio < better_at else "ok"


def judge(name: str, now: Ratio, stored: Ratio | None) -> Verdict:
    """Hold a ratio against the stored one, with room for a tenth and for the noise of both."""
    if stored is None:
        return Verdict(name, now, None, None)
    noise = NOISES * max(now.noise, stored.noise)
    return Verdict(name, now, stored, stored.ratio + max(noise, SLOWER_SHARE * stored.ratio))


def differences(now: Mapping[str, Any], stored: Mapping[str, Any]) -> list[str]:
    """In what two machines differ, in words; none where ratios of both can be compared."""
    return [
        f"{name} {stored.get(name)} then, {now[name]} now"
        for name in now
        if now[name] != stored.get(name)
    ]


def ratios_in(content: Mapping[str, Any]) -> dict[str, Ratio]:
    """The ratios of a stored file."""
    return {
        name: Ratio(entry["ratio"], entry["noise"], tuple(entry["rounds"]))
        for name, entry in content["ratios"].items()
    }


def report(
    now: Mapping[str, Ratio], content: Mapping[str, Any] | None, here: Mapping[str, Any]
) -> int:
    """Print the table and say by the exit status whether a ratio is worse.

    Args:
        now: The ratios that were measured.
        content: The stored file; ``None`` where there is none.
        here: This machine, as :func:`measuring.machine` says it.

    Returns:
        1 where a ratio is worse than one stored on this kind of machine, or where none is stored.
    """
    stored = ratios_in(content) if content else {}
    verdicts = [judge(name, ratio, stored.get(name)) for name, ratio in now.items()]
    print()
    print_table(
        ("ours over its reference", "ratio", "noise", "stored", "allowed", "verdict"),
        [_cells(verdict) for verdict in verdicts],
    )
    if content is None:
        print(f"\nnothing is stored in {results_file(NAME)}. Store it with --store")
        return 1
    different = differences(here, content["machine"])
    if different:
        print(f"\nstored on another kind of machine ({'; '.join(different)}), so nothing fails")
        return 0
    return int(any(verdict.is_worse for verdict in verdicts))


def _cells(verdict: Verdict) -> tuple[str, ...]:
    stored = "-" if verdict.stored is None else f"{verdict.stored.ratio:.3g}"
    allowed = "-" if verdict.allowed is None else f"{verdict.allowed:.3g}"
    now = verdict.now
    return verdict.name, f"{now.ratio:.3g}", f"{now.noise:.2g}", stored, allowed, verdict.words


def training(model: str, size: tuple[int, int], batch_size: int, num_images: int) -> Ratio:
    """Our training against the plain loop of PyTorch, augmentation and reading included."""
    from throughput import Case, make_data, measure

    case = Case(model, size, batch_size, num_images)
    taken: dict[str, list[float]] = {"pixelwise": [], "plain": []}
    with tempfile.TemporaryDirectory() as folder:
        data = make_data(case, num_images, Path(folder) / "data")
        for turn in range(3):
            for name in list(taken)[:: -1 if turn % 2 else 1]:
                found = measure(name, case, data, TRAINING_EPOCHS, None)
                assert found is not None
                taken[name].append(1 / found["images_per_s"])
    return Ratio.of(*taken.values())


def train_encoder_decoder() -> Ratio:
    """The network of A1 on its digits."""
    return training("encoder-decoder", (60, 60), 32, 160)


def train_unet() -> Ratio:
    """A U-Net on digits of a size that two cores can afford."""
    return training("unet-elu", (64, 64), 8, 64)


def counting() -> Ratio:
    """Our confusion matrix against three lines of numpy, on one core."""
    import torch

    from metrics import OURS, PLAIN, contestants, count_in_turns

    torch.set_num_threads(1)
    found = contestants()
    taken = count_in_turns({name: found[name] for name in (OURS, PLAIN)}, 15)
    return Ratio.of(taken[OURS], taken[PLAIN])


def opening_again() -> Ratio:
    """The second opening of a folder with a mask for each object, against the first."""
    from opening import open_once

    first, second = [], []
    with tempfile.TemporaryDirectory() as temporary:
        folder = make_objects(Path(temporary) / "data")
        for turn in range(5):
            cache = Path(temporary) / f"cache-{turn}"
            first.append(open_once("ours", folder, cache)["processor_s"])
            second.append(open_once("ours", folder, cache)["processor_s"])
    return Ratio.of(second, first)


def make_objects(folder: Path, num_images: int = 24, num_objects: int = 24) -> Path:
    """Images of 256 x 256, each in a folder with a mask of every object."""
    import numpy as np
    from PIL import Image

    from pixelwise.io.file_state import SETTLED_S

    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:256, :256]
    for number in range(num_images):
        home = folder / f"image-{number:03d}"
        (home / "images").mkdir(parents=True)
        (home / "masks").mkdir()
        noise = rng.integers(0, 256, (256, 256, 3), np.uint8)
        Image.fromarray(noise).save(home / "images" / f"{home.name}.png")
        for place in range(num_objects):
            row, column, radius = *rng.integers(20, 236, 2), rng.integers(6, 20)
            disc = (rows - row) ** 2 + (columns - column) ** 2 < radius**2
            gray = Image.fromarray(disc).convert("RGBA")  # as the tools of cell biology write them
            gray.save(home / "masks" / f"{place:03d}.png", compress_level=1)
    time.sleep(1.5 * SETTLED_S)  # what has just changed is not trusted to stay
    return folder


def predicting(num_images: int = 300, num_rounds: int = 7) -> Ratio:
    """A folder of small images, to files, against a plain loop, one image after the other."""
    import numpy as np
    import torch
    from PIL import Image

    from pixelwise import load_model
    from pixelwise.files import make_folder
    from pixelwise.prediction.predict import predict

    rng = np.random.default_rng(0)
    ours, plain = [], []
    with tempfile.TemporaryDirectory() as temporary:
        images = Path(temporary) / "images"
        images.mkdir()
        for number in range(num_images):
            noise = rng.integers(0, 256, (64, 64, 3), np.uint8)
            Image.fromarray(noise).save(images / f"{number:04d}.png")
        predictor = load_model(make_model(Path(temporary) / "model.safetensors", size=(64, 64)))
        for turn in range(num_rounds):
            started = time.perf_counter()
            predict(predictor, [images], Path(temporary) / f"ours-{turn}", engine="torch")
            ours.append(time.perf_counter() - started)
            started = time.perf_counter()
            out = make_folder(Path(temporary) / f"plain-{turn}")
            with torch.no_grad():
                for path in sorted(images.iterdir()):
                    image = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)
                    logits = predictor.model.eval()((image[None].float() - 127) / 60)
                    classes = logits[0].argmax(0).to(torch.uint8).numpy()
                    with (out / path.name).open("wb") as written:
                        Image.fromarray(classes).save(written, "png")
                        os.fsync(written.fileno())
            plain.append(time.perf_counter() - started)
    return Ratio.of(ours, plain)


def start_of_help() -> Ratio:
    """``pixelwise --help`` against a bare interpreter, by the seconds of the processor."""
    from start import HELP, HELP_AND_PYTHON, PYTHON, in_turns

    turns = in_turns(HELP_AND_PYTHON, 15)
    taken = {name: [turn.processor_s for turn in found] for name, found in turns.items()}
    return Ratio.of(taken[HELP], taken[PYTHON])


RATIOS: dict[str, tuple[str, Callable[[], Ratio]]] = {
    "encoder-decoder": ("training encoder-decoder, 60 x 60: plain loop", train_encoder_decoder),
    "unet-elu": ("training unet-elu, 64 x 64: plain loop", train_unet),
    "predicting": ("predicting a folder, 64 x 64: plain loop", predicting),
    "counting": ("confusion matrix: numpy", counting),
    "opening": ("second opening: first", opening_again),
    "help": ("pixelwise --help: bare Python", start_of_help),
}
"""By a short name: what the table calls it, ours and its reference, and how it is measured."""


def timed(name: str, measure: Callable[[], Ratio]) -> Ratio:
    """Measure a ratio, and say what it is and how long that took."""
    started = time.perf_counter()
    found = measure()
    taken_s = time.perf_counter() - started
    print(f"{name}: {found.ratio:.3g} ({taken_s:.0f} s)", file=sys.stderr, flush=True)
    return found


def main() -> int:
    """Measure, print, compare or store; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=RATIOS, default=list(RATIOS))
    parser.add_argument("--store", action="store_true", help="keep what is measured as the measure")
    options = parser.parse_args()
    target = results_file(NAME)
    content = json.loads(target.read_text(encoding="utf-8")) if target.is_file() else None
    here = machine()
    stored = ratios_in(content) if content and not differences(here, content["machine"]) else {}
    found = {}
    for short in options.only:
        name, measure = RATIOS[short]
        found[name] = timed(name, measure)
        if judge(name, found[name], stored.get(name)).is_worse:
            # All rounds of a measurement have been seen to be a third slower, and never again.
            found[name] = min(found[name], timed(name, measure), key=lambda ratio: ratio.ratio)
    status = report(found, content, here)
    if not options.store:
        return status
    is_alike = content is not None and not differences(here, content["machine"])
    kept = content["ratios"] if content is not None and is_alike else {}
    ratios = {**kept, **{name: asdict(ratio) for name, ratio in found.items()}}
    packages = ("pixelwise", "torch", "torchvision", "numpy", "pillow")
    write_results(NAME, {"machine": here, "versions": versions_of(*packages), "ratios": ratios})
    print(f"\nstored in {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
