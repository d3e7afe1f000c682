import errno
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pixelwise.errors import DataError, OutputError
from pixelwise.files import folder_written_aside, make_folder, write_text, written_aside
from pixelwise.leftovers import remove_leftovers


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole_under_its_name_with_folders_made(tmp_path):
    target = tmp_path / "a/b/out.txt"
    with written_aside(target) as aside:
        assert aside.suffix == ".txt"
        assert aside.parent == target.parent
        aside.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert names_in(target.parent) == ["out.txt"]


def test_a_new_file_has_the_rights_that_the_user_chose(tmp_path):
    old = os.umask(0o027)
    try:
        write_text(tmp_path / "file.txt", "x")
        with folder_written_aside(tmp_path / "folder") as aside:
            (aside / "inside").touch()
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "file.txt").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o750


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, DataError])
def test_an_interruption_leaves_the_old_file_and_no_litter(tmp_path, error):
    target = tmp_path / "out.txt"
    target.write_text("old")

    def interrupted():
        with written_aside(target) as aside:
            aside.write_text("half of the n")
            raise error

    with pytest.raises(error):
        interrupted()
    assert target.read_text() == "old"
    assert names_in(tmp_path) == ["out.txt"]


def test_a_full_disk_is_one_sentence_and_leaves_the_old_file(tmp_path, monkeypatch):
    target = tmp_path / "out.txt"
    target.write_text("old")

    def full(self, *arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OutputError, match=r"cannot write .*out\.txt: No space left.*free some spa"):
        write_text(target, "new")
    assert target.read_text() == "old"
    assert names_in(tmp_path) == ["out.txt"]


