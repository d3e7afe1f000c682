"""``pixelwise train`` and ``pixelwise.train`` take the same choices under the same names."""

import inspect

from pixelwise import train
from pixelwise.cli.reading_options import OPTIONS
from pixelwise.cli.train import command

CLI_ONLY = {"as_json"}
PYTHON_ONLY = {"listener", "augmentation"}
LABELS = set(OPTIONS)
"""The options behind ``labels``; see tests/test_label_options.py."""


def test_the_command_line_and_python_take_the_same_arguments():
    ours = set(inspect.signature(train).parameters) - PYTHON_ONLY
    theirs = set(inspect.signature(command).parameters)
    assert ours - {"labels"} == theirs - CLI_ONLY - LABELS


def test_both_have_the_same_defaults():
    ours = inspect.signature(train).parameters
    for name, parameter in inspect.signature(command).parameters.items():
        if name not in CLI_ONLY | LABELS:
            # A list option that is not given is None for Typer and empty in Python.
            assert (parameter.default or None) == (ours[name].default or None)


def test_every_argument_of_both_has_a_type():
    for function in (train, command):
        parameters = inspect.signature(function).parameters.values()
        assert all(entry.annotation is not entry.empty for entry in parameters)
