"""The command `craft-hf index`."""

from __future__ import annotations

import contextlib
import json
import textwrap
from pathlib import Path
from typing import Annotated, Any

import typer

from craft_hf.base import EMBEDDED, InputError, printable
from craft_hf.corpus import (
    FORMATS,
    HUB_DATASET_SYNTAX,
    MAX_CHARS,
    MIN_CHARS,
    PRESETS,
    SPELLINGS,
    Ledger,
    Long,
    parse_fields,
)
from craft_hf.retrieval import SHARD_DOCUMENTS

app = typer.Typer(no_args_is_help=True, help="Build, inspect, search and share indexes of embedded documents.")

_FOLDER = "Folder of an index, or user/name or user/name@revision on the Hub."

_EMBEDDING = "Where the embedding model lies, a folder or a Hub id (default: where the index says)."

_MOST_SOURCES = 100
"""Sources of an index that are listed, those of the most documents where there are more."""

_PASSAGE_WIDTH = 200
"""Characters of a passage that are shown."""


@app.command()
def build(
    out: Annotated[Path, typer.Option(help="Folder of the index.")],
    source: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=]SOURCE",
            help=f"Files ({FORMATS}), folders of them, or Hub datasets: {HUB_DATASET_SYNTAX}, of which only REPO is "
            "needed.",
        ),
    ] = None,
    preset: Annotated[
        str,
        typer.Option(help=f"Read raw files of {', '.join(PRESETS)}, or without a source its Hub dataset."),
    ] = "",
    field: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FIELD",
            help=f"Which field of a record is the document's {', '.join(SPELLINGS)}, if it has no usual name: "
            "text=body, license=meta.license; source= for none; repeat it.",
        ),
    ] = None,
    text_column: Annotated[str, typer.Option(help="Short for --field text=...")] = "",
    license: Annotated[
        list[str] | None,
        typer.Option(help="Licence of documents that name none; repeat it to give one for each source, in order."),
    ] = None,
    name: Annotated[str, typer.Option(help="Source of documents that name none (default: the file's name).")] = "",
    split: Annotated[str, typer.Option(help="Split of a Hub dataset that names none.")] = "train",
    hub_config: Annotated[str | None, typer.Option(help="Configuration of a Hub dataset that names none.")] = None,
    min_chars: Annotated[
        int,
        typer.Option(help="Shorter documents are left out; a Chinese, Japanese or Thai character counts for more."),
    ] = MIN_CHARS,
    max_chars: Annotated[int, typer.Option(help="Longer documents are split or left out.")] = MAX_CHARS,
    long: Annotated[
        Long,
        typer.Option(help='"split" longer documents into passages at the ends of paragraphs, or "drop" them.'),
    ] = "split",
    limit: Annotated[int | None, typer.Option(help="Take the first so many documents of each corpus.", min=1)] = None,
    min_score: Annotated[
        int | None, typer.Option(help="Of Stack Exchange, leave out questions and answers with a lower score.")
    ] = None,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="End with the first broken file or record, which else is left out and counted."),
    ] = False,
    embedding_model: Annotated[
        str, typer.Option(help='"embedded", a Hub id, or a sentence-transformers folder.')
    ] = EMBEDDED,
    embedding_server: Annotated[
        str,
        typer.Option(
            metavar="URL[,URL...]",
            help="OpenAI-compatible servers (/v1/embeddings) that embed in place of this machine, if their vectors are "
            "those of the embedding model. Their key is CRAFT_HF_API_KEY or OPENAI_API_KEY.",
        ),
    ] = "",
    embedding_server_model: Annotated[
        str, typer.Option(help="What these servers call the model (default: what they list).")
    ] = "",
    shard_documents: Annotated[int, typer.Option(help="Documents per shard.", min=1)] = SHARD_DOCUMENTS,
    vectors: Annotated[
        str | None,
        typer.Option(
            help='"chunks": all of a document\'s text counts, in chunks that the model can read; "document": one '
            "vector a document, of the head that the model reads, as in CRAFT (default: chunks, with --add as it is)."
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(help="torch device (default: CUDA where there is one).")] = None,
    add: Annotated[bool, typer.Option("--add", help="Add to the index that is in the folder.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the index that is in the folder.")] = False,
    workers: Annotated[
        str, typer.Option(help='Number of processes, "ray", "ray://host:port", "dask", or a Dask scheduler.')
    ] = "",
    forecast: Annotated[
        bool,
        typer.Option(
            "--forecast",
            help="Say what it will take, from a sample: documents, chunks, hours, GiB on disk. Nothing is written.",
        ),
    ] = False,
) -> None:
    """Embed corpora into an index. If stopped, give the same command again: it goes on where it was.

    An index that is there can be used until the new one is complete; nothing is embedded twice. Of equal texts the
    first is taken. On a cluster (--workers ray), all machines must see the folder.

    Example: craft-hf index build articles.jsonl.gz notes/ --out my-index --license "CC BY 4.0"

    Several corpora: craft-hf index build web=allenai/c4:en:train notes=notes/ --out my-index

    What a large one will take: craft-hf index build dumps/ --out my-index --forecast

    A corpus of the paper: craft-hf index build dumps/ --preset stackexchange --out my-index --add

    At its end it prints what was read, and what was left out and why.
    """
    import craft_hf

    fields = [*([f"text={text_column}"] if text_column else []), *(field or [])]
    settings: dict[str, Any] = {
        "preset": preset, "fields": parse_fields(fields), "license": license or "", "name": name, "split": split,
        "hub_config": hub_config, "min_chars": min_chars, "max_chars": max_chars, "long": long, "limit": limit,
        "min_score": min_score, "strict": strict, "embedding_model": embedding_model,
        "embedding_server": embedding_server, "embedding_server_model": embedding_server_model,
        "shard_documents": shard_documents, "vectors": vectors, "device": device, "workers": workers,
    }  # fmt: skip
    if forecast:
        typer.echo("\n".join(craft_hf.forecast_index(source or [], **settings).lines()))
        return
    craft_hf.build_index(source or [], out, add=add, replace=replace, **settings)
    info(out)


