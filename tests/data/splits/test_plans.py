import dataclasses
import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from pixelwise.data.convert import convert_data
from pixelwise.data.dataset import open_dataset
from pixelwise.data.split_assignment import assign_splits
from pixelwise.data.splits.plans import plan_split
from pixelwise.data.splits.split_cards import write_cards
from pixelwise.errors import ConfigError, DataError, OutputError


@pytest.fixture
def folder(tmp_path, make_index_dataset):
    """20 images, of which 000 lies there five times more as JPEG, and another class in three."""
    folder = make_index_dataset(tmp_path / "data", num_images=20, size=(40, 40))
    for number in range(14, 19):
        with Image.open(folder / "images/000.png") as picture:
            picture.save(folder / f"images/{number:03d}.jpg", quality=95 - number)
        (folder / f"images/{number:03d}.png").unlink()
    for number in (1, 2, 3):
        path = folder / f"masks/{number:03d}.png"
        with Image.open(path) as picture:
            mask = np.array(picture)
        mask[:3] = 3
        Image.fromarray(mask).save(path)
    return folder


COPIES = {f"images/{number:03d}" for number in (0, 14, 15, 16, 17, 18)}


def splits_of(division):
    return {name: split for split, part in division.items() for name in part.names}


@pytest.mark.parametrize("options", [{}, {"stratify": True}, {"folds": 4}, {"group_by": r"\d$"}])
def test_near_duplicates_are_never_parted_and_every_image_has_one_split(folder, options):
    dataset = open_dataset(folder)
    names = sorted(record.name for record in dataset.records)
    for seed in range(5):
        for division in plan_split(dataset, seed=seed, **options).divisions:
            assert sorted(itertools.chain(*(part.names for part in division.values()))) == names
            splits = splits_of(division)
            assert len({splits[name] for name in COPIES}) == 1


def test_groups_by_name_stay_in_one_split_and_are_noted(folder):
    plan = plan_split(open_dataset(folder), group_by=r"\d$", keep_duplicates=False)
    splits = splits_of(plan.divisions[0])
    for number in range(10):
        assert splits[f"images/{number:03d}"] == splits[f"images/{number + 10:03d}"]
    assert (
        plan.notes[0]
        == r"grouped by \d$: 10 groups, the largest of 2 images (images/000, images/010)"
    )
    assert sum(part.num_groups for part in plan.divisions[0].values()) == 10


def test_the_same_seed_draws_the_same_whatever_the_order_of_the_files(folder, monkeypatch):
    dataset = open_dataset(folder)
    plan = plan_split(dataset, stratify=True, seed=3)
    listing = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda path: reversed(list(listing(path))))
    assert plan_split(open_dataset(folder), stratify=True, seed=3).divisions == plan.divisions
    others = [plan_split(dataset, stratify=True, seed=seed).divisions for seed in range(4, 8)]
    assert any(divisions != plan.divisions for divisions in others)


def test_folds_partition_the_data(folder):
    plan = plan_split(open_dataset(folder), folds=4, stratify=True)
    held_out = [set(division["val"].names) for division in plan.divisions]
    assert sum(map(len, held_out)) == len(set.union(*held_out)) == 20
    for division, val in zip(plan.divisions, held_out, strict=True):
        assert set(division["train"].names) & val == set()
        assert "test" not in division
    # The class of three images is in three folds.
    assert sorted(division["val"].num_showing[3] for division in plan.divisions) == [0, 1, 1, 1]
    assert any("no image of val shows class-3" in note for note in plan.notes)


def test_without_groups_the_draw_is_that_of_training(tmp_path, make_index_dataset):
    dataset = open_dataset(make_index_dataset(tmp_path, num_images=17), split_seed=5)
    plan = plan_split(dataset, seed=5, keep_duplicates=False)
    assert splits_of(plan.divisions[0]) == {record.name: record.split for record in dataset.records}


@pytest.fixture
def scenes(folder):
    """20 scenes of 4 windows each."""
    dataset = open_dataset(folder)
    records = [
        dataclasses.replace(record, name=f"{record.name}/r{row}", window=(row, 0, 10, 40))
        for record in dataset.records
        for row in (0, 10, 20, 30)
    ]
    assigned, _ = assign_splits(
        [dataclasses.replace(record, split=None) for record in records], "70/15/15", 5
    )
    return dataclasses.replace(dataset, records=assigned)


@pytest.mark.parametrize("options", [{}, {"stratify": True}, {"folds": 3}])
def test_windows_of_one_scene_are_never_parted(scenes, options):
    plan = plan_split(scenes, seed=5, keep_duplicates=False, **options)
    assert "the windows of one raster kept together: 20 rasters" in plan.notes
    for division in plan.divisions:
        splits = splits_of(division)
        for record in scenes.records:
            assert splits[record.name] == splits[record.name.rsplit("/", 1)[0] + "/r0"]
    if not options:  # the draw is that of training
        assert splits == {record.name: record.split for record in scenes.records}


