"""Each finding: a clean folder is damaged in one way, and the doctor names that and its file."""

import io
import shutil

import numpy as np
import pytest
import tifffile
from doctored import boxes, make_clean, photograph, save
from PIL import Image, ImageFilter

from pixelwise.classes import UNEXPECTED
from pixelwise.doctor import check_data
from pixelwise.doctor.finding_kinds import CATALOG, SEVERITIES
from pixelwise.errors import ConfigError, DataError

NAMED = """
classes: [{name: ground, value: 0}, {name: cat, value: 1}, {name: dog, value: 2}]
ignore: [255]
"""
TWO = "classes: [background, cell]\n"
RNG = np.random.default_rng(3)


@pytest.fixture
def clean(tmp_path):
    return lambda values=(0, 1, 2), card=None: make_clean(tmp_path / "data", values, card)


def first(folder, what="masks"):
    return folder / "train" / what / "000.png"


def edit(path, change):
    pixels = np.array(Image.open(path))
    changed = change(pixels)
    save(path, pixels if changed is None else changed)


def put(path, where, value):
    def change(pixels):
        pixels[where] = value

    edit(path, change)


def all_masks(folder):
    return sorted(folder.glob("*/masks/*.png"))


def all_images(folder):
    return sorted(folder.glob("*/images/*.png"))


def smooth(path, values=(0, 255)):
    """Edges as a drawing program smooths them."""
    mask = Image.fromarray(boxes(RNG, values))
    mask.filter(ImageFilter.BoxBlur(1)).save(path)


def through_jpeg(path):
    content = io.BytesIO()
    Image.fromarray(boxes(RNG, (0, 255))).save(content, "JPEG", quality=60)
    Image.open(content).save(path)


def turn(folder):
    """A picture that is wider than high and is stored upright, with an EXIF note to turn it."""
    picture = Image.fromarray(photograph(RNG)[:40])
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(first(folder, "images"), exif=exif)
    save(first(folder), boxes(RNG)[:40])


def note_rotation(folder):
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.open(first(folder, "images")).save(first(folder, "images"), exif=exif)


def deepen(folder, scale):
    for path in all_images(folder):
        gray = np.asarray(Image.open(path).convert("L")).astype(np.uint16)
        save(path, gray * 300)
    gray = photograph(RNG)[..., 0].astype(np.uint16)
    save(first(folder, "images"), gray * scale)


def draw_in_alpha(folder):
    alpha = np.where(boxes(RNG) > 0, 255, 0).astype(np.uint8)
    save(first(folder), np.stack([np.zeros_like(alpha), alpha], -1))


def add_alpha(folder):
    mask = boxes(RNG)
    save(first(folder), np.stack([mask, np.full_like(mask, 255)], -1))


def copy_image(folder, source, target):
    for what in ("images", "masks"):
        shutil.copy(folder / source.format(what), folder / target.format(what))


def brighten(folder):
    picture = photograph(RNG)
    save(folder / "train/images/000.png", picture)
    brighter = np.clip(picture.astype(int) + 6, 0, 255).astype(np.uint8)
    save(folder / "val/images/000.png", brighter)


def rename(folder, names):
    for path, name in zip(all_images(folder), names, strict=True):
        (path.parents[1] / "masks" / path.name).rename(path.parents[1] / "masks" / f"{name}.png")
        path.rename(path.with_name(f"{name}.png"))


def speckle(folder):
    for path in all_masks(folder):
        put(path, (slice(30, 34, 2), slice(0, 60, 6)), 1)


