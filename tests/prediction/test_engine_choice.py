"""The choice of an engine: taken only where it pays and agrees, given up where it fails."""

import itertools
import sys
from types import SimpleNamespace

import pytest
import torch
from fake_engines import Clock, FakeEngine, decide, small_model, torch_engine

from pixelwise.prediction import engine_choice
from pixelwise.prediction.engine_choice import AutoEngine
from pixelwise.prediction.engines import KEPT_SHAPES
from pixelwise.prediction.parity import CheckedEngine, parity, percent

SHAPE = (1, 3, 4, 4)


def auto_with(*options, torch_s=1.0):
    """An automatic engine over fakes: it, torch, the candidates, what was said."""
    clock, said = Clock(), []
    reference = FakeEngine(clock, torch_s, "torch float32")
    candidates = [FakeEngine(clock, **option) for option in options]
    auto = AutoEngine(reference, lambda: candidates, decide, said.append, clock=clock)
    return auto, reference, candidates, said


def run_until_tried(auto, shape=SHAPE, limit=500):
    """Batches that torch computed before anything else was tried."""
    for number in range(1, limit):
        auto(torch.zeros(shape))
        if auto.choices and auto.choices[-1].shape == shape:
            return number
    return None


def test_nothing_is_tried_before_torch_has_spent_what_trying_costs():
    auto, _, (faster,), _ = auto_with({"seconds": 0.05}, torch_s=0.1)
    num_batches = run_until_tried(auto)
    cost_s = engine_choice.SETUP_S + engine_choice.NUM_FORWARDS * 0.1
    assert num_batches == pytest.approx(cost_s / 0.1, abs=1)
    assert faster.num_calls == 1 + engine_choice.NUM_ROUNDS


def test_trying_takes_no_longer_than_torch_had_taken_before():
    options = [{"seconds": 1.0, "name": str(number)} for number in range(3)]
    auto, reference, _, _ = auto_with(*options, torch_s=1.0)
    num_batches = run_until_tried(auto)
    assert reference.clock.now - num_batches <= num_batches


def test_the_fastest_engine_that_agrees_computes_from_then_on():
    auto, _, (slow, fast, fastest), said = auto_with(
        {"seconds": 0.8, "name": "slow"},
        {"seconds": 0.4, "name": "fast"},
        {"seconds": 0.1, "name": "fastest, and wrong", "wrong": 0.3},
    )
    run_until_tried(auto)
    (choice,) = auto.choices
    assert (choice.engine, choice.shape) == ("fast", SHAPE)
    assert [trial.speedup for trial in choice.trials] == [
        pytest.approx(1.25),
        pytest.approx(2.5),
        None,
    ]
    shares = [trial.parity.share for trial in choice.trials]
    assert shares == [1, 1, pytest.approx(0.6875)]
    assert said == [choice.describe()]
    assert "fast was 2.50 times as fast, matched 100 % of the pixels" in said[0]
    assert "fastest, and wrong matched 68.75 % of the pixels" in said[0]
    before = [engine.num_calls for engine in (slow, fast, fastest)]
    for _ in range(64):
        auto(torch.zeros(SHAPE))
    assert [engine.num_calls for engine in (slow, fast, fastest)] == [
        before[0],
        before[1] + 64,
        before[2],
    ]


@pytest.mark.parametrize("seconds", [0.95, 1.0, 3.0])
def test_torch_stays_where_nothing_is_a_tenth_faster(seconds):
    auto, _, (other,), said = auto_with({"seconds": seconds})
    run_until_tried(auto)
    assert auto.choices[0].engine == "torch float32"
    assert len(said) == 1
    num_calls = other.num_calls
    for _ in range(100):
        auto(torch.zeros(SHAPE))
    assert other.num_calls == num_calls


def test_a_slow_moment_does_not_decide():
    auto, _, (faster,), _ = auto_with({"seconds": 0.5})
    compute = type(faster).__call__
    pauses = itertools.chain([0, 9, 0, 9], itertools.repeat(0))

    class Stuttering(FakeEngine):
        def __call__(self, images):
            self.clock.now += next(pauses)
            return compute(self, images)

    faster.__class__ = Stuttering
    run_until_tried(auto)
    assert auto.choices[0].engine == faster.name
    assert auto.choices[0].trials[0].speedup == pytest.approx(2)


def test_a_candidate_that_fails_is_said_and_the_others_are_tried():
    auto, _, _, said = auto_with(
        {"seconds": 0.1, "name": "broken", "error": RuntimeError("no such layer\nat 0x7f")},
        {"seconds": 0.5, "name": "whole"},
    )
    run_until_tried(auto)
    assert auto.choices[0].engine == "whole"
    assert "broken failed (RuntimeError: no such layer)" in said[0]
    assert "\n" not in said[0]


def test_where_candidates_cannot_even_be_made_torch_continues():
    clock, said = Clock(), []

    def impossible():
        raise RuntimeError("no bfloat16 here")

    reference = FakeEngine(clock, 1.0, "torch float32")
    auto = AutoEngine(reference, impossible, decide, said.append, clock=clock)
    for _ in range(60):
        logits = auto(torch.zeros(SHAPE))
    assert torch.equal(logits, reference(torch.zeros(SHAPE)))
    assert said == ["other engines cannot be tried; torch is used: RuntimeError: no bfloat16 here"]


def test_each_batch_shape_has_its_own_choice_and_only_so_few_are_tried():
    auto, _, (other,), _ = auto_with({"seconds": 0.5})
    shapes = [(1, 3, 4, 4 + number) for number in range(engine_choice.MAX_TRIALS + 1)]
    for shape in shapes[:-1]:
        assert run_until_tried(auto, shape) is not None
    num_calls = other.num_calls
    assert run_until_tried(auto, shapes[-1]) is None
    assert other.num_calls == num_calls
    assert [choice.shape for choice in auto.choices] == shapes[:-1]