@app.command()
def info(folder: Annotated[Path, typer.Argument(help=_FOLDER)]) -> None:
    """Print what an index contains.

    Example: craft-hf index info my-index
    """
    from craft_hf.retrieval import build_command, find_index, leftovers

    _, found = find_index(folder)
    typer.echo(f"{folder}: {found.documents} documents in {len(found.shards)} shards, fingerprint {found.fingerprint}")
    typer.echo(f"embedded with {found.embedding_model} ({found.embedding_revision}), {found.dimension} dimensions")
    typer.echo(found.embedded_text)
    ranked = sorted(found.corpora, key=lambda corpus: -int(str(corpus["documents"])))
    for corpus in found.corpora if len(ranked) <= _MOST_SOURCES else ranked[:_MOST_SOURCES]:
        typer.echo(f"  {corpus['documents']:>9}  {corpus['source']}  ({corpus['license'] or 'licence not stated'})")
    if rest := ranked[_MOST_SOURCES:]:
        documents = sum(int(str(corpus["documents"])) for corpus in rest)
        typer.echo(f"  {documents:>9}  of {len(rest):,} other sources and licences, which index.json lists")
    for line in Ledger.from_json(found.ledger).lines():
        typer.echo(line)
    if any(found.builds):
        typer.echo(printable(f"built by: {build_command(found.builds, str(folder))}"))
    if left := leftovers(folder, found):
        size = 0
        for path in left:
            with contextlib.suppress(FileNotFoundError):  # a build is going on
                size += path.stat().st_size
        typer.echo(
            f"{len(left)} files ({size / 1e6:.1f} MB) beside the index hold embeddings of a command that is at work or "
            "was interrupted, or of an earlier index: no later build makes these again; craft-hf index compact "
            f"{folder} removes them"
        )


@app.command()
def verify(folder: Annotated[Path, typer.Argument(help=_FOLDER)]) -> None:
    """Check every byte of an index against its checksums; exit with 1 on a difference.

    Example: craft-hf index verify my-index
    """
    from craft_hf.retrieval import index_folder, mending, read_info, verify_index

    folder = index_folder(folder)
    problems = verify_index(folder)
    found = read_info(folder)
    if problems:
        typer.echo(f"{folder}: {len(problems)} problem{'s' * (len(problems) > 1)}:", err=True)
        for problem in problems:
            typer.echo(f"  {problem}", err=True)
        advice = mending(folder)
        typer.echo(advice[0].upper() + advice[1:], err=True)
        raise typer.Exit(1)
    typer.echo(f"{folder}: {len(found.shards)} shards, {found.documents} documents: all as they were written")


