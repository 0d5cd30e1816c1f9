"""The sentences of a document that support a sample, to be highlighted on the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from craft_hf.base import JSON, sentence_spans
from craft_hf.quality import sentences, stems
from craft_hf.tasks import Task, texts_of

MIN_SHARE = 0.3
"""Share of a claim's content words that a sentence must have to be highlighted for it."""


def supporting_sentences(task: Task, document: str, fields: Mapping[str, JSON]) -> list[tuple[int, int]]:
    """Return start and end of the sentences that share most words with what the sample says, in order of place.

    For each claim (a sentence of a field that the task wants grounded, or of any field where it names none; the text of
    the right option for the letter of an answer) the sentence with the greatest share of its stems, if that is
    `MIN_SHARE` at least.
    """
    places = sentence_spans(document)
    words = [set(stems(document[start:end], task.language)) for start, end in places]
    found = set()
    for claim in _claims(task, fields):
        wanted = set(stems(claim, task.language))
        shares = [len(wanted & there) / len(wanted) for there in words] if wanted else []
        if shares and max(shares) >= MIN_SHARE:
            found.add(places[shares.index(max(shares))])
    return sorted(found)


def _claims(task: Task, fields: Mapping[str, JSON]) -> Iterator[str]:
    choices = task.multiple_choice
    for name in task.grounded or fields:
        if choices and name == choices.answer_field:
            yield choices.read(fields).right_text
        else:
            yield from (sentence for text in texts_of(fields.get(name)) for sentence in sentences(text))
