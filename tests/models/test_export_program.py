"""Every model is one graph for all sizes; a new one is tested here without an edit."""

import copy

import pytest
import torch
from torch import nn

from pixelwise.errors import ConfigError
from pixelwise.models import create_model, list_models
from pixelwise.models.blocks import MaxPool, unpool
from pixelwise.models.tracing import trace_program
from pixelwise.transforms.preprocessing import Preprocess, Preprocessing

SMALL = {
    "unet": {"filters": 4},
    "unet-elu": {"filters": 4},
    "unet-fast": {"filters": 4},
    "resunet": {"filters": 4},
    "dilated": {"filters": 4},
    "encoder-decoder": {"filters": 4},
    "stacked-fcn": {"filters": 4},
    "patch-classifier": {"filters": 4},
    "icnet": {"encoder": "resnet18"},
}
"""Arguments that make a model small; the graph has the same operations."""

SMP = ["smp:unet:resnet18", "smp:deeplabv3plus:resnet18"]

SLOW = [
    "smp:unetplusplus:resnet18",
    "smp:manet:resnet18",
    "smp:linknet:resnet18",
    "smp:fpn:tu-mobilenetv3_small_100",
    "smp:pspnet:resnet18",
    "smp:deeplabv3:resnet18",
]

SIZES = [(70, 83), (1, 1), (1, 17), (33, 20), (64, 96), (15, 16), (131, 67)]

every_model = pytest.mark.parametrize(
    "name", [*list_models(), *SMP, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)


def small(name, num_classes=3, in_channels=3):
    torch.manual_seed(0)
    return create_model(name, num_classes, in_channels, **SMALL.get(name, {})).eval()


def random_image(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@every_model
def test_the_graph_gives_the_logits_of_the_model_at_every_size(name):
    model = small(name)
    assert model.export_obstacle is None
    program = trace_program(model, 3).module()
    with torch.no_grad():
        for num, size in enumerate(SIZES, start=1):
            image = random_image(1 + num % 2, 3, *size)
            logits = program(image)
            assert logits.shape == (1 + num % 2, 3, *size)
            torch.testing.assert_close(logits, model(image), rtol=1e-5, atol=1e-6)


DPT = ("smp:dpt:tu-vit_tiny_patch16_224", {"dynamic_img_size": True})
SEGFORMER = ("smp:segformer:resnet18", {})
UPERNET = ("smp:upernet:resnet18", {})
MIT = ("smp:unet:mit_b0", {})


@pytest.mark.slow
@pytest.mark.parametrize(("name", "arguments"), [SEGFORMER, DPT, UPERNET, MIT])
@pytest.mark.parametrize("num", [1, 2])
def test_a_model_with_a_batch_obstacle_is_traced_for_a_fixed_number(name, arguments, num):
    model = create_model(name, 3, 3, **arguments).eval()
    program = trace_program(model, 3, num_images=num).module()
    with torch.no_grad():
        for size in SIZES:
            image = random_image(num, 3, *size)
            torch.testing.assert_close(program(image), model(image), rtol=1e-5, atol=1e-6)


def test_the_error_of_a_batch_obstacle_names_the_workaround():
    model = create_model(SEGFORMER[0], 2, 3).eval()
    with pytest.raises(ConfigError, match=r"one image or several.*num_images=1") as refusal:
        trace_program(model, 3)
    assert model.batch_obstacle in str(refusal.value)


def test_an_export_obstacle_is_told_for_the_model_inside_a_module_too():
    model = create_model("smp:pan:resnet18", 2, 3).eval()
    for num_images in (None, 1):
        with pytest.raises(ConfigError, match=r"'smp:pan:resnet18' .* memory layout") as refusal:
            trace_program(nn.Sequential(model).eval(), 3, num_images=num_images)
        assert model.export_obstacle in str(refusal.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments"),
    [("smp:pan:resnet18", {}), SEGFORMER, DPT, UPERNET, MIT],
    ids=["pan", "segformer", "dpt", "upernet", "mit"],
)
def test_the_obstacles_are_there_indeed(name, arguments):
    """Where torch overcomes one, its entry can be deleted."""
    model = create_model(name, 2, 3, **arguments).eval()
    model.export_obstacle = model.batch_obstacle = None

    def trace_and_run():
        program = trace_program(model, 3).module()
        for num in (1, 2):
            program(random_image(num, 3, 40, 50))

    errors = (torch._dynamo.exc.UserError, AssertionError)
    with pytest.raises(errors, match=r"Constraints violated|Guard failed"):
        trace_and_run()


def test_a_model_in_training_is_not_traced():
    with pytest.raises(ConfigError, match=r"Call its eval\(\) first"):
        trace_program(small("stacked-fcn").train(), 3)


class PoolAndBack(nn.Module):
    def __init__(self):
        super().__init__()
        self.pool = MaxPool()

    def forward(self, image):
        pooled, indices = self.pool(image)
        return pooled, indices, unpool(pooled, indices, image.shape[-2:])


def test_pooling_in_a_graph_remembers_the_same_places():
    module = PoolAndBack().eval()
    program = trace_program(module, 3).module()
    for size in SIZES:
        image = random_image(2, 3, *size)
        for found, wanted in zip(program(image), module(image), strict=True):
            assert torch.equal(found, wanted)


class Pipeline(nn.Module):
    """What is exported: stored units in, logits of the image's own size out."""

    def __init__(self, preprocessing, model):
        super().__init__()
        self.preprocess, self.model = Preprocess(preprocessing), model

    def forward(self, image):
        logits = self.model(self.preprocess(image))
        return self.preprocess.restore(logits, *image.shape[-2:])


@pytest.mark.parametrize(
    ("name", "dtype", "fields"),
    [
        ("unet-fast", torch.uint8, {"dtype": "uint8", "scale": 0.5, "bands": (3, 1, 2)}),
        ("fcn8s", torch.float32, {"dtype": "uint16", "resize": {"letterbox": (48, 60)}}),
        ("smp:unet:resnet18", torch.uint8, {"dtype": "uint8", "resize": {"shortest_side": 40}}),
    ],
)
def test_preprocessing_model_and_restoring_are_one_graph(name, dtype, fields):
    preprocessing = Preprocessing(mean=(100, 110, 120), std=(50, 60, 70), **fields)
    pipeline = Pipeline(preprocessing, small(name)).eval()
    before = copy.deepcopy(pipeline.state_dict())
    program = trace_program(pipeline, 3, dtype=dtype).module()
    with torch.no_grad():
        for size in ((70, 83), (33, 20), (64, 96), (15, 16), (131, 67)):
            image = (random_image(2, 3, *size) * 50 + 128).clip(0, 255).to(dtype)
            logits = program(image)
            assert logits.shape == (2, 3, *size)
            torch.testing.assert_close(logits, pipeline(image), rtol=1e-5, atol=1e-6)
    assert all(torch.equal(value, before[key]) for key, value in pipeline.state_dict().items())
