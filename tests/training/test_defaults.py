import pytest

from pixelwise.config import AugmentationRecipe, Recipe
from pixelwise.training import defaults
from pixelwise.training.defaults import Facts, apply
from pixelwise.transforms.statistics import DatasetStatistics


def statistics(
    num_images=367, height=360, width=480, frequencies=(0.5, 0.497, 0.003), unevenness=0.5
):
    return DatasetStatistics(
        num_images=num_images,
        in_channels=3,
        dtype="uint8",
        mean=(100.0,) * 3,
        std=(50.0,) * 3,
        heights=(height,) * num_images,
        widths=(width,) * num_images,
        class_frequencies=frequencies,
        ignored_share=0.0,
        unevenness=unevenness,
    )


def facts(label_mode="multiclass", advice=None, **options):
    names = ("device", "has_bfloat16", "bfloat16_speedup", "seconds_per_crop", "has_batchnorm",
             "contiguous_speedup", "model_learning_rate", "model")  # fmt: skip
    given = {name: options.pop(name) for name in names if name in options}
    return Facts(statistics(**options), label_mode, advice or AugmentationRecipe(), **given)


def taken(recipe, known, *steps):
    """The recipe after some steps, and all reasons."""
    reasons = []
    for step in steps:
        choices = step(recipe, known)
        recipe = apply(recipe, choices)
        reasons += [choice.reason for choice in choices if choice.reason]
    return recipe, " ".join(reasons)


DATA_STEPS = (
    defaults.choose_batch_size,
    defaults.choose_augmentation,
    defaults.choose_class_weights,
    defaults.choose_crop,
)


def filled(**options):
    return taken(Recipe(), facts(**options), *DATA_STEPS)


def test_every_step_leaves_the_recipe_that_it_is_given():
    known = facts(has_bfloat16=True, seconds_per_crop=0.01)
    for step in (*defaults.BEFORE_TRIAL, *defaults.AFTER_TRIAL):
        recipe = Recipe.model_validate({"training": {"batch_size": 4, "minutes": 5}})
        before = recipe.model_dump()
        step(recipe, known)
        assert recipe.model_dump() == before


def test_augmentation_that_is_off_is_filled_in_and_not_told():
    recipe, reasons = filled(advice=AugmentationRecipe(elastic=4))
    assert recipe.augmentation.elastic == 4
    assert recipe.augmentation.rotation == recipe.augmentation.noise == 0
    assert "elastic 4.0 (from the dataset card)" in reasons
    assert "rotation" not in reasons


def test_a_callable_leaves_only_the_scale_to_be_chosen():
    recipe = Recipe.model_validate({"augmentation": {"transform": "mine:flip"}})
    advice = AugmentationRecipe(orientation="free", scale=(1, 2), hue=0.1)
    recipe, reasons = taken(recipe, facts(advice=advice), defaults.choose_augmentation)
    assert recipe.augmentation.entries_on == {"scale", "transform"}
    assert reasons == "augmentation: scale (1.0, 2.0) (from the dataset card), then mine:flip"


def test_a_complete_recipe_is_not_changed():
    known = facts(has_bfloat16=True, seconds_per_crop=0.01, model_learning_rate=0.1)
    steps = (*defaults.BEFORE_TRIAL, *defaults.AFTER_TRIAL)
    full, _ = taken(Recipe(), known, *steps)
    assert taken(full, known, *steps) == (full, "")


def test_crops_are_as_large_as_the_median_image_up_to_a_limit():
    assert filled()[0].training.size == (360, 480)
    assert filled(height=60, width=2000)[0].training.size == (60, 512)


def test_batches_never_hold_more_images_than_there_are():
    assert filled(num_images=2)[0].training.batch_size == 2


def test_a_rare_class_causes_class_weights_with_a_reason():
    recipe, reasons = filled()
    assert recipe.training.class_weights == "balanced"
    assert "0.30%" in reasons
    assert filled(frequencies=(0.5, 0.5))[0].training.class_weights == "none"
    assert filled(label_mode="multilabel")[0].training.class_weights == "none"


def test_what_the_user_fixed_is_left_as_it_is():
    recipe = Recipe.model_validate(
        {"training": {"size": (8, 8), "batch_size": 3, "class_weights": "none"}}
    )
    recipe, _ = taken(recipe, facts(), *DATA_STEPS)
    assert recipe.training.size == (8, 8)
    assert recipe.training.batch_size == 3
    assert recipe.training.class_weights == "none"


def test_the_dataset_card_decides_what_may_be_varied():
    recipe, reasons = filled(advice=AugmentationRecipe(orientation="fixed", brightness=0))
    assert recipe.augmentation.orientation == "fixed"
    assert recipe.augmentation.brightness == 0
    assert recipe.augmentation.contrast == pytest.approx(0.2)
    assert "orientation fixed (from the dataset card)" in reasons


