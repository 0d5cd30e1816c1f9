"""Contents of the dataset repository for a run: rows in several sizes, rejects, report, plots and card.

data/train-*.parquet        all rows, the default configuration
few-shots/, S/, M/, L/, XL/ the few-shots alone; the first rows, equal to those of a run of that size
rejected/                   the rejected samples
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
from craft_hf.publishing.repository import Repository
from craft_hf.publishing.secret_scan import check_local_names, check_secrets
from craft_hf.run import SIZES
from craft_hf.tasks import placed_texts

FEW_SHOTS = "few-shots"
_PATH = re.compile(
    rf"(data|rejected|{FEW_SHOTS}|{'|'.join(SIZES)})/train-\d+-of-\d+\.parquet|assets/\w+\.(png|svg)"
    r"|report\.(json|md|html)|README\.md|\.gitattributes"
)
_TEXTS = {"document"}
"""Lineage columns with text from the corpus, published unchanged. All others are cleared of local paths."""


def dataset_repository(
    folder: Path, repo_id: str, work: Path, failure: str, *, private: bool = True, mask_personal: bool = False
) -> Repository:
    """Return the repository for a run, after checks of its files.

    Args:
        folder: what `craft-hf generate --out` wrote.
        repo_id: name of the repository, for the card.
        work: an empty folder, where the Parquet files are written.
        failure: beginning of error messages, such as "X cannot be published to Y".
        private: whether the repository will be private.
        mask_personal: mask e-mail addresses and phone numbers in rows and rejects.

    Raises:
        InputError: the folder cannot be read, licences are in conflict, or a text contains a secret.
    """
    report, table = read_report(folder), _read(folder / "data", failure)
    rows = _redact(table.to_pylist(), mask_personal)
    rejected = _read(folder / "rejected", failure) if report.rows["rejected"] else None
    rejects = _redact(rejected.to_pylist(), mask_personal, rejects=True) if rejected else []
    check_license(report.sources, failure, public=not private)
    for name, part in (("data", rows), ("rejected", rejects)):
        placed = (found for n, row in enumerate(part, 1) for found in placed_texts(row, f"row {n} of {name}"))
        check_secrets(((", ".join(place), text) for place, text in placed), failure)
    if mask_personal:
        report = _masked(report, rows)
    report = _public(report)
    files: dict[str, Content] = {}
    files["data/train-00000-of-00001.parquet"] = _write(rows, table.schema, work / "data.parquet")
    configs = []
    for name, size in _sizes(rows):
        subfolder = "data" if size == len(rows) else name
        if subfolder == name:
            files[f"{name}/train-00000-of-00001.parquet"] = _write(
                rows[:size], table.schema, work / f"{name}.parquet"
            )  # fmt: skip
        configs.append(CardConfig(name, f"{subfolder}/train-*", size))
    if rejected:
        files["rejected/train-00000-of-00001.parquet"] = _write(rejects, rejected.schema, work / "rejected.parquet")
    images = {p.name: p.read_bytes() for p in sorted((folder / "assets").glob("*")) if p.suffix in (".png", ".svg")}
    plots = [name.removesuffix(".png") for name in images if name.endswith(".png")]
    pages = report_files(report, rejects, images)
    pages["README.md"] = dataset_card(report, rows, configs, repo_id, plots).encode()
    texts = [(name, content.decode()) for name, content in pages.items()]
    check_secrets(texts, failure)
    check_local_names(texts, failure)
    files |= {f"assets/{name}": content for name, content in images.items()} | pages
    return Repository(
        "dataset",
        files,
        lambda path: bool(_PATH.fullmatch(path)),
        f"{report.task}: {len(rows)} rows, run {report.config_id}",
        [CardConfig("default", "data/train-*", len(rows)), *configs],
    )


def _sizes(rows: Sequence[Row]) -> list[tuple[str, int]]:
    """Return the names and sizes of the configurations that have enough rows, smallest first."""
    shots = sum(bool(row.get("is_few_shot")) for row in rows)
    named = {FEW_SHOTS: shots, **{name: size for name, size in SIZES.items() if shots < size}}
    return [(name, size) for name, size in named.items() if 0 < size <= len(rows)]


def _redact(rows: Sequence[Row], mask_personal: bool, rejects: bool = False) -> list[Row]:
    """Return rows without local paths in their lineage, and with personal data masked on request."""
    lineage = {"reason", "partner", "document_id"} if rejects else set(LINEAGE) - _TEXTS
    redacted: list[Row] = [{name: public(v) if name in lineage else v for name, v in row.items()} for row in rows]
    return [cast(Row, masked(row)) for row in redacted] if mask_personal else redacted


def _masked(report: RunReport, rows: Sequence[Row]) -> RunReport:
    from dataclasses import replace

    note = f"E-mail addresses and phone numbers were masked in all texts. {count_personal(rows)}"
    return replace(report, measured={**report.measured, "personal_data": note})


def _public(report: RunReport) -> RunReport:
    """Return the report without local paths and private addresses."""
    from dataclasses import asdict

    plain = cast(dict[str, JSON], public({name: v for name, v in asdict(report).items() if name != "funnel"}))
    return RunReport(**{**plain, "funnel": report.funnel})  # type: ignore[arg-type]


def _read(folder: Path, failure: str) -> pyarrow.Table:
    try:
        return pyarrow.parquet.read_table(folder)
    except (OSError, pyarrow.ArrowException) as e:
        raise InputError(
            f"{failure}: {folder} cannot be read as Parquet: {e}; copy it again from the machine that generated it."
        ) from e


def _write(rows: Sequence[Mapping[str, JSON]], schema: pyarrow.Schema, path: Path) -> Path:
    columns = {name: [row.get(name) for row in rows] for name in schema.names}
    pyarrow.parquet.write_table(pyarrow.Table.from_pydict(columns, schema=schema), path)
    return path
