"""Contents of the dataset repository for a run: rows in several sizes, rejects, report, plots and card.

Files lie where a run's folder has them; beside these, few-shots/ has the few-shots alone, and S/, M/, L/ and XL/ have
the first rows, equal to those of a run of that size.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import cast

import jinja2
import pyarrow

from craft_hf.base import JSON, Content, InputError, chat_template
from craft_hf.dataset import (
    CARD,
    LINEAGE,
    PARQUET,
    PARQUET_NAME,
    PLOTS,
    REJECTED,
    REJECTS,
    REPORT,
    REPORT_PAGES,
    ROWS,
    CardConfig,
    DatasetFolder,
    ParquetRows,
    Row,
    RunReport,
    check_license,
    count_personal,
    dataset_card,
    derived_columns,
    is_few_shot,
    masked_row,
    redact_locations,
    report_files,
    write_rows,
)
from craft_hf.publishing.repository import Repository
from craft_hf.publishing.secret_scan import check_local_names, check_secrets
from craft_hf.quality import PERSONAL_DATA
from craft_hf.run import SIZES
from craft_hf.tasks import load_task, placed_texts

logger = logging.getLogger(__name__)

FEW_SHOTS = "few-shots"
CHAT_TEMPLATE = "chat_template.jinja"
"""For base models that have none; the card says how it is used."""

_PATH = re.compile(
    rf"({'|'.join((ROWS, REJECTS, FEW_SHOTS, *SIZES))})/{PARQUET_NAME}|{PLOTS}/\w+\.(png|svg)"
    rf"|{'|'.join(map(re.escape, (REPORT, *REPORT_PAGES, CARD, CHAT_TEMPLATE, '.gitattributes')))}"
)
_TEXTS = {"document", "title", "author", "license", "license_spdx"}
"""Lineage columns with what authors wrote, published unchanged. All others are cleared of local paths."""
_OF_MODEL = {"answer", "sample"}
"""The columns of rejects with the model's words, which are no lineage either."""


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
        mask_personal: mask personal data in rows and rejects, see `PERSONAL_KINDS`.

    Raises:
        InputError: the folder cannot be read, licences are in conflict, or a text contains a secret.
    """
    made = DatasetFolder(folder)
    report = made.report
    _check_derived(made, failure)
    documents = itertools.chain(made.rows, made.rejects)
    license = check_license(report.sources, failure, not private, documents)
    if license.refusal:
        logger.warning("Only you can see it, and that is how it must stay: %s", license.refusal)
    files: dict[str, Content] = {}

    def add(part: str, rows: Iterable[Row], schema: pyarrow.Schema) -> ParquetRows:
        files[f"{part}/{PARQUET}"] = work / part / PARQUET
        write_rows(work / part / PARQUET, rows, schema)
        return ParquetRows([work / part / PARQUET])

    rows = add(ROWS, _redact(made.rows, set(LINEAGE) - _TEXTS, mask_personal), made.rows.schema)
    rejects: Sequence[Row] = ()
    if made.rejects:
        rejects = add(
            REJECTS, _redact(made.rejects, set(REJECTED) - _TEXTS - _OF_MODEL, mask_personal), made.rejects.schema
        )
    for part, written in ((ROWS, rows), (REJECTS, rejects)):
        placed = (found for n, row in enumerate(written, 1) for found in placed_texts(row, f"row {n} of {part}"))
        check_secrets(((", ".join(place), text) for place, text in placed), failure)
    if mask_personal:
        report = _masked(report, rows, rejects)
    report = _public(report)
    configs = []
    for name, size in _sizes(rows):
        subfolder = ROWS if size == len(rows) else name
        if subfolder == name:
            add(name, rows[:size], rows.schema)
        configs.append(CardConfig(name, subfolder, size))
    images = made.plots
    plots = [name.removesuffix(".png") for name in images if name.endswith(".png")]
    pages = report_files(report, rejects, images)
    pages[CARD] = dataset_card(report, rows, configs, repo_id, plots).encode()
    texts = [(name, content.decode()) for name, content in pages.items()]
    check_secrets(texts, failure)
    check_local_names(texts, failure)
    files[CHAT_TEMPLATE] = chat_template().encode()
    files |= {f"{PLOTS}/{name}": content for name, content in images.items()} | pages
    return Repository(
        "dataset",
        files,
        lambda path: bool(_PATH.fullmatch(path)),
        f"{report.task}: {len(rows)} rows, run {report.config_id}",
        [CardConfig("default", ROWS, len(rows)), *configs],
    )


def _check_derived(made: DatasetFolder, failure: str) -> None:
    """Refuse rows whose prompt and completion are not what their fields say: one of them was changed alone."""
    try:
        task = load_task(made.report.task)
    except InputError:
        return
    if task.fingerprint != made.report.identity.get("task"):  # the user's own: its templates are not here
        return
    for number, row in enumerate(made.rows, 1):
        try:
            derived = derived_columns(task, row)
        except jinja2.TemplateError as e:
            raise InputError(f"{failure}: row {number} does not fit the task's templates: {e}; leave it out.") from e
        if stale := [name for name, value in derived.items() if row[name] != value]:
            raise InputError(
                f"{failure}: {stale[0]} of row {number} does not say what the row says, which was changed; run "
                f"`craft-hf report {made.path}`, which mends that."
            )


def _sizes(rows: Sequence[Row]) -> list[tuple[str, int]]:
    """Return the names and sizes of the configurations that have enough rows, smallest first."""
    shots = sum(map(is_few_shot, rows))
    named = {FEW_SHOTS: shots, **{name: size for name, size in SIZES.items() if shots < size}}
    return [(name, size) for name, size in named.items() if 0 < size <= len(rows)]


def _redact(rows: Iterable[Row], lineage: Collection[str], mask_personal: bool) -> Iterator[Row]:
    """Yield rows without local paths in their lineage, and with personal data masked on request."""
    for row in rows:
        redacted: Row = {name: redact_locations(value) if name in lineage else value for name, value in row.items()}
        yield masked_row(redacted) if mask_personal else redacted


def _masked(report: RunReport, rows: Sequence[Row], rejects: Sequence[Row]) -> RunReport:
    from dataclasses import replace

    note = f"What is counted here was masked in all texts before. {count_personal(rows, rejects)}"
    return replace(report, measured={**report.measured, PERSONAL_DATA: note})


def _public(report: RunReport) -> RunReport:
    """Return the report without local paths and private addresses."""
    from dataclasses import asdict

    plain = cast(dict[str, JSON], redact_locations({name: v for name, v in asdict(report).items() if name != "funnel"}))
    return RunReport(**{**plain, "funnel": report.funnel})  # type: ignore[arg-type]
