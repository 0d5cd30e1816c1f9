"""The task's own check: is the sentence a definition, and one of the term beside it?"""

import re
from itertools import pairwise

from craft_hf.base import Verdict
from craft_hf.quality import Check, GeneratedSample, Limit, sentences, stems
from craft_hf.tasks import Task

VERB = re.compile(r" (is|are|means|refers to) ")
ARTICLES = ("a ", "an ", "the ", "any ", "one ")

NO_SUBJECT = frozenset((
    "it", "its", "he", "she", "they", "their", "we", "our", "you", "your", "this", "that", "these", "those", "such",
    "here", "there", "both", "each", "another", "other", "others", "some", "many", "most", "all", "in", "on", "at",
    "by", "to", "for", "from", "with", "of", "if", "when", "where", "while", "although", "unlike", "like", "because",
    "since", "as", "after", "before", "during", "however", "therefore", "thus", "also", "then", "so", "but", "and",
    "first", "finally", "instead", "do", "does", "did", "what", "who", "why", "how", "which",
))  # fmt: skip
"""Words that sentences begin with, and definitions of a term do not."""

NOT_IN_NAMES = frozenset(("was", "were", "has", "have", "had", "remain", "remains", "a", "an", "the"))
"""Words behind the first of a name that make it more than a name: "drugs provide an alternative"."""

LINKS = frozenset(("of", "in", "to", "for", "from", "with", "at", "on", "by", "that", "about", "and"))
"""Words before the term that make the subject something else than the term: "the discovery of an asteroid"."""

NAMES = re.compile(r"[()]|\bor\b")
"""What divides the names of a thing: "repetitive motion disorders (RMDs)", "entropy or disorder"."""

NO_KIND = frozenset((
    "also", "not", "very", "often", "usually", "more", "most", "all", "only", "main", "first", "best", "same", "good",
    "common", "important", "example", "reason", "result", "used", "made", "found", "known", "called", "said", "able",
    "likely", "in", "on", "at", "of", "from", "to", "among",
))  # fmt: skip
"""Words that follow "is a" or "are" where something is told of a thing that does not say what it is."""

PASSIVE = re.compile(
    r"\w+(?:ed|wn|ken|ven|tten|ing) (?:to|in|into|within|by|on|at|as|from|with|for|through|until|when|if|because) "
)
"""What is done to a thing: "produced in the marrow"; but not "specialised cells that", which says what it is."""

IN_ONE_PLACE = 0.6
"""Share of a definition's content words that two sentences of the document in a row must hold, so that the document
defines the term, and not the model's memory; a model may join two sentences, and exchange some of their words."""


class DefinitionCheck(Check):
    """Drops sentences that do not say what their term is, or that the document does not say in one place."""

    name = "definition"
    label = "a definition of its term"
    about = "a sentence that says what the term is, not by the term itself, and as the document does in one place"

    @classmethod
    def limit(cls, task: Task) -> Limit:
        """Return the least share of words that the document must hold in one place."""
        return Limit(IN_ONE_PLACE, near=0.1)

    def check(self, sample: GeneratedSample) -> Verdict:
        """Judge by the words before the first verb, which should be the term, and by those behind it."""
        subject, verb, rest = VERB.split(str(sample.fields["definition"]).casefold(), maxsplit=1)
        term, noun = set(stems(str(sample.fields["term"]))), rest
        if subject.split()[0].rstrip(",") in NO_SUBJECT:
            return self.drop("does not begin with the term")
        names = [name.split() for name in NAMES.split(subject)]
        named = any(_is_name(name, str(sample.fields["term"])) for name in names)
        if not named or any(not NOT_IN_NAMES.isdisjoint(name[1:]) for name in names):
            return self.drop("the sentence is about something else")
        if _breaks_off(str(sample.fields["definition"]), sample.document.text):
            return self.drop("breaks off")
        if verb == "is" and not rest.startswith(ARTICLES):
            return self.drop("does not say what it is")
        if rest.startswith(ARTICLES):
            noun = rest.split(maxsplit=1)[1]
        if noun.split()[0] in NO_KIND or (verb == "are" and PASSIVE.match(noun)):
            return self.drop("does not say what it is")
        if term and term <= set(stems(rest)):
            return self.drop("explains the term by itself")
        share = _share_in_one_place(str(sample.fields["definition"]), sample.document.text)
        if share < IN_ONE_PLACE:
            return self.drop("the document does not define the term so", share)
        return self.keep(share)


def _is_name(words: list[str], term: str) -> bool:
    """Return whether the words of a name end with the term, with none before it that name another thing."""
    wanted = term.casefold().split()
    before, last = words[: -len(wanted)], words[-len(wanted) :]
    same = last == wanted or (stems(" ".join(last)) == stems(" ".join(wanted)) != [])
    return same and LINKS.isdisjoint(before)


def _breaks_off(definition: str, text: str) -> bool:
    """Return whether the last full stop is that of an abbreviation in the document, or a bracket is left open."""
    end = re.escape(definition.split()[-1])
    return definition.count("(") != definition.count(")") or bool(re.search(rf"(?<!\w){end} ?[a-z0-9]", text))


def _share_in_one_place(definition: str, text: str) -> float:
    """Return the greatest share of a definition's content words that a sentence and the next one hold."""
    words = set(stems(definition))
    found = [set(stems(sentence)) for sentence in sentences(text)]
    places = [first | second for first, second in pairwise([*found, set()])]
    return round(max((len(words & place) for place in places), default=0) / len(words), 4) if words else 1.0
