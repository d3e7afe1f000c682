"""Models of other people's code: plain modules by class, by instance and by registered name."""

import copy
import json
import pickle
import sys
import types

import pytest
import torch
import torchvision
from torch import nn

import pixelwise
from pixelwise.comparison.candidates import parse_candidates
from pixelwise.config import Recipe
from pixelwise.errors import ConfigError, UnknownNameError
from pixelwise.models import create_model, list_models, register_model, summarize_models
from pixelwise.models.base import models
from pixelwise.models.creation import adopted, build_model, given_name
from pixelwise.models.lookup import find_builder, short_name
from pixelwise.models.outline import check_model
from pixelwise.models.tracing import trace_program


class Halving(nn.Module):
    """Needs even sides; its counts have the names of a well-known U-Net repository."""

    def __init__(self, n_channels, n_classes, width: int = 4, dilation: int = 1):
        super().__init__()
        self.down = nn.Conv2d(n_channels, width, 3, stride=2, padding=dilation, dilation=dilation)
        self.norm = nn.BatchNorm2d(width)
        self.up = nn.ConvTranspose2d(width, n_classes, 2, stride=2)

    def forward(self, image):
        return self.up(self.norm(self.down(image)).relu())


class WithDict(nn.Module):
    def __init__(self, num_classes, in_channels=3):
        super().__init__()
        self.layer = nn.Conv2d(in_channels, num_classes, 1)

    def forward(self, image):
        return {"aux": self.layer(image), "out": 2 * self.layer(image)}


class Fixed(nn.Module):
    """Takes no counts."""

    def __init__(self, classes_for_itself=3):
        super().__init__()
        self.layer = nn.Conv2d(4, classes_for_itself, 1)

    def forward(self, image):
        return self.layer(image)


class Grid(nn.Module):
    """Any sides that are multiples of ``grid``; works whatever it needs."""

    def __init__(self, num_classes, in_channels, grid=1, smallest=1):
        super().__init__()
        self.layer = nn.Conv2d(in_channels, num_classes, 1)
        self.grid, self.smallest = grid, smallest

    def forward(self, image):
        for side in image.shape[-2:]:
            if side % self.grid or side < self.smallest:
                raise ValueError(f"{side} px")
        return self.layer(image)


class Wrong(nn.Module):
    def __init__(self, num_classes, in_channels, how="size"):
        super().__init__()
        self.layer = nn.Conv2d(in_channels, num_classes + (how == "classes"), 1)
        self.how = how

    def forward(self, image):
        logits = self.layer(image)
        return {
            "size": logits[..., ::4, ::4],
            "classes": logits,
            "list": [logits],
            "keys": {"logits": logits},
            "rank": logits.mean((2, 3)),
        }[self.how]


@pytest.fixture
def registry(monkeypatch):
    """What a test registers is forgotten afterwards."""
    list_models()
    monkeypatch.setattr(models, "_entries", dict(models._entries))
    return models


