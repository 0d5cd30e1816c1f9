"""Text functions that several checks use: stems of content words, n-grams."""

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

_STEMMERS = {
    "ar": "arabic", "da": "danish", "de": "german", "en": "english", "es": "spanish", "fi": "finnish", "fr": "french",
    "hu": "hungarian", "it": "italian", "nl": "dutch", "no": "norwegian", "pt": "portuguese", "ro": "romanian",
    "ru": "russian", "sv": "swedish", "tr": "turkish",
}  # fmt: skip


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
    stop = stop_words(language)
    found = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    return [word for word in found if word not in stop and (len(word) > 1 or not word.isascii())]


@lru_cache(1 << 18)
def stem(word: str, language: str) -> str:
    """Return the stem of a lower-case word by Snowball; the word itself in languages that Snowball does not have."""
    return str(_stemmer(language).stemWord(word)) if language in _STEMMERS else word


def tokens(text: str) -> list[str]:
    """Return the words and numbers of a text in order, lower-cased, without punctuation."""
    return _TOKEN.findall(unicodedata.normalize("NFKC", text).casefold())


def ngrams(words: Sequence[str], n: int) -> Iterator[str]:
    """Yield the n-grams of words, joined by blanks, in order; none if there are fewer than n words."""
    for start in range(len(words) - n + 1):
        yield " ".join(words[start : start + n])


@lru_cache
def _stemmer(language: str) -> Any:
    """Return Snowball's stemmer, for which it takes the machine code of PyStemmer."""
    return snowballstemmer.stemmer(_STEMMERS[language])


@lru_cache
def stop_words(language: str) -> frozenset[str]:
    """Return words of a language that say little: of English those of scikit-learn, of others none."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS  # a second of import

    return frozenset(ENGLISH_STOP_WORDS) if language == "en" else frozenset()
