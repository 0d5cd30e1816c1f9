"""Numbers in a text with the units behind them, and whether a document has those of a claim.

Numbers are read in digits with fractions and thousands (1,000; 1 000; 1½; 2 1/4; $5m), and in English words ("half a",
"sixty-one", "two million"). Units are those of kitchens, clinics and textbooks; one that is not known counts as none.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

_SMALL = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_VALUES: dict[str, int] = {
    **{word: value for value, word in enumerate(_SMALL)},
    **{word: 10 * n for n, word in enumerate(_TENS, 2)},
    **{f"{word[:-1]}ies": 10 * n for n, word in enumerate(_TENS, 2)},
}
_TIMES = {"dozen": 12, "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_PARTS = {
    "half": 2,
    "halves": 2,
    "third": 3,
    "thirds": 3,
    "quarter": 4,
    "quarters": 4,
    "fourth": 4,
    "fourths": 4,
    "fifths": 5,
    "sixths": 6,
    "eighth": 8,
    "eighths": 8,
    "tenths": 10,
}
_ORDINALS = {
    "first": 1,
    "second": 2,
    "third": 3,
    "fourth": 4,
    "fifth": 5,
    "sixth": 6,
    "seventh": 7,
    "eighth": 8,
    "ninth": 9,
    "tenth": 10,
    "eleventh": 11,
    "twelfth": 12,
    "thirteenth": 13,
    "fifteenth": 15,
    "twentieth": 20,
}
_COUNTS = {"once": 1, "twice": 2, "double": 2, "pair": 2, "couple": 2}

_NAMES: Mapping[str, Mapping[str, float]] = {
    "mass": {
        "mcg µg μg ug microgram micrograms": 1e-6,
        "mg mgs milligram milligrams": 1e-3,
        "g gm gms gr gram grams gramme grammes": 1,
        "kg kgs kilo kilos kilogram kilograms": 1e3,
        "oz ozs ounce ounces": 28.35,
        "lb lbs pound pounds": 453.6,
        "ton tons tonne tonnes": 1e6,
    },
    "volume": {
        "µl μl microliter microliters": 1e-3,
        "ml mls milliliter milliliters millilitre millilitres cc": 1,
        "cl centiliter centiliters": 10,
        "dl deciliter deciliters decilitre decilitres": 100,
        "l liter liters litre litres": 1e3,
        "tsp tsps teaspoon teaspoons teaspoonful teaspoonfuls": 4.93,
        "tbsp tbsps tbs tbls tb tablespoon tablespoons tablespoonful tablespoonfuls": 14.79,
        "cup cups cupful cupfuls": 236.6,
        "pint pints pt pts": 473.2,
        "quart quarts qt qts": 946.4,
        "gallon gallons gal": 3785,
    },
    "length": {
        "nm nanometer nanometers nanometre nanometres": 1e-9,
        "µm μm um micron microns micrometer micrometers micrometre micrometres": 1e-6,
        "mm millimeter millimeters millimetre millimetres": 1e-3,
        "cm cms centimeter centimeters centimetre centimetres": 1e-2,
        "m meter meters metre metres": 1,
        "km kilometer kilometers kilometre kilometres": 1e3,
        "inch inches": 0.0254,
        "ft foot feet": 0.3048,
        "yd yard yards": 0.9144,
        "mile miles": 1609,
    },
    "time": {
        "ms millisecond milliseconds": 1e-3,
        "s sec secs second seconds": 1,
        "min mins minute minutes": 60,
        "h hr hrs hour hours": 3600,
        "day days": 86_400,
        "week weeks wk wks": 604_800,
        "month months": 2.63e6,
        "year years yr yrs": 3.156e7,
        "decade decades": 3.156e8,
        "century centuries": 3.156e9,
    },
    "celsius": {"°c celsius centigrade": 1},
    "fahrenheit": {"°f fahrenheit": 1},
    "energy": {"cal calorie calories": 1e-3, "kcal kilocalorie kilocalories": 1, "kj kilojoule kilojoules": 0.239},
    "voltage": {"mv millivolt millivolts": 1e-3, "v volt volts": 1, "kv kilovolt kilovolts": 1e3},
    "power": {
        "mw milliwatt milliwatts": 1e-3,
        "watt watts": 1,
        "kw kilowatt kilowatts": 1e3,
        "megawatt megawatts": 1e6,
    },
    "pressure": {"mmhg": 1, "kpa": 7.5, "atm": 760},
    "amount": {"mmol millimole millimoles": 1e-3, "mol mole moles": 1, "µmol μmol umol": 1e-6},
    "share": {"% percent": 1},
}
"""Names of units by what they measure, each with how much of it that is."""

_UNITS: Mapping[str, tuple[str, float]] = {
    name: (dimension, factor)
    for dimension, units in _NAMES.items()
    for names, factor in units.items()
    for name in names.split()
}
"""What each unit measures, and how much of it."""

_TEMPERATURES = {"celsius", "fahrenheit"}
_VAGUE = {"degree", "degrees", "°"}
_ALTERNATIVES = "|".join(sorted(map(re.escape, _UNITS), key=len, reverse=True))

_DIGITS = r"\d+(?:\.\d+)?"
_NUMBER = (
    rf"(?<![\d.])(?<![^\W\d_])(?<![^\W\d_]-)(?:(?P<whole>\d{{1,9}})(?: |-| and "
    rf")(?P<over>\d{{1,9}})\s?/\s?(?P<under>[1-9]\d{{0,8}})|"
    rf"(?P<date>\d{{1,4}}(?:/\d{{1,4}}){{2,3}})|(?P<top>\d{{1,9}})\s?/\s?(?P<bottom>[1-9]\d{{0,8}})|(?P<plain>{_DIGITS}|"
    rf"(?<![\d.])\.\d+)(?:[\s-]?(?P<times>{'|'.join(_TIMES)})s?\b)?)(?![\d/])"
)
_WORDS = "|".join(sorted({*_VALUES, *_TIMES, *_PARTS, *_ORDINALS, *_COUNTS}, key=len, reverse=True))
_WORD_NUMBER = (
    rf"(?P<words>\b(?:{_WORDS})\b(?:(?:[ -]|,? and (?:an? )?| an? )(?:{_WORDS})\b)*)(?: point "
    rf"(?P<point>(?:{_WORDS})\b|\d{{1,15}}(?!\d)))?"
)
_UNIT = (
    rf"(?:[\s-]{{0,2}}(?:an? |of an? )?(?:(?:°|degrees? )\s?(?P<degrees>[cf]\b|celsius|fahrenheit|"
    rf"centigrade)|(?P<unit>(?<!\d)s(?![^\W_])|(?!s(?![^\W_]))(?:{_ALTERNATIVES}))(?![^\W_]))|"
    rf"\s?(?P<vague>°|degrees?\b))?"
)
_QUANTITY = re.compile(rf"(?:{_NUMBER}|{_WORD_NUMBER}){_UNIT}(?P<range>\s?(?:-|–|—|to|or|and|by|x)\s?(?=[\d.]))?")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_GROUPED = re.compile(
    r"(?<![\d.,'’])[1-9]\d{0,2}(?:(?:\.\d{3}){2,5}(?!\.?\d)|(?:['’]\d{3}){1,5}|(?:,\d{2}){1,5},\d{3}|"
    r"(?:[\u00a0\u2009\u202f]\d{3}){1,5}|(?: \d{3}){0,4} 000)(?!\d)"
)
"""Thousands that are not set apart by commas: by dots if there are several, by apostrophes, by two digits as in India,
and by blanks that do not break or before three zeros; by others two numbers stand side by side."""

_LIST_NUMBER = re.compile(r"(?m)^[ \t]*\d{1,2}[.)](?:\s|$)")
_EXPONENT = re.compile(r"(?<=\d)[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_SHORT = re.compile(
    r"(?P<number>(?:(?P<money>[$€£¥]\s?)|(?<![\w.,]))\d{1,12}(?:[.,]\d{1,9}){0,4})"
    r"(?P<blank>\s?)(?P<short>[kKmMbB]|[mMbB]n)\b"
)
_SHORT_FOR = {"k": "thousand", "m": "million", "mn": "million", "b": "billion", "bn": "billion"}
_LETTER_OF_DEGREES = re.compile(r"(?<=\d)\s?(?P<letter>[FC])\b(?!\.\s?[a-z])")
_OF_TEMPERATURE = re.compile(r"\b(?:bak|heat|oven|preheat|roast|temperature|degree|boil|simmer)|°", re.IGNORECASE)

LEAST_IN_WORDS = 100
"""From here on a number in words says how much, whatever stands behind it."""

MOST_UNDER = 100
"""What stands under a fraction at most: 5/2009 is a date."""

NEAR = 60
"""Characters around a number with F or C behind it that may tell of a temperature."""

TOLERANCE = 0.03
"""Share by which a quantity in another unit may differ: 450 g for a pound."""


@dataclass(frozen=True)
class Quantity:
    """A number, the unit behind it ("" for none), and whether it is written in digits."""

    value: float
    unit: str = ""
    in_digits: bool = True

    @property
    def is_checked(self) -> bool:
        """Whether a claim with it says how much: "one of them" does not, nor "one week", which may be "last week"."""
        return self.in_digits or (bool(self.unit) and self.value != 1) or self.value >= LEAST_IN_WORDS


@lru_cache(64)
def quantities(text: str) -> tuple[Quantity, ...]:
    """Return the numbers of a text with their units, in order; what can be read in two ways is there in both."""
    found: list[Quantity] = []
    waiting: list[Quantity] = []
    for match in _QUANTITY.finditer(_prepared(text)):
        unit, in_digits = _unit(match), match["words"] is None
        values = [Quantity(value, "" if is_place else unit, in_digits) for value, is_place in _values(match)]
        if match["range"] and not unit:
            waiting += values
            continue
        found += [replace(quantity, unit=unit) for quantity in waiting]
        found += values
        waiting = []
    return tuple(found + waiting)


class Measured:
    """The quantities of a document, to look those of claims up in.

    Args:
        text: the document.
    """

    def __init__(self, text: str) -> None:
        self._units = defaultdict[float, set[str]](set)
        self._by_dimension = defaultdict[str, list[tuple[float, float]]](list)
        for quantity in quantities(text):
            self._units[quantity.value].add(quantity.unit)
            if quantity.unit in _UNITS:
                dimension, factor = _UNITS[quantity.unit]
                self._by_dimension[dimension].append((quantity.value, factor))
        self._rounded = defaultdict[float, set[str]](set)
        for value, units in self._units.items():
            if math.isfinite(value) and not value.is_integer():
                for places in (0, 1, 2):
                    self._rounded[round(value, places)] |= units

    def problem(self, quantity: Quantity) -> str:
        """Say what of a claim's quantity the document does not have: "number" or "unit"; "" if it has it."""
        units = self._units.get(quantity.value) or self._rounded.get(quantity.value)
        if units is None:
            is_there = self._converted(quantity)
            if not is_there and quantity.unit in ("%", "percent"):
                is_there = round(quantity.value / 100, 6) in self._units
            return "" if is_there else "number"
        return "unit" if quantity.unit and not self._has_unit(quantity, units) else ""

    def has_other_unit(self, quantity: Quantity) -> bool:
        """Whether the document has the number with another unit of the same kind, time aside, and never with this."""
        dimension = _dimension(quantity.unit)
        units = self._units.get(quantity.value, set())
        others = {_dimension(unit) for unit in units} - {""}
        same_kind = dimension in others or (dimension in _TEMPERATURES and bool(others & _TEMPERATURES))
        return same_kind and dimension not in ("", "time") and not self._has_unit(quantity, units)

    def _has_unit(self, quantity: Quantity, units: set[str]) -> bool:
        wanted = _UNITS.get(quantity.unit)
        if wanted is None or wanted in {_UNITS.get(unit) for unit in units} or self._converted(quantity):
            return True
        if wanted[0] in _TEMPERATURES and units & _VAGUE:
            return True
        dimensions = {_dimension(unit) for unit in units} - {""}
        known = wanted[0] in dimensions or (wanted[0] in _TEMPERATURES and bool(dimensions & _TEMPERATURES))
        return not known and ("" in units or not dimensions)

    def _converted(self, quantity: Quantity) -> bool:
        """Whether the document has as much in another unit."""
        if quantity.unit not in _UNITS:
            return False
        dimension, factor = _UNITS[quantity.unit]
        amount = quantity.value * factor
        return any(
            abs(value * other - amount) <= TOLERANCE * amount
            for value, other in self._by_dimension[dimension]
            if other != factor
        )


