"""A kill of a large prediction loses little, and nothing half-written is ever in place."""

import json
import os

import numpy as np
import pytest
import tifffile
from large_scenes import (
    SIZE,
    make_small_large,
    predicted,
    predictor_for,
    save_tiff,
    scene,
    whole_classes,
)

from pixelwise.errors import OutputError
from pixelwise.io.decoding import decoding
from pixelwise.io.image_rows import ImageRows
from pixelwise.prediction import partial_files
from pixelwise.prediction.predict import predict
from pixelwise.prediction.predictor import Predictor


@pytest.fixture(autouse=True)
def _small_is_large(monkeypatch):
    make_small_large(monkeypatch)


class Killed(BaseException):
    """Stands for a signal: nothing catches it."""


def kill_after(monkeypatch, num_steps):
    """The next prediction ends once this many rows of tiles are on the disk."""
    append = partial_files.PartialFiles.append

    def append_or_die(self, rows):
        if self.num_rows >= num_steps * 32:
            raise Killed
        append(self, rows)

    monkeypatch.setattr(partial_files.PartialFiles, "append", append_or_die)


def count_tiles(monkeypatch):
    """Tiles that go through a model from here on."""
    seen = []
    forward = Predictor._forward
    monkeypatch.setattr(
        Predictor, "_forward", lambda self, tiles: seen.extend(tiles) or forward(self, tiles)
    )
    return seen


@pytest.mark.parametrize("num_steps", [0, 1, 2, 4])
@pytest.mark.parametrize(("tile", "scale"), [((48, 64), 1), ((80, 64), 1), ((24, 32), 0.5)])
def test_a_killed_prediction_continues_where_it_stopped(tmp_path, num_steps, tile, scale):
    predictor = predictor_for(tile=tile, scale=scale)
    path = save_tiff(tmp_path / "in" / "a.tif", scene(*SIZE), tile=(64, 64))
    kinds = ("index", "probabilities")
    with pytest.MonkeyPatch.context() as patch:
        seen = count_tiles(patch)
        predicted(predictor, path, tmp_path / "whole", save=kinds)
        num_tiles = len(seen)
    with pytest.MonkeyPatch.context() as patch:
        kill_after(patch, num_steps)
        with pytest.raises(Killed):
            predict(predictor, [path], tmp_path / "out", save=kinds)
    assert [file.name for file in (tmp_path / "out").iterdir()] == [".a.partial"]
    steps = []
    with pytest.MonkeyPatch.context() as patch:
        seen = count_tiles(patch)
        progress = lambda done, total: steps.append((done, total))  # noqa: E731
        done = predict(predictor, [path], tmp_path / "out", save=kinds, on_progress=progress)
        assert (len(seen) < num_tiles) == (num_steps == 4 or (num_steps == 2 and tile[0] < 80))
    assert steps[0] == (num_steps, 5)
    assert steps[-1] == (5, 5)
    assert len(done.written) == 4
    for file in done.written:
        uninterrupted = tmp_path / "whole" / file.relative_to(tmp_path / "out")
        assert file.read_bytes() == uninterrupted.read_bytes()
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["index", "probabilities"]


def half_done(tmp_path, predictor, path):
    with pytest.MonkeyPatch.context() as patch:
        kill_after(patch, 2)
        with pytest.raises(Killed):
            predict(predictor, [path], tmp_path / "out")
    return tmp_path / "out" / ".a.partial"


def steps_of(predictor, path, out, **options):
    steps = []
    done = predict(predictor, [path], out, on_progress=lambda *step: steps.append(step), **options)
    assert done.failed == ()
    return steps


def test_a_line_that_was_being_written_is_done_again(tmp_path):
    predictor = predictor_for()
    path = save_tiff(tmp_path / "a.tif", scene(*SIZE), tile=(64, 64))
    partial = half_done(tmp_path, predictor, path)
    with (partial / "journal.jsonl").open("ab") as journal, (partial / "0.tiles").open("ab") as end:
        journal.write(b"[[12, 3")
        end.write(b"half a tile")
    assert steps_of(predictor, path, tmp_path / "out")[0] == (2, 5)
    found = tifffile.imread(tmp_path / "out" / "a.tif")
    assert np.array_equal(found, whole_classes(predictor, path))


