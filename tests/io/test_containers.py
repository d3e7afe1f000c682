"""Pictures inside files: read one by one, as the libraries of each format read the whole."""

import pickle
import zipfile
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
import scipy.io
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pixelwise.errors import DataError, MissingExtraError
from pixelwise.io import containers, limits
from pixelwise.io.containers import arrays_in, as_pair, layout_of, pictures_in
from pixelwise.io.containers.base import Layout, layout_of_array
from pixelwise.io.file_state import content_hash, state_of
from pixelwise.io.images import read_image, read_mask_values
from pixelwise.io.members import ending_of, file_of, name_of, split_ending, split_member

RANDOM = np.random.default_rng(0)
VOXELS = RANDOM.integers(0, 2000, (6, 9, 11)).astype(np.int16)
STACK = RANDOM.integers(0, 255, (5, 12, 10, 3), np.uint8)


def save_volume(path, voxels, spacing=(1, 1, 1), affine=None):
    image = nibabel.Nifti1Image(voxels, np.diag([*spacing, 1]) if affine is None else affine)
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    ("spacing", "axis"), [((3, 1, 1), 0), ((1, 3, 1), 1), ((1, 1, 3), 2), ((1, 1, 0.9999), 2)]
)
def test_slices_lie_across_the_longest_side_of_a_voxel(tmp_path, ending, spacing, axis):
    path = save_volume(tmp_path / f"scan{ending}", VOXELS, spacing)
    slices = pictures_in(path)
    assert [one.name for one in slices] == [
        f"{'xyz'[axis]}{at:03}" for at in range(VOXELS.shape[axis])
    ]
    stored = np.asarray(nibabel.load(path).dataobj)
    for number, one in enumerate(slices):
        assert (read_image(one)[..., 0] == stored.take(number, axis)).all()
        assert (read_mask_values(one) == stored.take(number, axis)).all()


def test_a_fourth_axis_holds_bands_and_scales_are_applied(tmp_path):
    voxels = RANDOM.normal(size=(7, 8, 4, 2)).astype(np.float32)
    slices = pictures_in(save_volume(tmp_path / "a.nii.gz", voxels, (1, 1, 5)))
    assert len(slices) == 4
    assert (read_image(slices[3]) == voxels[:, :, 3]).all()
    scaled = nibabel.Nifti1Image(VOXELS, np.eye(4))
    scaled.header.set_slope_inter(0.5, -100)
    nibabel.save(scaled, tmp_path / "scaled.nii")
    expected = nibabel.load(tmp_path / "scaled.nii").get_fdata()[:, :, 2]
    assert np.allclose(read_image(tmp_path / "scaled.nii" / "z002")[..., 0], expected)


def test_a_volume_is_not_read_as_one_picture(tmp_path):
    path = save_volume(tmp_path / "a.nii", VOXELS)
    with pytest.raises(DataError, match="slice by slice"):
        read_image(path)
    with pytest.raises(DataError, match=r"a\.nii"):
        read_image(path / "z011")
    with pytest.raises(DataError, match=r"a\.nii"):
        read_image(path / "q001")


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".npz", ".mat", ".h5", ".npy"])
def test_a_damaged_file_is_one_error_that_names_it(tmp_path, ending):
    path = tmp_path / f"broken{ending}"
    path.write_bytes(b"neither one nor the other" * 30)
    with pytest.raises(DataError, match="broken") as caught:
        read_image(pictures_in(path)[0])
    assert "\n" not in str(caught.value)


def test_a_truncated_volume_is_one_error_that_names_it(tmp_path):
    path = save_volume(tmp_path / "a.nii.gz", VOXELS)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(DataError, match=r"a\.nii\.gz/z003"):
        read_image(path / "z003")


@pytest.mark.parametrize("order", ["C", "F"])
def test_pictures_of_a_stack_are_read_one_by_one(tmp_path, order):
    path = tmp_path / "images.npy"
    np.save(path, np.asarray(STACK, order=order))
    pictures = pictures_in(path)
    assert [read_image(one).tolist() for one in pictures] == STACK.tolist()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_of_an_archive_are_pictures(tmp_path, save):
    path = tmp_path / "set.npz"
    save(path, images=STACK, masks=STACK[..., 0], table=np.zeros((40, 2)), name=np.array("x"))
    assert arrays_in(path).names == ("images", "masks")
    pictures = pictures_in(path / "images", path / "masks")
    masks = pictures_in(path / "masks", path / "images")
    assert [name_of(one) for one in masks[:2]] == ["set.npz/masks/n000", "set.npz/masks/n001"]
    assert [read_image(one).tolist() for one in pictures] == STACK.tolist()
    assert [read_mask_values(one).tolist() for one in masks] == STACK[..., 0].tolist()


