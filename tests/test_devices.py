"""A training run restores processor settings, and only the command line keeps freed memory."""

import ctypes

import pytest
import torch

from pixelwise.cli.train import command
from pixelwise.devices import flushes_denormals, keep_freed_memory, processor_for_training


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
