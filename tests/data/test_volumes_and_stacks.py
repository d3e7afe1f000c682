"""Volumes, stacks and arrays open as data sets of pictures, each beside its mask."""

import json

import h5py
import nibabel
import numpy as np
import pytest
import scipy.io
import tifffile
from PIL import Image

import pixelwise
from pixelwise.data.convert import convert_data
from pixelwise.data.dataset import open_dataset
from pixelwise.doctor import check_data
from pixelwise.errors import DataError, FormatError, LayoutError
from pixelwise.io.members import file_of

RANDOM = np.random.default_rng(1)
IMAGES = RANDOM.integers(0, 255, (10, 40, 50, 3), np.uint8)
MASKS = np.repeat(np.repeat(RANDOM.integers(0, 3, (10, 8, 10), np.uint8), 5, 1), 5, 2)


def save(path, voxels, affine=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(
        nibabel.Nifti1Image(voxels, np.diag([1, 1, 4, 1]) if affine is None else affine), path
    )


def make_volumes(folder, count=6, slices=5):
    for number in range(count):
        voxels = RANDOM.normal(size=(32, 24, slices)).astype(np.float32)
        save(folder / "imagesTr" / f"case_{number}.nii.gz", voxels)
        save(folder / "labelsTr" / f"case_{number}.nii.gz", (voxels > 0.5).astype(np.uint8))
    return folder


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    return make_volumes(tmp_path_factory.mktemp("volumes"))


def test_volumes_open_as_their_slices(volumes):
    dataset = open_dataset(volumes)
    assert len(dataset.records) == 30
    assert dataset.records[0].name == "imagesTr/case_0_z000"
    for record in dataset.records:
        sample = dataset.load(record)
        number = int(record.name[-3:])
        image, mask = (
            np.asarray(nibabel.load(file_of(path)).dataobj)[:, :, number]
            for path in (record.image, record.masks[0])
        )
        assert (sample.image[..., 0] == image).all()
        assert (sample.mask == mask).all()


def test_a_draw_never_divides_a_volume(volumes):
    for seed in range(5):
        dataset = open_dataset(volumes, split_seed=seed)
        splits = {}
        for record in dataset.records:
            splits.setdefault(file_of(record.image), set()).add(record.split)
        assert all(len(found) == 1 for found in splits.values())
        assert set.union(*splits.values()) == {"train", "val", "test"}


def test_volumes_of_one_subject_stay_together(tmp_path):
    for number in range(12):
        for kind in ("images", "masks"):
            name = f"sub-{number // 2:02}_run-{number % 2}.nii.gz"
            save(tmp_path / kind / name, RANDOM.integers(0, 3, (16, 16, 3)).astype(np.uint8))
    dataset = open_dataset(tmp_path, images="images/{name}.nii.gz", masks="masks/{name}.nii.gz")
    splits = {record.group: set() for record in dataset.records}
    assert len(splits) == 6
    for record in dataset.records:
        splits[record.group].add(record.split)
    assert all(len(found) == 1 for found in splits.values())


def test_one_volume_is_divided_and_says_so(tmp_path):
    dataset = open_dataset(make_volumes(tmp_path, count=1, slices=20))
    assert {record.split for record in dataset.records} == {"train", "val", "test"}
    assert any("which is divided" in note for note in dataset.notes)


def test_of_two_volumes_one_is_for_validation(tmp_path):
    dataset = open_dataset(make_volumes(tmp_path, count=2))
    splits = {file_of(record.image).name: record.split for record in dataset.records}
    assert sorted(splits.values()) == ["train", "val"]


def test_the_cache_and_the_key_tell_slices_apart(volumes):
    dataset = open_dataset(volumes, cache=True)
    assert len({record.key for record in dataset.records}) == len(dataset.records)
    first = [dataset.load(record).mask.tobytes() for record in dataset.records]
    again = open_dataset(volumes, cache=True)
    assert [again.load(record).mask.tobytes() for record in again.records] == first
    assert again.state == dataset.state
    assert again.fingerprint == dataset.fingerprint


def test_volumes_are_converted_slice_by_slice(volumes, tmp_path):
    dataset = open_dataset(volumes)
    convert_data(dataset, tmp_path / "out", "index-masks")
    written = open_dataset(tmp_path / "out")
    assert len(written.records) == 30
    by_name = {record.name.rpartition("/")[2]: record for record in written.records}
    for record in dataset.records:
        sample = written.load(by_name[record.name.rpartition("/")[2]])
        assert (sample.image == dataset.load(record).image).all()
        assert (sample.mask == dataset.load(record).mask).all()


def test_the_check_of_sound_volumes_finds_no_damage(volumes):
    kinds = {finding.kind for finding in check_data(volumes).findings}
    assert not kinds & {"unlike-parts", "corrupt-image", "corrupt-mask", "unknown-layout"}


def test_a_mask_on_another_grid_is_refused_and_found(tmp_path):
    folder = make_volumes(tmp_path)
    mask = folder / "labelsTr" / "case_3.nii.gz"
    voxels = np.asarray(nibabel.load(mask).dataobj)
    save(mask, voxels, np.diag([-1, 1, 4, 1]))
    with pytest.raises(FormatError, match=r"case_3.*must have the axes of its image.*RAS.*LAS"):
        open_dataset(folder)
    save(mask, voxels[..., :-1])
    with pytest.raises(FormatError, match=r"case_3.*as many pictures.*4.*5"):
        open_dataset(folder)
    found = {finding.kind: finding for finding in check_data(folder).findings}
    assert "case_3" in found["unlike-parts"].details[0]


def test_a_damaged_volume_does_not_hide_the_others(tmp_path):
    folder = make_volumes(tmp_path)
    broken = folder / "imagesTr" / "case_1.nii.gz"
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(DataError, match="case_1"):
        open_dataset(folder)
    examination = check_data(folder)
    assert {"unlike-parts", "corrupt-image"} & {finding.kind for finding in examination.findings}
    assert len(examination.usable) == 25


@pytest.mark.real_data
def test_the_spine_opens_as_nibabel_reads_it(test_data):
    folder = test_data / "wild" / "spine-nifti"
    expected = json.loads((test_data / "wild" / "spine-nifti.json").read_text())
    with pytest.raises(LayoutError, match="2 sets of masks"):  # the cord, and its lesions
        open_dataset(folder)
    ((image, mask),) = expected["pairs"]
    template = mask.replace("sub-unf01_T2w", "{name}")
    dataset = open_dataset(
        folder, images="sub-unf01/anat/{name}.nii.gz", masks=template, cache=False
    )
    voxels, labels = (nibabel.load(folder / path).get_fdata() for path in (image, mask))
    assert len(dataset.records) == voxels.shape[2]
    assert dataset.class_map.num_classes == expected["number_of_classes"]
    for number, record in enumerate(dataset.records):
        assert (file_of(record.image), file_of(record.masks[0])) == (folder / image, folder / mask)
        assert record.group == "sub-unf01"
        sample = dataset.load(record)
        assert np.array_equal(sample.image[..., 0], voxels[:, :, number].astype(np.float32))
        assert np.array_equal(sample.mask, labels[:, :, number].astype(np.uint8))


def save_npy(folder):
    np.save(folder / "images.npy", IMAGES)
    np.save(folder / "masks.npy", MASKS)


def save_x_and_y(folder):
    np.save(folder / "X.npy", IMAGES)
    np.save(folder / "y.npy", MASKS[..., None])


def save_npz(folder):
    np.savez_compressed(folder / "data.npz", images=IMAGES, masks=MASKS)


def save_npz_for_each(folder):
    for number in range(10):
        np.savez(folder / f"{number}.npz", image=IMAGES[number], label=MASKS[number])


def save_hdf5(folder):
    with h5py.File(folder / "data.h5", "w") as file:
        file["images"], file["masks"] = IMAGES, MASKS


def save_pages(folder):
    tifffile.imwrite(folder / "image_volume.tif", IMAGES, photometric="rgb")
    tifffile.imwrite(folder / "labels.tif", MASKS, compression="zlib")


def save_matlab(folder):
    for number in range(10):
        Image.fromarray(IMAGES[number]).save(folder / f"{number}.png")
        scipy.io.savemat(folder / f"{number}.mat", {"labels": MASKS[number].astype(float)})


def save_jpeg_2000(folder):
    for number in range(10):
        Image.fromarray(IMAGES[number]).save(folder / f"{number}_image.jp2", irreversible=False)
        Image.fromarray(MASKS[number]).save(folder / f"{number}_mask.png")


KINDS = (
    save_npy, save_x_and_y, save_npz, save_npz_for_each, save_hdf5, save_pages, save_matlab,
    save_jpeg_2000,
)  # fmt: skip


@pytest.mark.parametrize("save_as", KINDS)
def test_images_and_masks_come_back_from_any_kind_of_file(tmp_path, save_as):
    save_as(tmp_path)
    dataset = open_dataset(tmp_path)
    assert len(dataset.records) == 10
    for number, record in enumerate(dataset.records):
        sample = dataset.load(record)
        assert (sample.image == IMAGES[number]).all()
        assert (sample.mask == MASKS[number]).all()


def test_names_of_arrays_tell_their_split(tmp_path):
    for name in ("train", "val"):
        np.save(tmp_path / f"X_{name}.npy", IMAGES)
        np.save(tmp_path / f"y_{name}.npy", MASKS)
    splits = {record.name: record.split for record in open_dataset(tmp_path).records}
    assert splits["X_train_n000"] == "train"
    assert splits["X_val_n009"] == "val"


def test_groups_of_an_hdf5_file_tell_their_split(tmp_path):
    with h5py.File(tmp_path / "all.h5", "w") as file:
        for name in ("train", "test"):
            file[f"{name}/images"], file[f"{name}/masks"] = IMAGES, MASKS
    dataset = open_dataset(tmp_path)
    assert [record.split for record in dataset.records if record.name == "all_test_n000"] == [
        "test"
    ]
    assert len(dataset.records) == 20


def test_several_variables_are_a_question_and_a_list_names_files(tmp_path):
    save_matlab(folder := tmp_path)
    for number in range(10):
        path = folder / f"{number}.mat"
        scipy.io.savemat(path, {"one": MASKS[number], "two": MASKS[number] * 2})
    with pytest.raises(LayoutError, match="2 sets of masks") as caught:
        open_dataset(folder)
    assert "`masks='{name}.mat/two'`" in str(caught.value)
    dataset = open_dataset(folder, images="{name}.png", masks="{name}.mat/two")
    assert (dataset.load(dataset.records[3]).mask == MASKS[3] * 2).all()
    for number in range(10):
        scipy.io.savemat(folder / f"{number}.mat", {"one": MASKS[number]})
    (folder / "train.txt").write_text("".join(f"{at}.png {at}.mat\n" for at in range(8)))
    assert len(open_dataset(folder).records) == 8


def test_one_mask_for_each_class_or_annotator_is_refused(tmp_path):
    save_matlab(folder := tmp_path)
    for number in range(10):
        scipy.io.savemat(folder / f"{number}.mat", {"m": np.eye(5, dtype=np.uint8)[MASKS[number]]})
    with pytest.raises(FormatError, match="Got 5 masks in an array"):
        open_dataset(folder)


def test_a_variable_named_after_its_file_is_found(tmp_path):
    save_matlab(folder := tmp_path)
    for number in range(10):
        scipy.io.savemat(folder / f"{number}.mat", {f"mask_of_{number}": MASKS[number]})
    dataset = open_dataset(folder)
    assert (dataset.load(dataset.records[3]).mask == MASKS[3]).all()


def test_a_file_with_an_array_for_each_image_is_refused_at_once(tmp_path):
    with h5py.File(tmp_path / "all.h5", "w") as file:
        for number in range(300):
            file[f"images/{number}"], file[f"masks/{number}"] = IMAGES[0], MASKS[0]
    with pytest.raises(LayoutError, match=r"all\.h5 cannot be read: it holds 600 arrays\. Save"):
        open_dataset(tmp_path)


def test_pages_without_a_mask_each_are_refused(tmp_path):
    for number in range(4):
        tifffile.imwrite(tmp_path / f"{number}_image.tif", IMAGES[:5, ..., 0])
        Image.fromarray(MASKS[number]).save(tmp_path / f"{number}_mask.png")
    with pytest.raises(FormatError, match=r"Got one picture for 5 \(p000 to p004\)\. Save a mask"):
        open_dataset(tmp_path)


def test_heic_pictures_are_refused_by_name(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.heic").write_bytes(b"heic")
        Image.fromarray(MASKS[number]).save(tmp_path / f"{number}.png")
    with pytest.raises(LayoutError, match=r"0\.heic cannot be read, nor can 2 other files: .*PNG"):
        open_dataset(tmp_path)


def test_arrays_that_belong_to_no_picture_do_not_matter(tmp_path):
    folder = tmp_path
    save_jpeg_2000(folder)
    np.savez(folder / "weights.npz", a=RANDOM.normal(size=(64, 64)), b=RANDOM.normal(size=(64, 3)))
    (folder / "model.h5").write_bytes(b"no HDF5 at all")
    assert len(open_dataset(folder).records) == 10


def test_a_model_learns_from_volumes(tmp_path, volumes):
    dataset = open_dataset(volumes)
    assert isinstance(dataset.train[0], pixelwise.Sample)
    assert dataset.train[0].image.dtype == np.float32
