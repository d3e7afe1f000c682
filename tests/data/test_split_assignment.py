import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pixelwise
from pixelwise import open_dataset
from pixelwise.data.sample import Record
from pixelwise.data.split_assignment import (
    assign_splits,
    group_keys,
    joined_groups,
    named_splits,
    sequence_of,
)
from pixelwise.data.splits.stratification import deal
from pixelwise.errors import ConfigError, DataError


def records_named(*names):
    return [Record(name, Path(f"{name}.png")) for name in names]


@pytest.mark.parametrize(
    ("name", "sequence"),
    [
        ("0001TP_006690", "0001TP"),
        ("0006R0_f02340", "0006R0"),
        ("train/0001TP_006690", "0001TP"),
        ("scene/r00000_c01024", "scene"),
        ("scene_r0_c1024", "scene"),
        ("scene-x10-y20", "scene"),
        ("patient1/z003", "patient1"),
        ("video/frame0001", "video"),
        ("cell-003", "cell"),
        ("roof12", "roof"),
        ("img_12_3", "img_12"),
        ("val/images/0001", "val/images/0001"),
        ("0001", "0001"),
        ("00071198d059ba7f", "00071198d059ba7f"),
        ("abc9d12", "abc9d12"),
    ],
)
def test_the_sequence_of_a_name_is_what_stands_before_the_number_of_the_frame(name, sequence):
    assert sequence_of(name) == sequence


def test_groups_are_folders_scenes_or_parts_of_names():
    records = [
        Record("a/1_x", Path("a/1_x.png")),
        Record("a/2_x", Path("a/2_x.png")),
        Record("b/1_y", Path("b/1_y.png")),
    ]
    assert group_keys(records, "parent") == ["a", "a", "b"]
    assert group_keys(records, r"\d") == ["1", "2", "1"]
    assert group_keys(records, r"/\d_(.)") == ["x", "x", "y"]
    tiles = [Record(f"scene/{row}", Path("scene.tif"), window=(row, 0, 10, 10)) for row in (0, 10)]
    assert group_keys([*tiles, records[0]], "scene") == ["scene.tif", "scene.tif", "a/1_x.png"]


def test_a_name_that_does_not_match_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"finds nothing in b\. Fix"):
        group_keys(records_named("a1", "b"), r"\w\d")
    with pytest.raises(ConfigError, match=r"finds nothing in b"):
        group_keys(records_named("a1", "b"), r"a(1)|b")
    with pytest.raises(ConfigError, match=r"a regular expression\. Got '\('"):
        group_keys(records_named("a"), "(")


@given(st.lists(st.lists(st.integers(0, 19), min_size=1, max_size=4), max_size=12))
def test_linked_items_are_in_one_group_and_every_item_in_one(linked):
    groups = joined_groups(20, linked)
    assert sorted(item for group in groups for item in group) == list(range(20))
    group_of = {item: number for number, group in enumerate(groups) for item in group}
    for link in linked:
        assert len({group_of[item] for item in link}) == 1
    # No more is joined than the links ask for: a group of n needs n - 1 of them.
    assert 20 - len(groups) <= sum(len(set(link)) - 1 for link in linked)


def test_a_card_that_lags_behind_its_folder_is_refused():
    splits = {"train": ["a", "b"], "val": ["c"]}
    found = named_splits(records_named("c", "b", "a"), splits, "card")
    assert {record.name: record.split for record in found} == {
        "a": "train", "b": "train", "c": "val",
    }  # fmt: skip
    with pytest.raises(DataError, match=r"every image under splits\. Got d without a split"):
        named_splits(records_named("a", "b", "c", "d"), splits, "card")
    with pytest.raises(DataError, match=r"that exist under splits\. Got b, c, not in the folder"):
        named_splits(records_named("a"), splits, "card")
    many = records_named(*"abcdefgh")
    with pytest.raises(DataError, match=r"Got d, e, f and 2 more without a split"):
        named_splits(many, splits, "card")


GROUPINGS = st.lists(st.integers(1, 6), min_size=1, max_size=30)
SHARES = st.sampled_from([(0.7, 0.15, 0.15), (0.85, 0.15, 0.0), (1 / 3,) * 3, (0.2,) * 5])


def groups_of(sizes):
    edges = np.cumsum([0, *sizes]).tolist()
    return [list(range(low, high)) for low, high in itertools.pairwise(edges)]


@settings(max_examples=100, deadline=None)
@given(GROUPINGS, SHARES, st.integers(0, 5), st.booleans())
def test_every_group_has_one_part_and_every_wanted_part_a_group(sizes, shares, seed, stratify):
    groups = groups_of(sizes)
    presence = np.random.default_rng(seed).random((sum(sizes), 4)) < (0.05, 0.3, 0.9, 0)
    presence = presence if stratify else None
    parts = deal(groups, shares, seed, presence)
    assert parts == deal(groups, shares, seed, presence)
    assert len(parts) == len(groups)
    wanted = {part for part, share in enumerate(shares) if share > 0}
    assert set(parts) <= wanted
    if len(groups) >= len(wanted):
        assert set(parts) == wanted


