"""Files that may name classes are tables or are not, whatever digits they hold."""

import pytest

from pixelwise.data.masks.class_tables import names_of_colors, names_of_values

NO_NUMBERS = ("9" * 5000, "\u00b2", "\u0663")
"""Too many digits, a superscript and an Arabic digit: ``str.isdigit`` takes all for numbers."""


def test_tables_of_values_and_colors_are_read(tmp_path):
    (tmp_path / "classes.txt").write_text("0, sky\n1, road\n")
    assert names_of_values(tmp_path, [0, 1]) == {0: "sky", 1: "road"}
    (tmp_path / "classes.txt").write_text("sky 0 0 0\nroad 1 128 64 0\n")
    assert names_of_colors(tmp_path, [0, 0x804000]) == {0: "sky", 0x804000: "road"}


@pytest.mark.parametrize("digits", NO_NUMBERS)
@pytest.mark.parametrize("line", ["{}, road", "{} {} {} road", "road {} 1 2", "{}"])
@pytest.mark.parametrize("suffix", [".txt", ".csv", ".json"])
def test_digits_that_are_no_numbers_name_no_class(tmp_path, digits, line, suffix):
    text = f"0 sky\n{line.format(*[digits] * 3)}\n"
    (tmp_path / f"classes{suffix}").write_text(text, encoding="utf-8")
    assert names_of_values(tmp_path, [0, 1]) is None or suffix != ".json"
    names_of_colors(tmp_path, [0, 1])
