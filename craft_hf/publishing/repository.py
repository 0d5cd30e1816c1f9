"""The contents of a Hub repository, before they are uploaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from craft_hf.base import Content
from craft_hf.dataset import CardConfig


@dataclass(frozen=True)
class Repository:
    """Files to publish, which have passed all checks.

    `type` is "dataset" or "model". `files` maps paths in the repository to contents. `may_contain` tells whether a path
    belongs to such a repository: files on the Hub for which it is true are deleted unless they are among `files`, and
    any other file is an error. `message` is the commit message. `configs` are the configurations of a dataset.
    """

    type: str
    files: Mapping[str, Content]
    may_contain: Callable[[str], bool]
    message: str
    configs: Sequence[CardConfig] = field(default=())
