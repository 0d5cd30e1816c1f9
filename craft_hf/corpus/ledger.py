"""The ledger of a corpus: everything that was met became a document, or is counted under a reason with an example."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from craft_hf.base import JSON, InputError, printable

_LONGEST_EXAMPLE = 300
"""Characters of an example that are kept."""


class Fault(InputError):
    """The first fault that a strict ledger met."""


class Reason(StrEnum):
    """Why something became no document of the index; the value is how people read it, and how it is written down."""

    UNKNOWN_ENDING = "unknown ending"
    HIDDEN = "hidden file or folder"
    UNREADABLE = "unreadable or broken file"
    NOT_INSTALLED = "reader not installed"
    ONLY_IMAGES = "PDF without text"
    EMPTY_PAGES = "page without text of a PDF with others"
    NO_QUESTIONS = "site without questions"
    BROKEN = "broken record"
    NO_TEXT = "no text"
    TOO_SHORT = "too short"
    TOO_LONG = "too long"
    REDIRECT = "redirect"
    LOW_SCORE = "low score"
    NEITHER = "neither question nor answer"
    NO_QUESTION = "answer without its question"
    REPEATED_TEXT = "repeated text"
    REMOVED = "removed"
    LOST = "lost with a damaged shard"


OF_FILES = frozenset(
    (
        Reason.UNKNOWN_ENDING, Reason.HIDDEN, Reason.UNREADABLE, Reason.NOT_INSTALLED, Reason.ONLY_IMAGES,
        Reason.NO_QUESTIONS,
    )
)  # fmt: skip
OF_DOCUMENTS = frozenset((Reason.REPEATED_TEXT, Reason.REMOVED, Reason.LOST))
OF_PAGES = frozenset((Reason.EMPTY_PAGES,))
OF_RECORDS = frozenset(Reason) - OF_FILES - OF_DOCUMENTS - OF_PAGES
"""What is left out for each reason: a file, a document that was made of a record, a page of a record, or a record."""

FAULTS = frozenset((Reason.UNREADABLE, Reason.NOT_INSTALLED, Reason.BROKEN))
"""The reasons that a strict ledger raises."""


@dataclass
class LeftOut:
    """How often something was left out for one reason, and the first case of it."""

    count: int
    example: str


@dataclass
class Ledger:
    """Counts files, records and documents.

    A file is read or left out, also if it breaks off after some records. A record becomes one document, is split into
    passages, which are documents, or is left out. A document is in the index, or left out because its text is there, or
    it is not there any more.

    Attributes:
        strict: raise the first fault instead of counting it.
        files_read: files that were read to their ends.
        whole: records that became one document each.
        split: records that became several passages each.
        passages: documents that are passages.
        repeated_ids: documents whose id was changed, because another has it.
        left_out: what was left out, by reason: a `Reason`, or another one that a later version of craft_hf wrote down.
    """

    strict: bool = False
    files_read: int = 0
    whole: int = 0
    split: int = 0
    passages: int = 0
    repeated_ids: int = 0
    left_out: dict[str, LeftOut] = field(default_factory=dict)

    def leave_out(self, reason: Reason, example: str, count: int = 1) -> None:
        """Count what is left out.

        Args:
            reason: why.
            example: where it is, and what is wrong with it if that is not all said by the reason; without places of
                this machine, because the ledger is published with the index. Kept of the first case only.
            count: how many cases.

        Raises:
            Fault: the ledger is strict and the reason a fault; the message is the example.
        """
        if self.strict and reason in FAULTS:
            raise Fault(f"{example} Without strict= (--strict), it is left out and counted.")
        found = self.left_out.get(reason)
        if found is None:
            self.left_out[reason] = LeftOut(count, printable(example[:_LONGEST_EXAMPLE]))
        else:
            found.count += count

    def count(self, reasons: Collection[str]) -> int:
        """Return how much was left out for some reasons."""
        return sum(found.count for reason, found in self.left_out.items() if reason in reasons)

    @property
    def files(self) -> int:
        """How many files were met."""
        return self.files_read + self.count(OF_FILES)

    @property
    def records(self) -> int:
        """How many records were met."""
        return self.whole + self.split + self.count(OF_RECORDS)

    @property
    def documents(self) -> int:
        """How many documents became of the records: those in the index, and those whose text was there already."""
        return self.whole + self.passages

    def add(self, other: Ledger) -> None:
        """Add what another ledger counted."""
        self.files_read += other.files_read
        self.whole += other.whole
        self.split += other.split
        self.passages += other.passages
        self.repeated_ids += other.repeated_ids
        for reason, found in other.left_out.items():
            mine = self.left_out.setdefault(reason, LeftOut(0, found.example))
            mine.count += found.count

    def without(self, other: Ledger) -> Ledger:
        """Return what this ledger counted and another, which counted some of the same, did not."""
        rest = {
            reason: LeftOut(found.count - other.count((reason,)), found.example)
            for reason, found in self.left_out.items()
            if found.count > other.count((reason,))
        }
        return Ledger(
            self.strict,
            self.files_read - other.files_read,
            self.whole - other.whole,
            self.split - other.split,
            self.passages - other.passages,
            self.repeated_ids - other.repeated_ids,
            rest,
        )

    def reasons(self) -> str:
        """Return in words what was left out and why, the most frequent reason first."""
        ranked = sorted(self.left_out.items(), key=lambda item: -item[1].count)
        return "; ".join(f"{found.count:,} {reason}, such as {found.example}" for reason, found in ranked)

    def met(self) -> str:
        """Return how many files and records were met, in words."""
        return " with ".join(_counted(n, what) for n, what in ((self.files, "file"), (self.records, "record")) if n)

    def sums(self) -> str:
        """Return the sums in words: what was met, and how many documents became of it."""
        long = _counted(self.split, "long record")
        passages = f", {self.passages:,} of them passages of {long}" if self.split else ""
        return f"{self.met() or 'nothing'}: {_counted(self.documents, 'document')}{passages}"

    def lines(self) -> list[str]:
        """Return the ledger as lines for people."""
        found = [f"read: {self.sums()}"]
        if self.repeated_ids:
            found.append(
                f"  {self.repeated_ids:>9,}  ids were there already: these documents got the hash of their text behind "
                "the id"
            )
        for reason, left_out in self.left_out.items():
            found.append(f"  {left_out.count:>9,}  left out: {reason}, such as {left_out.example}")
        return found

    def to_json(self) -> dict[str, JSON]:
        """Return what `index.json` keeps."""
        return {
            "files_read": self.files_read,
            "whole": self.whole,
            "split": self.split,
            "passages": self.passages,
            "repeated_ids": self.repeated_ids,
            "left_out": {
                str(reason): {"count": found.count, "example": found.example} for reason, found in self.left_out.items()
            },
        }

    @classmethod
    def from_json(cls, data: Mapping[str, JSON]) -> Ledger:
        """Return the ledger that `to_json` wrote down.

        Raises:
            ValueError, TypeError, KeyError: it is none.
        """
        left_out = data["left_out"]
        if not isinstance(left_out, Mapping):
            raise TypeError("left_out is no mapping")
        found = {}
        for reason, entry in left_out.items():
            if not isinstance(entry, Mapping):
                raise TypeError(f"left_out[{reason!r}] is no mapping")
            found[str(reason)] = LeftOut(int(str(entry["count"])), str(entry["example"]))
        files, whole, split, passages, ids = (
            int(str(data[name])) for name in ("files_read", "whole", "split", "passages", "repeated_ids")
        )
        return cls(False, files, whole, split, passages, ids, found)


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
