"""Words that several modules write alike."""

import math

import pytest

from pixelwise.text import amount, listed, rounded, whole_number


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0 images"), (1, "1 image"), (1.0, "1 image"), (0.5, "0.5 images"), (2, "2 images")],
)
def test_one_is_singular_and_everything_else_plural(number, words):
    assert amount(number, "image") == words


@pytest.mark.parametrize(
    ("number", "words"), [(1, "1 class"), (2, "2 classes"), (0, "0 multilabel classes")]
)
def test_a_noun_that_ends_with_s_has_its_own_plural(number, words):
    assert amount(number, words.removesuffix("es").partition(" ")[2]) == words


@pytest.mark.parametrize(
    ("number", "digits", "words"),
    [
        (130.4, 2, "130"), (1.26, 2, "1.3"), (0.01234, 2, "0.012"), (123456, 3, "123,000"),
        (20, 3, "20"), (0, 3, "0"), (1e9, 2, "1,000,000,000"), (math.inf, 3, "inf"),
    ],
)  # fmt: skip
def test_a_rounded_number_has_no_exponent(number, digits, words):
    assert rounded(number, digits) == words


def test_large_numbers_are_written_in_full():
    assert amount(1_234_567, "image") == "1,234,567 images"


@pytest.mark.parametrize(
    ("names", "words"),
    [((), ""), (("a",), "a"), (("a", "b"), "a, b"), (("a", "b", "c"), "a, b, ...")],
)
def test_names_beyond_the_most_become_dots(names, words):
    assert listed(names, 2) == words


@pytest.mark.parametrize(
    "text", ["", "-1", "1.5", " 1", "\u00b2", "\u0663", "1" * 19, "9" * 5000, "0x1"]
)
def test_what_is_no_small_whole_number_is_none(text):
    assert whole_number(text) is None


def test_whole_numbers_are_read():
    assert whole_number("0") == 0
    assert whole_number("007") == 7
    assert whole_number("9" * 18) == 10**18 - 1