@settings(max_examples=60, deadline=None)
@given(st.integers(20, 200), SHARES, st.integers(0, 5))
def test_single_images_meet_their_shares_to_one_image(count, shares, seed):
    parts = deal([[index] for index in range(count)], shares, seed)
    for part, share in enumerate(shares):
        assert abs(parts.count(part) - share * count) <= 1


def test_another_seed_is_another_draw():
    groups = [[index] for index in range(50)]
    assert deal(groups, (0.5, 0.5), 0) != deal(groups, (0.5, 0.5), 1)


def test_stratified_parts_hold_their_share_of_every_class():
    rng = np.random.default_rng(0)
    presence = rng.random((400, 8)) < (0.02, 0.04, 0.08, 0.1, 0.2, 0.4, 0.8, 1.0)
    shares = (0.7, 0.15, 0.15)

    def worst(parts):
        """The largest difference of a class's images in a part from what its share asks for."""
        parts = np.array(parts)
        held = np.stack([presence[parts == part].sum(0) for part in range(3)])
        return np.abs(held - np.outer(shares, presence.sum(0))).max()

    groups = [[index] for index in range(400)]
    assert max(worst(deal(groups, shares, seed, presence)) for seed in range(10)) <= 1
    assert min(worst(deal(groups, shares, seed)) for seed in range(10)) > 3


def test_a_class_of_three_images_is_in_each_of_three_equal_parts():
    presence = np.zeros((60, 2), bool)
    presence[[4, 30, 50], 1] = True
    for seed in range(10):
        parts = deal([[index] for index in range(60)], (1 / 3,) * 3, seed, presence)
        assert {parts[4], parts[30], parts[50]} == {0, 1, 2}


def test_a_large_group_goes_to_a_split_with_enough_room():
    groups = groups_of([60, *[1] * 40])
    parts = deal(groups, (0.7, 0.15, 0.15), 0)
    assert parts[0] == 0
    assert [parts.count(part) for part in range(3)] == [11, 15, 15]


def test_the_windows_of_one_scene_are_drawn_together():
    records = [
        Record(f"scene{scene}/r{row:05d}_c00000", Path(f"scene{scene}.tif"), window=(row, 0, 8, 8))
        for scene in range(6)
        for row in range(0, 64, 8)
    ]
    drawn, _ = assign_splits(records, "50/25/25", seed=3)
    splits = {record.image: set() for record in drawn}
    for record in drawn:
        splits[record.image].add(record.split)
    assert all(len(found) == 1 for found in splits.values())
    assert {next(iter(found)) for found in splits.values()} == {"train", "val", "test"}
    assert [record.name for record in drawn] == [record.name for record in records]


@pytest.mark.parametrize("origin", ["folder", "card"])
def test_shares_for_data_with_splits_of_its_own_are_not_ignored_unsaid(
    tmp_path, make_index_dataset, run_cli, origin
):
    data = make_index_dataset(tmp_path / "data", splits=("train", "test"), num_images=4)
    if origin == "card":
        assert run_cli("data", "split", data, "--out", tmp_path / "own.yaml", "--redraw")[0] == 0
        data = tmp_path / "own.yaml"
    plain = open_dataset(data)
    asked = open_dataset(data, split="50/50")
    assert [record.split for record in asked.records] == [record.split for record in plain.records]
    assert f"the shares 50/50 are not used, as the {origin} gives the splits" in asked.notes
    assert not any("not used" in note for note in plain.notes)
    for verb in (("train",), ("compare", "--models", "unet", "--epochs", "1")):
        code, _, err = run_cli(verb[0], data, *verb[1:], "--split", "50/50")
        assert code == 1
        assert "error: --split must be left out for" in err
        assert "run: pixelwise data split" in err


def test_a_model_of_drawn_splits_is_evaluated_without_a_word_on_shares(
    tmp_path, make_index_dataset
):
    from pixelwise.evaluation.evaluate import open_for_model

    drawn = make_index_dataset(tmp_path / "drawn", num_images=10)
    own = make_index_dataset(tmp_path / "own", splits=("train", "val"), num_images=3)
    run = pixelwise.train(
        drawn, model="stacked-fcn", epochs=1, split="60/20/20", size=(8, 8), out=tmp_path / "run"
    )
    predictor = pixelwise.load_model(run.folder)
    assert open_for_model(predictor, drawn)[0].drawn_split == "60/20/20"
    assert not any("shares" in note for note in open_for_model(predictor, own)[0].notes)
