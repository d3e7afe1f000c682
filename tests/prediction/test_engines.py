"""Engines: OpenVINO's outputs match torch's, or torch continues; by predictor and command line."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from fake_engines import decide, random_images, small_model, torch_engine
from large_scenes import (
    SIZE,
    make_small_large,
    predicted,
    predictor_for,
    save_tiff,
    scene,
    whole_classes,
)

from pixelwise.errors import ConfigError, MissingExtraError, UnknownNameError
from pixelwise.models import create_model, list_models
from pixelwise.prediction import engine_choice, engines, partial_files
from pixelwise.prediction.engine_choice import engine_by_name
from pixelwise.prediction.engines import KEPT_SHAPES, OpenVinoEngine
from pixelwise.prediction.parity import CheckedEngine, parity
from pixelwise.prediction.predict import predict
from pixelwise.prediction.predictor import Predictor

NOT_CONVERTIBLE = {"segnet", "segnet-basic"}
"""OpenVINO cannot trace max-unpooling, as of 2026.4."""


@torch.no_grad()
@pytest.mark.parametrize("name", list_models())
def test_openvinos_outputs_match_torchs_or_it_says_that_it_cannot(name):
    torch.manual_seed(0)
    model = create_model(name, 3, 3).eval()
    images, said = random_images(2, 3, 37, 53), []
    engine = CheckedEngine(OpenVinoEngine(model), torch_engine(model), decide, said.append)
    logits, reference = engine(images), model(images)
    assert (logits.shape, logits.dtype) == (reference.shape, torch.float32)
    assert parity(decide, logits, reference).is_enough
    torch.testing.assert_close(
        logits, reference, rtol=1e-3, atol=1e-4 * reference.abs().max().item()
    )
    if name in NOT_CONVERTIBLE:
        assert engine.name == "torch float32"
        (line,) = said
        assert "OpenVINO float32 failed" in line
        assert "\n" not in line
    else:
        assert engine.name == "OpenVINO float32"
        assert said == []


@torch.no_grad()
def test_openvino_keeps_the_shapes_it_has_compiled_and_lets_the_oldest_go(monkeypatch):
    compiled = []
    compile_ = OpenVinoEngine._compile

    def counting(self, images):
        compiled.append(tuple(images.shape))
        return compile_(self, images)

    monkeypatch.setattr(OpenVinoEngine, "_compile", counting)
    model = small_model()
    engine = OpenVinoEngine(model)
    shapes = [(1, 3, 8, 8 + number) for number in range(KEPT_SHAPES + 1)]
    for shape in [*shapes[:2], *shapes[:2], *shapes[2:], shapes[-1], shapes[0]]:
        images = random_images(*shape)
        torch.testing.assert_close(engine(images), model(images), rtol=1e-3, atol=1e-4)
    assert compiled == [*shapes, shapes[0]]


@torch.no_grad()
def test_openvino_computes_with_the_weights_as_they_are_now():
    model = small_model()
    engine, images = OpenVinoEngine(model), random_images(1, 3, 9, 7)
    before = engine(images)
    model.load_state_dict(small_model(seed=1).state_dict())
    torch.testing.assert_close(engine(images), model(images), rtol=1e-3, atol=1e-4)
    assert not torch.allclose(engine(images), before, atol=1e-2)


@torch.no_grad()
def test_openvino_takes_images_whose_channels_lie_together():
    model = small_model().to(memory_format=torch.channels_last)
    images = random_images(2, 3, 9, 7).contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(OpenVinoEngine(model)(images), model(images), rtol=1e-3, atol=1e-4)


def test_engines_by_name_are_refused_in_one_line():
    ours, said = torch_engine(small_model()), []
    with pytest.raises(UnknownNameError, match=r"'openvin'.*'openvino'"):
        engine_by_name("openvin", ours, decide, said.append)
    with pytest.raises(ConfigError, match=r"device must be cpu.*'cuda'"):
        engine_by_name("openvino", torch_engine(ours.model, device="cuda"), decide, said.append)
    in_bfloat16 = torch_engine(ours.model, "bfloat16")
    with pytest.raises(ConfigError, match=r"precision must be float32.*'bfloat16'"):
        engine_by_name("openvino", in_bfloat16, decide, said.append)
    assert engine_by_name("auto", in_bfloat16, decide, said.append) is in_bfloat16
    assert said == []


def test_openvino_by_name_without_the_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[export\]'"):
        engine_by_name("openvino", torch_engine(small_model()), decide, print)


def test_a_predictor_uses_openvino_only_inside_the_context():
    predictor = predictor_for()
    image, said = scene(40, 50), []
    reference = predictor.logits(image)
    with predictor.using_engine("openvino", said.append):
        assert predictor.engine == "openvino"
        logits = predictor.logits(image)
    assert predictor.engine == "torch"
    assert torch.equal(predictor.logits(image), reference)
    assert said == []
    torch.testing.assert_close(logits, reference, rtol=1e-3, atol=1e-4)
    made_so = Predictor(
        predictor.model, predictor.card, device="cpu", tile=(48, 64), engine="openvino"
    )
    assert torch.equal(made_so.logits(image), logits)


@pytest.fixture
def _eager(monkeypatch):
    """OpenVINO is tried at the first batch, and taken whether faster or not."""
    monkeypatch.setattr(engine_choice, "SETUP_S", 0.0)
    monkeypatch.setattr(engine_choice, "NUM_FORWARDS", 0)
    monkeypatch.setattr(engine_choice, "MIN_GAIN", 0.0)


@pytest.mark.usefixtures("_eager")
@pytest.mark.parametrize("mode", ["multiclass", "multilabel"])
def test_rows_of_tiles_go_through_the_engine_that_was_chosen(monkeypatch, tmp_path, mode):
    make_small_large(monkeypatch)
    predictor, said = predictor_for(mode=mode), []
    path = save_tiff(tmp_path / "a.tif", scene(*SIZE), tile=(64, 64))
    written = {}
    for engine in ("torch", "auto"):
        done = predict(
            predictor, [path], tmp_path / engine, save=["probabilities"], engine=engine,
            note=said.append,
        )  # fmt: skip
        assert done.failed == ()
        written[engine] = [file.read_bytes() for file in done.written]
    (line,) = said
    height, width = predictor.tile
    assert f" x {height} x {width}: OpenVINO float32. Compared with torch float32: " in line
    assert len(written["auto"]) == len(written["torch"]) > 0


@pytest.mark.usefixtures("_eager")
def test_rows_of_tiles_give_matching_outputs_with_every_engine(monkeypatch, tmp_path):
    make_small_large(monkeypatch)
    predictor = predictor_for()
    path = save_tiff(tmp_path / "a.tif", scene(*SIZE), tile=(64, 64))
    expected = whole_classes(predictor, path)
    assert len(np.unique(expected)) > 1
    found = {
        engine: predicted(predictor, path, tmp_path / engine, engine=engine)["a.tif"]
        for engine in engine_choice.ENGINES
    }
    assert np.array_equal(found["torch"], expected)
    for ids in found.values():
        assert np.mean(ids == expected) >= 0.999


def test_a_killed_prediction_is_begun_again_with_another_engine(monkeypatch, tmp_path):
    make_small_large(monkeypatch)
    predictor = predictor_for()
    path = save_tiff(tmp_path / "a.tif", scene(*SIZE), tile=(64, 64))

    def first_step(engine):
        steps = []
        predict(
            predictor, [path], tmp_path / "out", engine=engine,
            on_progress=lambda done, _: steps.append(done),
        )  # fmt: skip
        return steps[0]

    def kill(limit):
        append = partial_files.PartialFiles.append

        def append_or_die(self, rows):
            if self.num_rows >= limit:
                raise KeyboardInterrupt
            append(self, rows)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(partial_files.PartialFiles, "append", append_or_die)
            with pytest.raises(KeyboardInterrupt):
                first_step("torch")

    kill(64)
    assert first_step("torch") == 2
    kill(64)
    assert first_step("openvino") == 0


def test_the_engine_option_sets_the_engine(monkeypatch, make_model_file, run_cli, tmp_path):
    made = []

    def by_name(name, *arguments, **options):
        made.append(name)
        return engine_by_name(name, *arguments, **options)

    monkeypatch.setattr("pixelwise.prediction.engine_switch.engine_by_name", by_name)
    model = make_model_file(tmp_path / "model.safetensors")
    image = save_tiff(tmp_path / "a.tif", scene(21, 30))
    for engine in engine_choice.ENGINES:
        code, _, err = run_cli(
            "predict", model, image, "--out", tmp_path / engine, "--device", "cpu",
            "--engine", engine,
        )  # fmt: skip
        assert (code, err) == (0, "")
        assert made[-1] == engine
    results = {(tmp_path / engine / "a.png").read_bytes() for engine in engine_choice.ENGINES}
    assert len(results) == 1


def test_the_command_line_says_which_engine_has_failed(make_model_file, run_cli, tmp_path):
    model = make_model_file(tmp_path / "model.safetensors", name="segnet-basic")
    image = save_tiff(tmp_path / "a.tif", scene(21, 30))
    code, _, err = run_cli(
        "predict", model, image, "--out", tmp_path / "out", "--device", "cpu",
        "--engine", "openvino",
    )  # fmt: skip
    assert code == 0
    assert err.startswith("engine OpenVINO float32 failed: ")
    assert err.count("\n") == 1
    assert (tmp_path / "out" / "a.png").is_file()


@pytest.mark.parametrize(("engine", "hint"), [("tensorrt", "Known: auto"), ("openvino", "export")])
def test_the_command_line_refuses_an_engine_before_anything_is_written(
    monkeypatch, make_model_file, run_cli, tmp_path, engine, hint
):
    monkeypatch.setitem(sys.modules, "openvino", None)
    model = make_model_file(tmp_path / "model.safetensors")
    image = save_tiff(tmp_path / "a.tif", scene(9, 7))
    out = tmp_path / "out"
    code, _, err = run_cli(
        "predict", model, image, "--out", out, "--device", "cpu", "--engine", engine
    )
    assert code == 1
    assert hint in err
    assert err.count("\n") == 1
    assert not out.exists()


OFFLINE = """
import socket, sys
import torch
def refuse(*arguments, **options):
    print("network", arguments)
    raise OSError("no network")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
from pixelwise.models import create_model
from pixelwise.prediction.engines import OpenVinoEngine, is_openvino_installed
assert is_openvino_installed() and "openvino" not in sys.modules
engine = OpenVinoEngine(create_model("unet", 2, 1, filters=2, depth=2).eval())
with torch.no_grad():
    assert engine(torch.zeros(1, 1, 8, 8)).shape == (1, 2, 8, 8)
assert "openvino" in sys.modules
assert not any(name.startswith("openvino_telemetry") for name in sys.modules)
"""


def test_openvino_is_loaded_late_without_telemetry_or_home_files(tmp_path):
    variables = {name: value for name, value in os.environ.items() if name != "CI"}
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE],
        env={**variables, "HOME": str(tmp_path), "USERPROFILE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_an_openvino_that_was_loaded_before_keeps_the_telemetry_it_has(monkeypatch):
    theirs = object()
    monkeypatch.setitem(sys.modules, "openvino_telemetry", theirs)
    engines.import_openvino()
    assert sys.modules["openvino_telemetry"] is theirs
