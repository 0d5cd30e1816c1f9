"""The functions of the package's public face: each does what the command of its name does.

`import craft_hf` offers them as `craft_hf.generate(...)` and so on; docs/python.md shows them in use.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from craft_hf import corpus, dataset, evaluation, generation, publishing, retrieval, run, tasks  # each lazy: no cost
from craft_hf.base import EMBEDDED, JSON, Activity, Hit, InputError, cache_folder
from craft_hf.retrieval import Coverage, Index

if TYPE_CHECKING:
    from craft_hf.base import Embedder


@dataclass(frozen=True)
class RetrievedDocuments:
    """The documents that were retrieved for a task.

    Attributes:
        task: for which task.
        hits: in the order in which a run uses them, each with its document and similarity.
        coverage: how well few-shots and index fit each other; `coverage.warnings` says what to do about it.
        index: how many documents the index holds, of which corpora, and by which model they are embedded.
    """

    task: tasks.Task
    hits: Sequence[Hit]
    coverage: Coverage
    index: Mapping[str, JSON]


def build_index(
    sources: str | Path | corpus.Corpus | Sequence[str | Path | corpus.Corpus],
    out: str | Path,
    *,
    preset: str = "",
    fields: Mapping[str, str] | None = None,
    license: str | Sequence[str] = "",
    name: str = "",
    split: str = "train",
    hub_config: str | None = None,
    min_chars: int = corpus.MIN_CHARS,
    max_chars: int = corpus.MAX_CHARS,
    long: corpus.Long = "split",
    limit: int | None = None,
    min_score: int | None = None,
    strict: bool = False,
    embedding_model: str = EMBEDDED,
    embedding_server: str = "",
    embedding_server_model: str = "",
    shard_documents: int = retrieval.SHARD_DOCUMENTS,
    vectors: str | None = None,
    device: str | None = None,
    add: bool = False,
    replace: bool = False,
    workers: str | int = "",
) -> Index:
    """Embed documents into a folder, and open the index. Interrupted at any moment, the same call goes on.

    An index that is there already can be read until the new one is complete. What was embedded once is not embedded
    again, whatever was added, removed or changed beside it.

    Example:
        >>> index = craft_hf.build_index(["articles.jsonl.gz", "notes/"], "my-index", license="CC BY 4.0")
        >>> len(index)
        1841

    Args:
        sources: files (text, Markdown, HTML, PDF, Word, JSON, CSV, Parquet; see docs/corpus.md), folders of them, or
            Hub datasets such as "allenai/c4:en:train"; each may be "NAME=SOURCE". Rows in memory:
            `craft_hf.Corpus(rows)`.
        out: the index's folder; it may hold an unfinished or an earlier index, and nothing else.
        preset: "c4", "wikipedia", "stackexchange" or "wikihow": read raw files of this corpus, or with an empty list of
            sources its Hub dataset.
        fields: which field of a record is which of a document, such as {"text": "body", "license": "meta.license"},
            "" for none; those that are not given are found by their usual names.
        license: licence of documents that name none; one for all sources, or one for each.
        name: source of documents that name none; by default the file's name.
        split: split of a Hub dataset that names none.
        hub_config: configuration of a Hub dataset that names none.
        min_chars: shorter documents are left out; a character of Chinese, Japanese or Thai counts for more than one.
        max_chars: longer documents are split or left out.
        long: "split" longer documents into passages at the ends of paragraphs, or "drop" them.
        limit: take the first so many documents of each corpus.
        min_score: of the preset stackexchange, leave out questions and answers with a lower score.
        strict: raise an error for the first broken file or record, which otherwise is left out and counted.
        embedding_model: "embedded" (all-MiniLM-L6-v2), a Hub id, or the folder of a sentence-transformers model.
        embedding_server: URL of an OpenAI-compatible server that embeds in place of this machine, or several, separated
            by commas; some texts are embedded by all and here first, and must get the same vectors. The index does not
            keep it. Its key is that of CRAFT_HF_API_KEY or OPENAI_API_KEY.
        embedding_server_model: what the servers call the model; by default what they list.
        shard_documents: documents of one file of the index.
        vectors: "chunks" embeds all of a document's text, in chunks that the model can read; "document" gives each
            document one embedding, of the head that the model reads (CRAFT's way). By default chunks; with `add`, as
            the index has it.
        device: torch device; by default all of CUDA where there are some, each in a process of its own: a script that
            calls this needs `if __name__ == "__main__":`. With `embedding_server`, where the model runs that its
            vectors are compared with; by default the CPU.
        add: keep what the index holds, and put the new documents behind it.
        replace: let the new index take the place of the one that the folder holds.
        workers: number of processes, "ray", "ray://host:port", "dask", or the address of a Dask scheduler.

    Raises:
        InputError: a source is missing, or nothing could be read; the folder holds something else, or an index and
            neither `add` nor `replace` was given; an embedding server gives other vectors than the model.
        EmbeddingError: an embedding server cannot be reached, or fails; what was embedded is kept.
        StorageError: the disk is full; what was built is whole.
    """
    from craft_hf.base import open_workers

    given: dict[str, Any] = {
        "preset": preset, "fields": fields, "license": license, "name": name, "split": split, "hub_config": hub_config,
        "min_chars": min_chars, "max_chars": max_chars, "long": long, "limit": limit, "min_score": min_score,
        "strict": strict, "embedding_model": embedding_model, "shard_documents": shard_documents, "vectors": vectors,
    }  # fmt: skip
    corpora, settings, as_given = _open_sources(sources, given)
    embedder = _open_embedder(embedding_model, device, embedding_server, embedding_server_model)
    with open_workers(str(workers)) as running, contextlib.nullcontext() if running else embedder.on_all_devices():
        retrieval.build_index(
            corpora, Path(out), embedder, shard_documents=shard_documents, vectors=vectors, add=add, replace=replace,
            workers=running, settings=settings, given=as_given,
        )  # fmt: skip
    return Index.open(Path(out))


def forecast_index(
    sources: str | Path | corpus.Corpus | Sequence[str | Path | corpus.Corpus], **settings: Any
) -> retrieval.Forecast:
    """Say what `build_index` will take, from a sample: documents, chunks, hours, GiB. Nothing is written.

    Files are extrapolated by their bytes on disk; of a Hub dataset or other rows without a known number, it says what
    1,000,000 documents take. Some chunks are embedded with a clock.

    Example:
        >>> print(*craft_hf.forecast_index(["articles.jsonl.gz", "notes/"]).lines(), sep="\\n")

    Args:
        sources: see `build_index`.
        settings: those that you will give to `build_index`; `out`, `add`, `replace` and `shard_documents` change
            nothing.

    Raises:
        InputError: a source is missing, or nothing could be read; an embedding server gives other vectors than the
            model.
        EmbeddingError: an embedding server cannot be reached.
    """
    from craft_hf.base import open_workers

    bound = inspect.signature(build_index).bind(sources, settings.pop("out", ""), **settings)
    bound.apply_defaults()
    given = bound.arguments
    corpora, *_ = _open_sources(sources, given)
    embedder = _open_embedder(
        given["embedding_model"], given["device"], given["embedding_server"], given["embedding_server_model"]
    )
    with (
        open_workers(str(given["workers"])) as running,
        contextlib.nullcontext() if running else embedder.on_all_devices(),
    ):
        return retrieval.forecast_index(corpora, embedder, vectors=given["vectors"], workers=running)


def search(text: str, index: str | Path | Index | None = None, k: int = 5, *, embedding: str | Path = "") -> list[Hit]:
    """Return the documents of an index that are most similar to a text, best first.

    Example:
        >>> for hit in craft_hf.search("How do plants make sugar?", k=3):
        ...     print(f"{hit.similarity:.3f}", hit.document.title, hit.document.license)

    Args:
        text: what to look for.
        index: its folder, "user/name" or "user/name@revision" on the Hub, or one that is open; by default the sample
            index, which is built when it is first used (seconds).
        k: how many documents, 1 or more.
        embedding: where the index's embedding model lies, a folder or a Hub id; by default where the index says.

    Raises:
        InputError: there is no such index, it is broken, or its embedding model is not there.
        HubError: the Hub cannot be reached.
    """
    opened = index if isinstance(index, Index) else retrieval.open_index(None if index is None else str(index))
    return retrieval.search_text(opened, text, k, str(embedding)).hits


def retrieve(task: str | Path | run.RunSettings, *, k: int = 100, **settings: object) -> RetrievedDocuments:
    """Retrieve documents for a task: see whether few-shots and index fit each other before anything is generated.

    Example:
        >>> found = craft_hf.retrieve("bioqa", index="my-index", k=200)
        >>> found.hits[0].document.title, found.coverage.warnings

    Args:
        task: a shipped task, the folder of your own, or all settings at once.
        k: how many documents; CRAFT takes two for each sample wanted.
        settings: any of `RunSettings`, of which `few_shots`, `index`, `embedding`, `query`, `query_form`, `retrieval`,
            `min_similarity`, `sources`, `licenses`, `most_per_source` and `seed` count here.

    Raises:
        InputError: a setting is wrong, or task or index do not exist or are broken.
        HubError: the index is on the Hub, which cannot be reached.
    """
    wanted = _settings(task, settings)
    loaded = tasks.load_task(wanted.task, wanted.few_shots)
    if wanted.query is not None:
        loaded = replace(loaded, query=tuple(wanted.query))
    if k < 1:
        raise InputError(f"k is {k}, expected 1 or more.")
    index = retrieval.open_index(wanted.index)
    documents = run.open_documents(wanted, loaded, index)
    hits = documents.take(0, k)
    return RetrievedDocuments(loaded, hits, documents.coverage(), retrieval.index_summary(index))


def estimate(task: str | Path | run.RunSettings, *, pilot: int = 8, show: int = 0, **settings: object) -> run.Estimate:
    """Say what a run will cost in prompts, tokens, time and money, from a few of its own prompts.

    The run finds the answers of these in its journal, and does not pay for them again.

    Example:
        >>> craft_hf.estimate("bioqa", size="M", generator="http://localhost:8000/v1", price_in=0.15, price_out=0.6)

    Args:
        task: a shipped task, the folder of your own, or all settings at once.
        pilot: how many prompts to send; 0 asks no model, and leaves time and yield open.
        show: how many prompts to return as they would be sent (`Estimate.shown`).
        settings: those that you will give to `generate`; see `RunSettings`.

    Raises:
        InputError: a setting is wrong, or what it names does not exist or is broken.
        GeneratorError: the model cannot be loaded or reached.
    """
    return run.estimate(run.resolve(_settings(task, settings)), pilot, show)


def generate(
    task: str | Path | run.RunSettings, out: str | Path, *, fresh: bool = False, **settings: object
) -> dataset.DatasetFolder:
    """Make a dataset: retrieve documents, let the model rewrite them into samples, keep what is good.

    Interrupted at any moment, the same call goes on where it stopped: no answer is paid for twice.
    `datasets.load_dataset("craft", task=..., ...)` takes the same settings, and gives the rows as a `Dataset`.

    Example:
        >>> made = craft_hf.generate("bioqa", out="my-dataset", num_samples=4)
        >>> [row["question"] for row in made.rows if not row["is_few_shot"]]

    Args:
        task: a shipped task, the folder of your own, or all settings at once.
        out: folder for rows, rejects, report and card; must not exist yet, or hold an earlier dataset.
        fresh: ask the model anew for everything, as after a change of its server; answers in the journal are replaced.
        settings: any of `RunSettings`, such as `num_samples`, `index`, `generator` or `preset="paper"`.

    Returns:
        The folder: `rows`, `rejects` and `report` of it are read when they are asked for.

    Raises:
        InputError: a setting is wrong, or what it names does not exist or is broken.
        GeneratorError: the model cannot be loaded or reached.
        StorageError: the disk is full; every answer is in the journal.
    """
    wanted = _settings(task, settings)
    tasks.load_task(wanted.task, wanted.few_shots)  # what is wrong with it is told before anything slow is imported
    folder = dataset.DatasetFolder(out)
    folder.check_replaceable()
    with Activity("Starting"):
        finish = run.ensure_reviewed_run  # imports torch and its like, which takes seconds
    dataset.DatasetFolder(finish(wanted, fresh)).copy_to(folder.path)
    return dataset.DatasetFolder(folder.path)


def evaluate(
    model: str,
    task: str | Path,
    data: str | Path,
    *,
    adapters: Sequence[str | Path] = (),
    against: str | Path | None = None,
    measures: Sequence[str] | None = None,
    judge: str | None = None,
    judge_model: str | None = None,
    limit: int | None = None,
    max_new_tokens: int | None = None,
    seed: int = 0,
    batch_size: int = 16,
    device: str | None = None,
) -> evaluation.Evaluation:
    """Measure a model or its adapters on rows with human answers, and compare two on the same rows.

    Example:
        >>> found = craft_hf.evaluate("embedded", "bioqa", "questions.jsonl", limit=200)
        >>> print(found.to_markdown())

    Args:
        model: "embedded", a Hub id, or a model folder.
        task: a shipped task, or the folder of your own.
        data: JSONL file of rows with the task's fields, or its short forms (see the README).
        adapters: folders or Hub ids of LoRA adapters for the model, each measured in place of the bare model.
        against: what to compare with on the same rows: a model, the folder of an adapter for `model`, or a file that
            `Evaluation.to_json` gave; by default the first of several adapters.
        measures: by default "letter" and "option_text" of multiple choice, "bits_per_byte" and "written" of others.
        judge: a model that compares written answers with human ones: "embedded", a Hub id, a folder, a URL, or an
            engine with its model ("vllm:user/name"), which is looked for on PATH and started.
        judge_model: the judge's name on its server.
        limit: rows to draw, 2 or more; by default all.
        max_new_tokens: limit of a written answer; by default the task's, and 8 for a letter.
        seed: draws the rows and the bootstrap samples.
        batch_size: rows that the model reads at once.
        device: torch device; by default CUDA where there is one.

    Raises:
        InputError: model, task, data or adapter do not exist or are broken, or a measure does not suit the task.
        GeneratorError: the judge cannot be reached.
    """
    loaded = tasks.load_task(str(task))
    chosen = evaluation.measures_for(loaded, measures, judge is not None)
    items = evaluation.read_items(Path(data), loaded, limit, seed)
    judging = run.open_generator(judge, judge_model) if judge is not None else None

    def score(evaluated: evaluation.EvaluatedModel) -> evaluation.Results:
        return evaluation.evaluate(
            evaluated, loaded, items, measures=chosen, judge=judging, max_new_tokens=max_new_tokens,
            batch_size=batch_size, seed=seed, data=str(data),
        )  # fmt: skip

    with generation.running_engines(cache_folder() / "engines", judging):
        known = against is not None and (Path(against).is_file() or Path(against).suffix == ".json")
        other = evaluation.read_results(Path(against))[0] if against is not None and known else None
        evaluated = evaluation.EvaluatedModel(model, device=device)
        found, names = [], [*adapters, *([] if adapters else [None])]
        for adapter in names:
            evaluated.set_adapter(adapter)
            found.append(score(evaluated))
        if against is not None and other is None:
            if str(against) == model:
                evaluated.set_adapter(None)
            elif (Path(against) / "adapter_config.json").is_file():
                evaluated.set_adapter(against)
            else:
                evaluated = evaluation.EvaluatedModel(str(against), device=device)
            other = score(evaluated)
    return evaluation.Evaluation(tuple(found), other or (found[0] if len(found) > 1 else None), seed)


def publish(folder: str | Path, repository: str, *, private: bool = True, mask_personal: bool = False) -> str:
    """Put a dataset, an index or an adapter on the Hub, checked for secrets and licences, and return its URL.

    All goes up in one commit; what the repository has already is not sent again.

    Example:
        >>> craft_hf.publish("my-dataset", "user/name")
        'https://huggingface.co/datasets/user/name'

    Args:
        folder: what `generate`, `build_index` or a recipe wrote.
        repository: "user/name" on the Hub; made if needed.
        private: only you and those you invite see it; one that exists must be like that already.
        mask_personal: replace e-mail addresses, numbers of phones, cards and accounts, and IP addresses in rows by
            [e-mail], [phone], ...

    Raises:
        InputError: the folder cannot be published, licences are in conflict, a file contains a secret, or you are not
            logged in.
        HubError: the Hub cannot be reached.
    """
    return publishing.publish(folder, repository, private=private, mask_personal=mask_personal)


def _open_sources(
    sources: str | Path | corpus.Corpus | Sequence[str | Path | corpus.Corpus], given: Mapping[str, Any]
) -> tuple[list[corpus.Corpus], list[dict[str, JSON]], list[dict[str, JSON]]]:
    """Return the corpora, the settings that they were opened with, as the index keeps them, and these as given.

    Args:
        sources: see `build_index`.
        given: its other arguments, by name.
    """
    listed = [sources] if isinstance(sources, str | Path | corpus.Corpus) else list(sources)
    corpora = [source for source in listed if isinstance(source, corpus.Corpus)]
    named = [retrieval.lasting_source(source) for source in listed if not isinstance(source, corpus.Corpus)]
    of_records = ("name", "split", "hub_config", "min_chars", "max_chars", "long", "limit", "min_score", "strict")
    if corpora and not named:
        defaults = inspect.signature(build_index).parameters
        names = ("preset", "fields", "license", *of_records)
        if useless := [f"{name}=" for name in names if given[name] != defaults[name].default]:
            raise InputError(
                f"{', '.join(useless)} would do nothing beside a Corpus, which has what it was opened with: give the "
                "arguments that it knows to Corpus(...) itself, or name files or a preset in its place."
            )
    as_given: list[dict[str, JSON]] = [{} for _ in corpora]
    settings = list(as_given)
    if named or not corpora:
        licenses = [given["license"]] if isinstance(given["license"], str) else list(given["license"])
        as_given.append(
            {
                "sources": named, "preset": given["preset"],
                "field": [f"{to}={of}" for to, of in (given["fields"] or {}).items()],
                "license": [] if licenses == [""] else licenses, **{name: given[name] for name in of_records},
                "embedding_model": _absolute_model(given["embedding_model"]),
                "shard_documents": given["shard_documents"], "vectors": given["vectors"],
            }
        )  # fmt: skip
        settings.append(retrieval.pinned_settings(as_given[-1]))
        corpora += retrieval.open_sources(settings[-1])
    return corpora, settings, as_given


def _absolute_model(name: str) -> str:
    return name if name == EMBEDDED else retrieval.absolute_path(name)


def _open_embedder(model: str, device: str | None, servers: str, server_model: str) -> Embedder:
    """Return the embedding model, which runs here or, where URLs of servers are given, at these."""
    model = _absolute_model(model)
    if servers:
        from craft_hf.servers import ServerEmbedder

        return ServerEmbedder(servers, model, device, server_model=server_model)
    if server_model:
        raise InputError(
            f"embedding_server_model= (--embedding-server-model) is {server_model!r}, but no embedding server was "
            "given; give embedding_server= (--embedding-server), too."
        )
    from craft_hf.base import Embedder

    return Embedder(model, device)


def _settings(task: str | Path | run.RunSettings, given: Mapping[str, object]) -> run.RunSettings:
    if not isinstance(task, run.RunSettings):
        return run.settings_from({**given, "task": task})
    if given:
        raise InputError(
            f"{next(iter(given))}= was given beside RunSettings, which hold all settings; give it to RunSettings."
        )
    return task
