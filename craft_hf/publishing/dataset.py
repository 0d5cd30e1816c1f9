"""A run's folder as a dataset repository: rows in configurations, rejects, report, plots and card, fit to be seen.

data/train-*.parquet        all rows, the default
few-shots/, S/, M/, L/, XL/ the few-shots alone; the first rows, as a run for so many gives them
rejected/                   what became no row
README.md, report.*, assets/
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import pyarrow
import pyarrow.parquet

from craft_hf.base import JSON, Content, InputError
from craft_hf.dataset import (
    LINEAGE,
    CardConfig,
    Row,
    RunReport,
    check_license,
    count_personal,
    dataset_card,
    masked,
    public,
    read_report,
    report_files,
)
from craft_hf.publishing.leaks import check_places, check_texts, texts_of
from craft_hf.publishing.repository import Repository
from craft_hf.run import SIZES

FEW_SHOTS = "few-shots"
_PATH = re.compile(
    rf"(data|rejected|{FEW_SHOTS}|{'|'.join(SIZES)})/train-\d+-of-\d+\.parquet|assets/\w+\.(png|svg)"
    r"|report\.(json|md|html)|README\.md|\.gitattributes"
)
_TEXTS = {"document"}
"""Lineage that is text of the corpus, and stays as it is; the rest must not name places on this machine."""


def dataset_repository(
    folder: Path, repo_id: str, work: Path, what: str, *, private: bool = True, mask_personal: bool = False
) -> Repository:
    """Make of a run's folder what its repository is to hold.

    Args:
        folder: what `craft-hf generate --out` wrote.
        repo_id: the repository's name, for the card.
        work: an empty folder, for the Parquet files.
        what: a sentence without an end that says what cannot be done.
        private: whether the repository is to be private.
        mask_personal: mask e-mail addresses and phone numbers in rows and rejects.

    Raises:
        InputError: the folder is broken, licences are in conflict, or a text holds a secret.
    """
    report, table = read_report(folder), _read(folder / "data", what)
    rows = _fit(table.to_pylist(), mask_personal)
    rejected = _read(folder / "rejected", what) if report.rows["rejected"] else None
    rejects = _fit(rejected.to_pylist(), mask_personal, everything=True) if rejected else []
    check_license(report.sources, what, public=not private)
    for name, part in (("data", rows), ("rejected", rejects)):
        check_texts((t for n, row in enumerate(part, 1) for t in texts_of(row, f"row {n} of {name}")), what)
    if mask_personal:
        report = _masked(report, rows)
    report = _public(report)
    files: dict[str, Content] = {}
    files["data/train-00000-of-00001.parquet"] = _write(rows, table.schema, work / "data.parquet")
    configs = []
    for name, size in _sizes(rows):
        where = "data" if size == len(rows) else name
        if where == name:
            files[f"{name}/train-00000-of-00001.parquet"] = _write(
                rows[:size], table.schema, work / f"{name}.parquet"
            )  # fmt: skip
        configs.append(CardConfig(name, f"{where}/train-*", size))
    if rejected:
        files["rejected/train-00000-of-00001.parquet"] = _write(rejects, rejected.schema, work / "rejected.parquet")
    images = {p.name: p.read_bytes() for p in sorted((folder / "assets").glob("*")) if p.suffix in (".png", ".svg")}
    plots = [name.removesuffix(".png") for name in images if name.endswith(".png")]
    pages = report_files(report, rejects, images)
    pages["README.md"] = dataset_card(report, rows, configs, repo_id, plots).encode()
    texts = [(name, content.decode()) for name, content in pages.items()]
    check_texts(texts, what)
    check_places(texts, what)
    files |= {f"assets/{name}": content for name, content in images.items()} | pages
    return Repository(
        "dataset",
        files,
        lambda path: bool(_PATH.fullmatch(path)),
        f"{report.task}: {len(rows)} rows, run {report.config_id}",
        [CardConfig("default", "data/train-*", len(rows)), *configs],
    )


def _sizes(rows: Sequence[Row]) -> list[tuple[str, int]]:
    """Return the configurations that the rows suffice for, smallest first; the few-shots stand before all others."""
    shots = sum(bool(row.get("is_few_shot")) for row in rows)
    named = {FEW_SHOTS: shots, **{name: size for name, size in SIZES.items() if shots < size}}
    return [(name, size) for name, size in named.items() if 0 < size <= len(rows)]


def _fit(rows: Sequence[Row], mask_personal: bool, everything: bool = False) -> list[Row]:
    """Return rows whose lineage names no place on this machine; `everything`: all but the model's words is lineage."""
    lineage = {"reason", "partner", "document_id"} if everything else set(LINEAGE) - _TEXTS
    fit: list[Row] = [{name: public(v) if name in lineage else v for name, v in row.items()} for row in rows]
    return [cast(Row, masked(row)) for row in fit] if mask_personal else fit


def _masked(report: RunReport, rows: Sequence[Row]) -> RunReport:
    from dataclasses import replace

    said = f"E-mail addresses and phone numbers were masked in all texts. {count_personal(rows)}"
    return replace(report, measured={**report.measured, "personal_data": said})


def _public(report: RunReport) -> RunReport:
    """Return the report without local paths and private addresses."""
    from dataclasses import asdict

    plain = cast(dict[str, JSON], public({name: v for name, v in asdict(report).items() if name != "funnel"}))
    return RunReport(**{**plain, "funnel": report.funnel})  # type: ignore[arg-type]


def _read(folder: Path, what: str) -> pyarrow.Table:
    try:
        return pyarrow.parquet.read_table(folder)
    except (OSError, pyarrow.ArrowException) as e:
        raise InputError(
            f"{what}: {folder} cannot be read as Parquet: {e}; copy it again from where it was made."
        ) from e


def _write(rows: Sequence[Mapping[str, JSON]], schema: pyarrow.Schema, path: Path) -> Path:
    columns = {name: [row.get(name) for row in rows] for name in schema.names}
    pyarrow.parquet.write_table(pyarrow.Table.from_pydict(columns, schema=schema), path)
    return path