def test_nothing_is_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    objects = np.array([[Trap()] * 9] * 9, object)
    np.save(tmp_path / "a.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "a.npz", masks=objects)
    (tmp_path / "b.npz").write_bytes(pickle.dumps(Trap()))
    (tmp_path / "sprung").unlink(missing_ok=True)
    for path in (tmp_path / "a.npy", tmp_path / "a.npz" / "masks", tmp_path / "b.npz" / "masks"):
        with pytest.raises(DataError):
            read_image(path)
    assert arrays_in(tmp_path / "a.npz").names == ()
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["../out", "/out", "a/../../out", "a\\out", ""])
def test_names_that_lead_out_of_a_file_are_no_arrays(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file, file.open(f"{name}.npy", "w") as entry:
        np.save(entry, STACK[0])
    assert arrays_in(tmp_path / "a.npz").names == ()


def test_headers_that_announce_too_much_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "MAX_DECODED_BYTES", 1000)
    np.save(tmp_path / "a.npy", np.zeros((4, 40, 40), np.uint8))
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros((4, 40, 40, 3), np.uint8))
    scipy.io.savemat(tmp_path / "a.mat", {"a": np.zeros((40, 40))}, do_compression=True)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = np.zeros((40, 40))
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 40, 40), np.uint8))
    save_volume(tmp_path / "a.nii", np.zeros((40, 40, 4), np.uint8))
    for member in ("a.npy/n000", "a.npz/a/n000", "a.mat/a", "a.h5/a", "a.tif/p000", "a.nii/z000"):
        with pytest.raises(DataError, match="must decode to at most"):
            read_image(tmp_path / member)


def test_variables_of_matlab_are_pictures(tmp_path):
    path = tmp_path / "7.mat"
    content = {"seg": STACK[0, ..., 0].astype(float), "stack": np.moveaxis(STACK[..., 0], 0, -1),
               "names": ["a", "b"], "points": np.zeros((30, 2))}  # fmt: skip
    scipy.io.savemat(path, content, do_compression=True)
    assert arrays_in(path).names == ("seg", "stack")
    assert (read_mask_values(path / "seg") == STACK[0, ..., 0]).all()
    layout = layout_of(path / "stack").as_stack  # MATLAB counts pictures along the last axis
    assert len(layout.sections) == 5
    assert (read_image(path / "stack" / "n002")[..., 0] == STACK[2, ..., 0]).all()


def test_a_matlab_file_of_version_7_3_is_read_upright(tmp_path):
    path = tmp_path / "7.mat"
    plane = STACK[0, ..., 0]
    with h5py.File(path, "w", userblock_size=512) as file:
        file["seg"] = plane.T
        file["seg"].attrs["MATLAB_class"] = np.bytes_("uint8")
        file["note"] = np.zeros((9, 9), np.uint16)
        file["note"].attrs["MATLAB_class"] = np.bytes_("char")
    assert arrays_in(path).names == ("seg",)
    assert (read_mask_values(path / "seg") == plane).all()


def test_cells_of_matlab_are_named_as_such(tmp_path):
    cells = np.empty((1, 5), object)
    cells[:] = [[np.zeros((9, 9))] * 5]
    scipy.io.savemat(tmp_path / "a.mat", {"groundTruth": cells})
    assert (
        "groundTruth, a cell of 1 x 5, as of several annotators"
        in arrays_in(tmp_path / "a.mat").refused
    )


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_data_sets_of_hdf5_are_pictures(tmp_path, compression):
    path = tmp_path / "set.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("train/images", data=STACK, compression=compression)
        file["elsewhere"] = h5py.ExternalLink("other.h5", "secret")
        file["note"] = "text"
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["secret"] = STACK
    assert arrays_in(path).names == ("train/images",)
    assert [
        read_image(one).tolist() for one in pictures_in(path / "train/images")
    ] == STACK.tolist()


