"""Which folders are read in windows, how they are split, and what is said about it."""

import json

import numpy as np
import pytest
import rasterio
import rasterio.warp
from PIL import Image
from scene_files import CARD, SIZE, box_on_map, write_map, write_scene, write_small_map

from pixelwise.data.dataset import open_dataset
from pixelwise.data.splits.plans import plan_split
from pixelwise.data.splits.split_cards import write_cards
from pixelwise.errors import ConfigError, DataError
from pixelwise.scenes.window_rule import LARGE_PX, MIN_BLOCKS_PX, WindowRule


@pytest.fixture
def map_folder(tmp_path):
    return write_small_map(tmp_path / "map")


def splits_of(records):
    return {record.name: record.split for record in records}


def note_of(dataset, word="windows"):
    return next(note for note in dataset.notes if word in note)


def test_the_only_image_is_a_scene_if_it_has_room_for_blocks(tmp_path):
    side = int(MIN_BLOCKS_PX**0.5) + 10
    write_scene(tmp_path, "png", size=(side, side))
    dataset = open_dataset(tmp_path)
    assert len(dataset.train) > 2
    assert len(dataset.val) > 0
    assert len(dataset.test) > 0
    said = note_of(dataset)
    assert f"1 scene of {side} x {side} pixels is read as {len(dataset.records)} windows" in said
    assert "gaps of 64 pixels" in said
    assert "% of the pixels are in no split" in said
    assert dataset.notes[1].startswith("1 image, 3 multiclass classes")


def test_the_only_image_is_read_as_a_whole_if_it_is_small(tmp_path):
    dataset = open_dataset(write_scene(tmp_path, "png"))
    assert [record.window for record in dataset.records] == [None]


@pytest.mark.parametrize("count", [3, 40])
def test_ordinary_images_are_read_as_wholes(tmp_path, count):
    for number in range(count):
        write_scene(tmp_path, "png", f"{number:03d}", size=(30, 40), seed=number)
    dataset = open_dataset(tmp_path)
    assert all(record.window is None for record in dataset.records)
    assert not any("window" in note for note in dataset.notes)


def test_no_header_is_read_in_a_folder_of_many_images(tmp_path, monkeypatch):
    for number in range(20):
        write_scene(tmp_path, "png", f"{number:03d}", size=(30, 40), seed=number)

    def refuse(_):
        raise AssertionError("a header was read")

    monkeypatch.setattr("pixelwise.scenes.window_rule.image_size", refuse)
    assert len(open_dataset(tmp_path).records) == 20


