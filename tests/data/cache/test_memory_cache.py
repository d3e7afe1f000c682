import os
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import psutil
import pytest

from pixelwise.data.cache import memory_cache
from pixelwise.data.cache.memory_cache import MemoryCache, free_bytes
from pixelwise.errors import DataError
from pixelwise.io import file_state
from pixelwise.io.file_state import content_hash, kept_while_unchanged, state_of


class Maker:
    """Counts how often each item is made."""

    def __init__(self):
        self.made = []
        self.lock = threading.Lock()

    def __call__(self, index):
        with self.lock:
            self.made.append(index)
        return index * 10


def test_items_that_fit_are_made_once_and_the_rest_again():
    make = Maker()
    cache = MemoryCache(make, 4, lambda _: 10, budget_bytes=25)
    for _ in range(2):
        assert list(cache) == [0, 10, 20, 30]
    assert sorted(make.made) == [0, 1, 2, 2, 3, 3]


def test_a_cache_is_a_sequence():
    cache = MemoryCache(Maker(), 5, lambda _: 1)
    assert len(cache) == 5
    assert cache[1:4] == [10, 20, 30]
    assert cache[::-2] == [40, 20, 0]
    assert [cache[-1], cache[-5]] == [40, 0]
    for index in (5, -6):
        with pytest.raises(IndexError):
            cache[index]


def test_a_copy_in_another_process_begins_empty_with_the_whole_budget():
    cache = MemoryCache("abc".__getitem__, 3, len, budget_bytes=2)
    assert list(cache) == ["a", "b", "c"]
    twin = pickle.loads(pickle.dumps(cache))
    assert (len(cache._kept), len(twin._kept)) == (2, 0)
    assert (cache._free_bytes, twin._free_bytes) == (0, 2)
    assert list(twin) == ["a", "b", "c"]


@pytest.mark.parametrize("count", [0, 1, 3, 200])
def test_parallel_making_keeps_the_order_and_tells_of_each(count):
    make, told = Maker(), []
    cache = MemoryCache(make, count, lambda _: 1, budget_bytes=50)
    assert list(cache.in_parallel(lambda done, total: told.append((done, total)))) == [
        index * 10 for index in range(count)
    ]
    assert told == [(index + 1, count) for index in range(count)]
    assert sorted(make.made) == list(range(count))


def test_parallel_making_runs_ahead_by_a_bounded_number(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    make = Maker()
    items = MemoryCache(make, 100, lambda _: 1, budget_bytes=0).in_parallel()
    assert next(items) == 0
    items.close()
    assert len(make.made) <= 4 * 2 + 1


def test_an_error_in_making_comes_out_where_the_item_was_due():
    def make(index):
        if index == 7:
            raise ValueError("item 7 is broken")
        return index

    items = MemoryCache(make, 50, lambda _: 1).in_parallel()
    assert [next(items) for _ in range(7)] == list(range(7))
    with pytest.raises(ValueError, match="item 7"):
        next(items)


def test_an_item_that_two_threads_made_at_once_is_counted_once():
    both = threading.Barrier(2, timeout=20)

    def make(index):
        if index == 0:
            both.wait()
        return index

    cache = MemoryCache(make, 3, lambda _: 10, budget_bytes=30)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(cache.__getitem__, [0, 0]))
    assert cache._free_bytes == 20


@pytest.fixture
def reading(monkeypatch):
    """A reader of text, and the names of the files that it read."""
    monkeypatch.setattr(file_state, "SETTLED_S", -1)
    names = []

    @kept_while_unchanged
    def read(path, *others):
        names.append(path.name)
        return path.read_text(), others

    return read, names


