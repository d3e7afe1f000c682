"""A training starts from a run, a model file or another library's weights."""

import pickle
from functools import partial

import pytest
import safetensors.torch
import torch
from test_training import FIXED, SMALL, write_shapes

from pixelwise.errors import ConfigError, ModelFileError
from pixelwise.models import create_model
from pixelwise.training.train import train
from pixelwise.training.warm_start import read_weights, start_from

CLASSES = ("a", "b", "c")


def model_of(num_classes=3, seed=0, name="unet"):
    torch.manual_seed(seed)
    return create_model(name, num_classes, 3, **({"filters": 4} if name == "unet" else {}))


def same(model, other, names):
    ours, theirs = model.state_dict(), other.state_dict()
    return all(torch.equal(ours[name], theirs[name]) for name in names)


def test_all_but_the_head_is_taken_from_a_model_with_other_classes(tmp_path):
    source, model = model_of(5, seed=1), model_of(3)
    before = model_of(3)
    safetensors.torch.save_file(source.state_dict(), tmp_path / "weights.safetensors")
    found = start_from(model, tmp_path / "weights.safetensors", CLASSES)
    kept = [name for name in model.state_dict() if name not in found.new]
    assert same(model, source, kept)
    assert same(model, before, found.new)
    assert found.new
    assert all(name.startswith("head.") for name in found.new)
    assert found.num_loaded == len(kept)
    assert f"{found.num_loaded} tensors" in found.describe()
    assert found.new[0] in found.describe()


def test_the_head_of_a_run_is_kept_only_for_the_same_classes(tmp_path, make_model_file):
    from pixelwise.classes import ClassMap

    path = tmp_path / "model.safetensors"
    make_model_file(path, name="unet-fast", class_map=ClassMap.build(CLASSES))
    model = partial(model_of, name="unet-fast")
    assert start_from(model(), path, CLASSES).new == ()
    assert len(start_from(model(), path, ("c", "b", "a")).new) > 0


@pytest.mark.parametrize("prefix", ["", "module.", "network.model."])
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {"state_dict": x, "epoch": 3}])
def test_prefixes_and_wrappers_of_other_libraries_are_removed(tmp_path, prefix, wrap):
    source, model = model_of(seed=1), model_of()
    weights = {prefix + name: tensor for name, tensor in source.state_dict().items()}
    torch.save(wrap(weights), tmp_path / "weights.pth")
    found = start_from(model, tmp_path / "weights.pth", CLASSES)
    kept = [name for name in model.state_dict() if name not in found.new]
    assert len(kept) > 10
    assert same(model, source, kept)


def test_the_weights_of_an_encoder_alone_fit_into_a_model(tmp_path):
    import timm

    torch.manual_seed(5)
    encoder = timm.create_model("resnet18", num_classes=7)
    safetensors.torch.save_file(encoder.state_dict(), tmp_path / "resnet18.safetensors")
    model = model_of(name="smp:unet:resnet18")
    found = start_from(model, tmp_path / "resnet18.safetensors", CLASSES)
    own = model.state_dict()
    matched = [name for name in own if ".encoder." in name]
    assert matched
    assert set(matched) <= set(own) - set(found.new)
    first = next(name for name in matched if name.endswith("encoder.conv1.weight"))
    assert torch.equal(own[first], encoder.state_dict()["conv1.weight"])
    assert any(name.startswith("fc.") for name in found.unused)


def test_a_file_without_matching_weights_is_refused(tmp_path):
    safetensors.torch.save_file({"a.weight": torch.zeros(3, 2)}, tmp_path / "w.safetensors")
    with pytest.raises(ConfigError, match=r"less than 1% of them, by name and shape: it holds a"):
        start_from(model_of(), tmp_path / "w.safetensors", CLASSES)


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    (tmp_path / "w.pth").write_bytes(pickle.dumps({"a": Trap()}))
    torch.save({"a": Trap()}, tmp_path / "v.pth")
    for name in ("w.pth", "v.pth"):
        with pytest.raises(ModelFileError, match="holds only tensors"):
            read_weights(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_missing_and_empty_files_are_named(tmp_path):
    with pytest.raises(ModelFileError, match=r"Got .*nothing"):
        read_weights(tmp_path / "nothing")
    torch.save({"epoch": 3}, tmp_path / "w.pt")
    with pytest.raises(ModelFileError, match="must contain tensors by name"):
        read_weights(tmp_path / "w.pt")


def test_a_run_is_fine_tuned_and_the_plan_says_from_where(tmp_path):
    given = {**SMALL, "epochs": 1, "overrides": [FIXED]}
    first = train(write_shapes(tmp_path / "data"), out=tmp_path / "first", **given)
    data = write_shapes(tmp_path / "other", seed=1)
    second = train(data, out=tmp_path / "second", start_from=first.folder, **given)
    line = next(line for line in second.plan.lines() if line.startswith("weights"))
    assert str(first.folder) in line
    assert "100.0%" in line
    (tmp_path / "first" / "model.safetensors").unlink()
    train(out=tmp_path / "second", resume=True)  # needs the file no more


def test_the_model_and_its_arguments_are_those_of_the_run_to_start_from(tmp_path):
    data, given = write_shapes(tmp_path / "data"), {"epochs": 1, "batch_size": 4, "seed": 3}
    arguments = "model.arguments={filters: 4}"
    first = train(data, model="unet-elu", overrides=[arguments], out=tmp_path / "first", **given)

    def plan_from(source, **more):
        return train(data, start_from=source, dry_run=True, **given, **more).plan

    for source in (first.folder, first.folder / "model.safetensors"):
        taken = plan_from(source)
        assert (taken.recipe.model.name, taken.recipe.model.arguments) == (
            "unet-elu", {"filters": 4, **taken.recipe.model.arguments},
        )  # fmt: skip
        assert any("100.0% of the model's weights" in line for line in taken.lines())
    other = plan_from(first.folder, model="unet-elu")
    assert "filters" not in other.recipe.model.arguments
    for named in ({"model": "segnet-basic"}, {"overrides": ["model.name=segnet-basic"]}):
        with pytest.raises(ConfigError, match="Give the `model` of these weights"):
            plan_from(first.folder, **named)
