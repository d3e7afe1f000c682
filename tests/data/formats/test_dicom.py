"""DICOM slices and segmentations, written by pydicom and highdicom."""

import warnings

import numpy as np
import pytest
from PIL import Image

from pixelwise.data.dataset import open_dataset
from pixelwise.doctor import check_data
from pixelwise.errors import DataError, FormatError, MissingExtraError
from pixelwise.io.containers import pictures_in
from pixelwise.io.images import read_image

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import highdicom
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.sr.codedict import codes
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

RANDOM = np.random.default_rng(5)
INTERCEPT = -1024


def slice_of(plane, number, identity, **others):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    entries = {
        "SOPClassUID": CTImageStorage, "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "PatientName": "Doe^Jane", "PatientBirthDate": "", "PatientSex": "O",
        "StudyDate": "20200101",
        "StudyTime": "000000", "StudyID": "1", "AccessionNumber": "", "ReferringPhysicianName": "",
        "Modality": "CT", "SeriesNumber": 1, "InstanceNumber": number + 1, "Manufacturer": "none",
        "Rows": plane.shape[-2], "Columns": plane.shape[-1], "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16, "BitsStored": 16,
        "HighBit": 15, "PixelRepresentation": 1, "RescaleSlope": 1, "RescaleIntercept": INTERCEPT,
        "PixelSpacing": [1, 1], "SliceThickness": 2, "ImagePositionPatient": [0, 0, 2 * number],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PositionReferenceIndicator": "",
        "PixelData": plane.astype("<i2").tobytes(),
    }  # fmt: skip
    for key, value in {**entries, **identity, **others}.items():
        setattr(data, key, value)
    return data


def save_series(folder, voxels, patient="p0"):
    folder.mkdir(parents=True, exist_ok=True)
    keys = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
    identity = {"PatientID": patient, **{key: generate_uid() for key in keys}}
    slices = [slice_of(plane, number, identity) for number, plane in enumerate(voxels)]
    for number, one in enumerate(slices):
        one.save_as(folder / f"s{number:03}.dcm", enforce_file_format=True)
    return slices


def save_segmentation(path, slices, labels, names):
    described = [
        highdicom.seg.SegmentDescription(
            segment_number=number, segment_label=name, algorithm_type="MANUAL",
            segmented_property_category=codes.SCT.Organ, segmented_property_type=codes.SCT.Liver,
        )
        for number, name in enumerate(names, 1)
    ]  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        highdicom.seg.Segmentation(
            source_images=slices, pixel_array=labels, segmentation_type="BINARY",
            segment_descriptions=described, series_instance_uid=generate_uid(), series_number=2,
            sop_instance_uid=generate_uid(), instance_number=1, manufacturer="none",
            manufacturer_model_name="none", software_versions="1", device_serial_number="1",
            omit_empty_frames=True,
        ).save_as(path)  # fmt: skip


def organs(number):
    """Return voxels and labels; the first and the last slice are empty."""
    voxels = RANDOM.integers(0, 2000, (5, 20, 30))
    labels = np.zeros(voxels.shape, np.uint8)
    labels[1:4, 3 : 9 + number, 4:15] = 1
    labels[2, 14:17] = 2
    return voxels, labels


@pytest.fixture
def patients(tmp_path):
    """Four patients; in every other one, the segments have the opposite numbers."""
    for number in range(4):
        voxels, labels = organs(number)
        home = tmp_path / "data" / f"patient{number}"
        slices = save_series(home / "ct", voxels, f"p{number}")
        is_swapped = number % 2 == 1
        stored = np.where(labels > 0, 3 - labels, 0).astype(np.uint8) if is_swapped else labels
        names = ["liver", "spleen"]
        save_segmentation(home / "seg.dcm", slices, stored, names[::-1] if is_swapped else names)
        np.savez(tmp_path / f"{number}", voxels=voxels, labels=labels)
    return tmp_path / "data"


