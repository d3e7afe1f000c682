r"""Libraries beside what is written by hand here: figures for docs/decisions/0020.

Of what is not installed, a line says so. Everything at once, without touching an environment:

    pip install --target /tmp/extra --no-deps cleanlab diskcache ImageHash PyWavelets pandas tqdm \
        termcolor
    PYTHONPATH=/tmp/extra python benchmarks/libraries.py
"""

from __future__ import annotations

import io
import tempfile
import time
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from measuring import DATA, in_words, machine

RNG = np.random.default_rng(0)
ORIGIN = Path("benchmark")


def best_ms(work: Callable[[], Any], times: int = 5) -> float:
    """The fastest of some runs, in milliseconds."""
    found = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return min(found) * 1e3


def peak_mb(work: Callable[[], Any]) -> float:
    """The most memory that Python and numpy take during a run, in MB."""
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def blobs(shape: tuple[int, ...], sigma: float) -> np.ndarray:
    """A smooth random field, float32."""
    return ndimage.gaussian_filter(RNG.standard_normal(shape).astype(np.float32), sigma)


def run_lengths() -> None:
    """Reading and writing the run lengths of a region."""
    from pycocotools import mask as coco

    from pixelwise.data.formats.coco.rle import decode_runs, pack_region, unpack_counts

    warnings.filterwarnings("ignore", "__array__ implementation")
    region = blobs((2048, 2048), 4) > 0
    size = region.shape
    text = pack_region(region)
    rle = {"size": list(size), "counts": text.encode()}
    ours = best_ms(lambda: decode_runs(unpack_counts(text, ORIGIN), size, "columns", ORIGIN))
    listed = unpack_counts(text, ORIGIN).tolist()
    ours_list = best_ms(lambda: decode_runs(listed, size, "columns", ORIGIN))
    their_list = best_ms(
        lambda: coco.decode(coco.frPyObjects({"size": list(size), "counts": listed}, *size))
    )
    print(f"read a text of {len(text):,} characters, every length checked: {ours:.0f} ms; "
          f"pycocotools, unchecked: {best_ms(lambda: coco.decode(rle)):.0f} ms")  # fmt: skip
    print(f"read a list of {len(listed):,} lengths: {ours_list:.0f} ms; "
          f"pycocotools: {their_list:.0f} ms")  # fmt: skip
    print(f"write: pycocotools, which is used: {best_ms(lambda: pack_region(region)):.0f} ms")
    short = {"size": [64, 64], "counts": b"0"}
    [np.full(4096, 7, np.uint8) for _ in range(50)]  # memory that somebody has used before
    values = np.unique(np.concatenate([coco.decode(short).ravel() for _ in range(50)]))
    print(f"values in what pycocotools makes of lengths that fill nothing: {values[:8].tolist()}")


def photographs() -> list[np.ndarray]:
    """Pictures of CamVid where they are at hand, else of smooth noise."""
    files = sorted((DATA / "camvid").rglob("*.png"))
    files = [path for path in files if "annot" not in path.parent.name and "_L" not in path.stem]
    pictures = [np.asarray(Image.open(path).convert("RGB")) for path in files[::3][:60]]
    if not pictures:
        pictures = [np.clip(blobs((360, 480, 3), 12) * 1500 + 120, 0, 255).astype(np.uint8)
                    for _ in range(60)]  # fmt: skip
    return pictures


def as_jpeg(image: np.ndarray) -> np.ndarray:
    """The picture after a JPEG of quality 20."""
    content = io.BytesIO()
    Image.fromarray(image).save(content, "JPEG", quality=20)
    return np.asarray(Image.open(content))


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "JPEG of quality 20": as_jpeg,
    "a quarter of the size": lambda image: image[::4, ::4],
    "contrast times 0.5": lambda image: (image * 0.5).astype(np.uint8),
    "16 bits per channel": lambda image: image.astype(np.uint16) * 257,
    "float, 0 to 1": lambda image: image.astype(np.float32) / 255,
    "five bands": lambda image: np.concatenate([image, image[..., :2]], -1),
    "one 16-bit band, 0 to 4095": lambda image: image.mean(-1).astype(np.uint16) * 16,
}