def test_few_images_are_scenes_if_one_is_larger_than_a_photograph(tmp_path):
    images = [tmp_path / "a.png"] * 3
    sizes = [(100, 100), (100, LARGE_PX // 100 + 1), (3000, 4000)]

    def found(images):
        return set(WindowRule().to_cut(images, is_map=False))

    with pytest.MonkeyPatch.context() as patch:
        answers = iter(sizes)
        patch.setattr("pixelwise.scenes.window_rule.image_size", lambda _: next(answers))
        assert found(images) == {1}
    assert found(images * 10) == set()


def test_two_scenes_are_both_divided(tmp_path):
    for name in ("city", "town"):
        write_scene(tmp_path, "tiff", name)
    (tmp_path / "dataset.yaml").write_text(CARD)
    dataset = open_dataset(tmp_path)
    for name in ("city", "town"):
        inside = {record.split for record in dataset.records if f"/{name}/" in record.name}
        assert inside == {"train", "val", "test"}


def test_several_scenes_are_split_as_wholes(tmp_path):
    for name in "abcdef":
        write_scene(tmp_path, "tiff", name)
    (tmp_path / "dataset.yaml").write_text(CARD)
    dataset = open_dataset(tmp_path)
    by_scene = {}
    for record in dataset.records:
        by_scene.setdefault(record.image, set()).add(record.split)
    assert all(len(splits) == 1 for splits in by_scene.values())
    assert len(set.union(*by_scene.values())) == 3
    assert sum(np.prod(record.window[2:]) for record in dataset.records) == 6 * np.prod(SIZE)
    assert "every scene is in one split" in note_of(dataset)
    (tmp_path / "dataset.yaml").write_text("windows: off")
    whole = {record.image: {record.split} for record in open_dataset(tmp_path).records}
    assert whole == by_scene


def test_a_scene_of_a_train_folder_gives_the_validation_blocks(tmp_path):
    write_scene(tmp_path / "train", "tiff")
    write_scene(tmp_path / "test", "tiff", "town")
    (tmp_path / "dataset.yaml").write_text(CARD)
    dataset = open_dataset(tmp_path)
    assert {record.split for record in dataset.records if "city" in record.name} == {
        "train", "val",
    }  # fmt: skip
    test = [record for record in dataset.records if "town" in record.name]
    assert {record.split for record in test} == {"test"}
    assert sum(np.prod(record.window[2:]) for record in test) == np.prod(SIZE)
    assert dataset.is_val_set_aside


def test_given_splits_are_kept_and_scenes_are_cut(tmp_path):
    for split in ("train", "val"):
        write_scene(tmp_path / split, "tiff", split)
    (tmp_path / "dataset.yaml").write_text(CARD)
    dataset = open_dataset(tmp_path)
    for record in dataset.records:
        assert record.name.startswith(f"{record.split}/")
        assert record.window


def test_the_same_seed_gives_the_same_windows(tmp_path):
    folder = write_scene(tmp_path, "tiff")
    (folder / "dataset.yaml").write_text(CARD)
    first, again, other = (splits_of(open_dataset(folder, split_seed=s).records) for s in (0, 0, 1))
    assert first == again
    assert first != other


def test_shares_decide_which_splits_there_are(tmp_path):
    folder = write_scene(tmp_path, "tiff")
    (folder / "dataset.yaml").write_text(CARD)
    dataset = open_dataset(folder, split="80/20/0")
    assert {record.split for record in dataset.records} == {"train", "val"}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("windows: 8", "windows: must be 32 to 8192 pixels, or off"),
        ("windows: 9000", "windows: must be 32 to 8192 pixels, or off"),
        ("windows: large", "windows: must be 32 to 8192 pixels, or off"),
        ("windows: true", "windows: must be 32 to 8192 pixels, or off"),
        ("gap: -1", "gap: must be 0 to 4096 pixels"),
        ("gap: 5000", "gap: must be 0 to 4096 pixels"),
    ],
)
def test_wrong_entries_of_a_card_are_refused(tmp_path, entry, message):
    folder = write_scene(tmp_path, "png")
    (folder / "dataset.yaml").write_text(entry)
    with pytest.raises(ConfigError, match=message):
        open_dataset(folder)


def test_shapes_in_another_system_are_reprojected_and_it_is_said(map_folder):
    before = open_dataset(map_folder)
    assert not any("reprojected" in note for note in before.notes)
    layer = map_folder / "city.geojson"
    content = json.loads(layer.read_text())
    del content["crs"]
    moved = rasterio.warp.transform_geom(
        "EPSG:32616", "EPSG:4326", [one["geometry"] for one in content["features"]], precision=12
    )
    for feature, geometry in zip(content["features"], moved, strict=True):
        feature["geometry"] = geometry
    layer.write_text(json.dumps(content))
    after = open_dataset(map_folder)
    said = note_of(after, "reprojected")
    assert said == "shapes in EPSG:4326 are reprojected to EPSG:32616: city.tif"
    for one, other in zip(before.records, after.records, strict=True):
        assert one == other
        np.testing.assert_array_equal(before.load(one).mask, after.load(other).mask)


def test_shapes_outside_of_the_scene_are_counted(tmp_path):
    inside, outside = box_on_map(0, 0, 50, 50), box_on_map(400, 0, 450, 50)
    folder = write_map(tmp_path, inside, outside, outside, crs="EPSG:32616")
    said = note_of(open_dataset(folder), "outside")
    assert said == "2 shapes of city.geojson outside of the scene, not used (of 3)"


def test_a_scene_without_shapes_is_said(tmp_path):
    folder = write_map(tmp_path, crs="EPSG:32616")
    assert note_of(open_dataset(folder), "no shapes").endswith("city.tif")


