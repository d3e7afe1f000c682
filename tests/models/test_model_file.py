"""The model file: whole, checked, and never a program."""

import errno
import json
import math
import os
import pickle
import random
import sys
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch

from pixelwise.classes import ClassMap
from pixelwise.errors import ModelFileError, OutputError
from pixelwise.models import create_model, model_file
from pixelwise.models.model_file import (
    CHECKSUM_KEY,
    FILE_VERSION,
    METADATA_KEY,
    ModelCard,
    Preprocessing,
    TrainingData,
    _with_checksum,
    current_versions,
    load_card,
    load_model_file,
    save_model_file,
)


def small_model(seed=0, in_channels=2, num_classes=3):
    torch.manual_seed(seed)
    return create_model("encoder-decoder", num_classes, in_channels)


def card(**changes):
    content = {
        "architecture": "encoder-decoder",
        "in_channels": 2,
        "class_map": ClassMap.build(
            ("Straße", "道路", "x y"), colors=((1, 2, 3), (4, 5, 6), (7, 8, 9)), values=(3, 1, 7)
        ),
        "label_mode": "multilabel",
        "preprocessing": Preprocessing(
            dtype="uint16", mean=(0.1, 1e5 / 3), std=(2**0.5, 7.0), scale=0.5
        ),
        "training_size": (48, 64),
        "metrics": {"mean_iou": 0.5, "per_class": [{"name": "x y", "iou": None}]},
        "data": TrainingData(fingerprint="abc", images=(), split="70/30", split_seed=3),
        "versions": current_versions(),
    }
    return ModelCard(**{**content, **changes})


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "run" / "model.safetensors"
    save_model_file(path, small_model(), card())
    return path


def rewrite(path, change_card=None, change_weights=None):
    """Write a model file again as another program might have done."""
    with safetensors.safe_open(path, framework="pt") as opened:
        content = json.loads(opened.metadata()[METADATA_KEY])
    weights = safetensors.torch.load_file(path)
    if change_card:
        content.update(change_card)
    if change_weights:
        change_weights(weights)
    content.pop(CHECKSUM_KEY)
    description = _with_checksum(json.dumps(content), weights)
    safetensors.torch.save_file(weights, path, {METADATA_KEY: description})


def refusal_of(path):
    with pytest.raises(ModelFileError) as refusal:
        load_model_file(path)
    message = str(refusal.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_the_card_comes_back_as_it_was(saved):
    _, loaded = load_model_file(saved)
    assert loaded == card()


def test_the_weights_come_back_bit_for_bit(saved):
    model, _ = load_model_file(saved)
    expected = small_model().state_dict()
    assert set(model.state_dict()) == set(expected)
    assert all(torch.equal(model.state_dict()[key], expected[key]) for key in expected)


def test_a_loaded_model_is_ready_to_predict(saved):
    model, _ = load_model_file(saved)
    assert not model.training
    assert (model.name, model.in_channels, model.num_classes) == ("encoder-decoder", 2, 3)


def test_the_memory_format_does_not_change_the_model_file(saved, tmp_path):
    model = small_model().to(memory_format=torch.channels_last)
    save_model_file(tmp_path / "other.safetensors", model, card())
    assert (tmp_path / "other.safetensors").read_bytes() == saved.read_bytes()


def test_the_run_folder_stands_for_its_model(saved):
    _, loaded = load_model_file(saved.parent)
    assert loaded.data.fingerprint == "abc"


def test_the_description_is_plain_json_that_others_can_read(saved):
    with safetensors.safe_open(saved, framework="pt") as opened:
        content = json.loads(opened.metadata()["pixelwise"])
    assert content["version"] == FILE_VERSION
    assert content["class_map"]["names"] == ["Straße", "道路", "x y"]
    assert set(content["versions"]) == {"pixelwise", "torch", "python"}


def test_a_write_that_fails_keeps_the_old_file_and_leaves_no_other(saved, monkeypatch):
    before = saved.read_bytes()

    def full_disk(path, content):
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OutputError, match="disk is full"):
        save_model_file(saved, small_model(seed=1), card())
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


@pytest.mark.parametrize("share", [0.0, 1e-5, 1e-3, 0.5, 0.999])
def test_a_file_that_was_cut_is_refused(saved, share):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(len(content) * share)])
    assert "truncated or of another type" in refusal_of(saved)


def test_a_file_with_a_tail_is_refused(saved):
    saved.write_bytes(saved.read_bytes() + b"more")
    assert "truncated or of another type" in refusal_of(saved)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_weights_of_another_program_are_refused(tmp_path, metadata):
    path = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file({"weight": torch.zeros(3)}, path, metadata)
    assert "pixelwise" in refusal_of(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + b"0" * 100, b"{}" * 50])