def perceptual_hashes() -> None:
    """Share of changed pictures that are known again within 4 bits, and the speed."""
    from pixelwise.data.splits.near_duplicates import perceptual_hash

    try:
        import imagehash
    except ImportError:
        print("ImageHash is not installed")
        return

    def theirs(image: np.ndarray) -> int:
        return int(str(imagehash.phash(Image.fromarray(image))), 16)

    def theirs_of_scaled(image: np.ndarray) -> int:
        """After the work that it leaves to us: any image to a gray one of 8 bits."""
        gray = image.astype(np.float32).mean(-1) if image.ndim == 3 else image.astype(np.float32)
        span = np.ptp(gray) or 1.0
        return theirs(((gray - gray.min()) / span * 255).astype(np.uint8))

    pictures = photographs()
    print(f"{len(pictures)} pictures of {pictures[0].shape[0]} x {pictures[0].shape[1]}")
    hashers = {
        "ours": perceptual_hash,
        "imagehash": theirs,
        "scaled, then imagehash": theirs_of_scaled,
    }
    for change, changed in CHANGES.items():
        shares = []
        for name, hasher in hashers.items():
            try:
                near = [(hasher(image) ^ hasher(changed(image))).bit_count() <= 4
                        for image in pictures]  # fmt: skip
                shares.append(f"{name} {np.mean(near):.0%}")
            except (TypeError, OSError, ValueError) as error:
                shares.append(f"{name} {type(error).__name__}")
        print(f"  {change}: {', '.join(shares)}")
    blank = [np.full((64, 64, 3), value, np.uint8) for value in (0, 90, 255)]
    for name, hasher in hashers.items():
        hashes = [hasher(image) for image in pictures]
        apart = min((one ^ other).bit_count() for place, one in enumerate(hashes)
                    for other in hashes[:place])  # fmt: skip
        flat = max((hasher(one) ^ hasher(blank[0])).bit_count() for one in blank)
        ms = best_ms(lambda hasher=hasher: hasher(pictures[0]), 20)
        print(f"  {name}: {ms:.1f} ms, different pictures {apart} bits apart or more, "
              f"blank ones up to {flat}")  # fmt: skip


def intervals() -> None:
    """The 95 % interval of the mean IoU of 500 images of 12 classes."""
    from scipy import stats

    from pixelwise.metrics import intervals
    from pixelwise.metrics.formulas import mean_iou

    counts = RNG.integers(1, 9000, (500, 4, 12))
    rare = counts.copy()
    rare[2:, :, 11] = 0  # a class that two images show

    def ours(per_image: np.ndarray) -> Any:
        return intervals.bootstrap(per_image, mean_iou)

    def theirs(per_image: np.ndarray) -> Any:
        def statistic(chosen: np.ndarray, axis: int = -1) -> np.ndarray:
            del axis  # it is always the last one
            return mean_iou(per_image[chosen].sum(-3).astype(np.float64))

        places = np.arange(len(per_image))
        return stats.bootstrap(
            (places,), statistic, n_resamples=2000, batch=200, vectorized=True,
            method="percentile", rng=np.random.default_rng(0),
        ).confidence_interval  # fmt: skip

    for name, work in (("ours", ours), ("scipy.stats.bootstrap", theirs)):
        one, other = work(counts), work(rare)
        print(f"{name}: {best_ms(lambda work=work: work(counts), 3):.0f} ms, "
              f"{peak_mb(lambda work=work: work(counts)):.0f} MB, "
              f"{one.low:.4f} to {one.high:.4f}; with a class that 2 of 500 show: "
              f"{other and (round(float(other.low), 4), round(float(other.high), 4))}")  # fmt: skip


