import importlib.util
import json
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

HERE = {"machine": "x86_64", "cores": 2, "threads": 2, "instructions": ["avx2"]}


@pytest.fixture
def guard(monkeypatch):
    """benchmarks/guard.py, which is a script and no part of the package."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    spec = importlib.util.spec_from_file_location("bench_guard", BENCHMARKS / "guard.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(__import__("sys").modules, "bench_guard", module)
    spec.loader.exec_module(module)
    return module


def ratio_of(guard, ratio, noise=0.0):
    return guard.Ratio(ratio, noise, (ratio,))


def stored(guard, ratio, noise=0.0, machine=HERE):
    entry = {"ratio": ratio, "noise": noise, "rounds": [ratio]}
    return {"machine": machine, "ratios": {"training": entry}}


def test_a_ratio_is_the_median_of_the_rounds_and_its_noise_their_distance(guard):
    # By hand: rounds 2, 1, 4, 1, 3; median 2; distances 0, 1, 2, 1, 1.
    found = guard.Ratio.of([2.0, 1.0, 8.0, 3.0, 6.0], [1.0, 1.0, 2.0, 3.0, 2.0])
    assert found.rounds == (2.0, 1.0, 4.0, 1.0, 3.0)
    assert (found.ratio, found.noise) == (2.0, 1.0)


def test_a_round_that_both_lost_to_other_work_changes_nothing(guard):
    assert guard.Ratio.of([1.0, 10.0, 1.0], [2.0, 20.0, 2.0]) == guard.Ratio.of(
        [1.0] * 3, [2.0] * 3
    )


def test_series_of_different_lengths_are_refused(guard):
    with pytest.raises(ValueError, match="longer"):
        guard.Ratio.of([1.0], [1.0, 2.0])


@pytest.mark.parametrize(
    ("now", "noise_now", "noise_then", "is_worse", "words"),
    [
        (1.09, 0.0, 0.0, False, "ok"),
        (1.11, 0.0, 0.0, True, "WORSE"),
        (1.11, 0.05, 0.0, False, "within the noise"),
        (1.11, 0.0, 0.05, False, "within the noise"),
        (1.16, 0.05, 0.01, True, "WORSE"),
        (0.95, 0.0, 0.0, False, "ok"),
        (0.80, 0.0, 0.0, False, "better: store it"),
        (0.80, 0.1, 0.0, False, "ok"),
    ],
)
def test_a_tenth_or_three_times_the_larger_noise_may_be_lost(
    guard, now, noise_now, noise_then, is_worse, words
):
    verdict = guard.judge("a", ratio_of(guard, now, noise_now), ratio_of(guard, 1.0, noise_then))
    assert (verdict.is_worse, verdict.words) == (is_worse, words)


def test_the_tenth_is_of_the_stored_ratio(guard):
    verdict = guard.judge("a", ratio_of(guard, 0.0), ratio_of(guard, 0.2))
    assert verdict.allowed == pytest.approx(0.22)


def test_a_ratio_that_was_never_stored_does_not_fail(guard):
    verdict = guard.judge("a", ratio_of(guard, 100.0), None)
    assert (verdict.is_worse, verdict.words) == (False, "not stored")


@pytest.mark.parametrize(("now", "status"), [(1.0, 0), (2.0, 1)])
def test_the_exit_status_says_whether_a_ratio_is_worse(guard, capsys, now, status):
    assert guard.report({"training": ratio_of(guard, now)}, stored(guard, 1.0), HERE) == status
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "training" in line]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == ["training", f"{now:.3g}", "0", "1", "1.1", "WORSE" if status else "ok"]


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ({**HERE, "cores": 64}, "cores 64 then, 2 now"),
        ({**HERE, "instructions": ["avx2", "avx512f"]}, "instructions ['avx2', 'avx512f'] then"),
        ({"machine": "x86_64", "threads": 2, "instructions": ["avx2"]}, "cores None then, 2 now"),
    ],
)
def test_ratios_of_another_kind_of_machine_only_cause_a_note(guard, capsys, there, said):
    content = stored(guard, 1.0, machine=there)
    assert guard.report({"training": ratio_of(guard, 9.0)}, content, HERE) == 0
    assert said in capsys.readouterr().out


def test_without_a_stored_file_the_guard_fails_and_says_how_to_store(guard, capsys):
    assert guard.report({"training": ratio_of(guard, 9.0)}, None, HERE) == 1
    assert "--store" in capsys.readouterr().out


@pytest.fixture
def measured(guard, monkeypatch, tmp_path):
    """The script with ratios that cost nothing, and a results file of its own."""
    ratios = {"fast": 1.0, "slow": 2.0}
    monkeypatch.setattr(
        guard,
        "RATIOS",
        {
            short: (f"{short} one", lambda short=short: ratio_of(guard, ratios[short]))
            for short in ratios
        },
    )
    monkeypatch.setattr(guard, "machine", lambda: HERE)
    target = tmp_path / "guard.json"
    monkeypatch.setattr(guard, "results_file", lambda _: target)
    monkeypatch.setattr(
        guard, "write_results", lambda _, content: target.write_text(json.dumps(content))
    )

    def run(*words):
        monkeypatch.setattr("sys.argv", ["guard.py", *words])
        return guard.main()

    return run, ratios, target


def test_what_was_stored_is_held_against_until_it_is_stored_again(measured):
    run, ratios, _ = measured
    assert run("--store") == 0
    assert run() == 0
    ratios["slow"] = 3.0
    assert run() == 1
    assert run("--only", "fast") == 0
    assert run("--store") == 0
    assert run() == 0


def test_storing_some_measurements_keeps_the_others_of_the_machine(measured):
    run, ratios, target = measured
    run("--store")
    ratios.update(fast=0.5, slow=7.0)
    run("--store", "--only", "fast")
    kept = json.loads(target.read_text())["ratios"]
    assert {name: entry["ratio"] for name, entry in kept.items()} == {
        "fast one": 0.5,
        "slow one": 2.0,
    }
    content = json.loads(target.read_text())
    target.write_text(json.dumps({**content, "machine": {**HERE, "cores": 8}}))
    run("--store", "--only", "fast")
    assert list(json.loads(target.read_text())["ratios"]) == ["fast one"]


def test_not_storing_writes_nothing(measured):
    run, _, target = measured
    assert run() == 1
    assert not target.exists()


def test_a_ratio_that_is_worse_once_and_not_again_fails_nothing(guard, measured, monkeypatch):
    run, _, _ = measured
    run("--store")
    found = iter([9.0, 1.0, 2.0])
    names = {short: name for short, (name, _) in guard.RATIOS.items()}
    measures = {
        short: (name, lambda: ratio_of(guard, next(found))) for short, name in names.items()
    }
    monkeypatch.setattr(guard, "RATIOS", measures)
    assert run() == 0
    assert next(found, None) is None
