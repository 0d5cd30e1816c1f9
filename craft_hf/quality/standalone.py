"""Does a question lean on something that its reader does not have: a text, its maker, a figure, a case?

Rules for English. What is looked for is a noun of a text, of who made it or of a case, with a word that points at one:
"this study", "according to the author", "the extract above". A noun that the question has brought up before, as in "A
study compared ... In this study, ...", may be pointed at; so may whatever stands in the sentences before.
"""

from __future__ import annotations

import re

_TEXT = (
    r"texts?|passages?|articles?|paragraphs?|documents?|excerpts?|extracts?|essays?|papers?|chapters?|"
    r"abstracts?|blogs?|(?:blog |web ?|news ?)?posts?|web ?pages?|web ?sites?|leaflets?|brochures?|handouts?|"
    r"snippets?|"
    r"write-?ups?|readings?|stor(?:y|ies)|narratives?|lectures?|interviews?|dialogues?|monologues?|speech(?:es)?|"
    r"editorials?|vignettes?|sections?|reviews?|reports?|stud(?:y|ies)|podcasts?|newsletters?|press releases?|"
    r"case (?:reports?|stud(?:y|ies))"
)
"""What a question is rarely about, but may lean on."""

_SHOWN = r"figures?|tables?|diagrams?|charts?|graphs?|images?|pictures?|illustrations?|photos?|photographs?|drawings?"

_LOOSE = (
    r"information|data|findings?|results?|materials?|contents?|sources?|facts?|details?|descriptions?|statements?|"
    r"discussions?|lists?|examples?|scenarios?|cases?|experiments?|trials?|surveys?|analys[ie]s|research|books?|"
    r"pages?|notes?|conversations?|transcripts?|recipes?|evidence|context|situations?|quotations?|quotes?|"
    r"observations?"
)
"""What a question may well be about: it takes more than "the" to lean on it."""

_MAKER = (
    r"authors?|writers?|narrators?|researchers?|investigators?|speakers?|reporters?|journalists?|bloggers?|"
    r"lecturers?|"
    r"interviewe(?:rs?|es?)|editors?|columnists?|essayists?|reviewers?"
)
_PERSON = (
    r"patients?|m[ae]n|wom[ae]n|boys?|girls?|child(?:ren)?|infants?|newborns?|persons?|people|subjects?|"
    r"participants?"
)

_ADJECTIVES = r"(?:[\w'’-]+ ){0,2}?"
_THE = r"(?:the|this|that|these|those|said|your|our)"
_SAID = (
    r"(?:given|provided|presented|described|reported|mentioned|discussed|quoted|cited|shown|supplied|stated|listed|"
    r"outlined|depicted|summari[sz]ed|covered|introduced|referred to)"
)
_BY = (
    rf"(?:according to|as per|per|based (?:up)?on|judging (?:from|by)|going by|drawing on|with (?:regard|"
    rf"reference|respect) "
    rf"to|considering|regarding|referring to|in (?:the )?(?:light|view|opinion|words|eyes|terms) of|{_SAID} "
    rf"(?:in|by|on|"
    rf"within|throughout)|(?:explained|suggested|argued|noted|claimed|found|concluded|recommended|emphasi[sz]ed|"
    rf"identified|"
    rf"highlighted|indicated|proposed|defined|addressed) (?:in|by|within))"
)
_PLACE = r"(?:above|below|earlier|previously|before|here|herein|beforehand)"
_ENDS = (
    r"(?=\W*$|[,;:]|\s+(?:what|which|who|whom|whose|how|why|when|where|is|are|was|were|did|does|do|can|could|"
    r"should|be|have|has|had)\b)"
)
_OF_ITSELF = (
    rf"(?!['’]?\w)(?!\s+(?:of|by|on|about|called|titled|entitled|named)\b(?! this\b)(?! (?:the|these) "
    rf"(?:{_TEXT})\b))"
)
"""Not "the study of plants", "the paper by Watson and Crick": these say themselves which."""