def _dimension(unit: str) -> str:
    return _UNITS[unit][0] if unit in _UNITS else ""


def _prepared(text: str) -> str:
    text = _GROUPED.sub(lambda match: re.sub(r"\D", "", match[0]), text)
    text = _LETTER_OF_DEGREES.sub(_degrees, _SHORT.sub(_in_full, text))
    if not text.isascii():
        text = _EXPONENT.sub(r" ^\g<0>", text)
        text = "".join(_spelled(c) if unicodedata.category(c) == "No" else c for c in text)
        text = unicodedata.normalize("NFKC", text).replace("\u2044", "/")
    return _LIST_NUMBER.sub(" ", _THOUSANDS.sub("", text.casefold()))


def _in_full(match: re.Match[str]) -> str:
    """Return "$5m" as "$5 million", and "60k"; "5m" without a currency is a length, and "300K" a temperature."""
    short = match["short"]
    is_meant = match["money"] or short[1:] or (short == "k" and not match["blank"])
    return f"{match['number']} {_SHORT_FOR[short.lower()]}" if is_meant else match[0]


def _degrees(match: re.Match[str]) -> str:
    """Return the F of "bake at 350F" as "°F"; a letter far from any word of heat as it is."""
    around = match.string[max(0, match.start() - NEAR) : match.end() + NEAR]
    return f" °{match['letter']}" if _OF_TEMPERATURE.search(around) else match[0]


