"""Preprocessing as modules: the numbers of the functions, and no size fixed in a graph."""

import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pixelwise.errors import DataError
from pixelwise.models.tracing import trace_program
from pixelwise.transforms.preprocessing import (
    Normalize,
    Preprocess,
    Preprocessing,
    host_steps,
    normalize,
    prepare_image,
    restore_size,
)

POLICIES = [
    {},
    {"scale": 0.37},
    {"scale": 0.5},
    {"resize": (40, 29)},
    {"resize": {"shortest_side": 23}},
    {"resize": {"letterbox": (33, 47)}},
]
DTYPES = ["uint8", "uint16", "float32"]
TYPES = {"uint8": torch.uint8, "uint16": torch.float32, "float32": torch.float32}
LARGEST = {"uint8": 255, "uint16": 65535, "float32": 3.5}

every_policy = pytest.mark.parametrize("policy", POLICIES, ids=str)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def steps(dtype="uint8", channels=3, **fields):
    mean = tuple(0.41 * LARGEST[dtype] + band for band in range(channels))
    std = tuple(0.23 * LARGEST[dtype] + band for band in range(channels))
    return Preprocessing(dtype=dtype, mean=mean, std=std, **fields)


def images(dtype, *shape, seed=0):
    """Arrays (N, H, W, C) in stored units."""
    return (np.random.default_rng(seed).random(shape) * LARGEST[dtype]).astype(dtype)


def as_batch(arrays):
    """(N, C, H, W) as the module takes it: uint16 as float32."""
    values = arrays.astype(np.float32) if arrays.dtype == np.uint16 else arrays
    return torch.from_numpy(np.ascontiguousarray(values.transpose(0, 3, 1, 2)))


def expected(arrays, preprocessing):
    """What prediction gives the network, image by image."""
    channels = len(preprocessing.mean)
    prepared = [prepare_image(array, preprocessing, channels) for array in arrays]
    return normalize(torch.stack(prepared), preprocessing)


class RoundTrip(nn.Module):
    """The normalized input, at working size and brought back."""

    def __init__(self, preprocessing):
        super().__init__()
        self.preprocess = Preprocess(preprocessing)

    def forward(self, image):
        prepared = self.preprocess(image)
        return prepared, self.preprocess.restore(prepared, *image.shape[-2:])


@functools.cache
def graph(policy, dtype):
    preprocessing = steps(dtype, **POLICIES[policy])
    return trace_program(RoundTrip(preprocessing).eval(), 3, dtype=TYPES[dtype]).module()


def all_equal(found, wanted):
    return all(torch.equal(*pair) for pair in zip(found, wanted, strict=True))


sizes = st.tuples(st.integers(1, 90), st.integers(1, 90))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(POLICIES), st.sampled_from(DTYPES), sizes, st.integers(1, 3))
def test_the_module_gives_the_numbers_of_the_functions(policy, dtype, size, num):
    preprocessing = steps(dtype, **policy)
    arrays = images(dtype, num, *size, 3)
    prepared, restored = RoundTrip(preprocessing)(as_batch(arrays))
    wanted = expected(arrays, preprocessing)
    assert torch.equal(prepared, wanted)
    back = [restore_size(single, preprocessing, *size) for single in wanted]
    assert torch.equal(restored, torch.stack(back))


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(POLICIES) - 1), st.sampled_from(DTYPES), sizes, st.integers(1, 3))
def test_the_graph_gives_the_numbers_of_the_module(policy, dtype, size, num):
    preprocessing = steps(dtype, **POLICIES[policy])
    if preprocessing.fitted_size(*size)[1] == 1:
        return  # torch's own fault, which the module works around and a graph cannot
    batch = as_batch(images(dtype, num, *size, 3))
    assert all_equal(graph(policy, dtype)(batch), RoundTrip(preprocessing)(batch))


@every_policy
@every_dtype
def test_bands_are_chosen_in_the_module(policy, dtype):
    preprocessing = steps(dtype, 2, bands=(4, 2), **policy)
    arrays = images(dtype, 2, 31, 44, 5)
    assert torch.equal(Preprocess(preprocessing)(as_batch(arrays)), expected(arrays, preprocessing))


@every_policy
def test_gray_images_become_equal_channels(policy):
    arrays = images("uint8", 2, 31, 44, 1)
    preprocessing = steps(**policy)
    assert torch.equal(Preprocess(preprocessing)(as_batch(arrays)), expected(arrays, preprocessing))


def test_images_without_the_bands_or_channels_are_refused():
    with pytest.raises(DataError, match=r"must have the bands 4, 2\. They have 3"):
        Preprocess(steps(channels=2, bands=(4, 2)))(torch.zeros(1, 3, 4, 4))
    with pytest.raises(DataError, match=r"must have 3 channels\. Got 2"):
        Preprocess(steps())(torch.zeros(1, 2, 4, 4))


def test_images_that_would_be_enlarged_beyond_memory_are_refused():
    with pytest.raises(DataError, match="1 x 5000 would be 512 x 2560000"):
        Preprocess(steps(resize={"shortest_side": 512}))(torch.zeros(1, 3, 1, 5000))


def test_mean_and_std_are_buffers_that_follow_the_module():
    module = Normalize(steps())
    assert [name for name, _ in module.named_buffers()] == ["mean", "std"]
    assert module.mean.shape == (3, 1, 1)
    assert module.to("meta").std.device.type == "meta"


def test_steps_that_a_graph_cannot_hold_are_named_in_their_order():
    assert host_steps(steps()) == host_steps(steps(bands=(3, 2, 1), scale=0.5)) == ()
    assert host_steps(steps(denoise="median")) == ("denoise median",)
    every = steps(bands=(3, 2, 1), denoise="nl-means", white_balance="gray-world", contrast="clahe")
    assert host_steps(every) == (
        "bands 3, 2, 1",
        "denoise nl-means",
        "white balance gray-world",
        "contrast clahe",
    )
    for contrast in ("stretch", "stretch-bands"):
        assert host_steps(steps(contrast=contrast)) == (f"contrast {contrast}",)


def test_the_module_leaves_to_the_host_what_the_host_does():
    from pixelwise.transforms.enhancement import enhance

    preprocessing = steps("uint8", 2, bands=(4, 2), contrast="stretch", scale=0.5)
    arrays = images("uint8", 2, 31, 44, 5)
    enhanced = np.stack([enhance(array, preprocessing) for array in arrays])
    module = Preprocess(preprocessing)
    assert module.host_steps == ("bands 4, 2", "contrast stretch")
    assert torch.equal(module(as_batch(enhanced)), expected(arrays, preprocessing))
