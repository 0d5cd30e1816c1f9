"""A dataset on disk: reads and writes what `layout` names."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from craft_hf.base import CraftError, InputError, StorageError, incomplete, replaced_folder, write_file
from craft_hf.dataset.card import dataset_card
from craft_hf.dataset.diversity import RowVectors
from craft_hf.dataset.layout import CARD, PARQUET, PARTS, PLOTS, REJECTS, REPORT, ROWS, SETTINGS
from craft_hf.dataset.parquet import ParquetRows, write_rows
from craft_hf.dataset.report import Row, RunReport, draw_plots, parse_report, report_files
from craft_hf.dataset.rows import REJECTED

if TYPE_CHECKING:
    from datasets import Features


class DatasetFolder:
    """The folder of a dataset; nothing is read before it is asked for.

    Args:
        path: where it is, or is to be.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def rows(self) -> ParquetRows:
        """All rows, read a batch at a time.

        Raises:
            InputError: there are none, or a report says that they are of another version's format.
        """
        if not (files := self._parquet(ROWS)):
            raise InputError(
                f"{self.path} holds no {ROWS}/*.parquet; give a folder that `craft-hf generate --out` wrote."
            )
        return ParquetRows(files)

    @property
    def rejects(self) -> ParquetRows:
        """The rejected documents, with reasons; may be empty. Errors are those of `rows`."""
        return ParquetRows(self._parquet(REJECTS) or self.rows.files[:0])

    @cached_property
    def report(self) -> RunReport:
        """The report of the run.

        Raises:
            InputError: there is none, or it is broken, or of another version's format.
        """
        path = self.path / REPORT
        try:
            return parse_report(path.read_bytes())
        except OSError as e:
            raise InputError(f"{path} cannot be read: {e}; give a folder that `craft-hf generate --out` wrote.") from e
        except InputError as e:
            raise InputError(
                f"{path} {e}; run the same `craft-hf generate` again: the answers are in the journal, nothing is paid "
                "for twice."
            ) from e

    @property
    def has_report(self) -> bool:
        """Whether there is a report, of whatever version."""
        return (self.path / REPORT).is_file()

    @property
    def is_complete(self) -> bool:
        """Whether this version of craft_hf has written all of it."""
        try:
            return bool(self.report)
        except InputError:
            return False

    @property
    def run_yaml(self) -> str:
        """The settings of the run as YAML.

        Raises:
            InputError: they are not there.
        """
        try:
            return (self.path / SETTINGS).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as e:
            raise InputError(f"{self.path / SETTINGS} cannot be read: {e}; give a folder that a run wrote.") from e

    @property
    def plots(self) -> dict[str, bytes]:
        """The plots of the report, by file name."""
        return {p.name: p.read_bytes() for p in sorted((self.path / PLOTS).glob("*")) if p.suffix in (".png", ".svg")}

    def write_data(self, rows: Iterable[Row], features: Features, rejects: Iterable[Row], run_yaml: str = "") -> None:
        """Write rows, rejects and settings, which the report is then made of.

        Args:
            rows: in any number; memory holds a batch of them.
            features: the columns of the rows, see `task_features`.
            rejects: columns of `REJECTED`.
            run_yaml: settings, no file without them.

        Raises:
            OSError: the folder cannot be written.
        """
        write_rows(self.path / ROWS / PARQUET, rows, features.arrow_schema)
        write_rows(self.path / REJECTS / PARQUET, rejects, REJECTED.arrow_schema)
        if run_yaml:
            write_file(self.path / SETTINGS, run_yaml.encode())

    def write_report(
        self, report: RunReport, rows: Sequence[Row], rejects: Sequence[Row], vectors: RowVectors | None = None
    ) -> None:
        """Write plots, pages, and finally report.json, whose presence marks the folder as complete.

        Args:
            report: what `make_report` computed of the rows and rejects.
            rows, rejects: the same; those of this folder, or of another one.
            vectors: embeddings of the generated rows, which two plots show.

        Raises:
            StorageError: the folder cannot be written.
        """
        try:
            (self.path / PLOTS).mkdir(parents=True, exist_ok=True)
            plots = draw_plots(report, rows, rejects, vectors)
            for name, content in plots.items():
                write_file(self.path / PLOTS / name, content)
            for name, content in report_files(report, rejects, plots).items():
                write_file(self.path / name, content)
        except OSError as e:
            raise StorageError(f"the report cannot be written to {self.path}: {e}") from e

    def write_card(self, report: RunReport, rows: Sequence[Row]) -> None:
        """Write the dataset card, with the plots that are there.

        Raises:
            StorageError: the folder cannot be written.
        """
        plots = [path.stem for path in (self.path / PLOTS).glob("*.png")]
        try:
            write_file(self.path / CARD, dataset_card(report, rows, plots=plots).encode())
        except OSError as e:
            raise StorageError(f"the dataset card cannot be written to {self.path}: {e}") from e

    def check_replaceable(self) -> None:
        """Check before a run that its dataset can be written here, and would replace nothing but another dataset.

        Raises:
            CraftError: there is something else than a dataset of craft_hf, of whatever version.
            StorageError: the place cannot be written.
        """
        out = self.path
        if out.is_symlink() or out.is_file() or (out.is_dir() and any(out.iterdir())):
            ours = [*PARTS, *map(incomplete, PARTS)]
            if (
                out.is_symlink()
                or not self.has_report
                or not all(any(fnmatchcase(path.name, name) for name in ours) for path in out.iterdir())
            ):
                raise CraftError(f"{out} exists and is no dataset of craft_hf alone; give another --out, or remove it.")
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.")).rmdir()
        except OSError as e:
            raise StorageError(f"--out {out} cannot be written: {e}; give another folder.") from e

    def copy_to(self, out: Path) -> None:
        """Copy the folder to `out`, completely or not at all; an older dataset there is replaced.

        Raises:
            StorageError: it cannot be written.
        """
        try:
            with replaced_folder(out) as new:
                shutil.copytree(self.path, new, dirs_exist_ok=True)
        except OSError as e:
            raise StorageError(
                f"{out} cannot be written: {e}. The run is safe; make room and run the command again."
            ) from e

    def _parquet(self, part: str) -> list[Path]:
        if self.has_report:
            _ = self.report  # refuses another format
        return sorted((self.path / part).glob("[!.]*.parquet"))