def replace_with_size_and_time_kept(path, content):
    before = path.stat()
    time.sleep(0.02)  # more than a tick of the file system's clock
    path.write_text(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def test_a_file_is_read_once_until_it_is_replaced_even_with_its_size_and_time_kept(
    tmp_path, reading
):
    read, names = reading
    path = tmp_path / "a"
    path.write_text("first")
    hashed = content_hash(path)
    assert [read(path)[0] for _ in range(3)] == ["first"] * 3
    assert read(path, "other") == ("first", ("other",))
    assert names == ["a", "a"]
    replace_with_size_and_time_kept(path, "other")
    assert read(path)[0] == "other"
    assert content_hash(path) != hashed


def test_two_files_of_one_size_and_time_are_told_apart(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, (0, 0))
    assert state_of(tmp_path / "a") != state_of(tmp_path / "b")


def test_what_was_read_of_a_file_that_changed_just_now_is_not_trusted(
    tmp_path, reading, monkeypatch
):
    read, names = reading
    monkeypatch.setattr(file_state, "SETTLED_S", 60)
    (tmp_path / "a").write_text("text")
    for _ in range(2):
        read(tmp_path / "a")
    assert names == ["a", "a"]


def test_files_with_a_time_to_come_are_read_once(tmp_path, reading, monkeypatch):
    """As of archives that were packed in another time zone."""
    read, names = reading
    (tmp_path / "a").write_text("text")
    time.sleep(0.02)
    monkeypatch.setattr(file_state, "SETTLED_S", 0.01)
    os.utime(tmp_path / "a", (time.time() + 7200,) * 2)
    time.sleep(0.02)
    for _ in range(2):
        read(tmp_path / "a")
    assert names == ["a"]


def test_of_files_that_take_too_much_the_least_recently_asked_for_are_forgotten(
    tmp_path, reading, monkeypatch
):
    read, names = reading
    monkeypatch.setattr(file_state, "KEPT_BYTES", 10)
    sizes = {"a": 4, "b": 4, "c": 4, "large": 99}
    for name, size in sizes.items():
        (tmp_path / name).write_text("x" * size)
    for name in ("a", "b", "a", "c", "a", "b"):
        read(tmp_path / name)
    assert names == ["a", "b", "c", "b"]
    for name in ("large", "large", "b"):
        read(tmp_path / name)
    assert names[4:] == ["large", "b"]


def test_a_file_that_went_is_refused_by_name_and_a_failure_is_not_kept(tmp_path, reading):
    read, names = reading
    path = tmp_path / "a"
    path.write_bytes(b"\xff")
    for _ in range(2):
        with pytest.raises(UnicodeDecodeError):
            read(path)
    assert names == ["a", "a"]
    path.unlink()
    with pytest.raises(DataError, match=r"a must be readable\. Got: No such file"):
        read(path)


def test_threads_that_ask_at_once_wait_for_one_reading(tmp_path, reading):
    read, names = reading
    (tmp_path / "a").write_text("text")
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(read, [tmp_path / "a"] * 64))
    assert names == ["a"]


@pytest.fixture
def container(tmp_path, monkeypatch):
    """The files that tell a container's limits: (machine's free bytes, **files) -> free_bytes()."""

    def free(of_machine, **files):
        for name, content in files.items():
            (tmp_path / f"memory.{name}").write_text(str(content))
        monkeypatch.setattr(memory_cache, "CGROUP", tmp_path)
        machine = SimpleNamespace(available=of_machine)
        monkeypatch.setattr(psutil, "virtual_memory", lambda: machine)
        return free_bytes()

    return free


def test_free_memory_is_what_the_machine_has_where_no_container_limits_it(container):
    assert container(1000) == 1000
    assert container(1000, max="max", current=400, stat="inactive_file 5") == 1000


@pytest.mark.parametrize(("limit", "expected"), [(900, 550), (5000, 1000), (300, 0)])
def test_free_memory_is_what_the_container_leaves_and_the_machine_has(container, limit, expected):
    stat = "anon 7\ninactive_file 50\n"
    assert container(1000, max=limit, current=400, stat=stat) == expected