def test_notes_list_groups_and_the_reached_shares(folder):
    notes = plan_split(open_dataset(folder)).notes
    assert notes[0].startswith("near-duplicates kept together: 6 images in 1 group, the largest")
    assert notes[1].startswith("shares requested 70.0/15.0/15.0, reached ")


def test_given_test_images_stay_test_images_with_their_duplicates(tmp_path, make_index_dataset):
    folder = make_index_dataset(tmp_path, num_images=8, size=(40, 40), splits=("train", "test"))
    shutil.copy(folder / "test/images/000.png", folder / "train/images/007.png")
    dataset = open_dataset(folder)
    plan = plan_split(dataset)
    tests = {f"test/images/{number:03d}" for number in range(8)}
    assert set(plan.divisions[0]["test"].names) == {*tests, "train/images/007"}
    assert "8 test images remain test images, with 1 related image" in plan.notes[-2]
    for division in plan_split(dataset, folds=3).divisions:
        assert set(division["test"].names) == {*tests, "train/images/007"}
    redrawn = plan_split(dataset, redraw=True, shares="50/25/25").divisions[0]
    assert len(redrawn["test"].names) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group_by": "parent"}, r"at least 3 groups .* Got 1 \(grouped by parent\)"),
        ({"folds": 1}, "folds must be 2 or more"),
        ({"folds": 99}, "99 parts must have at least 99 groups"),
        ({"shares": "80/0/20"}, "some images for validation"),
        ({"group_by": "xyz"}, "finds nothing in images/000"),
    ],
)
def test_what_cannot_be_divided_is_refused(folder, options, message):
    with pytest.raises(ConfigError, match=message):
        plan_split(open_dataset(folder), **options)


def test_a_card_gives_the_same_splits_from_wherever_it_lies(folder, tmp_path, monkeypatch):
    dataset = open_dataset(folder, ignore=(2,))
    plan = plan_split(dataset, stratify=True)
    (card,) = write_cards(plan, dataset, folder, tmp_path / "elsewhere/deep/dataset.yaml")
    monkeypatch.chdir(tmp_path / "elsewhere")
    reopened = open_dataset("deep/dataset.yaml")
    assert {record.name: record.split for record in reopened.records} == splits_of(
        plan.divisions[0]
    )
    assert reopened.drawn_split is None
    assert reopened.class_map == dataset.class_map
    assert not Path(yaml.safe_load(card.read_text())["path"]).is_absolute()
    assert any("splits as given by the card" in note for note in reopened.notes)
    # Shares and seed have no influence on images with names in the card.
    assert open_dataset(card, split="50/25/25", split_seed=9).state == reopened.state


def test_a_card_keeps_what_its_source_says(folder, tmp_path):
    source = folder / "dataset.yaml"
    source.write_text(yaml.safe_dump({
        "classes": ["a", "b", "c", "d"], "split": "60/20/20",
        "augmentation": {"orientation": "free"},
    }))  # fmt: skip
    dataset = open_dataset(folder)
    plan = plan_split(dataset, keep_duplicates=False)
    assert [len(part.names) for part in plan.divisions[0].values()] == [12, 4, 4]
    (card,) = write_cards(plan, dataset, folder, tmp_path / "new.yaml")
    content = yaml.safe_load(card.read_text())
    assert content["augmentation"] == {"orientation": "free"}
    assert [entry["name"] for entry in content["classes"]] == ["a", "b", "c", "d"]
    assert "split" not in content


def test_images_that_came_or_went_since_are_refused_by_name(folder, tmp_path):
    dataset = open_dataset(folder)
    (card,) = write_cards(plan_split(dataset), dataset, folder, tmp_path / "dataset.yaml")
    shutil.copy(folder / "images/001.png", folder / "images/new.png")
    shutil.copy(folder / "masks/001.png", folder / "masks/new.png")
    with pytest.raises(
        DataError, match=r"dataset\.yaml must name every image .* Got images/new without"
    ):
        open_dataset(card)
    for kind in ("images", "masks"):
        (folder / kind / "new.png").unlink()
        (folder / kind / "001.png").unlink()
    with pytest.raises(
        DataError, match=r"Got images/001, not in the folder\. Restore it, or remove it"
    ):
        open_dataset(card)


def test_a_card_that_names_an_image_twice_or_an_unknown_split_is_refused(folder):
    for splits, message in (
        ({"train": ["000"], "val": ["000"]}, "every image once; 000 appears repeatedly"),
        ({"training": ["000"]}, "splits.training"),
        (["000"], "splits"),
    ):
        (folder / "dataset.yaml").write_text(yaml.safe_dump({"splits": splits}))
        with pytest.raises(ConfigError, match=message):
            open_dataset(folder)


