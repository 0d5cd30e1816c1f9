"""The command `craft-hf withdraw`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from craft_hf.base import Bar, InputError, cache_folder

if TYPE_CHECKING:
    from craft_hf.dataset import Withdrawal

_BATCH = 4096


def withdraw(
    dataset: Annotated[
        Path, typer.Argument(help="Folder that `craft-hf generate` wrote, or the files of its repository.")
    ],
    document: Annotated[list[str] | None, typer.Option(help="Id of a document; may be repeated.")] = None,
    documents: Annotated[Path | None, typer.Option(help="File with such ids, one a line.")] = None,
    source: Annotated[list[str] | None, typer.Option(help="Source, * for any characters; may be repeated.")] = None,
    license: Annotated[
        list[str] | None,
        typer.Option(help="Licence, as the source has it or as SPDX, or 'not stated'; may be repeated."),
    ] = None,
    index: Annotated[Path | None, typer.Option(help="Folder of the index to take the documents out of too.")] = None,
    task: Annotated[str | None, typer.Option(help="Folder of the task, if it is your own.")] = None,
) -> None:
    """Take documents out of a dataset: their rows, their rejects, and all that report and card show of them.

    The folder has all of the old or all of the new at any moment. What the Hub has changes when you publish again.

    Stopped at any moment, the same command completes it.

    Example: craft-hf withdraw my-dataset --document article-17 --index my-index

    Example: craft-hf withdraw my-dataset --license "CC BY-ND*" --license "not stated"
    """
    from craft_hf.dataset import DatasetFolder, Withdrawal
    from craft_hf.dataset import withdraw as withdraw_from

    wanted = Withdrawal(frozenset([*(document or ()), *_read(documents)]), tuple(source or ()), tuple(license or ()))
    if not str(wanted):
        raise InputError("nothing was named; give --document, --documents, --source or --license.")
    report = DatasetFolder(dataset).report
    run, found = cache_folder() / "runs" / report.config_id, 0
    for folder, name in ((dataset, str(dataset)), (run, f"the run in the cache, which load_dataset gives ({run})")):
        if folder == dataset or (folder.is_dir() and folder.resolve() != dataset.resolve()):
            went = withdraw_from(folder, wanted, task)
            found += len(went.documents)
            typer.echo(f"{went.rows} rows and {went.rejects} rejects of {len(went.documents)} documents: {name}")
    if index is not None:
        found += (documents_gone := _withdraw_from_index(index, wanted))
        typer.echo(f"{documents_gone} documents: the index {index}")
    if not found:
        raise InputError(f"there is nothing of {wanted} in {dataset}; nothing was withdrawn.")
    typer.echo(
        "What remains: the model's answers in this machine's journal; in the Hub, all of it until you publish the "
        "folder again (craft-hf publish), and the commits before that until their history is squashed "
        "(HfApi().super_squash_history) or the repository is deleted; and copies that others have."
        + ("" if index else " A larger run would use the documents again, unless they go from its index too (--index).")
    )


def _read(path: Path | None) -> list[str]:
    if path is None:
        return []
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(f"{path} cannot be read: {e}; expected a text file with an id on each line.") from e


def _withdraw_from_index(folder: Path, wanted: Withdrawal) -> int:
    from craft_hf.retrieval import Index, remove_documents

    index, found = Index.open(folder), list[str]()
    with Bar("Looking for documents", total=len(index), unit="documents") as bar:
        for start in range(0, len(index), _BATCH):
            batch = index.documents(range(start, min(start + _BATCH, len(index))))
            found += [d.id for d in batch if wanted.selects(d.id, d.source, d.license)]
            bar.update(len(batch))
    if found:
        remove_documents(folder, found)
    return len(found)
