"""Precision: the hardware is asked first, and the clock only where that leaves a doubt."""

import random

import pytest
import torch

from pixelwise.devices import bfloat16_support, measure_bfloat16_speedup

CPU = torch.device("cpu")
PROCESSORS = {
    "amx": {"architecture": "x86_64", "avx512_bf16": True, "amx_bf16": True},
    "avx512-bf16": {"architecture": "x86_64", "avx512_bf16": True, "amx_bf16": False},
    "avx2": {"architecture": "x86_64", "avx512_bf16": False, "amx_bf16": False},
    "arm": {"architecture": "aarch64"},
}


@pytest.mark.parametrize(
    ("processor", "limit", "support"),
    [
        ("amx", None, True),
        ("amx", "AVX512_CORE_AMX", True),
        ("amx", "AVX512_CORE_BF16", None),
        ("amx", "AVX512_CORE", False),
        ("amx", "AVX2", False),
        ("avx512-bf16", None, None),
        ("avx512-bf16", "AVX2", False),
        ("avx2", None, False),
        ("arm", None, None),
    ],
)
def test_the_processor_and_the_limit_of_onednn_decide(monkeypatch, processor, limit, support):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: PROCESSORS[processor], raising=False)
    monkeypatch.delenv("DNNL_MAX_CPU_ISA", raising=False)
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    if limit:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert bfloat16_support(CPU) is support


class BusyClock:
    """Time on a machine where another job takes most of the processor now and then."""

    def __init__(self, seed, seconds):
        self.random = random.Random(seed)
        self.seconds = list(seconds)  # of a step in float32 and in bfloat16, which take turns
        self.now = 0.0
        self.calls = 0

    def __call__(self):
        self.calls += 1
        if self.calls % 2 == 0:  # the end of a step
            step = self.seconds[(self.calls // 2 - 1) % 2]
            self.now += step * (self.random.choice([1, 1, 4]) + self.random.random() / 20)
        return self.now


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("speedup", "is_faster"), [(2.0, True), (0.5, False)])
def test_a_busy_machine_measures_the_same(seed, speedup, is_faster):
    # The first of a pair is bfloat16, as in the measurement.
    clock = BusyClock(seed, (1 / speedup, 1.0))
    assert (measure_bfloat16_speedup(CPU, clock) >= 1.2) is is_faster
