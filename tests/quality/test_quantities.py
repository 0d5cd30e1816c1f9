"""Quantities: numbers are told however they are written, with the unit behind them."""

from __future__ import annotations

import time

import pytest

from craft_hf.quality.quantities import Measured, Quantity, quantities


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,200 birds, 3.50 grams", {(1200, ""), (3.5, "grams")}),
        ("twenty-five of them, twice", {(25, ""), (2, "")}),
        ("1½ cups, or 1 1/2 cups, or 1-1/2 cups", {(1.5, "cups")}),
        ("half a cup, ½ cup, 0.5 cup, .5 cup", {(0.5, "cup")}),
        ("H2O and CO2 at 007 °C", {(7, "celsius")}),
        ("350 degrees F and 350 °F", {(350, "fahrenheit")}),
        ("2-3 minutes", {(2, "minutes"), (3, "minutes")}),
        ("2 to 3 tablespoons", {(2, "tablespoons"), (3, "tablespoons")}),
        ("1.5 million, two million", {(1.5e6, ""), (2e6, "")}),
        ("nineteen ninety-five", {(19, ""), (95, ""), (1995, "")}),
        ("one hundred two point six", {(102, ""), (102.6, "")}),
        ("a third of it", {(0.333333, ""), (3, "")}),
        ("160/100 mmHg on 5/2009", {(160, "mmhg"), (100, "mmhg"), (5, ""), (2009, "")}),
        ("in the 1870s, in his forties", {(1870, ""), (40, "")}),
        ("a 57-year-old, COVID-19", {(57, "year")}),
        ("1. Chop\n2. Fry", set()),
        ("1940-1990", {(1940, ""), (1990, "")}),
        ("٣ apples", {(3, "")}),
        ("a 45-million-pound deal", {(45e6, "pound")}),
        ("five point 05, two point five", {(5, ""), (5.05, ""), (2, ""), (2.5, "")}),
        ("10⁵ cells in 10^5", {(10, ""), (5, "")}),
        ("5 cm²", {(5, "")}),
        ("2.500.000, 2.500.999 and 3.141", {(2_500_000, ""), (2_500_999, ""), (3.141, "")}),
        ("$5m, US$1.2bn, 4bn, 60k, £3 million", {(5e6, ""), (1.2e9, ""), (4e9, ""), (6e4, ""), (3e6, "")}),
        ("5m high, at 300K", {(5, "m"), (300, "")}),
        ("1 000 000, 12'500, 1,00,000, 12\u00a0345", {(1e6, ""), (12_500, ""), (1e5, ""), (12_345, "")}),
        ("120 130 140", {(120, ""), (130, ""), (140, "")}),
        ("Bake at 350F, or 180 C", {(350, "fahrenheit"), (180, "celsius")}),
        ("a 27F with a cough", {(27, "")}),
        ("Add a second cup in the 21st century", {(2, ""), (21, "")}),
        ("twice a cup", {(2, "cup")}),
    ],
)
def test_numbers_and_units_are_told_however_they_are_written(text: str, expected: set[tuple[float, str]]) -> None:
    """Digits, words, fractions and ranges of the same number are the same; the 2 of CO2 is none, nor is a list's 1."""
    assert {(q.value, q.unit) for q in quantities(text)} == expected


@pytest.mark.parametrize(
    ("claim", "document", "problem"),
    [
        ("5 mg", "take 5 mg a day", ""),
        ("5 milligrams", "take 5mg a day", ""),
        ("5 g", "take 5 mg a day", "unit"),
        ("350 °F", "bake at 350 °C", "unit"),
        ("350 °F", "bake at 350 degrees", ""),
        ("2 tablespoons", "2 cups of flour and 2 eggs", "unit"),
        ("2 minutes", "2 hours", "unit"),
        ("450 g", "a pound is much: 1 pound of beef", ""),
        ("90 minutes", "one and a half hours", ""),
        ("500 g", "1 pound of beef", "number"),
        ("54 %", "a share of 0.54", ""),
        ("54", "53.7 of them", ""),
        ("7", "eight of them", "number"),
        ("4 mg", "a dose of 3.7 mg", ""),
        ("4 kg", "a dose of 3.7 mg", "unit"),
        ("bake at 350 °C", "bake at 350F", "unit"),
        ("bake at 350 °F", "bake at 350 F", ""),
        ("7", "seven of them", ""),
    ],
)
def test_a_changed_number_or_unit_is_another_fact(claim: str, document: str, problem: str) -> None:
    """What is converted or rounded rightly is the same."""
    (quantity,) = quantities(claim)
    assert Measured(document).problem(quantity) == problem


def test_number_words_say_how_much_only_with_a_unit_or_when_great() -> None:
    """ "One of them" and "two ways" are no facts of the document; a number that no float holds is one all the same."""
    assert not any(q.is_checked for q in quantities("one of them in two ways, one week ago"))
    assert [q.is_checked for q in quantities("three cups, two thousand, 7")] == [True] * 3
    assert quantities("1" * 330) == (Quantity(float("inf")),)
    assert Measured("1" * 330 + " and 2.5").problem(Quantity(2.0)) == ""


@pytest.mark.parametrize(
    "text",
    [
        "five point " + "1" * 400,
        "hundred " * 400 + "point five",
        "9" * 400 + " million",
        "1/" * 5,
        "$" + "1" * 400 + "k",
    ],
)
def test_what_no_float_holds_is_no_error(text: str) -> None:
    """Whatever is written, there are numbers, or none."""
    assert all(q.value >= 0 for q in quantities(text))


@pytest.mark.parametrize(
    "text", ["\n", " \n", "1/", "1,", "1.111", " 000", "1'111", "$1", "one and ", "hundred-", "1⁵", "1F ", "a ", "1 "]
)
def test_a_long_text_takes_time_by_its_length_alone(text: str) -> None:
    """Patterns that start anew at each place, and run to the end, take minutes for a page of one character."""
    began = time.process_time()
    quantities(text * (50_000 // len(text)))
    assert time.process_time() - began < 3