def test_a_disk_that_fills_up_on_the_way_to_it_is_noticed(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    (tmp_path / "out.txt").write_text("old")
    with pytest.raises(OutputError, match="disk is full"):
        write_text(tmp_path / "out.txt", "new")
    assert (tmp_path / "out.txt").read_text() == "old"


def test_a_file_where_a_folder_must_be_is_named(tmp_path):
    (tmp_path / "taken").touch()
    for target in (tmp_path / "taken", tmp_path / "taken/inner"):
        with pytest.raises(OutputError, match=r"cannot write .*taken.*choose another `out`"):
            make_folder(target)
    with pytest.raises(OutputError, match=r"taken"):
        write_text(tmp_path / "taken/out.txt", "x")
    with pytest.raises(OutputError, match=r"taken"), folder_written_aside(tmp_path / "taken/out"):
        pass
    assert names_in(tmp_path) == ["taken"]


def test_a_folder_where_a_file_must_be_is_named_and_kept(tmp_path):
    (tmp_path / "out.txt").mkdir()
    (tmp_path / "out.txt/precious").touch()
    with pytest.raises(OutputError, match=r"cannot write .*out\.txt"):
        write_text(tmp_path / "out.txt", "x")
    assert names_in(tmp_path) == ["out.txt"]
    assert names_in(tmp_path / "out.txt") == ["precious"]


@pytest.mark.parametrize("exists", [False, True])
def test_a_folder_appears_whole(tmp_path, exists):
    target = tmp_path / "out"
    if exists:
        target.mkdir()
    with folder_written_aside(target) as aside:
        (aside / "a").write_text("a")
        assert not (target / "a").exists()
    assert names_in(tmp_path) == ["out"]
    assert (target / "a").read_text() == "a"


def test_an_interrupted_folder_is_not_there_at_all(tmp_path):
    def interrupted():
        with folder_written_aside(tmp_path / "out") as aside:
            (aside / "a").write_text("a")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert names_in(tmp_path) == []


def test_a_folder_that_holds_something_is_never_replaced(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/precious").write_text("work")
    (tmp_path / "file").write_text("work")
    for name in ("out", "file"):
        with (
            pytest.raises(OutputError, match=rf"{name} must be new or empty"),
            folder_written_aside(tmp_path / name),
        ):
            pytest.fail("the block must not be entered")
    assert (tmp_path / "out/precious").read_text() == (tmp_path / "file").read_text() == "work"


def test_an_output_error_from_inside_keeps_its_own_message(tmp_path):
    with pytest.raises(OutputError, match="the inner one"), written_aside(tmp_path / "out"):
        raise OutputError("the inner one")


KILLED = """
import os, signal, sys
from pathlib import Path
from pixelwise.files import folder_written_aside, written_aside

with written_aside(Path(sys.argv[1]) / "card.yaml") as aside:
    aside.write_text("x")
    with folder_written_aside(Path(sys.argv[1]) / "out") as folder:
        (folder / "part").write_text("x")
        os.kill(os.getpid(), signal.SIGKILL)
"""


def write_file(folder):
    write_text(folder / "other.yaml", "x")
    return "other.yaml"


def write_folder(folder):
    with folder_written_aside(folder / "out") as aside:
        (aside / "all").write_text("x")
    return "out"


@pytest.mark.skipif(sys.platform == "win32", reason="folders cannot be locked there")
@pytest.mark.parametrize("write", [write_file, write_folder])
def test_the_next_process_removes_what_a_killed_one_left_in_a_folder(tmp_path, write):
    subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False)
    assert len(list(tmp_path.iterdir())) == 2
    (tmp_path / ".out-of-mine").mkdir()
    (tmp_path / ".card-settings.yaml").write_text("mine")
    written = write(tmp_path)
    assert names_in(tmp_path) == sorted([written, ".out-of-mine", ".card-settings.yaml"])


@pytest.mark.skipif(sys.platform == "win32", reason="files cannot be locked there")
def test_a_file_that_a_living_process_writes_is_not_removed(tmp_path):
    code = (
        "import sys; from pathlib import Path; from pixelwise.files import write_text; "
        "write_text(Path(sys.argv[1]) / 'b.txt', 'b')"
    )
    with written_aside(tmp_path / "a.txt") as aside:
        aside.write_text("a")
        subprocess.run([sys.executable, "-c", code, tmp_path], check=True)
        assert aside.is_file()
    assert names_in(tmp_path) == ["a.txt", "b.txt"]


def test_a_folder_that_a_living_process_writes_is_not_removed(tmp_path):
    with folder_written_aside(tmp_path / "one") as first:
        (first / "a").write_text("x")
        with folder_written_aside(tmp_path / "one") as second:
            assert first != second
            assert (first / "a").is_file()
        shutil.rmtree(tmp_path / "one")


def test_leftovers_below_a_folder_are_removed_too(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / ".val.part-abcdefgh.png").write_bytes(b"")
    (tmp_path / "pictures" / "val.png").write_bytes(b"")
    remove_leftovers(tmp_path)
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["val.png"]


REFUSALS = ("ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM", "EIO", "ENODEV", "ESTALE", "EFBIG")


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize("call", ["fsync", "replace", "mkdir"])
def test_whatever_a_disk_refuses_is_one_sentence_and_leaves_the_old_files(
    tmp_path, monkeypatch, name, call
):
    code = getattr(errno, name)

    def refuse(*arguments, **options):
        raise OSError(code, os.strerror(code))

    (tmp_path / "out.txt").write_text("old")
    monkeypatch.setattr(os, call, refuse)
    if call == "replace":
        monkeypatch.setattr(Path, "replace", refuse)

    def write_new_folder():
        with folder_written_aside(tmp_path / "new") as aside:
            (aside / "a").write_text("a")

    uses = [write_new_folder, lambda: make_folder(tmp_path / "sub" / "folder")]
    uses = uses if call == "mkdir" else [lambda: write_text(tmp_path / "out.txt", "new")]
    for use in uses:
        with pytest.raises(OutputError) as refusal:
            use()
        assert os.strerror(code) in str(refusal.value)
        assert str(tmp_path) in str(refusal.value)
        assert "\n" not in str(refusal.value)
    assert names_in(tmp_path) == ["out.txt"]
    assert (tmp_path / "out.txt").read_text() == "old"
