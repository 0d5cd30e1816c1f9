"""Takes documents out of a dataset that is there already: rows, rejects, and what the report says of them."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from craft_hf.base import JSON, InputError, StorageError, replaced_folder
from craft_hf.dataset.folder import DatasetFolder
from craft_hf.dataset.funnel import Stage
from craft_hf.dataset.layout import PARQUET, REJECTS, ROWS, SETTINGS
from craft_hf.dataset.parquet import write_rows
from craft_hf.dataset.rebuild import rebuilt_report, task_of
from craft_hf.dataset.report import Row
from craft_hf.dataset.rows import REJECTED, is_few_shot
from craft_hf.dataset.spdx import spdx_expression
from craft_hf.retrieval import is_named

_STAGE = "withdrawn"


@dataclass(frozen=True)
class Withdrawal:
    """Which documents are to go: those of any of these ids, sources or licences.

    Args:
        documents: ids.
        sources: names, in which * stands for any characters; case does not matter.
        licenses: the same of licences, in the source's words or as SPDX has them; "not stated" is for none.
    """

    documents: frozenset[str] = frozenset()
    sources: tuple[str, ...] = ()
    licenses: tuple[str, ...] = ()

    def selects(self, document_id: str, source: str, license: str) -> bool:
        """Return whether a document is to go."""
        return (
            document_id in self.documents
            or (bool(self.sources) and is_named(source, self.sources))
            or (bool(self.licenses) and any(is_named(x, self.licenses) for x in _names(license)))
        )

    def __str__(self) -> str:
        kinds = (
            ("document", "documents", sorted(self.documents)),
            ("source", "sources", self.sources),
            ("licence", "licences", self.licenses),
        )
        return "; ".join(
            f"{one if len(names) == 1 else several} {', '.join(names[:5])}{' and others' if len(names) > 5 else ''}"
            for one, several, names in kinds
            if names
        )


def _names(license: str) -> list[str]:
    """Return a licence in its source's words and as SPDX has it; one that is not recognised has no name there."""
    return [license, *filter(None, [spdx_expression(license)])]


@dataclass(frozen=True)
class Withdrawn:
    """What went: rows, rejects, and the ids of the documents; nothing, where there was nothing of them."""

    rows: int
    rejects: int
    documents: frozenset[str]


def withdraw(dataset: Path, withdrawal: Withdrawal, task: str | None = None) -> Withdrawn:
    """Take documents out of a dataset's folder, which holds either all of the old or all of the new afterwards.

    Rows and rejects that name one of them as their partner name none. The report has the figures of what is left; its
    funnel gets a stage, and its notes a sentence. Rows are embedded again for it.

    Args:
        dataset: folder that a run wrote, or the files of its repository.
        withdrawal: what goes.
        task: name or folder of the task; None for the shipped one that report.json names.

    Raises:
        InputError: there is no such dataset or task, or no row would be left.
        StorageError: the folder cannot be written.
    """
    old = DatasetFolder(dataset)
    report, went, generated = old.report, [set[str](), set[str]()], 0
    counts = [0, 0]
    for part, of_part in enumerate((old.rows, old.rejects)):
        for row in of_part:
            if _selects(withdrawal, row):
                counts[part] += 1
                went[part].add(str(row["document_id"]))
            elif part == 0:
                generated += not is_few_shot(row)
    documents = frozenset(went[0] | went[1])
    if not documents:
        return Withdrawn(0, 0, documents)
    if counts[0] == len(old.rows):
        raise InputError(f"{dataset} would have no row left without {withdrawal}; remove the whole dataset instead.")
    loaded = task_of(report, task)
    note = (
        f"Withdrawn on {datetime.now(UTC):%Y-%m-%d}: {counts[0]} rows and {counts[1]} rejects of {len(documents)} "
        f"documents ({withdrawal})."
    )
    funnel = [stage for stage in report.funnel if stage.stage != _STAGE]
    report = replace(
        report,
        funnel=[*funnel, Stage(_STAGE, "not withdrawn later", generated)] if funnel else [],
        notes=[*report.notes, note],
    )
    try:
        with replaced_folder(dataset) as folder:
            new = DatasetFolder(folder)
            write_rows(folder / ROWS / PARQUET, _staying(old.rows, withdrawal, documents), old.rows.schema)
            rejects = _staying(old.rejects, withdrawal, documents)
            write_rows(folder / REJECTS / PARQUET, rejects, REJECTED.arrow_schema)
            if (dataset / SETTINGS).is_file():
                shutil.copyfile(dataset / SETTINGS, folder / SETTINGS)
            made, vectors = rebuilt_report(report, new.rows, new.rejects, loaded)
            new.write_report(made, new.rows, new.rejects, vectors)
            new.write_card(made, new.rows)
    except OSError as e:
        raise StorageError(f"{dataset} cannot be written: {e}; it is what it was.") from e
    return Withdrawn(counts[0], counts[1], documents)


def _selects(withdrawal: Withdrawal, row: Row) -> bool:
    return withdrawal.selects(*(str(row.get(name) or "") for name in ("document_id", "source", "license")))


def _staying(rows: Iterable[Row], withdrawal: Withdrawal, documents: frozenset[str]) -> Iterator[dict[str, JSON]]:
    """Yield the rows that stay; of their partners, those that went are left out."""
    for row in rows:
        if _selects(withdrawal, row):
            continue
        staying = dict(row)
        if staying.get("partner") in documents:
            staying["partner"] = ""
        checks = staying.get("checks")
        if isinstance(checks, list):
            staying["checks"] = [
                {**check, "partner": ""} if isinstance(check, Mapping) and check.get("partner") in documents else check
                for check in checks
            ]
        yield staying
