"""No letter favoured: multiple-choice samples come in, the same with their options in another order go out."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import jsonschema

from craft_hf.base import JSON, fingerprint
from craft_hf.quality.options import label_of, relabelled
from craft_hf.quality.text import texts_of
from craft_hf.tasks import Task

_BOUND_TO_PLACE = re.compile(
    r"(?i:\b(?:all|none|any|both|neither|either|some|one|two)\s+(?:of\s+)?(?:the\s+)?"
    r"(?:above|these|those|them|two|others?|options|answers|choices|statements)\b)"
    r"|\b[A-H]\)?\s*(?:,|and|or|nor|&)\s*\(?[A-H]\b"
)
"""Options that speak of others, by their place or their letters."""


@dataclass
class Balance:
    """How often each letter was the right one, before and after; `moved` samples have another letter than before.

    `fixed` samples kept their order, because the schema gives it or an option speaks of others ("all of the above").
    """

    before: dict[str, int] = field(default_factory=dict)
    after: dict[str, int] = field(default_factory=dict)
    moved: int = 0
    fixed: int = 0


class Shuffle:
    """Gives the right answers of samples every letter equally often.

    In each block of as many samples as there are options every letter is right once, in an order that the seed draws;
    the other options take the places that are left in a random order. So the beginning of a longer run is the shorter
    run.

    Args:
        task: its schema and the names of options and answer; for a task without options nothing is done.
        seed: draws the order.
    """

    def __init__(self, task: Task, seed: int) -> None:
        self._task, self._seed = task, seed
        self._validator = jsonschema.Draft202012Validator(task.schema)
        self._seen: Counter[int] = Counter()
        self.balance = Balance()

    def shuffled(self, document_id: str, fields: Mapping[str, JSON]) -> Mapping[str, JSON]:
        """Return the next kept sample with its options in another order; the answer follows."""
        if not (self._task.options_field and self._task.answer_field):
            return fields
        answer = str(fields[self._task.answer_field])
        self.balance.before[answer] = self.balance.before.get(answer, 0) + 1
        options = list(texts_of(fields[self._task.options_field]))
        labels = [label_of(option) for option in options]
        moved = None
        if answer in labels and len(set(labels)) == len(labels) > 1 and not any(map(_BOUND_TO_PLACE.search, options)):
            moved = self._moved(document_id, fields, options, labels, labels.index(answer))
        self.balance.fixed += moved is None
        fields = moved or fields
        letter = str(fields[self._task.answer_field])
        self.balance.after[letter] = self.balance.after.get(letter, 0) + 1
        self.balance.moved += letter != answer
        return fields

    def _moved(
        self, document_id: str, fields: Mapping[str, JSON], options: Sequence[str], labels: Sequence[str], right: int
    ) -> Mapping[str, JSON] | None:
        """Return the sample with the right option at the next place; None if the schema does not allow for it."""
        count, number = len(options), self._seen[len(options)]
        places = _drawn(range(count), self._seed, count, number // count)
        place = places[number % count]
        others = _drawn([n for n in range(count) if n != right], self._seed, document_id)
        order = [*others[:place], right, *others[place:]]
        texts = [relabelled(options[n], label) for n, label in zip(order, labels, strict=True)]
        changed = {**fields, self._task.options_field: texts, self._task.answer_field: labels[place]}
        if not self._validator.is_valid(changed):
            return None
        self._seen[count] += 1
        return changed


def _drawn(values: Sequence[int], *seed: JSON) -> list[int]:
    return random.Random(fingerprint(list(seed))).sample(values, len(values))