@lru_cache(256)
def _spelled(character: str) -> str:
    """Return a fraction as " 1/2"; another character as it is."""
    decomposed = unicodedata.normalize("NFKC", character)
    return f" {decomposed}" if "\u2044" in decomposed else character


def _unit(match: re.Match[str]) -> str:
    if match["degrees"]:
        return "celsius" if match["degrees"][0] == "c" else "fahrenheit"
    return match["unit"] or match["vague"] or ""


def _values(match: re.Match[str]) -> Iterator[tuple[float, bool]]:
    """Yield what a number says, and whether it is a place in an order, which has no unit."""
    if match["words"] is None:
        yield from ((value, False) for value in _in_digits(match))
        return
    whole = _worded(match["words"])
    yield from whole
    if match["point"] and len(whole) == 1 and math.isfinite(whole[0][0]):
        point = match["point"]
        decimals = f"{_worded(point)[0][0]:.0f}" if point.isalpha() else point
        yield float(f"{whole[0][0]:.0f}.{decimals}"), False


def _in_digits(match: re.Match[str]) -> Iterator[float]:
    if match["under"]:
        yield float(int(match["whole"]) + Fraction(int(match["over"]), int(match["under"])))
    elif match["date"]:
        yield from map(float, match["date"].split("/"))
    elif match["bottom"]:
        top, bottom = int(match["top"]), int(match["bottom"])
        if top < bottom <= MOST_UNDER:
            yield round(float(Fraction(top, bottom)), 6)
        else:  # a date, or a blood pressure
            yield from (float(top), float(bottom))
    else:
        yield float(match["plain"]) * _TIMES.get(match["times"] or "", 1)


