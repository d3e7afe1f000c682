"""A training run restores processor settings, and only the command line keeps freed memory."""

import ctypes

import pytest
import torch

from pixelwise.cli.train import command
from pixelwise.devices import (
    choose_device,
    flushes_denormals,
    is_out_of_memory,
    keep_freed_memory,
    processor_for_training,
)
from pixelwise.errors import ConfigError


@pytest.fixture(autouse=True)
def _as_before():
    before = flushes_denormals()
    yield
    torch.set_flush_denormal(before)


@pytest.fixture
def loaded(monkeypatch):
    """The libraries that are asked for, none of which is given."""
    names = []

    def refuse(name, *_, **__):
        names.append(name)
        raise OSError

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    return names


@pytest.mark.parametrize("before", [False, True])
def test_the_arithmetic_is_given_back_as_it_was(before):
    assert torch.set_flush_denormal(before)
    assert flushes_denormals() is before
    with processor_for_training():
        assert flushes_denormals()
    assert flushes_denormals() is before


def test_the_arithmetic_is_given_back_after_an_error_and_inside_another():
    def fail():
        with processor_for_training():
            with processor_for_training():
                pass
            assert flushes_denormals()
            raise ZeroDivisionError

    torch.set_flush_denormal(False)
    with pytest.raises(ZeroDivisionError):
        fail()
    assert not flushes_denormals()


def test_a_default_dtype_of_double_does_not_hide_it():
    torch.set_flush_denormal(True)
    torch.set_default_dtype(torch.float64)
    try:
        assert flushes_denormals()
    finally:
        torch.set_default_dtype(torch.float32)


def test_training_from_python_does_not_change_the_allocator(loaded):
    with processor_for_training():
        pass
    assert loaded == []
    keep_freed_memory()
    assert loaded == ["libc.so.6"]


def test_training_on_the_command_line_keeps_freed_memory(loaded, monkeypatch):
    trained = []
    monkeypatch.setattr(
        "pixelwise.training.train.train", lambda *_, **__: trained.append([*loaded]) or 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        command("data")
    assert trained == [["libc.so.6"]]


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.parametrize(
    "name", ["cpu:foo", "cpu:1", "cuda:-1", "cuda:2", "cuda:7", "tpu", "", "xla"]
)
def test_a_device_that_the_machine_lacks_is_refused_with_those_it_has(two_gpus, name):
    with pytest.raises(ConfigError, match=r"machine has: cuda, cpu, cuda:1\. Got"):
        choose_device(name)


@pytest.mark.parametrize("name", ["cpu", "cpu:0", "cuda", "cuda:0", "cuda:1"])
def test_a_device_of_the_machine_is_chosen_by_its_name(two_gpus, name):
    assert choose_device(name) == torch.device(name)
    assert choose_device("auto") == torch.device("cuda")


def test_without_a_gpu_its_name_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="cpu"):
        choose_device("cuda")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory: you"),
        RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
        RuntimeError("CUDA error: out of memory\nCompile with TORCH_USE_CUDA_DSA"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
    ids=lambda error: str(error)[:30],
)
def test_every_error_that_means_out_of_memory_is_recognized(error):
    assert is_out_of_memory(error)
    assert not is_out_of_memory(ValueError(str(error)))


def test_the_allocator_of_this_machine_is_recognized():
    with pytest.raises(RuntimeError) as error_info:
        torch.empty(2**48, dtype=torch.float64)
    assert is_out_of_memory(error_info.value)
    with pytest.raises(RuntimeError) as error_info:
        torch.ones(2) @ torch.ones(3)
    assert not is_out_of_memory(error_info.value)