def test_a_card_keeps_the_windows_that_it_names(tmp_path):
    folder = write_scene(tmp_path / "data", "tiff")
    (folder / "dataset.yaml").write_text(CARD)
    dataset = open_dataset(folder)
    plan = plan_split(dataset, seed=3)
    (card,) = write_cards(plan, dataset, folder, tmp_path / "split.yaml")
    again = open_dataset(card)
    assert splits_of(again.records) == splits_of(open_dataset(folder, split_seed=3).records)
    assert splits_of(again.records) != splits_of(dataset.records)
    # Also if the card of the folder asks for other windows later.
    (folder / "dataset.yaml").write_text("windows: off")
    assert splits_of(open_dataset(card).records) == splits_of(again.records)
    record = again.records[0]
    assert again.load(record).image.shape[:2] == record.window[2:]


def test_folds_are_blocks_with_gaps(tmp_path):
    folder = write_scene(tmp_path / "data", "tiff")
    (folder / "dataset.yaml").write_text(CARD)
    dataset = open_dataset(folder)
    plan = plan_split(dataset, folds=3, redraw=True)
    divided = plan.applied_to(dataset)
    by_name = {record.name: record for record in divided.records}
    held_out = [division["val"].names for division in plan.divisions]
    assert sorted(name for names in held_out for name in names) == sorted(by_name)
    for division in plan.divisions:
        assert set(division) == {"train", "val"}
        for one in division["train"].names:
            for other in division["val"].names:
                assert rows_or_columns_between(by_name[one].window, by_name[other].window) >= 16
    assert divided.load(divided.records[0]).image.shape[:2] == divided.records[0].window[2:]
    cards = write_cards(plan, dataset, folder, tmp_path / "split.yaml")
    assert {record.name for record in open_dataset(cards[0]).records} == set(by_name)


def rows_or_columns_between(one, other):
    (top, left, height, width), (row, column, rows, columns) = one, other
    down = max(row - top - height, top - row - rows)
    across = max(column - left - width, left - column - columns)
    return max(down, across)


def test_a_scene_without_room_for_the_folds_is_refused(tmp_path):
    folder = write_scene(tmp_path, "tiff")
    (folder / "dataset.yaml").write_text("windows: 80\ngap: 50")
    with pytest.raises(ConfigError, match=r"room for 9 blocks with gaps of 50 pixels"):
        plan_split(open_dataset(folder, split="80/20/0"), folds=9)


def test_blocks_are_not_grouped_by_name(tmp_path):
    folder = write_scene(tmp_path, "tiff")
    (folder / "dataset.yaml").write_text(CARD)
    with pytest.raises(ConfigError, match="group_by must be left out"):
        plan_split(open_dataset(folder), group_by="parent")


def test_too_large_a_gap_is_said(tmp_path):
    folder = write_scene(tmp_path, "tiff")
    (folder / "dataset.yaml").write_text("windows: 80\ngap: 300")
    dataset = open_dataset(folder)
    with pytest.raises(DataError, match="must contain images of the split 'val'"):
        dataset.split("val")
    said = note_of(dataset, "no room")
    assert "images/city, 300 x 230 pixels, has no room for blocks with gaps of 300 pixels" in said


@pytest.mark.real_data
def test_the_real_scene_has_buildings_in_every_split(tmp_path, test_data):
    for name in ("sample_geotiff.tif", "geotiff_labels.geojson"):
        (tmp_path / name).write_bytes((test_data / "buildings" / name).read_bytes())
    for seed in range(3):
        dataset = open_dataset(tmp_path, split_seed=seed)
        assert 10 <= len(dataset.records) <= 20
        for split in ("train", "val", "test"):
            shown = sum(int((sample.mask == 1).sum()) for sample in dataset.samples(split))
            assert shown > 500
        assert float(note_of(dataset).rsplit("(", 1)[1].split(" %")[0]) < 20


@pytest.mark.real_data
def test_joined_tiles_are_one_scene(tmp_path, test_data):
    image = np.asarray(Image.open(test_data / "wild/mapview/data/imgs/107.jpg").convert("RGB"))
    mask = np.asarray(Image.open(test_data / "wild/mapview/data/masks/107.png"))
    times = -(-1000 // image.shape[0]), -(-1000 // image.shape[1])
    for part, pixels in (("images", image), ("masks", mask)):
        (tmp_path / part).mkdir()
        tiles = (*times, 1) if pixels.ndim == 3 else times
        Image.fromarray(np.tile(pixels, tiles)).save(tmp_path / part / "joined.png")
    dataset = open_dataset(tmp_path)
    assert {record.split for record in dataset.records} == {"train", "val", "test"}