def test_a_missing_package_names_the_extra(tmp_path, monkeypatch):
    save_volume(tmp_path / "a.nii", VOXELS)
    monkeypatch.setitem(__import__("sys").modules, "nibabel", None)
    with pytest.raises(MissingExtraError, match=r"\[medical\]"):
        pictures_in(tmp_path / "a.nii")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zlib"},
        {"imagej": True, "metadata": {"axes": "ZYX"}},
        {"bigtiff": True},
        {"tile": (16, 16)},
        {"byteorder": ">"},
    ],
)
def test_pages_of_a_tiff_are_pictures(tmp_path, options):
    stack = RANDOM.integers(0, 60000, (5, 33, 21), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", stack, **options)
    pages = pictures_in(tmp_path / "a.tif")
    assert [one.name for one in pages] == [f"p00{number}" for number in range(5)]
    assert [read_image(one)[..., 0].tolist() for one in pages] == stack.tolist()
    with pytest.raises(DataError, match="one page"):
        read_image(tmp_path / "a.tif")


def test_channels_of_imagej_are_bands(tmp_path):
    channels = RANDOM.integers(0, 60000, (3, 33, 21), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", channels, imagej=True, metadata={"axes": "CYX"})
    assert pictures_in(tmp_path / "a.tif") == [tmp_path / "a.tif"]
    assert (read_image(tmp_path / "a.tif") == np.moveaxis(channels, 0, -1)).all()
    both = RANDOM.integers(0, 60000, (4, 3, 33, 21), np.uint16)
    tifffile.imwrite(tmp_path / "b.tif", both, imagej=True, metadata={"axes": "ZCYX"})
    pages = pictures_in(tmp_path / "b.tif")
    assert [read_image(one).tolist() for one in pages] == np.moveaxis(both, 1, -1).tolist()


def test_slices_that_a_program_calls_channels_are_pages_beside_a_stack(tmp_path):
    stack = RANDOM.integers(0, 3, (7, 33, 21), np.uint8)
    for name in ("a.tif", "b.tif"):
        tifffile.imwrite(tmp_path / name, stack, imagej=True, metadata={"axes": "CYX"})
    pages = pictures_in(tmp_path / "a.tif", tmp_path / "b.tif")
    assert [read_mask_values(one).tolist() for one in pages] == stack.tolist()


def test_a_pyramid_and_a_plain_tiff_are_one_picture(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(STACK[0], subifds=0, tile=(16, 16), photometric="rgb")
        file.write(STACK[0][::2, ::2], subfiletype=1, tile=(16, 16), photometric="rgb")
    assert pictures_in(tmp_path / "a.tif") == [tmp_path / "a.tif"]
    assert (read_image(tmp_path / "a.tif") == STACK[0]).all()


@settings(max_examples=40, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6))))
def test_any_stack_comes_back_from_any_file(tmp_path_factory, stack):
    folder = tmp_path_factory.mktemp("stack")
    np.save(folder / "a.npy", stack)
    np.savez_compressed(folder / "a.npz", a=stack)
    with h5py.File(folder / "a.h5", "w") as file:
        file["a"] = stack
    scipy.io.savemat(
        folder / "a.mat", {"a": np.moveaxis(stack, 0, -1)} if len(stack) > 1 else {"a": stack[0]}
    )
    for number, plane in enumerate(stack):
        for member in ("a.npy", "a.npz/a", "a.h5/a"):
            assert (read_mask_values(folder / member / f"n{number:03}") == plane).all()
        section = f"/n{number:03}" if len(stack) > 1 else ""
        assert (read_mask_values(folder / f"a.mat/a{section}") == plane).all()


def test_an_array_of_three_axes_is_a_stack_beside_another(tmp_path):
    images, masks = layout_of_array((9, 20, 30, 3)), layout_of_array((9, 20, 30))
    assert masks.sections == ()
    assert len(as_pair(masks, images)[0].sections) == 9
    assert len(as_pair(masks, masks)[0].sections) == 9
    bands = layout_of_array((20, 30, 3))  # an image in colors and its mask in colors
    assert as_pair(bands, bands) == (bands, bands)
    assert as_pair(bands, Layout((20, 30))) == (bands, Layout((20, 30)))


def test_paths_inside_files_are_told_from_folders(tmp_path):
    (tmp_path / "odd.npz").mkdir()
    assert split_member(tmp_path / "odd.npz" / "a.png") == (tmp_path / "odd.npz" / "a.png", "")
    np.save(tmp_path / "a.npy", STACK)
    inside = tmp_path / "a.npy" / "n001"
    assert split_member(inside) == (tmp_path / "a.npy", "n001")
    assert (file_of(inside), ending_of(inside)) == (tmp_path / "a.npy", ".npy")
    assert split_ending("a/b.nii.gz") == ("a/b", ".nii.gz")
    assert split_ending("a/b.MAT/seg") == ("a/b", ".MAT/seg")
    assert split_ending("a.b/c") == ("a.b/c", "")
    assert state_of(inside) == state_of(tmp_path / "a.npy")
    assert (
        len({content_hash(path) for path in (inside, inside.with_name("n002"), inside.parent)}) == 3
    )


def test_every_reader_is_found_by_its_endings():
    assert set(containers._READERS) >= {
        ".nii",
        ".nii.gz",
        ".npy",
        ".npz",
        ".mat",
        ".h5",
        ".hdf5",
        ".tif",
        ".tiff",
    }