@app.command()
def repair(
    folder: Annotated[Path, typer.Argument(help="Folder of an index.")],
    drop_lost: Annotated[
        bool, typer.Option("--drop-lost", help="Go on without documents that cannot be brought back.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="torch device (default: CUDA where there is one).")] = None,
    embedding: Annotated[str, typer.Option(help=_EMBEDDING)] = "",
) -> None:
    """Mend what `verify` finds: from what is whole in the shards, and from the sources where they are there.

    Only what has no whole embedding is embedded again. The index can be used until it is done.

    Example: craft-hf index repair my-index
    """
    from craft_hf.retrieval import read_info, repair_index

    done = repair_index(folder, device=device, drop_lost=drop_lost, embedding=embedding)
    for problem in done.problems:
        typer.echo(f"  {problem}")
    found = read_info(folder)
    if not done.problems:
        typer.echo(f"{folder}: {len(found.shards)} shards, {found.documents} documents: nothing to repair")
    else:
        typer.echo(
            f"repaired: {done.embedded} documents were embedded again, {done.read_again} read from the sources again, "
            f"{done.lost} lost"
        )
        info(folder)


@app.command()
def remove(
    folder: Annotated[Path, typer.Argument(help="Folder of an index.")],
    id: Annotated[list[str] | None, typer.Option(help="Id of a document; may be repeated.")] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(help="Source whose documents are all removed, as `info` shows it; may be repeated."),
    ] = None,
) -> None:
    """Remove documents from an index; nothing is embedded again.

    Example: craft-hf index remove my-index --id article-17 --source web
    """
    from craft_hf.retrieval import read_info, remove_documents

    before = read_info(folder).documents
    after = remove_documents(folder, id or (), source or ()).documents
    typer.echo(f"{before - after} documents were removed")
    info(folder)


@app.command()
def compact(
    folder: Annotated[Path, typer.Argument(help="Folder of an index.")],
    shard_documents: Annotated[int, typer.Option(help="Most documents per shard.", min=1)] = SHARD_DOCUMENTS,
) -> None:
    """Join small shards, and remove what unfinished builds and earlier indexes left, and say how much that was.

    Example: craft-hf index compact my-index
    """
    from craft_hf.retrieval import compact_index

    compact_index(folder, shard_documents)
    info(folder)


@app.command()
def search(
    words: Annotated[
        list[str],
        typer.Argument(metavar="[FOLDER] TEXT", help=f"{_FOLDER} Without one, the sample index. And what to look for."),
    ],
    k: Annotated[int, typer.Option("-k", help="How many documents.", min=1)] = 5,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object for each document, a line each.")
    ] = False,
    embedding: Annotated[str, typer.Option(help=_EMBEDDING)] = "",
) -> None:
    """Show the documents that are most similar to a text: title, licence, link, and the passage that fits best.

    Example: craft-hf index search my-index "How do plants make sugar?" -k 3

    In the sample corpus: craft-hf index search "How do plants make sugar?"
    """
    from craft_hf.retrieval import is_index, open_index, search_text

    *folder, text = words
    if len(folder) > 1:
        raise typer.BadParameter(f"{len(words)} words were given, expected FOLDER and TEXT; put the text in quotes.")
    if not folder and is_index(Path(text)):
        raise typer.BadParameter(f"{text} is an index; say behind it what to look for.")
    found = search_text(open_index(folder[0] if folder else None), text, k, embedding)
    for hit, passage in zip(found.hits, found.passages, strict=True):
        document = hit.document
        if as_json:
            fields = {name: getattr(document, name) for name in ("id", "title", "url", "license", "source")}
            line = {**fields, "similarity": round(hit.similarity, 4), "passage": passage}
            typer.echo(json.dumps(line, ensure_ascii=False))
            continue
        about = "  ".join(filter(None, (f"{hit.similarity:.3f}", document.id, document.title)))
        typer.echo(f"{about} ({document.license or 'licence not stated'})")
        if document.url:
            typer.echo(f"       {document.url}")
        typer.echo(textwrap.indent(textwrap.shorten(passage, _PASSAGE_WIDTH, placeholder=" ..."), "       "))
    if not found.is_answered:
        typer.echo("No document seems to answer this: the best is hardly more similar than a random one.", err=True)


@app.command()
def push(
    folder: Annotated[Path, typer.Argument(help="Folder of an index.")],
    repository: Annotated[str, typer.Argument(help="user/name of a dataset repository on the Hub; created if needed.")],
    public: Annotated[bool, typer.Option("--public", help="Make it public (default: private).")] = False,
) -> None:
    """Upload an index to the Hub. If stopped, give the same command again: it continues, and uploads nothing twice.

    Nothing is uploaded if a text contains a secret, or if local paths would be in the card. An index with documents of
    which no licence is known stays private.

    Example: craft-hf index push my-index user/name
    """
    from craft_hf.publishing import publish
    from craft_hf.retrieval import read_info

    read_info(folder)
    url = publish(folder, repository, private=not public)
    typer.echo(f"{url}\nuse it with: craft-hf generate TASK --index {repository} --out FOLDER")


@app.command()
def pull(repository: Annotated[str, typer.Argument(help="user/name or user/name@revision on the Hub.")]) -> None:
    """Download an index from the Hub into the Hub's cache, where all commands find it.

    Example: craft-hf index pull user/name
    """
    from craft_hf.base import parse_repo_name
    from craft_hf.retrieval import pull_index

    name = parse_repo_name(repository)
    if name is None:
        raise InputError(f"{repository!r} is no name on the Hub; expected user/name or user/name@revision.")
    info(pull_index(*name))
