"""What the commands print last, and that nothing is cut where the output is not a terminal."""

import json

import pytest

NAME = "a-name-of-a-class-" * 8


@pytest.mark.parametrize(("splits", "split"), [((), "test"), (("train", "val"), "val")])
def test_a_training_says_split_and_temperature_and_proposes_to_evaluate(
    splits, split, tmp_path, make_index_dataset, run_cli
):
    data = make_index_dataset(tmp_path / "my data", splits=splits, num_images=8)
    run = tmp_path / "run"
    given = ("train", data, "--model", "stacked-fcn", "--epochs", 1, "--size", "8x8", "--out", run)
    code, out, _ = run_cli(*given)
    assert code == 0
    metrics = json.loads((run / "metrics.json").read_text())
    lines = out.splitlines()
    noun = "image" if metrics["images"] == 1 else "images"
    assert lines[0] == f"metrics on the {metrics['images']} validation {noun} (split val):"
    temperature = metrics["detail"]["temperature"]
    assert f"stored with it: temperature {temperature:.3g} for its probabilities" in lines
    assert lines[-2] == f"next: pixelwise evaluate {run} '{data}' --split {split}"
    assert lines[-1].startswith(f"then: pixelwise predict {run} IMAGES --out predictions")


def test_tables_and_sentences_in_a_pipe_are_whole(
    tmp_path, make_index_dataset, make_model_file, run_cli, monkeypatch
):
    from pixelwise.classes import ClassMap

    monkeypatch.setenv("COLUMNS", "40")
    data = make_index_dataset(tmp_path / "data", num_images=4)
    (data / "dataset.yaml").write_text(f"classes: [{NAME}0, {NAME}1, {NAME}2]\n")
    names = ClassMap.build([f"{NAME}{index}" for index in range(3)])
    model = make_model_file(tmp_path / "model.safetensors", class_map=names)
    out = run_cli("evaluate", model, data, "--split", "all")[1]
    rows = [line for line in out.splitlines() if line.startswith(NAME)]
    assert [row.split()[0] for row in rows] == list(names.names)
    assert any(
        row.startswith("mean per image") and "weighted IoU" in row for row in out.split("\n")
    )
    for given in (("data", "check", data), ("review", model, data, "--split", "all", "--out", "r")):
        monkeypatch.chdir(tmp_path)
        code, out, _ = run_cli(*given)
        assert code == 0
        assert "…" not in out.partition("[")[0]
        assert f"{NAME}1" in out
