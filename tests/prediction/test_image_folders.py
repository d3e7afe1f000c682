"""Which files of a folder are predicted: of a data set, its images without its masks."""

import shutil

import nibabel
import numpy as np
import pytest
from PIL import Image

import pixelwise
from pixelwise.data.formats import formats
from pixelwise.prediction.image_folders import images_to_predict


@pytest.fixture
def data(tmp_path, make_index_dataset):
    return make_index_dataset(tmp_path / "data", num_images=4)


def names(paths, folder):
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def test_the_masks_of_a_data_set_are_left_out_and_named(data, tmp_path, make_model_file, run_cli):
    (data / "images" / "999.png").write_bytes((data / "images" / "000.png").read_bytes())
    model = make_model_file(tmp_path / "model.safetensors")
    code, out, err = run_cli("predict", model, data, "--out", tmp_path / "out")
    assert code == 0
    written = names((tmp_path / "out").rglob("*.png"), tmp_path / "out")
    assert written == [f"images/{name}.png" for name in ("000", "001", "002", "003", "999")]
    assert "is a data set (index-masks): its 5 images are predicted, and 4 other pictures" in err
    assert "5 files written" in out


@pytest.mark.parametrize("name", ["index-masks", "color-masks", "coco", "yolo", "labelme", "voc"])
def test_of_every_format_only_the_images_are_predicted(data, tmp_path, name):
    pixelwise.convert_data(data, tmp_path / "out", name, keep_splits=False)
    dataset = pixelwise.open_dataset(tmp_path / "out")
    expected = {record.image.resolve() for record in dataset.records}
    found = images_to_predict(tmp_path / "out", tmp_path / "results", None)
    assert {path.resolve() for path in found} == expected
    assert name in formats.names()


def test_a_folder_of_images_alone_is_taken_whole(data, tmp_path):
    shutil.copytree(data / "images", tmp_path / "new" / "deep")
    told = []
    found = images_to_predict(tmp_path / "new", tmp_path / "out", told.append)
    assert names(found, tmp_path / "new") == [f"deep/{number:03d}.png" for number in range(4)]
    assert told == []


def test_the_folder_of_masks_itself_can_be_predicted(data, tmp_path):
    assert len(images_to_predict(data / "masks", tmp_path / "out", None)) == 4


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16)).save(path)


def test_links_in_circles_give_each_image_once(tmp_path):
    folder = tmp_path / "photos"
    for name in ("a/1.png", "a/b/2.png", "a/b/c/3.png"):
        picture(folder / name)
    for number, place in enumerate(("a", "a/b", "a/b/c")):
        for target in ("a", "a/b", "a/b/c", "."):
            (folder / place / f"0-{number}-{target.replace('/', '')}x").symlink_to(folder / target)
    found = images_to_predict(folder, tmp_path / "out", None)
    assert names(found, folder) == ["a/1.png", "a/b/2.png", "a/b/c/3.png"]


def test_a_file_that_links_lead_to_is_found_once_and_that_is_said(tmp_path):
    picture(tmp_path / "photos/b/1.png")
    picture(tmp_path / "elsewhere/2.png")
    for link, target in (
        ("photos/a.png", "photos/b/1.png"),
        ("photos/c.png", "elsewhere/2.png"),
        ("photos/d.png", "elsewhere/2.png"),
        ("photos/0", "elsewhere"),
        ("photos/broken.png", "nowhere.png"),
    ):
        (tmp_path / link).symlink_to(tmp_path / target)
    said = []
    found = images_to_predict(tmp_path / "photos", tmp_path / "out", said.append)
    assert len(found) == 2
    assert len({path.resolve() for path in found}) == 2
    assert len(said) == 1
    assert said[0].startswith("3 links in ")


def test_links_to_folders_elsewhere_are_followed_once(tmp_path):
    picture(tmp_path / "elsewhere/1.png")
    (tmp_path / "photos").mkdir()
    for link in ("a", "b"):
        (tmp_path / "photos" / link).symlink_to(tmp_path / "elsewhere")
    found = images_to_predict(tmp_path / "photos", tmp_path / "out", None)
    assert names(found, tmp_path / "photos") == ["a/1.png"]