@pytest.mark.parametrize(("unevenness", "orientation"), [(0.02, "free"), (0.9, "mirrored")])
def test_images_without_a_preferred_orientation_are_rotated_freely(unevenness, orientation):
    recipe, reasons = filled(unevenness=unevenness)
    assert recipe.augmentation.orientation == orientation
    assert f"halves differ by {unevenness:.0%}" in reasons


@pytest.mark.parametrize(
    ("support", "speedup", "precision", "reason"),
    [
        (True, None, "bfloat16", "this CPU has matrix units for bfloat16"),
        (False, None, "float32", "this CPU does not accelerate bfloat16"),
        (None, 0.1, "float32", "measured at 0.1 times"),
        (None, 2.5, "bfloat16", "measured at 2.5 times"),
    ],
)
def test_precision_follows_the_hardware_and_then_the_clock(support, speedup, precision, reason):
    known = facts(has_bfloat16=support, bfloat16_speedup=speedup)
    recipe, reasons = taken(Recipe(), known, defaults.choose_precision)
    assert recipe.training.precision == precision
    assert reason in reasons


LENGTH = (defaults.choose_length, defaults.choose_patience)


def test_a_training_without_a_budget_sees_about_twenty_thousand_images():
    known = facts(num_images=500, seconds_per_crop=0.04)
    recipe, _ = taken(Recipe(), known, *LENGTH)
    assert recipe.training.epochs == 40
    assert recipe.training.patience == 13
    budget = Recipe.model_validate({"training": {"minutes": 5}})
    recipe, reasons = taken(budget, facts(seconds_per_crop=9.0), *LENGTH)
    assert reasons == ""
    assert recipe.training.patience is None


@pytest.mark.parametrize(("device", "minutes"), [("cpu", 15), ("cuda", None)])
def test_a_processor_is_not_kept_busy_for_hours_unasked(device, minutes):
    known = facts(num_images=500, seconds_per_crop=1.0, device=device)
    recipe, reasons = taken(Recipe(), known, *LENGTH)
    assert recipe.training.minutes == minutes
    assert (recipe.training.epochs is None) == (device == "cpu")
    assert ("333 minutes" in reasons) == (device == "cpu")


def test_images_are_resized_smaller_only_when_too_few_epochs_fit():
    recipe = Recipe.model_validate({"training": {"minutes": 20}})

    def chosen(epochs, recipe=recipe, num_crops=1, **size):
        seconds = 20 * 60 / (100 * num_crops * epochs)
        known = facts(num_images=100, seconds_per_crop=seconds, **size)
        filled, reason = taken(recipe, known, defaults.choose_scale)
        return filled.data.scale, reason

    assert chosen(26) == (1.0, "")
    assert chosen(20)[0] == 0.75
    scale, reason = chosen(3)
    assert scale == 0.5
    assert "only 3.0 epochs fit into 20 minutes" in reason
    assert chosen(3, recipe=Recipe()) == (1.0, "")
    # Crops of large images are as large at half the scale, but there are fewer of them.
    assert chosen(3, num_crops=16, height=2048, width=2048)[0] == 0.5
    # Small images have no detail to spare.
    assert chosen(3, height=60, width=60) == (1.0, "")
    assert chosen(3, height=256, width=256)[0] == 0.75
    # Images that are one crop of fixed size cost the same at every scale.
    fixed = Recipe.model_validate({"training": {"minutes": 20, "size": (360, 480)}})
    assert chosen(3, recipe=fixed) == (1.0, "")


@pytest.mark.parametrize(
    ("speedup", "taken_format"),
    [(None, "channels_last"), (2.0, "contiguous"), (1.05, "channels_last")],
)
def test_the_contiguous_format_must_be_clearly_faster(speedup, taken_format):
    known = facts(contiguous_speedup=speedup)
    recipe, _ = taken(Recipe(), known, defaults.choose_memory_format)
    assert recipe.training.memory_format == taken_format


@pytest.mark.parametrize(
    ("has_batchnorm", "batch_size", "share", "is_said"),
    [(True, 4, 0.6, True), (True, 16, 1.0, False), (False, 4, 0.6, False)],
)
def test_batchnorm_is_frozen_late_with_small_batches(has_batchnorm, batch_size, share, is_said):
    recipe = Recipe.model_validate({"training": {"batch_size": batch_size}})
    known = facts(has_batchnorm=has_batchnorm)
    recipe, reasons = taken(recipe, known, defaults.choose_freeze_batchnorm)
    assert recipe.training.freeze_batchnorm_from == share
    assert bool(reasons) == is_said