def test_cards_of_folds_are_written_all_or_none(folder, tmp_path):
    dataset = open_dataset(folder)
    plan = plan_split(dataset, folds=3)
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards/cv-fold2.yaml").write_text("mine")
    with pytest.raises(OutputError, match=r"cv-fold2\.yaml must be new"):
        write_cards(plan, dataset, folder, tmp_path / "cards/cv.yaml")
    assert [path.name for path in (tmp_path / "cards").iterdir()] == ["cv-fold2.yaml"]
    (tmp_path / "cards/cv-fold2.yaml").unlink()
    cards = write_cards(plan, dataset, folder, tmp_path / "cards/cv.yaml")
    assert [card.name for card in cards] == [f"cv-fold{number}.yaml" for number in (1, 2, 3)]
    held_out = [open_dataset(card).split("val") for card in cards]
    assert len({record.name for val in held_out for record in val}) == 20
    with pytest.raises(ConfigError, match="must name a new card"):
        write_cards(plan, dataset, folder, tmp_path / "cards")


def test_multilabel_masks_keep_their_splits_through_a_card(tmp_path, make_class_dataset):
    folder = make_class_dataset(tmp_path / "data", num_images=8)
    dataset = open_dataset(folder)
    plan = plan_split(dataset, stratify=True, keep_duplicates=False)
    (card,) = write_cards(plan, dataset, folder, tmp_path / "dataset.yaml")
    reopened = open_dataset(card)
    assert reopened.label_mode == "multilabel"
    assert {record.name: record.split for record in reopened.records} == splits_of(
        plan.divisions[0]
    )


def test_converting_lays_the_images_in_the_splits_of_the_card(folder, tmp_path):
    dataset = open_dataset(folder)
    plan = plan_split(dataset, stratify=True)
    (card,) = write_cards(plan, dataset, folder, tmp_path / "dataset.yaml")
    convert_data(open_dataset(card), tmp_path / "out", "index-masks")
    converted = {
        record.name.rsplit("/")[-1]: record.split
        for record in open_dataset(tmp_path / "out").records
    }
    assert converted == {
        name.rsplit("/")[-1]: split for name, split in splits_of(plan.divisions[0]).items()
    }


def test_the_command_writes_a_card_and_prints_what_is_in_each_split(folder, tmp_path, run_cli):
    out = tmp_path / "dataset.yaml"
    code, printed, notes = run_cli("data", "split", folder, "--out", out, "--stratify")
    assert code == 0
    lines = [line.split() for line in printed.splitlines()]
    assert lines[0] == ["images", "train", "val", "test"]
    assert sum(map(int, lines[1][1:])) == 20
    assert lines[6][:2] == ["with", "class-3"]
    assert sum(map(int, lines[6][2:])) == 3
    assert "near-duplicates kept together: 6 images" in notes
    assert open_dataset(out).drawn_split is None
    code, _, error = run_cli("data", "split", folder, "--out", out)
    assert code == 1
    assert "must be new" in error


def test_the_command_prints_json_alone(folder, tmp_path, run_cli):
    out = tmp_path / "cv.yaml"
    arguments = ("data", "split", folder, "--out", out, "--folds", 2, "--json")
    code, printed, _ = run_cli(*arguments)
    assert code == 0
    content = json.loads(printed)
    assert content["cards"] == [str(tmp_path / f"cv-fold{number}.yaml") for number in (1, 2)]
    assert (
        len(content["divisions"][0]["val"]["names"]) + len(content["divisions"][1]["val"]["names"])
        == 20
    )


@pytest.mark.real_data
def test_frames_of_a_camvid_video_can_be_kept_together(test_data, tmp_path):
    folder = tmp_path / "camvid"
    for split in ("train", "val"):  # each 20th frame
        for path in sorted((test_data / "camvid" / split).glob("*.png"))[::20]:
            for kind in (split, f"{split}annot"):
                (folder / kind).mkdir(parents=True, exist_ok=True)
                (folder / kind / path.name).symlink_to(test_data / "camvid" / kind / path.name)
    dataset = open_dataset(folder, ignore=(11,))
    videos = "^(?:train/|val/)?([^_]+)"
    plan = plan_split(dataset, group_by=videos, shares="55/20/25")
    video_of = {}
    for name, split in splits_of(plan.divisions[0]).items():
        video_of.setdefault(name.split("/")[-1].split("_")[0], set()).add(split)
    assert len(video_of) == 3
    assert sorted(map(sorted, video_of.values())) == [["test"], ["train"], ["val"]]
