"""The sources of an index: kept in `index.json` to be read again; on the Hub without the places of this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from craft_hf.base import JSON, InputError, __version__, is_installed
from craft_hf.corpus import (
    Corpus,
    looks_like_a_path,
    open_corpora,
    parse_fields,
    parse_named_source,
    pinned,
    preset_sources,
    repo_of,
)
from craft_hf.retrieval.index.info import IndexInfo

_ELSEWHERE = "./"
"""What the name of a file or folder begins with that lies on the machine from which an index was published, so that
nobody takes it for one of the Hub; other places in an index are absolute, or on the Hub.
"""


def open_sources(settings: Mapping[str, Any]) -> list[Corpus]:
    """Open the sources of a build.

    Args:
        settings: the arguments of `craft_hf.build_index` by name; those that do not concern the sources do not count.

    Raises:
        InputError: a source does not exist, or a setting is wrong.
    """
    return open_corpora(
        settings["sources"], settings["preset"], name=settings["name"], licenses=settings["license"],
        fields=parse_fields(settings["field"]), split=settings["split"], config=settings["hub_config"],
        min_score=settings["min_score"],
        **{name: settings[name] for name in ("min_chars", "max_chars", "long", "limit", "strict")},
    )  # fmt: skip


def open_sources_again(settings: Mapping[str, Any]) -> list[Corpus]:
    """Open the sources of a build that `index.json` tells.

    Raises:
        InputError: a source does not exist, or is a file of another machine, of which an index that was published tells
            the name alone.
    """
    for source in settings["sources"]:
        place = parse_named_source(source)[1]
        if place.startswith(_ELSEWHERE):
            raise InputError(f"{source} was a file of the machine that built the index; where it lay is not published")
        if not Path(place).is_absolute() and Path(repo_of(place)).exists():
            raise InputError(
                f"{repo_of(place)} in this folder would be read in place of the Hub dataset of that name; run this "
                "elsewhere"
            )
    return open_sources(settings)


def source_versions(settings: Sequence[Mapping[str, Any]]) -> list[JSON]:
    """Return what changes when the documents of some builds may: size and times of each local file, what reads them."""
    found: list[JSON] = [__version__, *map(is_installed, ("docx", "pypdfium2", "trafilatura"))]
    for build in settings:
        for source in build["sources"]:
            path = Path(parse_named_source(source)[1])
            for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                if file.is_file():
                    state = file.stat()
                    found.append([str(file), state.st_size, state.st_mtime_ns, state.st_ctime_ns])  # the last: chmod
    return found


def lasting_source(source: str | Path) -> str:
    """Return SOURCE or NAME=SOURCE so that it means the same everywhere: a file or folder gets its absolute path.

    A `Path` is no Hub dataset, also if there is nothing at it.
    """
    if isinstance(source, Path):
        return str(source.absolute())
    return _replaced(source, absolute_path)


def pinned_settings(settings: Mapping[str, JSON]) -> dict[str, JSON]:
    """Return settings that mean the same always: a Hub dataset of which no revision is given gets the newest commit.

    The Hub dataset that a preset reads without a source becomes its source, with its commit.
    """

    def pin(place: str) -> str:
        is_file = any(Path(path).exists() for path in (place, repo_of(place))) or looks_like_a_path(place)
        return place if is_file else pinned(place)  # the Hub is asked for no file's name

    sources = [_replaced(source, pin) for source in cast(Sequence[str], settings["sources"])]
    of_preset = [] if sources else map(pinned, preset_sources(str(settings["preset"])))
    return {**settings, "sources": sources or [source for source in of_preset if "@" in source]}


def _replaced(source: str, change: Callable[[str], str]) -> str:
    """Return SOURCE or NAME=SOURCE with another SOURCE."""
    name, place = parse_named_source(source)
    return f"{name}={change(place)}" if name else change(place)


def absolute_path(place: str) -> str:
    """Return the absolute path of a file or folder; what is none stays as it is."""
    return str(Path(place).absolute()) if Path(place).exists() else place


def without_local_places(info: IndexInfo) -> IndexInfo:
    """Return what is published of `index.json`: of files and folders on this machine only the names, behind "./"."""
    return replace(
        info,
        embedding_name=_name_alone(info.embedding_name),
        builds=tuple(
            {
                **build,
                "sources": [_replaced(source, _name_alone) for source in cast(Sequence[str], build["sources"])],
                "embedding_model": _name_alone(str(build.get("embedding_model", ""))),
            }
            if build
            else build
            for build in info.builds
        ),
    )


def _name_alone(place: str) -> str:
    """Return the last part of a path, marked as that of a file; a name on the Hub has no leading "/" and stays."""
    return f"{_ELSEWHERE}{Path(place).name}" if Path(place).is_absolute() else place
