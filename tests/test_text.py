"""Words that several modules write alike."""

import pytest

from pixelwise.text import amount, listed


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0 images"), (1, "1 image"), (1.0, "1 image"), (0.5, "0.5 images"), (2, "2 images")],
)
def test_one_is_singular_and_everything_else_plural(number, words):
    assert amount(number, "image") == words


def test_large_numbers_are_written_in_full():
    assert amount(1_234_567, "image") == "1234567 images"


@pytest.mark.parametrize(
    ("names", "words"),
    [((), ""), (("a",), "a"), (("a", "b"), "a, b"), (("a", "b", "c"), "a, b, ...")],
)
def test_names_beyond_the_most_become_dots(names, words):
    assert listed(names, 2) == words
