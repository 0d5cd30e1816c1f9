"""Text functions that several checks use: stems of content words, numbers, n-grams."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import snowballstemmer

from craft_hf.base import sentences as sentences

_WORD = re.compile(r"[^\W\d_]+")
_TOKEN = re.compile(r"\w+")
_NUMBER = re.compile(r"(?<![^\W\d_])\d+(?:[.,/]\d+)*")  # not the one in CO2
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")

_STEMMERS = {
    "ar": "arabic", "da": "danish", "de": "german", "en": "english", "es": "spanish", "fi": "finnish", "fr": "french",
    "hu": "hungarian", "it": "italian", "nl": "dutch", "no": "norwegian", "pt": "portuguese", "ro": "romanian",
    "ru": "russian", "sv": "swedish", "tr": "turkish",
}  # fmt: skip

_SMALL = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_NAMED: dict[str, float] = {
    **{word: value for value, word in enumerate(_SMALL)}, **{word: 10 * n for n, word in enumerate(_TENS, 2)},
    "half": 0.5, "third": 3, "quarter": 4, "dozen": 12, "once": 1, "twice": 2, "hundred": 100, "thousand": 1000,
}  # fmt: skip
_TENS_AND_ONE = re.compile(rf"\b({'|'.join(_TENS)})[- ]({'|'.join(_SMALL[1:10])})\b")


def stems(text: str, language: str = "en") -> list[str]:
    """Return the stems of a text's content words, in order: words without digits that are no stop words.

    Args:
        text: any text.
        language: ISO 639-1 code. Stems are Snowball's, for the languages that it has; stop words are left out of
            English only (scikit-learn's list), in other languages every word counts.
    """
    return [stem(word, language) for word in _content_words(text, language)]


def stem_set(text: str, language: str = "en") -> set[str]:
    """Return the different stems of a text's content words, as `stems` does in less time."""
    return {stem(word, language) for word in set(_content_words(text, language))}


def _content_words(text: str, language: str) -> list[str]:
    stop = _stop_words(language)
    found = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    return [word for word in found if word not in stop and (len(word) > 1 or not word.isascii())]


@lru_cache(1 << 18)
def stem(word: str, language: str) -> str:
    """Return the stem of a lower-case word by Snowball; the word itself in languages that Snowball does not have."""
    return str(_stemmer(language).stemWord(word)) if language in _STEMMERS else word


def numbers(text: str) -> set[str]:
    """Return the numbers in a text as digits: 1,000 as 1000, and without zeros that change nothing; signs are left out.

    A fraction is one number ("1/2"). Numbers in English words are those below a hundred, and a few more.
    """
    text = unicodedata.normalize("NFKC", text).casefold().replace("\u2044", "/")
    found = {_plain(number) for number in _NUMBER.findall(_THOUSANDS.sub("", text))}
    found |= {f"{_NAMED[tens] + _NAMED[one]:g}" for tens, one in _TENS_AND_ONE.findall(text)}
    return found | {f"{_NAMED[word]:g}" for word in _WORD.findall(text) if word in _NAMED}


def digits(text: str) -> set[str]:
    """Return the numbers that a text has in digits; see `numbers`."""
    text = unicodedata.normalize("NFKC", text).replace("\u2044", "/")
    return {_plain(number) for number in _NUMBER.findall(_THOUSANDS.sub("", text))}


def tokens(text: str) -> list[str]:
    """Return the words and numbers of a text in order, lower-cased, without punctuation."""
    return _TOKEN.findall(unicodedata.normalize("NFKC", text).casefold())


def ngrams(words: Sequence[str], n: int) -> Iterator[str]:
    """Yield the n-grams of words, joined by blanks, in order; none if there are fewer than n words."""
    for start in range(len(words) - n + 1):
        yield " ".join(words[start : start + n])


def _plain(number: str) -> str:
    """Drop zeros in front, and behind a decimal point."""
    plain = number.lstrip("0") or "0"
    return plain.rstrip("0").rstrip(".") if re.fullmatch(r"\d*\.\d+", plain) else plain


@lru_cache
def _stemmer(language: str) -> Any:
    """Return Snowball's stemmer, for which it takes the machine code of PyStemmer."""
    return snowballstemmer.stemmer(_STEMMERS[language])


@lru_cache
def _stop_words(language: str) -> frozenset[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS  # a second of import

    return frozenset(ENGLISH_STOP_WORDS) if language == "en" else frozenset()
