import pytest

from pixelwise.data.formats.annotation_files import annotation_places
from pixelwise.data.pairing import image_files, subfolders


def test_folders_are_found_through_links_and_dead_or_circular_links_are_none(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    data = tmp_path / "data"
    (data / "b").mkdir(parents=True)
    (data / ".hidden").mkdir()
    (data / "file.png").write_bytes(b"x")
    (data / "a").symlink_to(tmp_path / "elsewhere")
    (data / "dead").symlink_to(tmp_path / "nowhere")
    (data / "loop").symlink_to(data / "loop")
    (data / "file-link").symlink_to(data / "file.png")
    assert subfolders(data) == [data / "a", data / "b"]


def test_images_are_files_of_any_case_by_name_whatever_their_order_on_disk(tmp_path):
    for name in ("c.PNG", "a.jpg", "b.tiff", ".hidden.png", "notes.txt", "png"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in image_files(tmp_path)] == ["a.jpg", "b.tiff", "c.PNG"]
    assert image_files(tmp_path / "nowhere") == []


@pytest.mark.parametrize(("most", "found"), [(None, True), (5, True), (1, False)])
def test_images_are_not_asked_whether_they_are_annotations_and_of_others_only_some(
    tmp_path, most, found
):
    for name in ("a.txt", "b.txt", "0.png", "1.JPG", "2.npy", "c.json"):
        (tmp_path / name).write_bytes(b"x")
    asked = []

    def is_annotation(path):
        asked.append(path.name)
        return path.name == "b.txt"

    places = annotation_places(tmp_path, is_annotation, most)
    assert [place.annotations for place in places] == ([tmp_path] if found else [])
    assert asked == (["a.txt", "b.txt"] if found else ["a.txt", "c.json"])
