"""Streams the rows of Hub datasets."""

from __future__ import annotations

import itertools
import re
import zlib
from collections.abc import Callable
from pathlib import Path

from craft_hf.base import JSON, CraftError, InputError
from craft_hf.corpus.ledger import Ledger, Reason
from craft_hf.corpus.readers import LocatedRows, LostPositionError, Place, Position, Row, Source

HUB_DATASET_SYNTAX = "REPO@REVISION:CONFIG:SPLIT"
"""How a Hub dataset is written in one string, such as "allenai/c4:en"; all parts after REPO are optional."""


_MARK_EVERY = 1000
"""Rows after which the state of a stream is remembered."""


class HubDataset(Source):
    """A split of a Hub dataset, streamed: only what is read is downloaded.

    Args:
        repo: the dataset's id, such as "allenai/c4", or the absolute path of a folder with the same files.
        config: its configuration; by default the only one.
        split: the name of a split, several joined by "+", or "all".
        revision: commit, tag or branch; by default the newest commit.
        convert: turns a row of the dataset into one that the corpus reads.
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
        self._commit: str | None = None
        self._mark: tuple[int, JSON] = (0, None)

    def rows(self, ledger: Ledger) -> LocatedRows:
        """Stream the split in the dataset's order."""
        return self._rows(ledger, None, 0, None)

    def position(self, place: Place) -> Position:
        """Return the commit, the row's number, and the state of the stream a while before."""
        return [self._commit, place.number, *self._mark]

    def rows_from(self, position: Position, ledger: Ledger) -> LocatedRows:
        """Stream on from a row, of the commit that was begun with; what is long before is not downloaded."""
        commit, number, marked, state = position
        rows = self._rows(ledger, commit, marked, state)
        return itertools.dropwhile(lambda located: located[0].number < number, rows)

    def _resolved(self, commit: str | None) -> str | None:
        """Return the commit to read, so that what is read later is of the same; None for a folder.

        Args:
            commit: at which reading began.
        """
        from craft_hf.base import hub_api

        if Path(self.repo).is_dir():
            return None
        if not commit and re.fullmatch(r"[0-9a-f]{40}", self.revision or ""):
            return self.revision
        return hub_api().dataset_info(self.repo, revision=commit or self.revision).sha

    def _rows(self, ledger: Ledger, commit: str | None, number: int, state: JSON) -> LocatedRows:
        import datasets
        from datasets.exceptions import DatasetsError
        from huggingface_hub.errors import RevisionNotFoundError

        from craft_hf.base import HUB_EXCEPTIONS, error_text

        if Path(self.repo).is_dir() and (commit or self.revision or not Path(self.repo).is_absolute()):
            raise InputError(  # for `datasets` takes the folder before it asks the Hub
                f"the folder {self.repo} would be read in place of the Hub dataset of that name; run this from another "
                "folder. To read the files of the folder, give its path alone."
            )
        errors = (*HUB_EXCEPTIONS, EOFError, zlib.error, DatasetsError)
        try:
            self._commit = self._resolved(commit)
            stream = datasets.load_dataset(
                self.repo, self.config, split=self.split, revision=self._commit, streaming=True
            )
        except errors as e:
            if commit and isinstance(e, RevisionNotFoundError):
                raise LostPositionError(f"{self.repo}: the commit {commit} is not on the Hub any more.") from e
            raise InputError(
                f"{self.repo!r} is neither a file nor a Hub dataset that can be reached: {error_text(e)}"
            ) from e
        if state:
            stream.load_state_dict(state)
        rows = iter(stream)
        while True:
            if state or (number and number % _MARK_EVERY == 0):
                self._mark, state = (number, stream.state_dict()), None
            try:
                row = next(rows)
            except StopIteration:
                return
            except errors as e:
                raise InputError(
                    f"{self.repo}, after row {number}: reading the Hub dataset failed: {error_text(e)}; "
                    "run the same command again: it goes on from here."
                ) from e
            number += 1
            place = Place(self.repo, "row", number)
            try:
                converted = self._convert(row) if self._convert else row
            except InputError as e:
                if number == 1:
                    raise  # all rows of a dataset have the same fields
                ledger.leave_out(Reason.BROKEN, f"{place}: {e}")
            else:
                yield place, converted


def repo_of(text: str) -> str:
    """Return the id of a Hub dataset in `HUB_DATASET_SYNTAX`."""
    return text.partition(":")[0].partition("@")[0]


def pinned(text: str) -> str:
    """Return a Hub dataset in `HUB_DATASET_SYNTAX` with its newest commit, if it names no revision.

    It stays as it is if the Hub, asked several times, cannot be reached, or does not have it: reading it will say so.
    """
    from craft_hf.base import hub_api, hub_call

    repo, colon, rest = text.partition(":")
    if "@" in repo:
        return text
    try:
        commit = hub_call(f"{repo} cannot be read", lambda: hub_api().dataset_info(repo).sha)
    except CraftError:
        return text
    return f"{repo}@{commit}{colon}{rest}" if commit else text


def parse_hub_dataset(text: str, config: str | None, split: str, revision: str | None) -> HubDataset:
    """Parse `HUB_DATASET_SYNTAX`; parts that are left out are taken from the other arguments."""
    repo, _, rest = text.partition(":")
    own_config, _, own_split = rest.partition(":")
    repo, _, own_revision = repo.partition("@")
    dataset = HubDataset(repo, own_config or config, own_split or split, own_revision or revision)
    if own_config:
        dataset.name = f"{repo}:{own_config}"
    return dataset
