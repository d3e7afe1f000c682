import threading

import pytest

from pixelwise.data.caching.memory import MemoryCache


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
    for index in (5, -1):
        with pytest.raises(IndexError):
            cache[index]


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
