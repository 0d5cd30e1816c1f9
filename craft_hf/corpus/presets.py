"""Presets for the corpora of the CRAFT paper, from raw files or from the Hub."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Unpack

from craft_hf.base import InputError
from craft_hf.corpus.corpus import Corpus, CorpusOptions, open_source, parse_named_source
from craft_hf.corpus.fields import Fields
from craft_hf.corpus.readers import ChainedSource, Source
from craft_hf.corpus.readers.files import FileSource
from craft_hf.corpus.readers.hub import HubDataset
from craft_hf.corpus.readers.stackexchange import StackExchange, hub_row
from craft_hf.corpus.readers.wikihow import WikiHow, method_row
from craft_hf.corpus.readers.wikipedia import Wikipedia


@dataclass(frozen=True)
class Preset:
    """How a known corpus is read.

    Attributes:
        raw: which raw files it reads, for messages.
        files: opens raw files; takes the path, the name of the corpus, and the least score of a post or None.
        license: of documents from raw files that name none.
        repo: the Hub dataset, which is streamed if no files are given.
        revision: the commit of it that is read if none is named; "" for the newest.
        hub: opens it; takes `repo`, a commit, tag or branch or None for the newest commit, and the name of the corpus.
        hub_license: of documents from the Hub that name none: what the dataset's card says, or else the licence of the
            texts.
    """

    raw: str
    files: Callable[[Path, str, int | None], Source]
    license: str
    repo: str
    revision: str
    hub: Callable[[str, str | None, str], Source]
    hub_license: str


PRESETS = {
    "c4": Preset(
        raw="shards such as c4-train.00000-of-01024.json.gz",
        files=lambda path, name, _: FileSource(path),
        license="ODC-BY",
        repo="allenai/c4",
        revision="1588ec454efa1a09f29cd18ddd04fe05fc8653a2",
        hub=lambda repo, revision, name: HubDataset(repo, "en", revision=revision),
        hub_license="ODC-BY",
    ),
    "wikipedia": Preset(
        raw="the output of `wikiextractor --json`, or Parquet files of the Hub dataset",
        files=lambda path, name, _: Wikipedia(path),
        license="CC BY-SA 4.0",
        repo="wikimedia/wikipedia",
        revision="b04c8d1ceb2f5cd4588862100d08de323dccfbaa",
        hub=lambda repo, revision, name: HubDataset(repo, "20231101.en", revision=revision),
        hub_license="CC BY-SA 3.0 or GFDL",
    ),
    # The Hub dataset has no titles and only answers with a positive score.
    "stackexchange": Preset(
        raw="a folder of unpacked dumps, one folder for each site, with Posts.xml in each",
        files=StackExchange,
        license="CC BY-SA",
        repo="HuggingFaceGECLM/StackExchange_Mar2023",
        revision="",
        hub=lambda repo, revision, name: HubDataset(
            repo, split="all", revision=revision, convert=partial(hub_row, name=name)
        ),
        hub_license="CC BY-SA",
    ),
    # The authors' own dataset, wangwilliamyang/wikihow, is a script that downloads nothing, and `datasets` runs no
    # scripts; this CSV file is a cleaned copy whose card refers to the same paper.
    "wikihow": Preset(
        raw="wikihowAll.csv or wikihowSep.csv of the WikiHow dataset",
        files=lambda path, name, _: WikiHow(path),
        license="CC BY-NC-SA 3.0",
        repo="gursi26/wikihow-cleaned",
        revision="",
        hub=lambda repo, revision, name: HubDataset(repo, revision=revision, convert=method_row),
        hub_license="CC BY-NC-SA 3.0",
    ),
}
"""The corpora of the CRAFT paper (arXiv 2409.02098)."""


def preset_sources(preset: str) -> list[str]:
    """Return what a preset reads if no source is given, as a source; none if there is no such preset."""
    known = PRESETS.get(preset)
    return [f"{known.repo}@{known.revision}" if known.revision else known.repo] if known else []


def preset_corpus(
    preset: str,
    *sources: str | Path,
    name: str = "",
    license: str = "",
    min_score: int | None = None,
    **options: Unpack[CorpusOptions],
) -> Corpus:
    """Open a corpus of the CRAFT paper.

    Args:
        preset: a key of `PRESETS`.
        sources: files or folders in the raw format of the preset, or its Hub dataset as REPO or REPO@REVISION, which is
            streamed; without any, the Hub dataset.
        name: of the corpus; by default that of the preset.
        license: licence of documents without one; by default the preset's.
        min_score: of Stack Exchange, leave out posts with a lower score.
        options: see `Corpus`.

    Raises:
        InputError: the preset, a file or a folder does not exist, or there are no scores; other errors come while
            iterating, see `Corpus`.
    """
    known = PRESETS.get(preset)
    if known is None:
        raise InputError(f"there is no preset {preset!r}; choose from {', '.join(PRESETS)}.")
    name = name or preset
    repo, _, revision = str(sources[0]).partition("@") if sources else (known.repo, "", "")
    missing = [source for source in sources if not Path(source).exists()]
    of_hub = len(missing) == len(sources) <= 1 and repo == known.repo
    if missing and not of_hub:
        raise InputError(
            f"there is no {missing[0]}; the preset {preset} reads {known.raw}, or without a source the Hub dataset "
            f"{known.repo}."
        )
    if min_score is not None and (preset != "stackexchange" or of_hub):
        raise InputError(
            "min_score= (--min-score) was given, but only the raw files of the preset stackexchange hold scores; leave "
            "it out."
        )
    if of_hub:
        opened = [known.hub(repo, revision or known.revision or None, name)]
    else:
        opened = [known.files(Path(source), name, min_score) for source in sources]
    license = license or (known.hub_license if of_hub else known.license)
    return Corpus(ChainedSource(opened), name=name, license=license, **options)


def open_corpora(
    sources: Sequence[str],
    preset: str = "",
    *,
    name: str = "",
    licenses: Sequence[str] = (),
    fields: Mapping[str, str] | None = None,
    split: str = "train",
    config: str | None = None,
    min_score: int | None = None,
    **options: Unpack[CorpusOptions],
) -> list[Corpus]:
    """Open the sources of a command line, in order; sources with the same name and licence form one corpus.

    Args:
        sources: what `Corpus` takes or, with a preset, `preset_corpus`; each may be NAME=SOURCE. With a preset and no
            sources, its Hub dataset is read.
        preset: a key of `PRESETS`.
        name: of the corpora whose source has no NAME.
        licenses: licences of documents without one: one for all sources, or one for each.
        fields: see `Corpus`; a preset sets its own.
        split: see `Corpus`; a preset sets its own.
        config: see `Corpus`; a preset sets its own.
        min_score: see `preset_corpus`.
        options: see `Corpus`.

    Raises:
        InputError: no source and no preset, more than one licence but not one for each source, an argument that the
            preset sets itself, or what `Corpus` and `preset_corpus` raise.
    """
    if not sources and not preset:
        raise InputError(f"no source was given; name files, folders, Hub datasets, or a preset: {', '.join(PRESETS)}.")
    if preset and (fields or (split, config) != ("train", None)):
        raise InputError(f"the preset {preset} knows its fields, split and configuration; leave them out.")
    if min_score is not None and not preset:
        raise InputError("min_score= (--min-score) is for the preset stackexchange; leave it out.")
    groups = _groups(sources, preset, name, licenses)
    corpora = []
    for (named, license), group in groups:
        if preset:
            corpus = preset_corpus(preset, *group, name=named, license=license, min_score=min_score, **options)
        else:
            opened = [open_source(source, Fields(fields), split, config, None) for source in group]
            corpus = Corpus(ChainedSource(opened), fields=fields, name=named, license=license, **options)
        corpora.append(corpus)
    return corpora


def _groups(
    sources: Sequence[str], preset: str, name: str, licenses: Sequence[str]
) -> list[tuple[tuple[str, str], list[str]]]:
    """Group sources by name and licence; a source without a name is a group of its own."""
    if len(licenses) > 1 and len(licenses) != len(sources):
        raise InputError(
            f"{len(licenses)} licences were given for {len(sources)} sources; expected one for all, or one for each in "
            "the order of the sources."
        )
    if not sources:
        return [((name, "".join(licenses)), [])]
    groups: dict[tuple[str, str, int], list[str]] = {}
    for number, text in enumerate(sources):
        named, source = parse_named_source(text)
        named = named or name or preset
        license = licenses[number] if len(licenses) > 1 else "".join(licenses)
        groups.setdefault((named, license, 0 if named else number), []).append(source)
    return [((named, license), group) for (named, license, _), group in groups.items()]
