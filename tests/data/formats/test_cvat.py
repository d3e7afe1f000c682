import math
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

import numpy as np
import pytest
import shapely
from PIL import Image
from shapely import affinity

from pixelwise.classes import ClassMap
from pixelwise.data.dataset import open_dataset
from pixelwise.data.detection import detect_format
from pixelwise.data.formats.cvat.cvat import Cvat
from pixelwise.data.sample import Record, Sample
from pixelwise.errors import DataError, FormatError, MaskError

SIZE = (12, 20)

BOX = {"xtl": 2, "ytl": 3, "xbr": 6, "ybr": 8}


def shape(kind, label="car", **attributes):
    text = " ".join(f"{name}={quoteattr(str(value))}" for name, value in attributes.items())
    return (
        f'<{kind} label="{label}" source="manual" {text}><attribute name="a">1</attribute></{kind}>'
    )


def labels_of(*names, kind="any"):
    return "".join(
        f"<label><name>{name}</name><color>#{index:02x}8040</color><type>{kind}</type>"
        "<attributes><attribute><name>a</name></attribute></attributes></label>"
        for index, name in enumerate(names)
    )


def image(*shapes, name="0001.png", size=SIZE, **attributes):
    stated = {"id": 0, "name": name, "width": size[1], "height": size[0]} | attributes
    text = " ".join(f"{key}={quoteattr(str(value))}" for key, value in stated.items())
    return f"<image {text}>{''.join(shapes)}<tag label='car'></tag></image>"


def lay(folder, *images, labels=None, files=("images/0001.png",)):
    """An ``annotations.xml`` and its images."""
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(folder / file)
    labels = labels_of("road", "car") if labels is None else labels
    path = folder / "annotations.xml"
    path.write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>'
        f"<meta><task><labels>{labels}</labels></task></meta>{''.join(images)}</annotations>",
        encoding="utf-8",
    )
    return path


def read(folder, class_map=None, **options):
    found = Cvat(**options)
    (record,) = found.records(folder)
    return found.load(record, class_map or found.class_map(folder, [record])).mask


def centers_in(geometry):
    """The pixels whose center a geometry holds."""
    columns, rows = np.meshgrid(np.arange(SIZE[1]) + 0.5, np.arange(SIZE[0]) + 0.5)
    return shapely.contains_xy(geometry, columns, rows)


def test_the_labels_of_the_task_give_names_colors_and_order(tmp_path):
    lay(tmp_path, image(shape("box", "bus", **BOX)), labels=labels_of("road", "background", "car"))
    assert detect_format(tmp_path)[0].name == "cvat"
    class_map = open_dataset(tmp_path).class_map
    assert class_map.names == ("background", "road", "car", "bus")
    assert class_map.colors[:3] == ((1, 128, 64), (0, 128, 64), (2, 128, 64))
    multilabel = open_dataset(tmp_path, label_mode="multilabel").class_map
    assert multilabel.names == ("road", "car", "bus")


def test_boxes_turn_clockwise_about_their_middle(tmp_path):
    straight = shapely.box(3.1, 2.2, 15.3, 6.4)
    for degrees in (0, 30, 90, 211.5):
        attributes = {"xtl": 3.1, "ytl": 2.2, "xbr": 15.3, "ybr": 6.4, "rotation": degrees}
        lay(tmp_path / str(degrees), image(shape("box", **attributes)))
        # Angles are counter-clockwise with y up, and so clockwise with y down.
        turned = affinity.rotate(straight, degrees, origin="center")
        assert np.array_equal(read(tmp_path / str(degrees)) == 2, centers_in(turned))


def test_ellipses_hold_the_pixels_whose_center_is_inside(tmp_path):
    attributes = {"cx": 9.3, "cy": 6.1, "rx": 7.2, "ry": 2.4, "rotation": 25}
    lay(tmp_path, image(shape("ellipse", **attributes)))
    angles = np.linspace(0, 2 * math.pi, 10_000)
    ring = np.stack([9.3 + 7.2 * np.cos(angles), 6.1 + 2.4 * np.sin(angles)], 1)
    turned = affinity.rotate(shapely.Polygon(ring), 25, origin=(9.3, 6.1))
    assert np.array_equal(read(tmp_path) == 2, centers_in(turned))