DAMAGES = {
    "corrupt-image": ("index", lambda f: first(f, "images").write_bytes(b"\x89PNG nothing"), "000"),
    "corrupt-mask": (
        "named", lambda f: first(f).write_bytes(first(f).read_bytes()[:60]), "train/masks/000"),
    "image-without-mask": ("index", lambda f: first(f).unlink(), "train/images/000"),
    "mask-without-image": ("index", lambda f: first(f, "images").unlink(), "train/masks/000"),
    "paired-twice": (
        "index", lambda f: shutil.copy(first(f, "images"), f / "train/images/000.bmp"), "000.bmp"),
    "lossy-mask-file": (
        "named", lambda f: first(f).rename(first(f).with_suffix(".jpg")), "train/masks/000.jpg"),
    "orientation-mismatch": ("index", turn, "EXIF"),
    "size-mismatch": ("index", lambda f: save(first(f), boxes(RNG)[:50]), "64 x 50"),
    "unexpected-values": (
        "named", lambda f: put(first(f), (0, slice(0, 9)), 77), "77 (9, nearest dog)"),
    "white-is-no-class": (
        "two-no-ignored", lambda f: put(first(f), slice(None), boxes(RNG, (0, 255, 255))), "255"),
    "white-read-as-ignored": (
        "two", lambda f: [put(p, slice(None), boxes(RNG, (0, 255, 255))) for p in all_masks(f)],
        "000"),
    "anti-aliased-masks": ("black", lambda f: smooth(first(f)), "train/masks/000"),
    "jpeg-damaged-masks": ("black", lambda f: through_jpeg(first(f)), "train/masks/000"),
    "gray-levels": (
        "index", lambda f: [save(p, photograph(RNG)[..., 0]) for p in all_masks(f)], "values"),
    "color-levels": ("index", lambda f: [save(p, photograph(RNG)) for p in all_masks(f)], "color"),
    "colors-in-index-masks": ("named", lambda f: save(first(f), photograph(RNG)), "colors"),
    "mixed-depths": ("index", lambda f: deepen(f, 300) or save(first(f, "images"), photograph(RNG)),
                     "uint8"),
    "mixed-channels": (
        "index", lambda f: tifffile.imwrite(
            first(f, "images").with_suffix(".tif"), np.dstack([photograph(RNG)] * 2),
            photometric="minisblack", planarconfig="contig",
        ) or first(f, "images").unlink(), "6 channels"),
    "nothing-to-learn": (
        "named", lambda f: [put(p, slice(None), 0) for p in all_masks(f)], "only ground"),
    "mask-in-alpha": ("named", draw_in_alpha, "train/masks/000"),
    "alpha-in-masks": ("named", add_alpha, "train/masks/000"),
    "duplicates-across-splits": (
        "index", lambda f: copy_image(f, "train/{}/000.png", "val/{}/001.png"),
        "train/images/000.png (train) = val/images/001.png (val)"),
    "duplicates-within-split": (
        "index", lambda f: copy_image(f, "train/{}/000.png", "train/{}/001.png"), "001.png"),
    "contradictory-masks": (
        "index", lambda f: shutil.copy(f / "train/images/000.png", f / "train/images/001.png"),
        "001.png"),
    "near-duplicates-across-splits": ("index", brighten, "val/images/000.png"),
    "sequence-across-splits": (
        "index", lambda f: rename(f, [f"{s}_{n:03}" for n in range(6) for s in ("park", "sea")]),
        "park: 3 train, 3 val"),
    "value-gaps": ("index", lambda f: put(first(f), (0, slice(0, 3)), 20), "value 20: 3 pixels"),
    "all-ignored": ("index", lambda f: put(first(f), slice(None), 255), "train/masks/000"),
    "class-never-present": (
        "named", lambda f: [put(p, slice(32, None), 0) for p in all_masks(f)], "dog"),
    "class-missing-in-train": (
        "named", lambda f: [put(p, slice(32, None), 0) for p in (f / "train/masks").iterdir()],
        "dog: 6 val"),
    "class-missing-in-validation": (
        "named", lambda f: [put(p, slice(32, None), 0) for p in (f / "val/masks").iterdir()],
        "dog: not in val"),
    "class-hardly-present": (
        "named", lambda f: [put(p, slice(32, None), 0) for p in (f / "train/masks").iterdir()][1:]
        and put(first(f), (40, 40), 2), "dog"),
    "class-balance": (
        "named", lambda f: [put(p, (slice(32, None), slice(0, 60)), 2)
                            for p in (f / "val/masks").iterdir()], "dog"),
    "constant-images": ("index", lambda f: put(first(f, "images"), slice(None), 9), "9, 9, 9"),
    "near-black-images": (
        "index", lambda f: save(first(f, "images"), photograph(RNG) // 50), "of 255"),
    "eight-bits-in-sixteen": ("index", lambda f: deepen(f, 1), "train/images/000"),
    "empty-masks": ("index", lambda f: put(first(f), slice(None), 0), "train/masks/000"),
    "regions-below-stride": ("index", speckle, "under 16 px"),
    "exif-rotation": ("index", note_rotation, "train/images/000"),
    "unexpected-decided": (
        "unexpected", lambda f: put(first(f), (0, slice(0, 9)), 77), "77 (9, nearest dog)"),
    "black-and-white-masks": ("black", lambda folder: folder, "train/images/000: 1,152"),
}  # fmt: skip

BASES = {
    "index": {},
    "named": {"card": NAMED + "format: index-masks\n"},
    "unexpected": {"card": NAMED + "format: index-masks\nunexpected: nearest\n"},
    "two": {"values": (0, 1, 1), "card": TWO + "format: index-masks\n"},
    "two-no-ignored": {"values": (0, 1, 1), "card": TWO + "ignore: []\nformat: index-masks\n"},
    "black": {"values": (0, 255, 255)},
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_each_damage_is_found_and_named(clean, kind):
    base, damage, told = DAMAGES[kind]
    folder = clean(**BASES[base])
    damage(folder)
    # Without a rule, smoothed masks get the nearest class.
    rule = "error" if kind in ("jpeg-damaged-masks", "anti-aliased-masks") else None
    found = {finding.kind: finding for finding in check_data(folder, unexpected=rule).findings}
    assert kind in found, list(found)
    text = "\n".join((found[kind].title, *found[kind].details))
    assert told in text
    assert found[kind].severity == CATALOG[kind].severity


@pytest.mark.parametrize("base", ["index", "named", "two"])
def test_a_clean_folder_gives_no_finding(clean, base):
    examination = check_data(clean(**BASES[base]))
    assert [(one.kind, one.details) for one in examination.findings] == []
    assert not examination.is_refused
    assert examination.num_images == {"train": 6, "val": 6}
    assert len(examination.usable) == 12


def test_colors_among_masks_of_numbers_are_found(clean):
    folder = clean()
    palette = np.array([(0, 0, 0), (200, 30, 30), (30, 30, 200)], np.uint8)
    for path in all_masks(folder)[1:]:
        edit(path, lambda mask: palette[mask])
    (finding,) = (one for one in check_data(folder).findings if one.kind == "mixed-mask-storage")
    assert finding.details == ("train/masks/000.png: numbers",)


def test_smoothed_color_masks_are_read_as_the_colors_that_stand_out(clean):
    folder = clean()
    palette = np.array([(0, 0, 0), (200, 30, 30), (30, 30, 200)], np.uint8)
    for path in all_masks(folder):
        edit(path, lambda mask: palette[mask])
    assert not check_data(folder).is_refused
    Image.open(first(folder)).filter(ImageFilter.BoxBlur(1)).save(first(folder))
    assert not check_data(folder).is_refused
    examination = check_data(folder, unexpected="error")
    assert {row.color for row in examination.classes} == {tuple(c) for c in palette.tolist()}
    (finding,) = (one for one in examination.findings if one.kind == "anti-aliased-masks")
    assert finding.files == (first(folder),)


def test_black_and_white_masks_are_only_worth_knowing(clean):
    examination = check_data(clean((0, 255, 255)))
    assert [one.kind for one in examination.findings] == ["black-and-white-masks"]
    assert [row.name for row in examination.classes] == ["background", "foreground"]


def test_one_bad_file_does_not_hide_the_others(clean):
    folder = clean()
    for number in range(3):
        (folder / f"train/masks/{number:03}.png").unlink()
    for number in (3, 4):
        (folder / f"train/images/{number:03}.png").write_bytes(b"")
    found = {one.kind: one for one in check_data(folder).findings}
    assert len(found["image-without-mask"].files) == 3
    assert len(found["corrupt-image"].files) == 2


def test_findings_come_in_the_order_of_their_harm(clean):
    folder = clean()
    for kind in ("exif-rotation", "all-ignored", "size-mismatch"):
        path = {"all-ignored": "001", "size-mismatch": "002"}.get(kind)
        if kind == "exif-rotation":
            note_rotation(folder)
        elif kind == "all-ignored":
            put(folder / f"train/masks/{path}.png", slice(None), 255)
        else:
            save(folder / f"train/masks/{path}.png", boxes(RNG)[:50])
    kinds = [one.kind for one in check_data(folder).findings]
    assert kinds == ["size-mismatch", "all-ignored", "exif-rotation"]


def test_an_unknown_layout_is_a_finding_and_no_error(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing here")
    examination = check_data(tmp_path)
    assert [one.kind for one in examination.findings] == ["unknown-layout"]
    assert examination.is_refused
    assert examination.dataset is None


def test_a_path_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        check_data(tmp_path / "nowhere")


def test_a_wrong_card_is_an_error(clean):
    with pytest.raises(ConfigError, match="klasses"):
        check_data(clean(card="klasses: [a]\n"))


def test_smoothed_masks_are_marked_along_their_edges(clean):
    folder = clean((0, 255, 255))
    smooth(first(folder))
    found = check_data(folder, unexpected="error").findings
    (finding,) = (one for one in found if one.kind == "anti-aliased-masks")
    stored = np.asarray(Image.open(first(folder)))
    expected = (stored != 0) & (stored != 255)
    np.testing.assert_array_equal(finding.examples[0].marks, expected)
    assert finding.counts["amount"] == expected.sum()


def test_counts_of_a_class_are_those_of_its_masks(clean):
    folder = clean()
    examination = check_data(folder)
    for row in examination.classes:
        for split in ("train", "val"):
            masks = [np.asarray(Image.open(path)) for path in (folder / split / "masks").iterdir()]
            assert row.pixels[split] == sum(int((mask == row.value).sum()) for mask in masks)
            assert row.images[split] == sum(bool((mask == row.value).any()) for mask in masks)


def test_progress_counts_every_image(clean):
    steps = []
    check_data(clean(), on_progress=lambda done, total: steps.append((done, total)))
    assert steps == [(number, 12) for number in range(1, 13)]


def kinds_of(folder, **options):
    return {finding.kind: finding for finding in check_data(folder, **options).findings}


def test_what_makes_a_training_stop_is_refused_though_every_file_is_sound(tmp_path):
    make_clean(tmp_path / "one")
    shutil.rmtree(tmp_path / "one" / "val")
    for name in range(1, 6):
        for what in ("images", "masks"):
            (tmp_path / "one" / "train" / what / f"{name:03}.png").unlink()
    found = kinds_of(tmp_path / "one")["no-images-to-compare"]
    assert found.severity == "refused"
    assert "none for val of 1 image" in found.details[0]
    few = kinds_of(make_clean(tmp_path / "few", card="bands: [4, 1]\n"))["too-few-bands"]
    assert len(few.details) == 12
    assert "3 bands, but the card asks for 4" in few.details[0]


def test_a_few_pixels_of_another_value_are_unexpected_beside_classes_that_nobody_named(clean):
    folder = clean()
    put(first(folder), (slice(0, 5), slice(0, 5)), 177)
    found = kinds_of(folder)
    assert "gray-levels" not in found
    assert "25 pixels" in found["unexpected-values"].details[0]
    assert "177 (25" in found["unexpected-values"].details[0]


def test_classes_that_the_card_forgot_are_no_damage(tmp_path):
    folder = make_clean(tmp_path / "data", (0, 1, 2), "classes: [ground]\n")
    for path in all_masks(folder):
        edit(path, lambda mask: np.where(mask > 0, mask + 3 * (np.arange(mask.shape[1]) // 16), 0)
             .astype(np.uint8))  # fmt: skip
    found = kinds_of(folder)
    assert "unexpected-values" in found
    assert not {"jpeg-damaged-masks", "anti-aliased-masks"} & set(found)


def test_every_kind_of_finding_has_a_test_and_an_advice():
    elsewhere = {
        "unknown-layout", "unreadable-labels", "listed-twice", "listed-file-missing",
        "label-refused", "mixed-mask-storage", "split-not-given", "self-intersecting-polygons",
        "polygons-outside-image", "no-images-to-compare", "too-few-bands", "bad-annotations",
        "too-many-bad-annotations", "hidden-shapes", "unlike-parts",
    }  # fmt: skip
    assert set(DAMAGES) | elsewhere == set(CATALOG)
    for kind in CATALOG.values():
        assert kind.severity in SEVERITIES
        assert kind.advice
        assert not kind.advice.endswith(".")
    assert "error" in UNEXPECTED