SIZES = [(1, 1), (1, 17), (33, 20), (64, 64)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("model", [Halving, WithDict, Grid], ids=lambda model: model.__name__)
def test_logits_of_a_class_have_the_size_of_the_image(model, size):
    built = create_model(model, 5, 2)
    assert (built.num_classes, built.in_channels, built.arguments) == (5, 2, {})
    assert built.name == f"{__name__}:{model.__name__}"
    for is_training in (False, True):
        with torch.no_grad():
            (logits, *_) = built.train(is_training).training_logits(torch.rand(1, 2, *size))
        assert logits.shape == (1, 5, *size)


@pytest.mark.parametrize("grid", [1, 2, 8, 64])
def test_the_stride_is_found_by_trying(grid):
    assert create_model(Grid, 2, 3, grid=grid).stride == grid


@pytest.mark.parametrize(("smallest", "expected"), [(1, 4), (5, 8), (100, 128)])
def test_the_smallest_side_is_found_by_trying(smallest, expected):
    built = create_model(Grid, 2, 3, grid=4, smallest=smallest)
    assert built.smallest_px == expected
    assert built(torch.rand(1, 3, 3, 7)).shape == (1, 2, 3, 7)


def test_an_attribute_stride_is_used_for_other_multiples():
    class Sixes(Grid):
        stride = 6

    built = create_model(Sixes, 2, 3, grid=6)
    assert built.stride == 6
    assert built(torch.rand(1, 3, 13, 5)).shape == (1, 2, 13, 5)
    with pytest.raises(ConfigError, match=r"raised ValueError: .* px. If .* an attribute stride"):
        create_model(Grid, 2, 3, grid=6)


def test_trying_changes_neither_statistics_nor_the_generator():
    torch.manual_seed(3)
    plain = Halving(3, 2)
    after = torch.rand(1)
    torch.manual_seed(3)
    built = create_model(Halving, 2, 3)
    assert torch.equal(torch.rand(1), after)
    for name, tensor in plain.state_dict().items():
        assert torch.equal(built.state_dict()[f"network.{name}"], tensor)
    assert int(built.network.norm.num_batches_tracked) == 0


def test_a_dict_output_trains_its_auxiliary_logits_too():
    built = create_model(WithDict, 2, 3)
    image = torch.rand(1, 3, 5, 7)
    main, auxiliary = built.training_logits(image)
    torch.testing.assert_close(main, 2 * auxiliary)
    torch.testing.assert_close(built(image), main)
    assert built.auxiliary_weights == (0.5,)


def test_a_network_of_torchvision_is_taken_as_it_is():
    build = torchvision.models.segmentation.lraspp_mobilenet_v3_large
    network = build(weights=None, weights_backbone=None, num_classes=4).eval()
    built = create_model(network, 4, 3).eval()
    image = torch.rand(1, 3, 65, 49)
    with torch.no_grad():
        torch.testing.assert_close(built(image), network(image)["out"])
        built.train()
        assert built(torch.rand(1, 3, 9, 9)).isfinite().all()  # a batch of one pooled pixel


def test_further_arguments_are_checked_and_kept():
    built = create_model(Halving, 2, 3, width="8")
    assert built.network.down.out_channels == 8
    assert built.arguments == {"width": "8"}
    with pytest.raises(UnknownNameError, match=r"argument of model '.*:Halving' .* 'width'"):
        create_model(Halving, 2, 3, widht=8)
    with pytest.raises(ConfigError, match=r"n_classes of model .* must be left out"):
        create_model(Halving, 2, 3, n_classes=8)
    with pytest.raises(ConfigError, match=r"must be built with \(.*width=-1\). It raised Runtime"):
        create_model(Halving, 2, 3, width=-1)


def test_a_class_that_takes_no_counts_is_built_with_its_arguments_alone():
    assert create_model(Fixed, 3, 4).num_classes == 3
    assert create_model(Fixed, 7, 4, classes_for_itself=7).num_classes == 7
    check_model(Fixed, {})
    with pytest.raises(ConfigError, match=r"logits of 2 channels, one for each class. It ret.* 3"):
        check_model(Fixed, {}, num_classes=2)
    with pytest.raises(ConfigError, match=r"must take images .N, 3, H, W.*to have 4 channels"):
        create_model(Fixed, 3, 3)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("size", "size of the image. For 192 x 320 it returned 48 x 80"),
        ("classes", "logits of 2 channels, one for each class. It returned 3"),
        ("list", "or a dict with them as 'out'. It returned a list"),
        ("keys", "It returned a dict with logits"),
        ("rank", r"It returned a tensor of shape \(1, 2\)"),
    ],
)
def test_a_wrong_output_is_refused_in_one_line(how, words):
    for refused in (
        lambda: check_model(Wrong, {"how": how}),
        lambda: create_model(Wrong, 2, how=how),
    ):
        with pytest.raises(ConfigError, match=words) as refusal:
            refused()
        assert "\n" not in str(refusal.value)


def test_a_class_of_ours_with_a_wrong_output_is_refused_too(registry):
    @register_model("too-small")
    class TooSmall(pixelwise.models.SegmentationModel):
        def __init__(self, num_classes, in_channels=3):
            super().__init__()
            self.layer = nn.Conv2d(in_channels, num_classes, 1)

        def segment(self, image):
            return self.layer(image)[..., ::2, ::2]

    with pytest.raises(ConfigError, match="'too-small' must return logits of the size"):
        check_model("too-small", {})


@pytest.mark.parametrize("given", [5, lambda num_classes: Fixed(num_classes), dict])
def test_what_is_no_model_is_refused(given):
    with pytest.raises(ConfigError, match="model must be a registered name, a class"):
        given_name(given)


