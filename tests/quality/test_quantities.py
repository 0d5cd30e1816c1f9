"""Quantities: numbers are told however they are written, with the unit behind them."""

from __future__ import annotations

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
