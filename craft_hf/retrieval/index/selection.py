"""Which documents of an index are searched: those of some sources and licences."""

from __future__ import annotations

import difflib
import functools
import re
from collections import Counter
from dataclasses import dataclass

import numpy as np

from craft_hf.base import InputError
from craft_hf.retrieval.index.info import IndexInfo
from craft_hf.retrieval.index.shard import Shard

NOT_STATED = "not stated"
"""The name of a licence or source that a document does not state."""

_NAMED = 8
"""Names that a message lists at most."""


@dataclass(frozen=True)
class Selection:
    """The documents of some sources and licences.

    Attributes:
        sources: names, in which * stands for any characters; case does not matter. Without any, all sources count.
        licenses: the same of licences, as the documents state them; "not stated" is for those that state none.
    """

    sources: tuple[str, ...] = ()
    licenses: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.sources or self.licenses)

    def includes(self, source: str, license: str) -> bool:
        """Return whether documents of a source under a licence are selected."""
        return is_named(source, self.sources) and is_named(license, self.licenses)

    def of_shard(self, shard: Shard) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Return which documents of a shard are selected, bool (rows,), without reading any of their texts."""
        included = np.array([self.includes(*corpus) for corpus in shard.corpora], dtype=bool)
        return included[shard.corpus] if len(included) else np.zeros(shard.rows, dtype=bool)

    def documents_by_source(self, info: IndexInfo) -> Counter[str]:
        """Return how many documents of each source are selected.

        Raises:
            InputError: a name fits no source or licence of the index, or no document is selected.
        """
        corpora = [(str(c["source"]), str(c["license"]), int(str(c["documents"]))) for c in info.corpora]
        for kind, names, column in (("sources", self.sources, 0), ("licenses", self.licenses, 1)):
            known = Counter[str]()
            for corpus in corpora:
                known[str(corpus[column]) or NOT_STATED] += corpus[2]
            for name in names:
                if not any(is_named(one, (name,)) for one in known):
                    raise InputError(_unknown(kind, name, known))
        selected = Counter[str]()
        for source, license, documents in corpora:
            if self.includes(source, license):
                selected[source] += documents
        if not selected:
            found = ", ".join(sorted({f"{s or NOT_STATED} ({li or NOT_STATED})" for s, li, _ in corpora})[:_NAMED])
            raise InputError(
                f"no document of the index is of sources={_listed(self.sources)} and under "
                f"licenses={_listed(self.licenses)} at the same time; it has {found}."
            )
        return selected


EVERYTHING = Selection()
"""All documents of an index."""


def is_named(value: str, names: tuple[str, ...]) -> bool:
    """Return whether one of some names fits a source or licence, see `Selection`; without any, all fit."""
    return not names or any(_pattern(name).fullmatch(value or NOT_STATED) for name in names)


@functools.lru_cache
def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(re.escape(name).replace(r"\*", ".*"), re.IGNORECASE | re.DOTALL)


def _unknown(kind: str, name: str, known: Counter[str]) -> str:
    """Return what to say of a name that the index does not have: which ones it has, the most similar first."""
    by_folded = {one.casefold(): one for one in known}
    near = [by_folded[one] for one in difflib.get_close_matches(name.casefold(), by_folded, _NAMED, 0.6)]
    rest = [one for one, _ in known.most_common() if one not in near]
    listed = ", ".join(f"{one!r} ({known[one]:,} documents)" for one in [*near, *rest][:_NAMED])
    more = f", and {len(known) - _NAMED} more (index.json lists them)" if len(known) > _NAMED else ""
    meant = f"; did you mean {near[0]!r}?" if near else "."
    return f"{kind} names {name!r}, which the index does not have. It has {listed}{more}{meant}"


def _listed(names: tuple[str, ...]) -> str:
    return ",".join(names) or "*"
