"""The folder of a new run: it is claimed at the first write, and its names are valid everywhere."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from pixelwise.data.sample import Sample
from pixelwise.errors import ConfigError, OutputError
from pixelwise.training import finish, loop, run_folder
from pixelwise.training.run_folder import claimed_run_folder, new_run_folder
from pixelwise.training.train import train


def test_trainings_started_together_get_a_folder_each(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    everyone_has_one = Barrier(8)

    def claim(_):
        with claimed_run_folder(None, "unet", "data") as folder:
            everyone_has_one.wait()
            return folder

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(claim, range(8)))) == 8


def test_a_folder_that_another_training_took_in_between_is_not_shared(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wanted = new_run_folder(None, "unet", "data")
    wanted.mkdir(parents=True)
    names = iter([wanted, wanted.with_name("unet-data-2")])
    monkeypatch.setattr(run_folder, "free_folder", lambda _: next(names))
    with claimed_run_folder(None, "unet", "data") as folder:
        assert folder.name == "unet-data-2"


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "run").touch()
    with (
        pytest.raises(OutputError, match="A file with that name exists"),
        claimed_run_folder(tmp_path / "run", "unet", "data"),
    ):
        pass


def test_the_folder_of_a_run_that_cannot_begin_is_given_back(
    tmp_path, make_index_dataset, monkeypatch
):
    def fail(*_):
        raise ConfigError

    monkeypatch.setattr(loop, "build_optimizer", fail)
    data = make_index_dataset(tmp_path / "data", splits=("train", "val"))
    with pytest.raises(ConfigError):
        train(data, model="stacked-fcn", epochs=1, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_model_with_colons_in_its_name_gets_a_valid_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert new_run_folder(None, "smp:unet:resnet34", "my data").name == "smp-unet-resnet34-my-data"
    assert new_run_folder(None, "unet-elu", "data_2.v1").name == "unet-elu-data_2.v1"


def test_pictures_of_different_images_have_different_names(tmp_path, monkeypatch):
    drawn = []
    for name in ("draw_segmentation", "draw_class_grid"):
        monkeypatch.setattr(finish, name, lambda *arguments: drawn.append(arguments[-1].name))
    samples = [Sample(name, None, None, "multiclass") for name in ("a/b", "a-b", "a:b")]

    class Anything:
        validation = samples
        dataset = class_map = None

        def probabilities(self, _):
            return None

    plan = Anything()
    plan.dataset = plan
    finish._draw_pictures(plan, plan, tmp_path)
    assert len(set(drawn)) == 6
    assert not any(":" in name for name in drawn)
