"""Tiles cover every pixel, end at the edge, and leave no seam."""

import itertools

import pytest
import torch
from torch import nn

from pixelwise.prediction.tiling import segment_tiled, tile_starts


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("tile", [1, 2, 7, 16, 33])
def test_tiles_cover_every_pixel_and_end_at_the_edge(tile, overlap):
    for length in range(1, 150):
        starts = tile_starts(length, tile, overlap)
        covered = {pixel for start in starts for pixel in range(start, start + tile)}
        assert set(range(length)) <= covered
        assert starts[0] == 0
        if length <= tile:
            assert starts == [0]
        else:
            assert starts[-1] + tile == length
            assert starts == sorted(set(starts))


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
def test_neighboring_tiles_share_at_least_the_overlap(overlap):
    tile = 20
    for length in range(tile + 1, 300):
        starts = tile_starts(length, tile, overlap)
        steps = [after - before for before, after in itertools.pairwise(starts)]
        assert max(steps) <= tile * (1 - overlap)
        assert max(steps) - min(steps) <= 1


def test_no_more_tiles_are_cut_than_needed():
    assert tile_starts(64, 16, 0.0) == [0, 16, 32, 48]
    assert len(tile_starts(40, 16, 0.25)) == 3


def image_of(*size, channels=2):
    return torch.randn(channels, *size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 500), (500, 1), (16, 16), (17, 16), (37, 53), (5, 90)]
)
@pytest.mark.parametrize("tile", [(16, 16), (8, 32), (1, 1), (7, 5)])
def test_a_pixel_wise_model_in_tiles_equals_the_whole(size, tile):
    torch.manual_seed(0)
    model = nn.Conv2d(2, 3, 1)
    image = image_of(*size)
    with torch.no_grad():
        logits = segment_tiled(model, image, tile)
        expected = model(image[None])[0]
    assert logits.shape == (3, *size)
    assert (logits - expected).abs().max() < 1e-5


def test_a_constant_model_in_tiles_is_constant():
    logits = segment_tiled(lambda tiles: torch.full_like(tiles, 3.25), image_of(41, 67), (16, 24))
    assert (logits - 3.25).abs().max() < 1e-5


def test_every_tile_is_as_large_as_asked_and_lies_inside_the_image():
    """Were a tile padded, the zeros of the padding would reach the model."""
    shapes = set()

    def segment(tiles):
        shapes.add(tuple(tiles.shape[1:]))
        assert (tiles > 0).all()
        return tiles

    segment_tiled(segment, torch.rand(1, 50, 9) + 1, (16, 16))
    assert shapes == {(1, 16, 9)}


def test_no_more_tiles_go_together_than_the_batch_holds():
    sizes = []

    def segment(tiles):
        sizes.append(len(tiles))
        return tiles

    segment_tiled(segment, image_of(40, 40), (16, 16), batch_size=2)
    assert sizes == [2, 1] * 3


def test_tiles_fade_into_each_other():
    """The first tile says 0 and the second 1: between them the mean rises without a jump."""
    answers = iter([0.0, 1.0])

    def segment(tiles):
        return torch.full_like(tiles, next(answers))

    row = segment_tiled(segment, torch.zeros(1, 1, 28), (1, 16), overlap=0.25, batch_size=1)[0, 0]
    assert row[:12].tolist() == [0.0] * 12
    assert row[16:].tolist() == [1.0] * 12
    blended = row[11:17]
    assert (blended.diff() > 0).all()
    assert blended.diff().max() < 0.35
    torch.testing.assert_close(row, 1 - row.flip(0))


def test_the_tiles_center_counts_more_than_its_edge():
    """Logits are 1 at the edge of every tile, where its model saw least, and 0 elsewhere."""

    def segment(tiles):
        logits = torch.zeros_like(tiles)
        logits[..., 0] = logits[..., -1] = 1.0
        return logits

    row = segment_tiled(segment, torch.zeros(1, 1, 64), (1, 16), overlap=0.5)[0, 0]
    assert row[0] == row[-1] == 1.0
    assert row[1:-1].max() < 0.2