@pytest.mark.parametrize("letter", ["x", "é", "道"])
def test_results_of_long_names_have_shorter_names_that_differ(
    tmp_path, letter, make_model_file, run_cli
):
    room = 255 - len(".png")
    stems = [letter * (room // len(letter.encode())), "y" * 246]
    stems += [f"{stems[0][:-1]}a", "short"]
    for stem in stems:
        picture(tmp_path / "photos" / f"{stem}.png")
    model = make_model_file(tmp_path / "model.safetensors")
    out = tmp_path / "out"
    kinds = ("--save", "overlay", "--save", "index", "--save", "binary")
    code, _, err = run_cli("predict", model, tmp_path / "photos", "--out", out, *kinds)
    assert code == 0, err
    assert err.count("too long for its results") == 3
    written = [path.name for path in (out / "overlay").iterdir()]
    assert len(set(written)) == 4
    assert "short_overlay.png" in written
    assert all(len(name.encode()) <= 255 for name in written)
    again, _, _ = run_cli("predict", model, tmp_path / "photos", "--out", out, *kinds)
    assert again == 0
    assert sorted(path.name for path in (out / "overlay").iterdir()) == sorted(written)


def save_volume(path, slices=3):
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.random.default_rng(0).integers(0, 255, (24, 32, slices), np.uint8)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), path)
    return voxels


def test_the_slices_of_volumes_are_predicted(tmp_path, make_model_file, run_cli):
    voxels = save_volume(tmp_path / "new" / "case.nii.gz")
    model = make_model_file(tmp_path / "model.safetensors", in_channels=1)
    written = [f"case_z00{number}.png" for number in range(3)]
    for given in (tmp_path / "new", tmp_path / "new" / "case.nii.gz"):
        out = tmp_path / f"out-{given.name}"
        code, _, _ = run_cli("predict", model, given, "--out", out)
        assert code == 0
        assert names(out.rglob("*.png"), out) == written
    classes = pixelwise.predict(model, voxels[:, :, 1]).class_ids
    assert (np.asarray(Image.open(out / "case_z001.png")) == classes).all()


def test_of_a_data_set_of_stacks_only_the_images_are_predicted(tmp_path):
    stack = np.random.default_rng(0).integers(0, 255, (9, 24, 32), np.uint8)
    np.save(tmp_path / "images.npy", stack)
    np.save(tmp_path / "masks.npy", stack // 128)
    found = images_to_predict(tmp_path, tmp_path / "results", None)
    assert names(found, tmp_path) == [f"images.npy/n00{number}" for number in range(9)]
    np.savez(tmp_path / "all.npz", images=stack, masks=stack // 128)
    (tmp_path / "images.npy").unlink()
    (tmp_path / "masks.npy").unlink()
    found = images_to_predict(tmp_path, tmp_path / "results", None)
    assert names(found, tmp_path) == [f"all.npz/images/n00{number}" for number in range(9)]


def test_a_damaged_volume_fails_alone(tmp_path, make_model_file, run_cli):
    save_volume(tmp_path / "new" / "a.nii.gz")
    (tmp_path / "new" / "b.nii.gz").write_bytes(b"broken")
    model = make_model_file(tmp_path / "model.safetensors", in_channels=1)
    code, _, err = run_cli("predict", model, tmp_path / "new", "--out", tmp_path / "out")
    assert code == 1
    assert "b.nii.gz" in err
    assert len(list((tmp_path / "out").rglob("*.png"))) == 3


def test_templates_and_ignore_masks_of_a_card_tell_which_pictures_are_masks(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(4):
        picture(tmp_path / "data" / f"{number}.png")
        for ending in ("first", "second", "fov"):  # two sets of masks: only the card decides
            mask = Image.fromarray(rng.integers(0, 2, (16, 16), np.uint8))
            mask.save(tmp_path / "data" / f"{number}_{ending}.png")
    (tmp_path / "data" / "dataset.yaml").write_text(
        "images: '{name}.png'\nmasks: '{name}_first.png'\nignore_mask: '{name}_fov.png'\n"
    )
    found = images_to_predict(tmp_path / "data", tmp_path / "out", None)
    expected = {f"{number}{ending}.png" for number in range(4) for ending in ("", "_second")}
    assert {path.name for path in found} == expected
