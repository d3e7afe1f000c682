import numpy as np
import pytest
import torch

from pixelwise.config import AugmentationRecipe
from pixelwise.data.batches import TrainingBatches, crops_per_image
from pixelwise.data.sample import Sample
from pixelwise.errors import DataError
from pixelwise.transforms.augmentation import TensorSample, augment, jitter, to_tensors
from pixelwise.transforms.preprocessing import resize_image

STILL = AugmentationRecipe(orientation="fixed", scale=(1, 1), brightness=0, contrast=0)
FREE = AugmentationRecipe(orientation="free", scale=(0.5, 2), brightness=0.2, contrast=0.2)
MIRRORED = AugmentationRecipe(orientation="mirrored", scale=(1, 1), brightness=0, contrast=0)


def position_sample(height, width):
    """Every pixel holds its row and column; the mask holds the same position, hashed."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    image = torch.stack([rows, columns]).to(torch.uint8)
    return TensorSample(image, position_hash(image), torch.ones(height, width, dtype=torch.bool))


def position_hash(image):
    return ((image[0].int() * 7 + image[1].int() * 3) % 250).to(torch.uint8)


def blocks(height, width, block=8):
    """Blocks of four classes; the image shows 60 times the class."""
    rows, columns = np.indices((height, width)) // block
    mask = ((rows + 2 * columns) % 4).astype(np.uint8)
    image = torch.from_numpy(np.repeat(mask[None] * 60, 3, axis=0).astype(np.uint8))
    return TensorSample(image, torch.from_numpy(mask), torch.ones(height, width, dtype=torch.bool))


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("recipe", [STILL, MIRRORED, AugmentationRecipe(orientation="free",
                         scale=(1, 1), brightness=0, contrast=0)])  # fmt: skip
@pytest.mark.parametrize("size", [(8, 8), (8, 13), (25, 40), (1, 1), (7, 64)])
def test_image_and_mask_stay_aligned_and_no_pixel_is_invented(recipe, size):
    sample = position_sample(20, 30)
    for seed in range(12):
        cut = augment(sample, size, recipe, "multiclass", rng(seed))
        assert cut.image.shape == (2, *size)
        assert cut.mask.shape == cut.valid.shape == size
        np.testing.assert_array_equal(
            cut.mask[cut.valid], position_hash(cut.image)[cut.valid], f"seed {seed}"
        )
        assert (cut.mask[~cut.valid] == 255).all()


def test_zoomed_image_and_mask_stay_aligned():
    sample = blocks(64, 64)
    for seed in range(10):
        cut = augment(sample, (48, 48), FREE, "multiclass", rng(seed))
        off = (cut.image[0].float() - 60.0 * cut.mask).abs()[cut.valid]
        # Edges of blocks are blended in the image and hard in the mask: evenly on both sides.
        assert off.median() == 0
        assert (off > 95).float().mean() < 0.02


def test_a_zoomed_mask_is_not_shifted_against_the_image():
    half = np.zeros((32, 32), np.uint8)
    half[:, 16:] = 1
    sample = TensorSample(
        torch.from_numpy(half[None] * 200), torch.from_numpy(half), torch.ones(32, 32).bool()
    )
    for zoom in (0.5, 1.5, 2.0):
        recipe = STILL.model_copy(update={"scale": (zoom, zoom)})
        for seed in range(6):
            cut = augment(sample, (16, 16), recipe, "multiclass", rng(seed))
            in_image = (cut.image[0] >= 100).sum(dim=1)
            in_mask = (cut.mask == 1).sum(dim=1)
            assert (in_image - in_mask).abs().max() <= 1


@pytest.mark.parametrize("image_size", [(36, 48), (72, 96), (60, 40)])
@pytest.mark.parametrize("size", [(36, 48), (24, 32)])
@pytest.mark.parametrize("scale", [(1, 1), (0.75, 1.33), (1.5, 1.5)])
def test_transposed_crops_leave_no_more_uncovered_than_others(image_size, size, scale):
    sample = position_sample(*image_size)
    uncovered, is_transposed = {}, False
    for orientation in ("mirrored", "free"):
        recipe = STILL.model_copy(update={"orientation": orientation, "scale": scale})
        shares = []
        for seed in range(60):
            cut = augment(sample, size, recipe, "multiclass", rng(seed))
            shares.append((~cut.valid).float().mean().item())
            # Along a column of a crop that is not transposed, the column of the image is the same.
            is_transposed |= bool((cut.image[1, :10, 0].float().std() > 1).item())
        uncovered[orientation] = np.mean(shares)
    assert uncovered["free"] <= uncovered["mirrored"] + 0.005
    fits = all(side * scale[1] >= 0.99 * wanted for side, wanted in zip(image_size, size[::-1],
               strict=True))  # fmt: skip
    assert is_transposed == fits or scale[0] < 1


def test_a_transposed_crop_shows_the_pixels_of_a_window_with_swapped_sides():
    sample = position_sample(40, 60)
    recipe = STILL.model_copy(update={"orientation": "free"})
    seen = set()
    for seed in range(40):
        cut = augment(sample, (10, 30), recipe, "multiclass", rng(seed))
        assert cut.valid.all()
        spans = tuple(int(axis.max()) - int(axis.min()) + 1 for axis in cut.image)
        seen.add(spans)
    assert seen == {(10, 30), (30, 10)}


@pytest.mark.parametrize(
    ("orientation", "size"),
    [("fixed", (20, 28)), ("mirrored", (20, 28)), ("free", (24, 24))],
)
@pytest.mark.parametrize("scale", [(1, 1), (1.1, 1.9)])
def test_recipes_without_optional_steps_draw_as_they_always_did(orientation, size, scale):
    """The order of the draws is written out, so that old recipes keep their crops."""
    sample = position_sample(60, 70)
    recipe = STILL.model_copy(update={"orientation": orientation, "scale": scale})
    for seed in range(20):
        dice = rng(seed)
        zoom = np.exp(dice.uniform(*np.log(scale))) if scale[0] < scale[1] else 1.0
        height, width = (round(side / zoom) for side in size)
        top = dice.integers(60 - height, endpoint=True)
        left = dice.integers(70 - width, endpoint=True)
        flips_columns, flips_rows, is_transposed = (*(dice.random(2) < 0.5), dice.random() < 0.5)
        window = sample.image[:, top : top + height, left : left + width]
        zoomed = [
            min(side, round(cut * zoom)) for side, cut in zip(size, (height, width), strict=True)
        ]
        expected = resize_image(window, tuple(zoomed))
        if orientation != "fixed" and flips_columns:
            expected = expected.flip(-1)
        if orientation == "free" and flips_rows:
            expected = expected.flip(-2)
        if orientation == "free" and is_transposed:
            expected = expected.transpose(-1, -2)
        cut = augment(sample, size, recipe, "multiclass", rng(seed))
        rows, columns = expected.shape[-2:]
        assert torch.equal(cut.image[:, :rows, :columns], expected)


def test_beyond_a_small_image_is_ignored_and_marked():
    sample = position_sample(5, 6)
    cut = augment(sample, (9, 10), STILL, "multiclass", rng())
    expected = np.zeros((9, 10), bool)
    expected[:5, :6] = True
    np.testing.assert_array_equal(cut.valid, expected)
    np.testing.assert_array_equal(cut.mask[:5, :6], sample.mask)
    assert (cut.mask[~cut.valid] == 255).all()
    np.testing.assert_array_equal(cut.image[0, 5:, 0], [4] * 4)  # the edge continues


def test_beyond_a_small_multilabel_image_nothing_is_set():
    mask = torch.full((2, 3, 4), 200, dtype=torch.uint8)
    sample = TensorSample(torch.zeros(1, 3, 4, dtype=torch.uint8), mask, torch.ones(3, 4).bool())
    cut = augment(sample, (5, 5), STILL, "multilabel", rng())
    assert cut.mask.shape == (2, 5, 5)
    assert (cut.mask[:, :3, :4] == 200).all()
    assert (cut.mask[:, ~cut.valid] == 0).all()


def test_the_same_dice_give_the_same_crop_and_others_another():
    sample = position_sample(40, 40)
    first, second, other = (
        augment(sample, (16, 16), FREE, "multiclass", rng(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first.image, second.image)
    assert torch.equal(first.mask, second.mask)
    assert not torch.equal(first.image, other.image)


@pytest.mark.parametrize(("orientation", "positions"), [("fixed", 1), ("mirrored", 2), ("free", 8)])
def test_orientations_reach_exactly_the_positions_that_they_allow(orientation, positions):
    sample = position_sample(6, 6)
    recipe = STILL.model_copy(update={"orientation": orientation})
    seen = {
        augment(sample, (6, 6), recipe, "multiclass", rng(seed)).image.numpy().tobytes()
        for seed in range(80)
    }
    assert len(seen) == positions


def test_crops_reach_every_corner_of_the_image():
    sample = position_sample(12, 12)
    seen = np.zeros((12, 12), bool)
    for seed in range(150):
        cut = augment(sample, (4, 4), STILL, "multiclass", rng(seed))
        seen[cut.image[0].numpy(), cut.image[1].numpy()] = True
    assert seen.all()


def test_soft_masks_are_resized_smoothly_and_class_ids_are_not():
    ids = torch.tensor([[0, 200], [200, 0]], dtype=torch.uint8).repeat(8, 8)
    valid = torch.ones(16, 16, dtype=torch.bool)
    image = torch.zeros(1, 16, 16, dtype=torch.uint8)
    recipe = STILL.model_copy(update={"scale": (1.7, 1.7)})
    hard = augment(TensorSample(image, ids, valid), (16, 16), recipe, "multiclass", rng())
    soft = augment(TensorSample(image, ids[None], valid), (16, 16), recipe, "multilabel", rng())
    assert set(hard.mask[hard.valid].unique().tolist()) == {0, 200}
    assert len(soft.mask[:, soft.valid].unique()) > 4


def test_jitter_is_a_stretch_and_a_shift_within_their_bounds():
    recipe = STILL.model_copy(update={"brightness": 0.3, "contrast": 0.2})
    image = torch.randn(64, 2, 5, 5)
    changed = jitter(image.clone(), recipe, rng())
    for before, after in zip(image.flatten(1), changed.flatten(1), strict=True):
        factor, shift = np.polyfit(before.numpy(), after.numpy(), 1)
        np.testing.assert_allclose(after, factor * before + shift, atol=1e-5)
        assert 0.8 - 1e-4 <= factor <= 1.2 + 1e-4
        assert abs(shift) <= 0.3 + 1e-4
    assert (changed - image).flatten(1).abs().amax(1).min() > 0
    assert torch.equal(jitter(image.clone(), recipe, rng()), changed)
    assert torch.equal(jitter(image.clone(), STILL, rng()), image)


def test_tensors_hold_what_the_arrays_held():
    deep = rng().integers(0, 65536, (3, 4, 2), np.uint16)
    mask = rng().integers(0, 3, (3, 4), np.uint8)
    tensors = to_tensors(Sample("deep", deep, mask, "multiclass"), 2)
    assert tensors.image.dtype == torch.float32
    np.testing.assert_array_equal(tensors.image, np.moveaxis(deep, -1, 0))
    np.testing.assert_array_equal(tensors.mask, mask)
    assert tensors.valid.all()
    read_only = np.zeros((2, 2, 1), np.uint8)
    read_only.flags.writeable = False
    assert to_tensors(Sample("grayscale", read_only, mask, "multiclass"), 3).image.shape == (
        3,
        2,
        2,
    )
    with pytest.raises(DataError, match="deep must have 3 channels"):
        to_tensors(Sample("deep", deep, mask, "multiclass"), 3)


def test_the_working_scale_keeps_class_ids_and_centers():
    image = np.repeat(np.repeat(rng().integers(0, 256, (4, 5, 1), np.uint8), 2, 0), 2, 1)
    mask = np.repeat(np.repeat(rng().integers(0, 3, (4, 5), np.uint8), 2, 0), 2, 1)
    tensors = to_tensors(Sample("even", image, mask, "multiclass"), 1, size=(4, 5))
    np.testing.assert_array_equal(tensors.mask, mask[::2, ::2])
    assert tensors.image.shape == (1, 4, 5)
    assert tensors.valid.shape == (4, 5)


def make_batches(num=10, *, batch_size=4, seed=0, recipe=STILL, prefetch=False, sizes=((8, 8),),
                 num_crops=None):  # fmt: skip
    """Image i shows its own number everywhere, so that batches tell whom they hold."""
    samples = []
    for index in range(num):
        height, width = sizes[index % len(sizes)]
        samples.append(
            TensorSample(
                torch.full((1, height, width), index + 1, dtype=torch.uint8),
                torch.randint(0, 3, (height, width), dtype=torch.uint8),
                torch.ones(height, width, dtype=torch.bool),
            )
        )
    return TrainingBatches(samples, num_crops=num_crops or [1] * len(samples), size=(6, 6),
                           batch_size=batch_size, recipe=recipe,
                           label_mode="multiclass", seed=seed, prefetch=prefetch)  # fmt: skip


def order_of(batches):
    return [int(image.max()) - 1 for batch in batches for image in batch.image]


@pytest.mark.parametrize("prefetch", [False, True])
@pytest.mark.parametrize("num", [1, 4, 10, 33])
def test_every_image_comes_once_per_epoch_and_the_last_batch_is_not_dropped(num, prefetch):
    batches = make_batches(num, prefetch=prefetch)
    for epoch in range(2):
        content = list(batches.epoch(epoch))
        assert len(content) == batches.steps_per_epoch == -(-num // 4)
        assert sorted(order_of(content)) == list(range(num))


def test_epochs_and_seeds_have_their_own_order_and_it_repeats():
    orders = {
        (seed, epoch): order_of(make_batches(20, seed=seed).epoch(epoch))
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len({tuple(order) for order in orders.values()}) == 4
    assert order_of(make_batches(20, seed=1).epoch(1)) == orders[1, 1]


@pytest.mark.parametrize("prefetch", [False, True])
@pytest.mark.parametrize("first_step", [0, 1, 2, 3])
def test_an_epoch_resumed_at_a_step_continues_as_it_would_have(first_step, prefetch):
    torch.manual_seed(0)
    batches = make_batches(11, recipe=FREE)
    whole = list(batches.epoch(2))
    batches._prefetch = prefetch
    rest = list(batches.epoch(2, first_step))
    assert len(rest) == 3 - first_step
    for batch, expected in zip(rest, whole[first_step:], strict=True):
        for name in ("image", "mask", "valid"):
            assert torch.equal(getattr(batch, name), getattr(expected, name))


def test_mixed_sizes_make_one_batch_without_distortion():
    batches = make_batches(4, sizes=((8, 8), (1, 1), (1, 50), (20, 3)))
    (batch,) = batches.epoch(0)
    assert batch.image.shape == (4, 1, 6, 6)
    labeled = {
        int(image.max()) - 1: int(valid.sum())
        for image, valid in zip(batch.image, batch.valid, strict=True)
    }
    assert labeled == {0: 36, 1: 1, 2: 6, 3: 18}
    assert (batch.mask[~batch.valid] == 255).all()
    assert (batch.mask[batch.valid] < 3).all()


def test_a_large_image_comes_as_often_as_crops_fit_into_it():
    assert crops_per_image([60, 120, 10, 100], [60, 180, 10, 80], (60, 60), 1.0) == [1, 6, 1, 2]
    # At half the scale, a crop covers four times the area of the image.
    assert crops_per_image([120], [240], (60, 60), 0.5) == [2]
    batches = make_batches(3, num_crops=[1, 4, 2])
    content = list(batches.epoch(0))
    assert batches.crops_per_epoch == 7
    assert sorted(order_of(content)) == [0, 1, 1, 1, 1, 2, 2]


def test_the_crops_of_one_image_in_an_epoch_differ():
    picture = torch.arange(400).reshape(1, 20, 20).to(torch.uint8)
    sample = TensorSample(picture, picture[0] * 0, torch.ones(20, 20, dtype=torch.bool))
    batches = TrainingBatches([sample], num_crops=[4], size=(6, 6), batch_size=4, recipe=STILL,
                              label_mode="multiclass", seed=0)  # fmt: skip
    (batch,) = batches.epoch(0)
    assert len({tuple(image.flatten().tolist()) for image in batch.image}) > 1
