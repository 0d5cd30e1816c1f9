"""What a run has given so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from craft_hf.base import JSON, Embedder, Reject, Sample, Spooled
from craft_hf.dataset import RowVectors, Stage
from craft_hf.generation import Usage
from craft_hf.quality import Balance, Overlap
from craft_hf.retrieval import Coverage


@dataclass
class RunResult:
    """What a run has given so far; complete once the run has ended.

    Attributes:
        samples, rejects: in the order of retrieval; most of them are on the disk.
        documents: that were prompted, and have an outcome.
        dropped: rejects by the check that dropped them.
        vectors: of some of the samples, their documents and the few-shots, as the checks and the index have them.
    """

    samples: Spooled[Sample] = field(default_factory=Spooled)
    rejects: Spooled[Reject] = field(default_factory=Spooled)
    documents: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    usage: Usage = field(default_factory=Usage)
    funnel: list[Stage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    index: Mapping[str, JSON] = field(default_factory=dict)
    embedder: Embedder | None = None
    coverage: Coverage | None = None
    balance: Balance = field(default_factory=Balance)
    overlaps: Sequence[Overlap] = ()
    review: str = ""
    vectors: RowVectors | None = None

    def reject(self, reject: Reject) -> Reject:
        """Add a reject, and return it."""
        self.rejects.append(reject)
        self.dropped[reject.check] += 1
        return reject