def test_without_other_engines_torch_computes_without_a_note():
    auto, reference, _, said = auto_with()
    assert run_until_tried(auto, limit=100) is None
    assert (reference.num_calls, said) == (99, [])


def checked_with(**options):
    clock, said = Clock(), []
    engine = FakeEngine(clock, 0.1, **options)
    reference = FakeEngine(clock, 1.0, "torch float32")
    return CheckedEngine(engine, reference, decide, said.append), engine, reference, said


def test_torch_looks_at_ever_fewer_batches():
    checked, engine, reference, said = checked_with()
    looks = []
    for number in range(1, 41):
        before = reference.num_calls
        checked(torch.zeros(SHAPE))
        looks += [number] if reference.num_calls > before else []
    assert looks == [1, 2, 4, 8, 16, 32]
    assert (engine.num_calls, said) == (40, [])


def test_an_engine_that_decides_otherwise_later_is_given_up_and_torchs_answer_taken():
    checked, engine, reference, said = checked_with()
    checked(torch.zeros(SHAPE))
    engine.wrong = 0.3
    for _ in range(5):
        assert torch.equal(checked(torch.zeros(SHAPE)), reference(torch.zeros(SHAPE)))
    assert engine.num_calls == 2
    (line,) = said
    assert line.startswith("engine fake matched only 68.75 % of the pixels")
    assert line.endswith("torch float32 is used instead")
    assert checked.name == "torch float32"


def test_an_engine_that_fails_later_is_given_up_and_torchs_answer_taken():
    checked, engine, reference, said = checked_with()
    checked(torch.zeros(SHAPE))
    engine.error = MemoryError()
    for _ in range(5):
        assert torch.equal(checked(torch.zeros(SHAPE)), reference(torch.zeros(SHAPE)))
    assert engine.num_calls == 2
    assert said == ["engine fake failed: MemoryError. torch float32 is used instead"]


def test_sizes_beyond_the_limit_are_computed_by_torch_and_noted_once():
    checked, engine, _, said = checked_with()
    for width in range(4, 4 + KEPT_SHAPES + 3):
        checked(torch.zeros(1, 3, 4, width))
    assert engine.num_calls == KEPT_SHAPES
    assert [f"compiled for at most {KEPT_SHAPES} image sizes" in line for line in said] == [True]
    checked(torch.zeros(SHAPE))
    assert engine.num_calls == KEPT_SHAPES + 1


def test_an_interrupt_is_no_failure_of_the_engine():
    checked, engine, _, said = checked_with()
    engine.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        checked(torch.zeros(SHAPE))
    assert said == []


def test_multilabel_pixels_agree_where_all_their_classes_do():
    reference = torch.ones(1, 2, 5, 5)
    logits = reference.clone()
    logits[0, 0, 0, 0] = logits[0, 1, 0, 0] = logits[0, 1, 4, 4] = -1
    assert parity(lambda planes: (planes > 0).numpy(), logits, reference).share == 23 / 25


def test_an_engine_that_loses_a_small_class_altogether_does_not_agree():
    reference = torch.zeros(1, 3, 256, 256)
    reference[:, 0] = 1
    reference[:, 2, 100:108, 100:108] = 2
    lost = reference.clone()
    lost[:, 2] = 0
    found = parity(decide, lost, reference)
    assert found.share > 0.999
    assert found.class_iou < 0.1
    assert not found.is_enough
    assert "one class with an IoU of only" in found.describe()


def test_a_few_pixels_of_a_small_class_may_differ():
    reference = torch.zeros(1, 2, 256, 256)
    reference[:, 0] = 1
    reference[:, 1, 100:103, 100:103] = 2
    nearly = reference.clone()
    nearly[:, 1, 100, 100:102] = 0
    assert parity(decide, nearly, reference).is_enough
    assert parity(decide, reference, reference).class_iou == 1


@pytest.mark.parametrize(
    ("share", "text"), [(1.0, "100 %"), (0.9999999, "99.999 %"), (0.999, "99.9 %"), (0.0, "0 %")]
)
def test_what_is_not_all_never_reads_as_100_percent(share, text):
    assert percent(share) == text


def candidate_names(said):
    found = engine_choice._candidates(torch_engine(small_model()), said.append)
    return [engine.name for engine in found]


def test_only_engines_in_float32_are_tried():
    said = []
    assert candidate_names(said) == ["OpenVINO float32"]
    assert said == []


def test_without_openvino_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    said = []
    assert candidate_names(said) == []
    assert ["pip install '.[export]'" in line for line in said] == [True]


def test_an_openvino_that_cannot_be_loaded_leaves_torch(monkeypatch):
    def broken():
        raise OSError("libtbb.so.12: cannot open shared object file")

    monkeypatch.setattr(engine_choice, "import_openvino", broken)
    said = []
    assert candidate_names(said) == []
    assert ["libtbb" in line for line in said] == [True]


@torch.no_grad()
def test_this_machine_can_be_asked_while_gradients_are_off():
    said = []
    found = engine_choice._candidates(torch_engine(small_model()), said.append)
    assert "OpenVINO float32" in [engine.name for engine in found]
    assert said == []


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_auto_is_torch_where_no_other_engine_computes(device):
    reference = SimpleNamespace(precision="float32", device=torch.device(device))
    assert engine_choice.engine_by_name("auto", reference, decide, print) is reference
