"""A finished run's folder comes in, a copy of it where the user wants it goes out."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from craft_hf.base import CraftError, StorageError
from craft_hf.dataset.report import read_report

_PARTS = {"README.md", "assets", "data", "rejected", "report.html", "report.json", "report.md", "run.yaml"}


def check_out(out: Path) -> None:
    """Find out before the run whether a copy can be written, and is not written over what is not ours.

    Raises:
        CraftError: there is something at `out` that is no dataset of ours.
        StorageError: `out` cannot be written.
    """
    if out.is_symlink() or out.is_file() or (out.is_dir() and (names := {p.name for p in out.iterdir()})):
        if not out.is_symlink() and out.is_dir() and "report.json" in names and names <= _PARTS:
            read_report(out)
        else:
            raise CraftError(f"{out} exists and is no dataset of craft_hf alone; give another --out, or remove it.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        Path(tempfile.mkdtemp(dir=out.parent, prefix=".craft-hf-")).rmdir()
    except OSError as e:
        raise StorageError(f"--out {out} cannot be written: {e}; give another folder.") from e


def export(folder: Path, out: Path) -> None:
    """Put a copy of a run's folder at `out`, whole or not at all.

    Raises:
        StorageError: it cannot be written.
    """
    beside = Path(tempfile.mkdtemp(dir=out.parent, prefix=".craft-hf-"))
    try:
        shutil.copytree(folder, beside / out.name)
        (beside / out.name).chmod(0o755)
        if out.exists():
            out.rename(beside / "old")
        (beside / out.name).rename(out)
    except OSError as e:
        raise StorageError(
            f"{out} cannot be written: {e}. The run is safe; make room and run the command again."
        ) from e
    finally:
        shutil.rmtree(beside, ignore_errors=True)
