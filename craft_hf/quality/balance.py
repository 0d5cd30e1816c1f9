"""Shuffles the options of multiple-choice samples so that every label is right equally often."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from craft_hf.base import JSON, fingerprint
from craft_hf.tasks import MultipleChoice, Task


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
        import jsonschema

        self._validator = jsonschema.Draft202012Validator(task.schema)
        self._seen: Counter[int] = Counter()
        self.balance = Balance()

    def shuffled(self, document_id: str, fields: Mapping[str, JSON]) -> Mapping[str, JSON]:
        """Return the next kept sample with its options in another order; the answer follows."""
        choices = self._task.multiple_choice
        if choices is None:
            return fields
        before = choices.name_of(fields)
        self.balance.before[before] = self.balance.before.get(before, 0) + 1
        moved = self._moved(choices, document_id, fields)
        self.balance.fixed += moved is None
        fields = moved or fields
        after = choices.name_of(fields)
        self.balance.after[after] = self.balance.after.get(after, 0) + 1
        self.balance.moved += after != before
        return fields

    def _moved(
        self, choices: MultipleChoice, document_id: str, fields: Mapping[str, JSON]
    ) -> Mapping[str, JSON] | None:
        """Return the sample with the right option at the next place; None if sample or schema do not allow for it."""
        options = choices.read(fields)
        count, right = len(options.texts), options.right
        if right is None or count < 2 or options.depends_on_order:
            return None
        number = self._seen[count]
        place = _drawn(range(count), self._seed, count, number // count)[number % count]
        others = _drawn([n for n in range(count) if n != right], self._seed, document_id)
        changed = choices.reordered(fields, [*others[:place], right, *others[place:]])
        if not self._validator.is_valid(changed):
            return None
        self._seen[count] += 1
        return changed


def _drawn(values: Sequence[int], *seed: JSON) -> list[int]:
    return random.Random(fingerprint(list(seed))).sample(values, len(values))