@pytest.mark.parametrize("change", ["model", "image", "tile", "kinds", "journal", "tiles"])
def test_what_another_task_has_left_is_not_used(tmp_path, change):
    predictor = predictor_for()
    path = save_tiff(tmp_path / "a.tif", scene(*SIZE), tile=(64, 64))
    partial = half_done(tmp_path, predictor, path)
    save = ("index",)
    if change == "model":
        predictor = predictor_for(seed=1)
    elif change == "image":
        save_tiff(path, scene(*SIZE, seed=1), tile=(64, 64))
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 10**9))
    elif change == "tile":
        predictor = predictor_for(tile=(64, 64))
    elif change == "kinds":
        save = ("binary",)
    elif change == "journal":
        (partial / "journal.jsonl").write_bytes(b"{not JSON\n")
    else:
        os.truncate(partial / "0.tiles", 10)
    assert steps_of(predictor, path, tmp_path / "out", save=save)[0] == (0, 5)
    if save == ("index",):
        found = tifffile.imread(tmp_path / "out" / "a.tif")
        assert np.array_equal(found, whole_classes(predictor, path))
    assert not partial.exists()


def test_the_journal_names_the_model_and_the_image(tmp_path):
    path = save_tiff(tmp_path / "a.tif", scene(*SIZE), tile=(64, 64))
    partial = half_done(tmp_path, predictor_for(), path)
    lines = (partial / "journal.jsonl").read_text().splitlines()
    task, *rows = (json.loads(line) for line in lines)
    assert task["image"] == [str(path), path.stat().st_size, path.stat().st_mtime_ns]
    assert len(task["model"]) == 64
    assert len(rows) == 2


def test_a_full_disk_leaves_no_half_written_file(tmp_path, monkeypatch):
    path = save_tiff(tmp_path / "a.tif", scene(*SIZE), tile=(64, 64))
    predictor = predictor_for()
    append = partial_files._append

    def full(target, content):
        if target.suffix == ".tiles" and target.stat().st_size > 100:
            raise OSError(28, "No space left on device")
        append(target, content)

    with monkeypatch.context() as patch:
        patch.setattr(partial_files, "_append", full)
        with pytest.raises(OutputError, match="disk is full"):
            predict(predictor, [path], tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.tif"))
    found = predicted(predictor, path, tmp_path / "out")
    assert np.array_equal(found["a.tif"], whole_classes(predictor, path))


def test_a_disk_that_fills_at_the_end_leaves_no_half_written_file(tmp_path, monkeypatch):
    path = save_tiff(tmp_path / "a.tif", scene(*SIZE), tile=(64, 64))
    predictor = predictor_for()

    def full(part, sizes):
        yield part.read_bytes()[: sizes[0]]
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(partial_files, "_chunks", full)
        with pytest.raises(OutputError, match="disk is full"):
            predict(predictor, [path], tmp_path / "out")
    assert [file.name for file in (tmp_path / "out").iterdir()] == [".a.partial"]
    with monkeypatch.context() as patch:
        assert not count_tiles(patch)
        assert steps_of(predictor, path, tmp_path / "out") == [(5, 5), (5, 5)]


def test_a_damaged_image_is_reported_and_leaves_nothing(tmp_path):
    good = save_tiff(tmp_path / "b.tif", scene(*SIZE), tile=(64, 64))
    path = save_tiff(tmp_path / "a.tif", scene(*SIZE), tile=(32, 32), compression="zlib")
    with tifffile.TiffFile(path) as file:
        offset = file.pages[0].dataoffsets[15]
    with path.open("rb+") as file:
        file.seek(offset)
        file.write(b"\xff" * 40)
    done = predict(predictor_for(), [path, good], tmp_path / "out")
    assert [file.name for file in done.written] == ["b.tif"]
    assert len(done.failed) == 1
    assert str(path) in done.failed[0]
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["b.tif"]


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), MemoryError()])
def test_a_disk_that_fails_for_a_while_costs_no_finished_rows(tmp_path, error):
    predictor = predictor_for()
    path = save_tiff(tmp_path / "a.tif", scene(*SIZE), tile=(64, 64))
    read = ImageRows.read

    def fail_below(self, start, stop):
        if stop > 128:
            with decoding(self.path):
                raise error
        return read(self, start, stop)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImageRows, "read", fail_below)
        done = predict(predictor, [path], tmp_path / "out")
    assert len(done.failed) == 1
    assert str(path) in done.failed[0]
    assert "truncated" not in done.failed[0]
    assert steps_of(predictor, path, tmp_path / "out")[0][0] > 0
    found = tifffile.imread(tmp_path / "out" / "a.tif")
    assert np.array_equal(found, whole_classes(predictor, path))