def test_files_of_other_kinds_do_not_hide_an_annotation_file(tmp_path):
    lay(tmp_path, image(shape("box", "car", **BOX)))
    for number in range(25):
        (tmp_path / f"{number:02}.txt").write_text("a note")
    assert detect_format(tmp_path)[0].name == "cvat"


def test_polygons_and_masks_are_painted_where_they_say(tmp_path):
    points = "2.00,3.00;6.00,3.00;6.00,8.00;2.00,8.00"
    runs = {"rle": "1, 2, 2, 1", "left": 10, "top": 9, "width": 3, "height": 2}
    lay(tmp_path, image(shape("polygon", "road", points=points), shape("mask", **runs)))
    expected = np.zeros(SIZE, np.uint8)
    expected[3:8, 2:6] = 1
    expected[9, 11:13] = expected[10, 12] = 2
    assert np.array_equal(read(tmp_path), expected)


def test_a_higher_z_order_lies_over_a_lower_one_and_then_the_later_over_the_earlier(tmp_path):
    low, high = BOX | {"z_order": -1}, BOX | {"z_order": 3}
    for number, (shapes, value) in enumerate(
        [
            ((shape("box", "car", **high), shape("box", "road", **low)), 2),
            ((shape("box", "car", **BOX), shape("box", "road", **BOX)), 1),
            ((shape("box", "car", **BOX), shape("box", "background", **high)), 0),
            ((shape("box", "car", **BOX), shape("box", "__ignore__", **high)), 255),
        ]
    ):
        lay(tmp_path / str(number), image(*shapes))
        mask = read(tmp_path / str(number))
        assert (mask[3:8, 2:6] == value).all()
        assert int((mask != 0).sum()) in (0, 20)


def test_multilabel_masks_keep_what_lies_below(tmp_path):
    lay(tmp_path, image(shape("box", "car", **BOX), shape("box", "road", **BOX)))
    mask = read(tmp_path, label_mode="multilabel")
    assert [int((plane == 255).sum()) for plane in mask] == [20, 20]


def test_a_background_shape_cuts_a_hole_in_both_modes(tmp_path):
    hole = shape("box", "background", xtl=3, ytl=4, xbr=5, ybr=6, z_order=1)
    lay(tmp_path, image(shape("box", "car", **BOX), shape("box", "road", **BOX), hole))
    assert (read(tmp_path) != 0).sum() == 20 - 4
    mask = read(tmp_path, label_mode="multilabel")
    assert [int((plane == 255).sum()) for plane in mask] == [16, 16]
    assert not mask[:, 4:6, 3:5].any()


LINE = shape("polyline", "lane", points="1,1;9,9")


def test_lines_and_points_are_refused_unless_their_label_is_for_them(tmp_path):
    lay(tmp_path, image(LINE, shape("box", **BOX)), labels=labels_of("lane", "car"))
    with pytest.raises(MaskError, match=r"Got a polyline of 'lane' on '0001\.png'"):
        read(tmp_path)
    assert int((read(tmp_path, unexpected="ignore") == 2).sum()) == 20
    labels = labels_of("lane", kind="polyline") + labels_of("car", kind="rectangle")
    lay(tmp_path, image(LINE, shape("box", **BOX)), labels=labels)
    found = Cvat()
    assert found.class_map(tmp_path, found.records(tmp_path)).names == ("background", "car")
    assert int((read(tmp_path) == 1).sum()) == 20


def test_subsets_are_splits_and_images_lie_in_their_folders(tmp_path):
    files = ("Train/0001.png", "Validation/sub/0001.png", "testing/0002.png", "sub/0003.png")
    lay(
        tmp_path,
        image(subset="Train"),
        image(name="sub/0001.png", subset="Validation"),
        image(name="sub/0003.png", subset="Train"),
        image(name="0002.png", subset="testing"),
        files=[f"images/{file}" for file in files],
    )
    records = Cvat().records(tmp_path)
    assert {(record.name, record.split) for record in records} == {
        ("images/Train/0001", "train"),
        ("images/Validation/sub/0001", "val"),
        ("images/sub/0003", "train"),
        ("images/testing/0002", "test"),
    }


