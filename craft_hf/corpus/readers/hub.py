"""Hub datasets: an id with configuration, split and revision comes in, rows go out as they are streamed."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable

from craft_hf.base import InputError
from craft_hf.corpus.readers import Row, Rows, Source

SYNTAX = "REPO@REVISION:CONFIG:SPLIT"
"""How a Hub dataset is said in one string, such as "allenai/c4:en"; what follows REPO may be left out or empty."""


class HubDataset(Source):
    """A split of a Hub dataset, streamed: nothing but what is read is downloaded.

    Args:
        repo: the dataset's id, such as "allenai/c4".
        config: its configuration; by default the only one.
        split: the name of a split, several joined by "+", or "all".
        revision: commit, tag or branch; by default the newest commit.
        convert: makes the row that the corpus reads from one of the dataset.
    """

    def __init__(
        self,
        repo: str,
        config: str | None = None,
        split: str = "train",
        revision: str | None = None,
        convert: Callable[[Row], Row] | None = None,
    ) -> None:
        self.repo, self.config, self.split, self.revision = repo, config, split, revision
        self._convert = convert
        self.name = repo

    def rows(self, skipped: Counter[str]) -> Rows:
        """Stream the split in the dataset's order."""
        import datasets
        from datasets.exceptions import DatasetsError

        from craft_hf.base import FAILURES, reason

        trouble = (*FAILURES, EOFError, zlib.error, DatasetsError)
        try:
            stream = datasets.load_dataset(
                self.repo, self.config, split=self.split, revision=self.revision, streaming=True
            )
        except trouble as e:
            raise InputError(
                f"{self.repo!r} is neither a file nor a Hub dataset that can be reached: {reason(e)}"
            ) from e
        rows, number = iter(stream), 0
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            except trouble as e:
                raise InputError(
                    f"{self.repo}, after row {number}: the Hub dataset cannot be read on: {reason(e)}; "
                    "run the same command again, it goes on with the first shard that is not there."
                ) from e
            number += 1
            yield f"{self.repo}, row {number}", self._convert(row) if self._convert else row


def parse_hub(text: str, config: str | None, split: str, revision: str | None) -> HubDataset:
    """Read SYNTAX; what the string leaves out is taken from the other arguments."""
    repo, _, rest = text.partition(":")
    own_config, _, own_split = rest.partition(":")
    repo, _, own_revision = repo.partition("@")
    dataset = HubDataset(repo, own_config or config, own_split or split, own_revision or revision)
    if own_config:
        dataset.name = f"{repo}:{own_config}"
    return dataset