def test_what_is_no_model_file_is_refused(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    refusal_of(path)


def test_a_missing_file_is_refused(tmp_path):
    refusal_of(tmp_path / "nowhere.safetensors")
    refusal_of(tmp_path)


def test_a_file_of_a_newer_pixelwise_is_refused_with_advice(saved):
    rewrite(saved, {"version": FILE_VERSION + 1, "of_the_future": True})
    message = refusal_of(saved)
    assert str(FILE_VERSION + 1) in message
    assert "pip install -U pixelwise" in message


def test_a_file_of_the_first_version_says_to_train_again(saved):
    rewrite(saved, {"version": 1, "scores": None})
    with pytest.raises(ModelFileError, match=r"Got version 1 of an earlier pixelwise.*Train again"):
        load_model_file(saved)


def test_an_unknown_architecture_is_refused_by_name(saved):
    rewrite(saved, {"architecture": "encoder-decodr"})
    assert "encoder-decodr" in refusal_of(saved)


@pytest.mark.parametrize(
    "change",
    [
        {"architecture": "unet-elu"},
        {"class_map": ClassMap.build(("a", "b")).model_dump()},
        {"arguments": {"depth": 4}},
        {"arguments": {"num_classes": 3}},
    ],
    ids=str,
)
def test_weights_that_do_not_fit_the_description_are_refused(saved, change):
    rewrite(saved, change)
    assert "do not fit" in refusal_of(saved)


@pytest.mark.parametrize("in_channels", [0, 3])
def test_a_mean_for_other_channels_than_the_model_has_is_refused(saved, in_channels):
    rewrite(saved, {"in_channels": in_channels})
    assert f"must be {in_channels} numbers, one per channel" in refusal_of(saved)


@pytest.mark.parametrize(
    "change",
    [
        lambda weights: weights.pop(next(iter(weights))),
        lambda weights: weights.update(unknown=torch.zeros(1)),
        lambda weights: weights.update({"layers.0.bias": torch.zeros(17)}),
    ],
    ids=["missing", "unexpected", "other shape"],
)
def test_every_weight_must_be_there_and_no_other(saved, change):
    rewrite(saved, change_weights=change)
    assert "do not fit" in refusal_of(saved)


@pytest.mark.parametrize(
    "change",
    [
        {"label_mode": "both"},
        {"in_channels": "many"},
        {"version": "one"},
        {"unexpected": 1},
        {"preprocessing": {"dtype": "int8", "mean": [0], "std": [1]}},
        {"preprocessing": {"dtype": "uint8", "mean": [0], "std": [1], "scale": 0}},
        {"class_map": {"names": ["a", "a"], "colors": [], "values": []}},
        {"temperature": 1e-320},
        {"temperature": math.nan},
        {"temperature": math.inf},
        *(
            {"preprocessing": {"dtype": "uint16", "mean": [0, 0], "std": [1, 1], **numbers}}
            for numbers in (
                {"mean": [0, math.nan]},
                {"mean": [-math.inf, 0]},
                {"std": [0, 1]},
                {"std": [-1, 1]},
                {"std": [math.nan, 1]},
                {"resize": [1_000_000, 1_000_000]},
                {"resize": {"letterbox": [1_000_000, 1_000_000]}},
            )
        ),
    ],
    ids=str,
)
def test_a_description_that_does_not_hold_is_refused(saved, change):
    rewrite(saved, change)
    assert "valid description" in refusal_of(saved)


@pytest.mark.parametrize(
    "description",
    [
        "", "{", "[]", "3", "null", '"text"', "[" * 100_000, '{"a":' * 100_000,
        '{"version": ' + "9" * 1_000_000 + "}", '{"version": NaN}', '{"version": "3"}',
        '{"version": 1e999}', '{"version": true}', '{"version": -1}',
    ],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_a_description_that_is_no_card_is_refused(tmp_path, description):
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file({"w": torch.zeros(1)}, path, {METADATA_KEY: description})
    refusal_of(path)


def test_every_flipped_byte_is_noticed(saved):
    content = bytearray(saved.read_bytes())
    begin = 8 + int.from_bytes(content[:8], "little")
    rng = random.Random(0)
    for place in (begin, len(content) - 1, *rng.choices(range(begin, len(content)), k=20)):
        changed = bytearray(content)
        changed[place] ^= 1 << rng.randrange(8)
        saved.write_bytes(changed)
        assert "Its checksum differs" in refusal_of(saved)
    for place in rng.choices(range(8, begin), k=50):
        changed = bytearray(content)
        changed[place] ^= 1 << rng.randrange(8)
        saved.write_bytes(changed)
        refusal_of(saved)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_refused(saved, value):
    rewrite(saved, change_weights=lambda weights: weights["layers.0.0.0.bias"].fill_(value))
    assert "must contain finite weights. layers.0.0.0.bias" in refusal_of(saved)


@pytest.mark.parametrize(
    ("architecture", "arguments"),
    [
        ("unet", {"filters": 2000}),
        ("unet", {"filters": 10**9}),
        ("unet-elu", {"depth": 10**6}),
        ("unet-elu", {"depth": 1000}),
        ("segnet", {"filters": [2000] * 1000}),
        ("smp:unet:resnet18", {"decoder_channels": [10**5] * 5}),
        ("smp:unet:tu-vit_giant_patch14_224", {}),
    ],
    ids=str,
)
def test_a_small_file_cannot_ask_for_a_large_network(saved, architecture, arguments, monkeypatch):
    def forbidden(*_, **__):
        raise AssertionError("the network was built")

    monkeypatch.setattr(model_file, "build_model", forbidden)
    rewrite(saved, {"architecture": architecture, "arguments": arguments})
    assert "do not fit" in refusal_of(saved)


@pytest.mark.parametrize(
    ("architecture", "arguments"),
    [
        ("smp:unet:tu-hf-hub:owner/model", {}),
        ("smp:unet:tu-local-dir:/etc", {}),
        ("smp:unet:tu-resnet18", {"pretrained": True, "pretrained_cfg_overlay": {"url": "URL"}}),
        ("smp:unet:tu-resnet18", {"checkpoint_path": "/etc/passwd"}),
        ("smp:unet:tu-resnet18", {"pretrained_cfg": {"file": "/etc/passwd"}}),
        ("smp:unet:tu-resnet18", {"cache_dir": "/etc"}),
        ("smp:unet:resnet18", {"encoder_weights": "imagenet"}),
        ("smp:unet:resnet18", {"pretrained": True}),
        ("smp:fcn:../../etc", {}),
        ("fcn8s", {"pretrained": True}),
        ("fcn8s", {"backbone": "http://127.0.0.1/x.pth"}),
    ],
    ids=str,
)
def test_a_file_opens_no_socket_and_no_other_file(saved, architecture, arguments):
    opened = []

    def watch(event, words):
        if event in ("socket.connect", "socket.getaddrinfo", "urllib.Request"):
            opened.append((event, words))
        if event == "open" and str(words[0]).startswith(("/etc", "https:", "http:")):
            opened.append((event, words))

    watching.append(watch)
    rewrite(saved, {"architecture": architecture, "arguments": arguments})
    try:
        refusal_of(saved)
    finally:
        watching.clear()
    assert not opened


watching = []
"""Audit hooks cannot be removed, so one is added that calls those in this list."""
sys.addaudithook(lambda event, words: [watch(event, words) for watch in watching])


@pytest.mark.parametrize("module", ["antigravity", "subprocess", "pixelwise"])
def test_a_file_neither_imports_nor_runs_what_it_names(saved, module):
    known = set(sys.modules)
    for name in (f"{module}:Popen", f"{module}:train.Net", f"{module}:check_call"):
        rewrite(saved, {"architecture": name, "defined_in": module, "arguments": {"args": "ls"}})
        assert f"the model '{name}' is not known here" in refusal_of(saved)
    assert set(sys.modules) == known


def test_the_card_is_read_without_the_model(saved):
    rewrite(saved, {"architecture": "not_here:Net", "defined_in": "not_here"})
    assert load_card(saved.parent).architecture == "not_here:Net"
    assert "Import its module first: import not_here" in refusal_of(saved)


class Trap:
    """Unpickling it makes a folder."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (self.target,)


@pytest.mark.parametrize(
    "write", [torch.save, lambda trap, path: path.write_bytes(pickle.dumps(trap))]
)
def test_a_pickle_is_refused_and_nothing_of_it_is_run(tmp_path, write):
    mark = tmp_path / "was-run"
    path = tmp_path / "model.safetensors"
    write(Trap(str(mark)), path)
    refusal_of(path)
    assert not mark.exists()
    pickle.loads(pickle.dumps(Trap(str(mark))))
    assert mark.exists()  # the trap would have sprung


def test_a_pickle_inside_the_description_is_not_run(saved, tmp_path):
    mark = tmp_path / "was-run"
    payload = pickle.dumps(Trap(str(mark)), protocol=0).decode("latin-1")
    rewrite(saved, {"arguments": {"payload": payload}})
    refusal_of(saved)
    assert not mark.exists()


def test_loading_never_reaches_an_unpickler(saved, monkeypatch):
    def forbidden(*args, **kwargs):
        raise AssertionError("unpickled")

    monkeypatch.setattr(pickle, "Unpickler", forbidden)
    monkeypatch.setattr(pickle, "loads", forbidden)
    monkeypatch.setattr(pickle, "load", forbidden)
    monkeypatch.setattr(torch, "load", forbidden)
    load_model_file(saved)
