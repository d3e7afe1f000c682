import pytest

from pixelwise.config import AugmentationRecipe, Recipe
from pixelwise.models import create_model
from pixelwise.training.recipes import (
    choose_scale,
    fill_data_choices,
    fill_length,
    fill_machine_choices,
)
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


def filled(**options):
    recipe = Recipe()
    mode = options.pop("label_mode", "multiclass")
    is_cpu = options.pop("is_cpu", True)
    advice = options.pop("advice", AugmentationRecipe())
    reasons = fill_data_choices(recipe, statistics(**options), advice, mode, is_cpu=is_cpu)
    return recipe, " ".join(reasons)


def test_crops_are_as_large_as_the_median_image_up_to_a_limit():
    assert filled()[0].training.size == (360, 480)
    assert filled(height=60, width=2000)[0].training.size == (60, 512)


def test_batches_never_hold_more_images_than_there_are():
    assert filled(num_images=2)[0].training.batch_size == 2


def test_a_rare_class_brings_class_weights_and_says_so():
    recipe, reasons = filled()
    assert recipe.training.class_weights == "balanced"
    assert "0.30%" in reasons
    assert filled(frequencies=(0.5, 0.5))[0].training.class_weights == "none"
    assert filled(label_mode="multilabel")[0].training.class_weights == "none"


def test_what_the_user_fixed_is_left_as_it_is():
    recipe = Recipe.model_validate(
        {"training": {"size": (8, 8), "batch_size": 3, "class_weights": "none"}}
    )
    fill_data_choices(recipe, statistics(), AugmentationRecipe(), "multiclass", is_cpu=True)
    assert recipe.training.size == (8, 8)
    assert recipe.training.batch_size == 3
    assert recipe.training.class_weights == "none"


def test_the_dataset_card_decides_what_may_be_varied():
    recipe, reasons = filled(advice=AugmentationRecipe(orientation="fixed", brightness=0))
    assert recipe.augmentation.orientation == "fixed"
    assert recipe.augmentation.brightness == 0
    assert recipe.augmentation.contrast == pytest.approx(0.2)
    assert "orientation fixed (as the data set says)" in reasons


@pytest.mark.parametrize(("unevenness", "orientation"), [(0.02, "free"), (0.9, "mirrored")])
def test_pictures_without_up_and_down_are_turned_freely(unevenness, orientation):
    recipe, reasons = filled(unevenness=unevenness)
    assert recipe.augmentation.orientation == orientation
    assert f"halves differ by {unevenness:.0%}" in reasons


@pytest.mark.parametrize(
    ("support", "speedup", "precision", "reason"),
    [
        (True, None, "bfloat16", "matrix units"),
        (False, None, "float32", "it has no bfloat16"),
        (None, 0.1, "float32", "measured at 0.1 times"),
        (None, 2.5, "bfloat16", "measured at 2.5 times"),
    ],
)
def test_precision_follows_the_hardware_and_then_the_clock(support, speedup, precision, reason):
    recipe = Recipe()
    model = create_model("stacked-fcn", 2)
    reasons = fill_machine_choices(recipe, model, device="cpu", support=support, speedup=speedup)
    assert recipe.training.precision == precision
    assert recipe.training.learning_rate == model.learning_rate
    assert reason in " ".join(reasons)


def test_a_training_without_a_budget_sees_about_twenty_thousand_images():
    recipe = Recipe()
    fill_length(recipe, 500, seconds_per_crop=0.04, is_cpu=True)
    assert recipe.training.epochs == 40
    assert recipe.training.patience == 13
    budget = Recipe.model_validate({"training": {"minutes": 5}})
    assert fill_length(budget, 500, seconds_per_crop=9.0, is_cpu=True) == []
    assert budget.training.patience is None


@pytest.mark.parametrize(("is_cpu", "minutes"), [(True, 15), (False, None)])
def test_a_processor_is_not_kept_busy_for_hours_unasked(is_cpu, minutes):
    recipe = Recipe()
    reasons = fill_length(recipe, 500, seconds_per_crop=1.0, is_cpu=is_cpu)
    assert recipe.training.minutes == minutes
    assert (recipe.training.epochs is None) == is_cpu
    assert ("333 minutes" in reasons[0]) == is_cpu


def test_images_are_worked_on_smaller_only_when_too_few_epochs_fit():
    recipe = Recipe.model_validate({"training": {"minutes": 20}})

    def chosen(epochs, recipe=recipe, num_crops=1, **size):
        seconds = 20 * 60 / (100 * num_crops * epochs)
        images = statistics(num_images=100, **size)
        return choose_scale(recipe, images, seconds_per_crop=seconds)

    assert chosen(26) == (1.0, "")
    assert chosen(20)[0] == 0.75
    scale, reason = chosen(3)
    assert scale == 0.5
    assert "3.0 epochs fit into 20 minutes" in reason
    assert "about 12" in reason
    assert chosen(3, recipe=Recipe()) == (1.0, "")
    # Crops of large images are as large at half the scale, but there are fewer of them.
    assert chosen(3, num_crops=16, height=2048, width=2048)[0] == 0.5
    # Small images have no detail to spare.
    assert chosen(3, height=60, width=60) == (1.0, "")
    assert chosen(3, height=256, width=256)[0] == 0.75
    # Images that are one crop of fixed size cost the same at every scale.
    fixed = Recipe.model_validate({"training": {"minutes": 20, "size": (360, 480)}})
    assert chosen(3, recipe=fixed) == (1.0, "")