@lru_cache(1024)
def _worded(words: str) -> tuple[tuple[float, bool], ...]:
    """Return what number words say: "sixty one" 61, "one and a half" 1.5, "nineteen ninety five" 1995 and 19, 95.

    With each number stands whether it is a place in an order: "second".
    """
    parts = re.findall(r"[a-z]+", words)
    groups: list[list[float]] = []  # numbers below a thousand that stand side by side
    total = 0.0
    fraction: float | None = None
    found, places = set[float](), set[float]()
    for word in parts:
        if word in _VALUES:
            value = float(_VALUES[word])
            last = groups[-1][0] if groups else None
            if last is not None and (
                (value < 10 and last >= 20 and last % 10 == 0) or (last % 100 == 0 and last >= 100)
            ):
                groups[-1][0] = last + value
            else:
                groups.append([value])
        elif word in _TIMES:
            number = groups.pop()[0] if groups else 1.0
            if _TIMES[word] == 100 or word == "dozen":
                groups.append([number * _TIMES[word]])
            else:
                total += number * _TIMES[word]
        elif word in _PARTS:
            number = groups.pop()[0] if groups and ("half" not in word or len(parts) < 3) else 1.0
            fraction = round(number / _PARTS[word], 6)
            if word in _ORDINALS:
                places.add(float(_ORDINALS[word]))
        elif word in _ORDINALS:
            last = groups.pop()[0] if groups and groups[-1][0] >= 20 else 0.0
            places.add(last + _ORDINALS[word])
        elif word in _COUNTS:
            found.add(float(_COUNTS[word]))
    numbers = [group[0] for group in groups]
    if total:
        found.add(total + (numbers[0] if numbers else 0))
    found.update(numbers)
    if len(numbers) == 2 and numbers[0] < 100 and 10 <= numbers[1] < 100:  # nineteen ninety-five, one eighty
        found.add(numbers[0] * 100 + numbers[1])
    if fraction is not None:
        found.add(fraction)
        found.update(number + fraction for number in numbers)
    return tuple(sorted([*((value, False) for value in found), *((value, True) for value in places - found)]))