def test_an_instance_is_copied_with_its_weights():
    network = Halving(1, 3, width=6)
    before = copy.deepcopy(network.state_dict())
    built = create_model(network, 3, 1)
    for weights in built.parameters():
        weights.data.zero_()
    assert all(torch.equal(network.state_dict()[key], before[key]) for key in before)
    assert type(network.norm) is nn.BatchNorm2d
    twin = create_model(network, 3, 1)
    assert torch.equal(twin.network.down.weight, network.down.weight)


def test_an_instance_for_other_data_is_refused():
    with pytest.raises(ConfigError, match=r"logits of 2 channels.* It returned 3. Build it for 2"):
        create_model(Halving(1, 3), 2, 1)
    with pytest.raises(ConfigError, match="to have 1 channels, but got 3"):
        create_model(Halving(1, 3), 3, 3)
    with pytest.raises(ConfigError, match=r"without model.arguments, because it is an instance"):
        create_model(Halving(1, 3), 3, 1, width=4)


@pytest.mark.parametrize(
    ("instance", "ending"),
    [
        (Halving(2, 3), ":Halving"),
        (Halving(2, 3, width=5), ":Halving(...)"),  # other shapes
        (Halving(2, 3, dilation=2), ":Halving(...)"),  # the same shapes, other logits
        (Fixed(3), ":Fixed"),
        (nn.Sequential(nn.Conv2d(2, 3, 1)), ":Sequential(...)"),
        (nn.Conv2d(2, 3, 3, padding=1), ":Conv2d(...)"),
    ],
)
def test_the_name_of_an_instance_says_if_its_class_gives_it_again(instance, ending):
    assert adopted(instance).name.endswith(ending)


def test_an_instance_of_our_models_keeps_its_arguments():
    unet = adopted(pixelwise.models.unet.UNet(2, 5, filters=2, depth=2))
    assert (unet.name, unet.arguments) == ("unet", {"filters": 2, "depth": 2})
    assert (unet.num_classes, unet.in_channels) == (2, 5)
    smp = adopted(create_model("smp:unet:resnet18", 2))
    assert smp.name == "smp:unet:resnet18"
    wrapped = adopted(create_model(Halving, 2, 3, width=5))
    assert (wrapped.name, wrapped.arguments) == (f"{__name__}:Halving", {"width": 5})


def test_a_registered_class_is_created_checked_and_listed(registry):
    returned = register_model("halving")(Halving)
    assert returned is Halving
    built = create_model("halving", 2, 3, width=3)
    assert (built.name, built.defined_in, built.arguments) == ("halving", __name__, {"width": 3})
    assert create_model(Halving, 2).name == adopted(Halving(3, 2)).name == "halving"
    check_model("halving", {})
    assert "halving" in list_models()
    (row,) = [row for row in summarize_models(2, 3, (32, 32)) if row.name == "halving"]
    assert row.parameters == sum(weights.numel() for weights in Halving(3, 2).parameters())
    assert row.gmacs == pytest.approx(32 * 32 * (9 * 3 * 4 / 4 + 4 * 2) / 1e9)


def test_a_registered_function_builds_any_module(registry):
    @register_model("sequential")
    def build(classes, in_chans, width=2):
        return nn.Sequential(nn.Conv2d(in_chans, width, 1), nn.Conv2d(width, classes, 1))

    assert create_model("sequential", 4, 5)(torch.rand(1, 5, 3, 3)).shape == (1, 4, 3, 3)

    @register_model("nothing")
    def build_nothing(num_classes):
        return None

    with pytest.raises(ConfigError, match=r"'nothing' must be a torch.nn.Module. .*NoneType"):
        create_model("nothing", 2)


def test_a_registered_model_that_needs_arguments_does_not_hide_the_others(registry):
    register_model("needy")(lambda num_classes, depth: nn.Conv2d(3, num_classes, depth))
    rows = {row.name: row for row in summarize_models(2, 3, (32, 32))}
    assert rows["needy"].parameters is rows["needy"].gmacs is None
    assert "'depth'" in rows["needy"].reference
    assert rows.keys() == set(list_models())


@pytest.mark.parametrize("name", ["", "a b", "a,b", "a(b)", "runs/a"])
def test_a_name_that_could_not_be_given_later_is_refused(name):
    with pytest.raises(ConfigError, match="the name of a model must have no spaces"):
        register_model(name)(Halving)


@pytest.mark.parametrize("thing", [dict, 3, "Halving"])
def test_only_what_builds_a_module_is_registered(thing):
    with pytest.raises(ConfigError, match=r"derived from torch.nn.Module, or a function"):
        register_model("thing")(thing)