def test_images_of_no_split_among_images_of_one_are_refused(tmp_path):
    lay(
        tmp_path,
        image(subset="Train"),
        image(name="0002.png", subset="default"),
        files=["images/Train/0001.png", "images/default/0002.png"],
    )
    message = r"every image or of none\. Got none for 1 of 2, such as .*default/0002\.png"
    with pytest.raises(FormatError, match=message):
        open_dataset(tmp_path)


def test_an_image_without_shapes_is_background_and_a_missing_one_is_refused(tmp_path):
    lay(tmp_path, image(), image(name="0002.png"))
    with pytest.raises(FormatError, match=r"image '0002\.png' in images/ .* 'Save images'"):
        Cvat().records(tmp_path)
    lay(tmp_path, image())
    assert not read(tmp_path).any()


def test_no_image_is_taken_from_outside(tmp_path):
    Image.fromarray(np.zeros(SIZE, np.uint8)).save(tmp_path / "secret.png")
    for name in ("../../secret.png", str(tmp_path / "secret.png")):
        lay(tmp_path / "data", image(name=name))
        with pytest.raises(FormatError, match="must have its image"):
            Cvat().records(tmp_path / "data")


def test_a_changed_file_is_read_again(tmp_path):
    path = lay(tmp_path, image(shape("box", **BOX)))
    found = Cvat()
    (record,) = found.records(tmp_path)
    class_map = found.class_map(tmp_path, [record])
    text = path.read_text()
    path.write_text(text.replace("0001.png", "0002.png"))
    with pytest.raises(MaskError, match="It has changed"):
        found.load(record, class_map)
    path.unlink()
    with pytest.raises(DataError, match="must be readable"):
        found.load(record, class_map)