def test_segmentations_open_with_the_slices_that_they_label(patients, tmp_path):
    dataset = open_dataset(patients, cache=False)
    assert dataset.format.name == "dicom-seg"
    assert dataset.class_map.names == ("background", "liver", "spleen")
    assert len(dataset.records) == 20
    for record in dataset.records:
        number, at = int(record.name[7]), int(record.name[-3:])
        with np.load(tmp_path / f"{number}.npz") as expected:
            sample = dataset.load(record)
            assert (sample.image[..., 0] == expected["voxels"][at] + INTERCEPT).all()
            assert (sample.mask == expected["labels"][at]).all()


def test_a_draw_never_divides_a_patient(patients):
    splits = {}
    for record in open_dataset(patients, cache=False).records:
        splits.setdefault(record.name.partition("/")[0], set()).add(record.split)
    assert all(len(found) == 1 for found in splits.values())


def test_two_segmentations_of_a_series_are_refused(patients):
    home = patients / "patient0"
    slices = [pydicom.dcmread(path) for path in sorted((home / "ct").glob("*.dcm"))]
    save_segmentation(home / "other.dcm", slices, organs(1)[1], ["liver", "spleen"])
    with pytest.raises(FormatError, match="labeled once"):
        open_dataset(patients)
    assert "paired-twice" in {finding.kind for finding in check_data(patients).findings}


def test_a_segmentation_without_its_series_is_refused(patients):
    for path in (patients / "patient2" / "ct").glob("*.dcm"):
        path.unlink()
    with pytest.raises(FormatError, match=r"patient2.*seg\.dcm must label slices"):
        open_dataset(patients)


def test_damaged_files_are_found(patients):
    (patients / "patient1" / "ct" / "s002.dcm").write_bytes(b"no DICOM")
    with pytest.raises(DataError, match=r"s002\.dcm"):
        open_dataset(patients)
    assert "corrupt-image" in {finding.kind for finding in check_data(patients).findings}


def test_slices_pair_with_mask_files_by_their_names(tmp_path):
    voxels, labels = organs(0)
    save_series(tmp_path / "ct", voxels)
    (tmp_path / "gt").mkdir()
    for number, mask in enumerate(labels):
        Image.fromarray(mask).save(tmp_path / "gt" / f"s{number:03}.png")
    dataset = open_dataset(tmp_path, cache=False)
    assert {record.group for record in dataset.records} == {"p0"}
    for number, record in enumerate(dataset.records):
        assert (dataset.load(record).image[..., 0] == voxels[number] + INTERCEPT).all()
        assert (dataset.load(record).mask == labels[number]).all()


def test_frames_are_pictures_and_zero_may_be_white(tmp_path):
    planes = RANDOM.integers(0, 1000, (4, 20, 30))
    identity = {"PatientID": "p", "SeriesInstanceUID": generate_uid()}
    several = slice_of(planes, 0, identity, NumberOfFrames=4, RescaleIntercept=0)
    several.save_as(tmp_path / "several.dcm", enforce_file_format=True)
    frames = pictures_in(tmp_path / "several.dcm")
    assert [one.name for one in frames] == ["f000", "f001", "f002", "f003"]
    assert [read_image(one)[..., 0].tolist() for one in frames] == planes.tolist()
    with pytest.raises(DataError, match="4 frames"):
        read_image(tmp_path / "several.dcm")
    white = slice_of(planes[0], 0, identity, PhotometricInterpretation="MONOCHROME1", BitsStored=12,
                     HighBit=11, PixelRepresentation=0, RescaleIntercept=0)  # fmt: skip
    white.save_as(tmp_path / "white.dcm", enforce_file_format=True)
    assert (read_image(tmp_path / "white.dcm")[..., 0] == 4095 - planes[0]).all()


def test_without_the_package_the_extra_is_named(patients, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    from pixelwise.io.containers import dicom

    dicom._header.cache_clear()
    with pytest.raises(MissingExtraError, match=r"\[medical\]"):
        open_dataset(patients)