_LEANS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\b{_BY} {_THE} {_ADJECTIVES}(?P<noun>{_TEXT}|{_SHOWN}|{_LOOSE}){_OF_ITSELF}",
        rf"\b(?:in|from|by|within|throughout|per) (?:the|this|these|that|those) {_ADJECTIVES}(?P<noun>{_TEXT}|"
        rf"{_SHOWN}){_OF_ITSELF}",
        rf"\b(?:this|these) {_ADJECTIVES}(?P<noun>{_TEXT}|{_SHOWN}){_OF_ITSELF}",
        rf"\b(?:the|this|that) {_ADJECTIVES}(?P<noun>texts?|passages?|articles?|paragraphs?|excerpts?|"
        rf"extracts?){_OF_ITSELF}",
        rf"\b(?:the|this|these|our) (?:\w+ )?(?P<noun>{_MAKER})(?:['’]s?)?(?!\s+(?:of|who|whose)\b)(?!\w)",
        rf"\b(?:the|this|these|those) {_ADJECTIVES}(?P<noun>{_TEXT}|{_SHOWN}|{_LOOSE}|{_PERSON}) (?:(?:that|"
        rf"which|who) "
        rf"(?:was|were|is|are|has been|have been) )?{_SAID}(?: {_PLACE})?{_ENDS}",
        rf"\b(?:the|this|these) (?:above|preceding|foregoing|previous|aforementioned|aforesaid|provided|given) "
        rf"{_ADJECTIVES}"
        rf"(?P<noun>{_TEXT}|{_SHOWN}|{_LOOSE}|{_PERSON})\b",
        rf"\b(?P<noun>{_TEXT}|{_SHOWN}|{_LOOSE}|{_PERSON}) (?:above|below){_ENDS}",
        rf"\b(?P<noun>{_SAID}) {_PLACE}\b{_ENDS}",
        r"\b(?P<noun>the above|above[- ]mentioned|afore(?:mentioned|said))\b",
    )
)  # fmt: skip
_THIS = re.compile(
    rf"(?<!\bof )\b(?:this|these) (?:\w+ )?(?P<noun>{_PERSON}|scenario|case|experiment|trial)\b", re.IGNORECASE
)
_BROUGHT_UP = re.compile(r"\b(?:an?|one|another|some|each|every|two|three|several|many|\d+)\b[^.?!]*$", re.IGNORECASE)
_SOMEBODY = re.compile(rf"\b(?:{_PERSON}|male|female|year-old|adult|he|she|they|someone|somebody)\b", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?:]\s")

_NOUN_BEHIND = re.compile(
    r"\s+(?:genes?|industry|area|elements?|reads?|paper|card|board|game|tool|salt|wine|tennis|manner|therapy|language|"
    r"(?-i:['\"‘“][A-Z]))",
    re.IGNORECASE,
)
"""What makes a text's name the name of something else, or says which text it is."""

_LONGEST = 4_000
"""Characters of a question that are looked at."""

ENOUGH = 40
"""Characters of the sentences before one that may be what it points at."""


def leans_on(text: str) -> str:
    """Return the words by which a question leans on what its reader does not have; "" for none."""
    text = text[:_LONGEST]
    for pattern in _LEANS:
        for match in pattern.finditer(text):
            if not _is_compound(match, text) and not _is_there(match["noun"], text[: match.start()]):
                return match[0]
    for match in _THIS.finditer(text):
        before = text[: match.start()]
        if not (_has_sentences(before) or _SOMEBODY.search(before) or _is_there(match["noun"], before)):
            return match[0]
    return ""


def _is_compound(match: re.Match[str], text: str) -> bool:
    """Whether the noun is the first part of another one ("the periodic table element", "the reporter gene")."""
    behind = _NOUN_BEHIND.match(text, match.end("noun"))
    return behind is not None and not re.fullmatch(_PURE, match["noun"], re.IGNORECASE)


def _is_there(noun: str, before: str) -> bool:
    """Whether what a noun points at stands before it: sentences about it, or the noun with "a" or the like."""
    if _has_sentences(before) and not re.fullmatch(rf"{_PURE}", noun, re.IGNORECASE):
        return True
    stem = noun.casefold().removesuffix("ies").rstrip("sy")
    return any(
        _BROUGHT_UP.search(before[: found.end()])
        for found in re.finditer(rf"\b{re.escape(stem)}", before, re.IGNORECASE)
    )


_PURE = (
    r"texts?|passages?|articles?|paragraphs?|documents?|excerpts?|extracts?|web ?pages?|blogs?|authors?|"
    r"writers?|narrators?"
)
"""What no sentence of a question stands for, however long it is."""


def _has_sentences(before: str) -> bool:
    end = [match.end() for match in _SENTENCE_END.finditer(before)]
    return bool(end) and end[-1] >= ENOUGH