@pytest.mark.parametrize(
    ("entry", "match"),
    [
        (image(size=(20, 12)), "20 x 12. Got 12 x 20"),
        (image(shape("polygon", points="1,1;2;3,3")), "points are numbers"),
        (image(shape("polygon", points="1,1;2,2,2;3,3")), "points are numbers"),
        (image(shape("polygon", points="nan,1;2,2;3,3")), "finite corners"),
        (image(shape("polygon")), "points are numbers. Got ''"),
        (image(shape("box", xtl=1)), "ytl are numbers"),
        (image(shape("box", **BOX | {"ybr": "inf"})), "ybr are numbers. Got 'inf'"),
        (image(shape("box", **BOX, z_order="x")), "z_order are numbers"),
        (image(shape("box", "bus", **BOX)), "Got 'bus'"),
        (image('<box xtl="1" />'), "with a label"),
        (image(shape("mask", rle="1, 2", left=0, top=0, width=2, height=2)), "fill 2 x 2"),
        (image(shape("mask", rle="x", left=0, top=0, width=2, height=2)), "rle are numbers"),
        (image(shape("mask", rle="1", left=0, top=0, width=1e6, height=1e6)), "inside their image"),
        (image(shape("mask", rle="1", left=-1, top=0, width=1, height=1)), "inside their image"),
        (image(width="many"), "a width and a height"),
        ("<image id='0'></image>", "a name, a width"),
        (image() + image(), "every image once"),
        ("<track id='0' label='car'></track>", "Got tracks, as from CVAT for video"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, entry, match):
    lay(tmp_path, entry)
    with pytest.raises(DataError, match=match):
        read(tmp_path, ClassMap.build(("background", "road", "car")))


BOMB = '<!DOCTYPE annotations [<!ENTITY a "aaaaaaaaaa">{}]>'.format(
    "".join(
        f'<!ENTITY {after} "{f"&{before};" * 10}">'
        for before, after in zip("abcdefghi", "bcdefghij", strict=True)
    )
)


@pytest.mark.parametrize(
    ("document_type", "name"),
    [(BOMB, "&j;"), ('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>', "&x;")],
)
def test_entities_are_refused(tmp_path, document_type, name):
    path = lay(tmp_path, image(shape("box", **BOX)))
    head, body = path.read_text().split("\n", 1)
    path.write_text(f"{head}\n{document_type}{body.replace('<name>car', f'<name>{name}')}")
    assert Cvat().detect(tmp_path).score > 0
    with pytest.raises(FormatError, match="without entity definitions"):
        Cvat().records(tmp_path)


def test_pascal_vocs_xml_is_not_taken_for_cvats(tmp_path):
    path = lay(tmp_path, image())
    path.write_text("<annotation><filename>0001.png</filename></annotation>")
    assert Cvat().detect(tmp_path).score == 0


def test_what_is_written_is_what_cvat_reads(tmp_path):
    mask = np.zeros(SIZE, np.uint8)
    mask[3:8, 2:6] = 1
    mask[4, 3] = 0
    mask[0, 0] = 255
    source = tmp_path / "source.png"
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(source)
    sample = Sample("train/0001", np.zeros((*SIZE, 3), np.uint8), mask, "multiclass")
    class_map = ClassMap.build(("background", 'a <"&> road'))
    out = tmp_path / "out"
    out.mkdir()
    records = [Record(f"train/{stem}", source, split="train") for stem in ("0001", "0002")]
    Cvat().write(out, [(record, sample) for record in records], class_map)
    root = ElementTree.parse(out / "annotations.xml").getroot()
    assert [element.get("name") for element in root.iter("image")] == ["0001.png", "0002.png"]
    assert {element.get("subset") for element in root.iter("image")} == {"train"}
    car, ignored = root.find("image").iter("mask")
    assert ignored.get("label") == "__ignore__"
    assert [car.get(name) for name in ("left", "top", "width", "height")] == ["2", "3", "4", "5"]
    assert car.get("rle") == "0, 5, 1, 14"
    again = open_dataset(out)
    assert again.class_map.names == class_map.names
    assert again.class_map.colors == class_map.colors
    assert [record.split for record in Cvat().records(out)] == ["train", "train"]
    assert np.array_equal(again.load(again.records[1]).mask, mask)


@pytest.mark.parametrize("name", ["a\x00b", "a\x1fb", "__ignore__"])
def test_class_names_that_xml_or_cvat_would_change_are_refused(tmp_path, name):
    mask = np.ones((1, 1), np.uint8)
    sample = Sample("a", np.zeros((1, 1, 3), np.uint8), mask, "multiclass")
    with pytest.raises(FormatError, match="cannot be written as cvat"):
        Cvat().write(tmp_path, [(Record("a", tmp_path), sample)], ClassMap.build(("x", name)))


def test_no_xml_makes_anything_else_than_our_errors(tmp_path, is_read, damaged):
    found, class_map = Cvat(), ClassMap.build(("background", "road", "car"))
    runs = {"rle": "1, 2, 2, 1", "left": 10, "top": 9, "width": 3, "height": 2}
    path = lay(
        tmp_path,
        image(
            shape("box", **BOX, rotation=10),
            shape("mask", **runs),
            shape("ellipse", cx=3, cy=3, rx=2, ry=1e-3, z_order=2),
            shape("polygon", points="1,1;2,5;3,3"),
        ),
    )
    content, num_read = path.read_bytes(), 0
    for copy in damaged(content, 300):
        path.write_bytes(copy)
        num_read += is_read(found, tmp_path, class_map)
    for old in ("10", "3", "2", "1,1", "car", "0001.png", "20", "box", "utf-8", "1, 2", "any"):
        for new in ("", "nan", "-1", "1e308", "1e-320", "9" * 5000, "../x", "&amp;", "x" * 5000):
            path.write_bytes(content.replace(old.encode(), new.encode()))
            num_read += is_read(found, tmp_path, class_map)
    for text in ("<annotations", "<annotations>" * 50_000, "<annotations><image/></annotations>",
                 '<?xml version="1.0" encoding="utf-7"?><annotations/>'):  # fmt: skip
        path.write_text(text)
        assert not is_read(found, tmp_path, class_map)
    assert num_read > 5