def label_issues() -> None:
    """Twenty wrong labels in twenty images: what is found, how fast, in how much memory."""
    from pixelwise.classes import ClassMap, numbered_names
    from pixelwise.data.sample import Sample
    from pixelwise.metrics.label_quality import find_suspects

    num, num_classes, size = 20, 5, (360, 480)
    target = np.stack([blobs((num_classes, *size), 25).argmax(0) for _ in range(num)])
    shaken = target.copy()
    for index in range(num):  # a model is unsure at borders
        shift = RNG.integers(-2, 3, 2)
        shaken[index] = np.roll(target[index], shift, (0, 1))
    sure = np.eye(num_classes, dtype=np.float32)[shaken].transpose(0, 3, 1, 2)
    probabilities = np.stack([[ndimage.gaussian_filter(plane, 2) for plane in image]
                              for image in 0.05 + 0.75 * sure])  # fmt: skip
    labels, wrong = target.copy(), np.zeros(target.shape, bool)
    for index in range(num):
        row, column = RNG.integers(20, 300), RNG.integers(20, 400)
        place = (index, slice(row, row + 30), slice(column, column + 40))
        labels[place] = (target[index, row, column] + 1) % num_classes
        wrong[place] = labels[place] != target[place]
    class_map = ClassMap.build(numbered_names(num_classes))

    def ours() -> Any:
        image = np.zeros((*size, 3), np.uint8)
        answers = [
            (Sample(str(index), image, labels[index].astype(np.uint8), "multiclass"),
             probabilities[index])
            for index in range(num)
        ]  # fmt: skip
        return find_suspects(lambda: answers, class_map, "multiclass", top=20)

    found = ours()
    hits = {suspect.name for suspect in found
            if wrong[int(suspect.name)][suspect.place][suspect.region].mean() > 0.5}  # fmt: skip
    print(f"ours: {best_ms(ours, 1) / num:.0f} ms an image, {peak_mb(ours):.0f} MB; of its first "
          f"20 regions {len(hits)} are the wrong labels")  # fmt: skip
    try:
        from cleanlab.segmentation.filter import find_label_issues
    except ImportError:
        print("cleanlab is not installed")
        return

    def theirs() -> Any:
        return find_label_issues(labels, probabilities, downsample=1, n_jobs=1, verbose=False)

    issues = theirs()
    print(f"cleanlab: {best_ms(theirs, 1) / num:.0f} ms an image, {peak_mb(theirs):.0f} MB; "
          f"{issues.sum():,} pixels, {wrong[issues].mean():.0%} of them wrong, "
          f"{issues[wrong].mean():.0%} of the {wrong.sum():,} wrong ones")  # fmt: skip
    ignored = labels.copy()
    ignored[:, :5] = 255
    try:
        find_label_issues(ignored, probabilities, downsample=1, n_jobs=1, verbose=False)
        print("cleanlab takes ignored pixels")
    except Exception as error:  # whatever it says is the finding
        print(f"cleanlab with ignored pixels (255): {type(error).__name__}: {str(error)[:90]}")


def disk_caches() -> None:
    """Packed samples of half a megabyte, written and read back."""
    from pixelwise.data.cache.cache_folder import CacheFolder

    try:
        import diskcache
    except ImportError:
        print("diskcache is not installed")
        return
    content = RNG.bytes(500_000)
    names = [f"{number:064x}.sample" for number in range(200)]
    with tempfile.TemporaryDirectory() as folder:
        ours = CacheFolder(Path(folder, "ours"))
        theirs = diskcache.Cache(str(Path(folder, "theirs")), size_limit=10**10)
        for name, write, read in (
            ("ours", ours.write, ours.read),
            ("diskcache", theirs.set, theirs.get),
        ):
            wrote = best_ms(lambda write=write: [write(key, content) for key in names], 1)
            back = best_ms(lambda read=read: [read(key) for key in names], 3)
            print(f"{name}: {wrote / 200:.2f} ms to write, {back / 200:.2f} ms to read")
        theirs.set("pickled", {1, 2})
        print(f"diskcache gives back a pickled object: {theirs.get('pickled')!r}, so that whoever "
              "can write into the folder can run code")  # fmt: skip
        theirs.close()


def charts() -> None:
    """A chart of two lines of 100 points as SVG."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from pixelwise.reporting.charts import Line, line_chart

    rows = [[(float(x), float(np.exp(-x / k))) for x in range(100)] for k in (20, 30)]

    def ours() -> str:
        return line_chart([Line("one", rows[0]), Line("two", rows[1], "two")], "epoch", "loss")

    def theirs(fonttype: str) -> str:
        with mpl.rc_context({"svg.fonttype": fonttype}):
            axes = (figure := Figure(figsize=(3.8, 2.5))).subplots()
            for name, points in zip(("one", "two"), rows, strict=True):
                axes.plot(*zip(*points, strict=True), label=name)
            axes.set(xlabel="epoch", ylabel="loss")
            axes.legend()
            out = io.StringIO()
            figure.savefig(out, format="svg")
        return out.getvalue()

    for name, work in (
        ("ours", ours),
        ("matplotlib, text as outlines", lambda: theirs("path")),
        ("matplotlib, text as text", lambda: theirs("none")),
    ):
        text = work()
        follows = "class=" in text and "#1f77b4" not in text
        print(f"{name}: {best_ms(work):.1f} ms, {len(text) / 1e3:.1f} kB, "
              f"colors of the page: {'yes' if follows else 'no'}")  # fmt: skip


def main() -> None:
    """Print all figures."""
    print(in_words(machine()))
    for work in (run_lengths, perceptual_hashes, intervals, label_issues, disk_caches, charts):
        print(f"\n{work.__doc__.splitlines()[0]}")
        work()


if __name__ == "__main__":
    main()
