"""What a repository on the Hub is to hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from craft_hf.base import Content
from craft_hf.dataset import CardConfig


@dataclass(frozen=True)
class Repository:
    """Files to publish, all of them checked.

    `type` is "dataset" or "model", `belongs` says of a path whether the repository may hold it, `message` is that of
    the commit. `configs` are what a dataset is loaded back by.
    """

    type: str
    files: Mapping[str, Content]
    belongs: Callable[[str], bool]
    message: str
    configs: Sequence[CardConfig] = field(default=())