def test_a_cell_of_a_notebook_can_be_run_again(registry, monkeypatch):
    cell = """
import torch, pixelwise
@pixelwise.register_model("cell")
class Cell(torch.nn.Module):
    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.layer = torch.nn.Conv2d(in_channels, num_classes, SIDE, padding="same")
    def forward(self, image):
        return self.layer(image)
"""
    notebook = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", notebook)
    for side in (1, 3):
        exec(cell.replace("SIDE", str(side)), vars(notebook))
        assert create_model("cell", 2).network.layer.kernel_size == (side, side)
        assert adopted(notebook.Cell(2, 3)).name == "cell"
    # A class that is not registered is found where it was defined.
    notebook.Plain = type("Plain", (Fixed,), {"__module__": "__main__"})
    assert find_builder("__main__:Plain") is notebook.Plain


def test_a_class_is_found_by_its_path_only_if_it_is_imported():
    assert find_builder(f"{__name__}:Halving") is Halving
    assert "colorsys" not in sys.modules or sys.modules.pop("colorsys")
    with pytest.raises(ConfigError, match=r"`imports=.'colorsys'.`"):
        find_builder("colorsys:Net")
    assert "colorsys" not in sys.modules


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("not_imported:Net", "Import its module first: import not_imported, or `imports="),
        (
            f"{__name__}:Nothing",
            "is imported and does not define it. Give its class: model=Nothing",
        ),
        (f"{__name__}:json.dumps", "does not define it"),  # no class
        (f"{__name__}:copy.Error", "does not define it"),  # no module of torch
        ("pixelwise:train.Net", "does not define it"),  # lazy attributes are not loaded
        ("__main__:Cell", "in a script, a notebook or a function. Give its class: model=Cell"),
        ("tests.a:f.<locals>.Net", "a notebook or a function. Give its class: model=Net"),
        ("my:Net(...)", r"an instance with the same arguments: model=Net\(\.\.\.\)"),
    ],
)
def test_a_class_that_is_not_known_says_what_is_missing(name, words):
    with pytest.raises(ConfigError, match=f"the model .* is not known here. .*{words}") as refusal:
        find_builder(name)
    assert "\n" not in str(refusal.value)


def test_a_comparison_takes_the_path_of_a_class_with_arguments():
    (candidate,) = parse_candidates(f"{__name__}:Halving(width=3)", Recipe())
    assert candidate.recipe.model.name == f"{__name__}:Halving"
    assert candidate.recipe.model.arguments == {"width": 3}
    with pytest.raises(ConfigError, match=r"`imports=.'not_imported'.`"):
        parse_candidates("unet,not_imported:Net", Recipe())


def test_short_names_are_fit_for_folders():
    assert short_name("my.nets:Net") == short_name("my.nets:f.<locals>.Net(...)") == "Net"
    assert short_name("smp:unet:resnet18") == "smp:unet:resnet18"
    assert short_name("unet-fast") == "unet-fast"


def test_pretrained_weights_are_not_built_for_weights_from_a_file(registry):
    asked = []

    @register_model("pretrained-net")
    def build(num_classes, in_channels, encoder_weights="imagenet", pretrained=True):
        asked.append((encoder_weights, pretrained))
        return nn.Conv2d(in_channels, num_classes, 1)

    build_model("pretrained-net", 2, 3, {}, is_fresh=False)
    check_model("pretrained-net", {"pretrained": True})
    assert asked == [(None, False)] * 2
    with pytest.raises(ConfigError, match="argument 'pretrained' of model 'fcn8s'"):
        check_model("fcn8s", {"pretrained": "perhaps"})
    built = create_model("pretrained-net", 2, 3, encoder_weights="other")
    assert asked[-1] == ("other", True)
    assert json.dumps(built.arguments) == "{}"


def test_an_adapted_model_is_copied_pickled_and_traced():
    built = create_model(Halving, 2, 3).eval()
    image = torch.rand(1, 3, 13, 22)
    with torch.no_grad():
        expected = built(image)
        for twin in (copy.deepcopy(built), pickle.loads(pickle.dumps(built))):
            assert torch.equal(twin(image), expected)
            assert (twin.name, twin.stride) == (built.name, built.stride)
        traced = trace_program(built, 3).module()
        torch.testing.assert_close(traced(image), expected)
