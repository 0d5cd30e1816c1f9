"""The Hugging Face Hub: a call goes in, its result comes out, retried where waiting helps; what fails is said plainly.

The client repeats some requests by itself and others not (creating a repository, committing, a download that is cut).
So whole steps are repeated here; a step must therefore be one that can be done twice.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError is that of its HTTP client
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    XetDownloadError,
)
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # public, but not marked so

from craft_hf.base.errors import CraftError, HubError, InputError, StorageError
from craft_hf.base.version import __version__

_WAITS_S = (1.0, 2.0, 4.0)
"""Seconds before a step is done for the second, third and fourth time, unless the Hub asks for more."""

_LONGEST_WAIT_S = 300.0
"""The Hub counts requests in windows of five minutes."""

_MAY_PASS = (408, 409, 412, 425, 429, 500, 502, 503, 504)
"""Statuses after which the same step may succeed; 409 and 412: somebody else has committed meanwhile."""

FAILURES = (HTTPError, OSError, RuntimeError, ValueError, EntryNotFoundError, XetDownloadError)
"""What the client raises, according to its documentation and its source."""

_LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"

_ATTRIBUTES = ".gitattributes"
"""What a new repository holds: which files are large."""

Content = Path | bytes
"""A file on the disk, or a content."""

_T = TypeVar("_T")

logger = logging.getLogger("craft_hf")


def hub_api() -> HfApi:
    """Return the client that says to the Hub who is asking."""
    return HfApi(library_name="craft_hf", library_version=__version__)


def hub_name(text: str) -> tuple[str, str | None] | None:
    """Split "user/name" or "user/name@revision" into repository and revision; None if it is neither."""
    repo_id, at, revision = text.partition("@")
    try:
        validate_repo_id(repo_id)
    except HFValidationError:
        return None
    if repo_id.count("/") != 1 or (at and not re.fullmatch(r"[\w./-]+", revision)):
        return None
    return repo_id, revision or None


def hub_call(what: str, step: Callable[[], _T]) -> _T:
    """Do a step that calls the Hub, up to four times as long as the reason may pass, and return its result.

    Args:
        what: a sentence without an end that says what failed if it does: "the index x cannot be pushed to y".
        step: is done again from its beginning.

    Raises:
        InputError: nobody is logged in, the token may not do this, or there is no such repository, revision or file.
        HubError: the Hub cannot be reached, or does not do what it should.
        StorageError: the disk is full or not writable.
        CraftError: what the step raises itself.
    """
    waits = iter(_WAITS_S)
    while True:
        try:
            return step()
        except CraftError:
            raise
        except FAILURES as e:
            cause = _cause(e)
            wait_s = next(waits, None)
            if wait_s is None or not _may_pass(cause):
                raise _explained(what, cause) from None  # the client's errors hold requests, and these the token
            wait_s = max(wait_s, _asked_wait_s(cause))
            logger.warning("The Hub: %s; trying again in %.0f s.", reason(cause), wait_s)
            time.sleep(wait_s)


def check_login(what: str) -> None:
    """Ask the Hub who is logged in; done first, because the Hub takes some requests without a token as well.

    Raises:
        InputError: nobody is logged in, or with a token that is wrong or may only read.
        HubError: the Hub cannot be reached.
    """
    who = hub_call(what, hub_api().whoami)
    if who.get("auth", {}).get("accessToken", {}).get("role") == "read":
        raise InputError(f"{what}: the token of {who.get('name')} may only read; {_LOG_IN} to one that may write.")


def open_repository(what: str, repo_id: str, repo_type: str, private: bool) -> None:
    """Create a repository unless it exists, and make sure who can see it before anything goes there.

    Raises:
        InputError: it exists with another visibility, or the token may not create it.
        HubError: the Hub cannot be reached.
    """
    api = hub_api()

    def step() -> bool | None:
        try:
            return api.repo_info(repo_id, repo_type=repo_type).private
        except RepositoryNotFoundError:
            api.create_repo(repo_id, repo_type=repo_type, private=private, exist_ok=True)
            return api.repo_info(repo_id, repo_type=repo_type).private

    if hub_call(what, step) != private:
        found, wanted = ("public", "private") if private else ("private", "public")
        raise InputError(
            f"{what}: that repository is {found}, but a {wanted} one was asked for. Nothing was uploaded; change its "
            f"visibility in its settings on the Hub, ask for a {found} one, or give another name."
        )


def push_files(
    what: str, repo_id: str, repo_type: str, files: Mapping[str, Content], belongs: Callable[[str], bool], message: str
) -> str:
    """Make a repository hold these files, all in one commit, and return the commit's hash.

    The commit goes on top of what was looked at, or else the step is done again: readers see what was there before, or
    the new files as a whole. What the repository already has is not sent, and nothing is committed where nothing
    differs. Files that belong to what is published, but are not among these, are deleted in the same commit.

    Args:
        what: as for `hub_call`.
        repo_id: a repository that is there, see `open_repository`.
        repo_type: "dataset" or "model".
        files: by path in the repository; large ones are given by their place on the disk.
        belongs: whether a path may be in the repository at all.
        message: of the commit.

    Raises:
        InputError: the repository holds something that does not belong; or see `hub_call`.
    """

    def step() -> str:
        api = hub_api()
        head, there = _state(repo_id, repo_type)
        for path in there:
            if not belongs(path):
                raise InputError(f"{what}: the repository holds {path!r}, which is not part of it; give another name.")
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            CommitOperationAdd(path, content) for path, content in files.items() if _differs(there.get(path), content)
        ]
        operations += [CommitOperationDelete(path) for path in there if path not in {*files, _ATTRIBUTES}]
        if not operations:
            return head
        made = api.create_commit(
            repo_id, operations, commit_message=message, repo_type=repo_type, parent_commit=head
        )  # fmt: skip
        return str(made.oid)

    return hub_call(what, step)


def changes(what: str, repo_id: str, repo_type: str, files: Mapping[str, Content]) -> dict[str, str]:
    """Return what `push_files` would do to each path: "new", "changed", "same" or "removed".

    Without a repository all is new.

    Raises:
        InputError, HubError: see `hub_call`.
    """

    def step() -> Mapping[str, RepoFile]:
        try:
            return _state(repo_id, repo_type)[1]
        except RepositoryNotFoundError:
            return {}

    there = hub_call(what, step)
    found = {
        path: "new" if path not in there else "changed" if _differs(there[path], content) else "same"
        for path, content in files.items()
    }
    return found | {path: "removed" for path in there if path not in {*files, _ATTRIBUTES}}


def _state(repo_id: str, repo_type: str) -> tuple[str, dict[str, RepoFile]]:
    """Return a repository's newest commit and its files by path."""
    api = hub_api()
    head = str(api.repo_info(repo_id, repo_type=repo_type).sha)
    tree = api.list_repo_tree(repo_id, repo_type=repo_type, revision=head, recursive=True)
    return head, {file.path: file for file in tree if isinstance(file, RepoFile)}


def _differs(remote: RepoFile | None, content: Content) -> bool:
    """Whether the repository lacks this very file; one on the disk is only read if the sizes agree."""
    size = content.stat().st_size if isinstance(content, Path) else len(content)
    if remote is None or remote.size != size:
        return True
    if remote.lfs is None:
        data = content.read_bytes() if isinstance(content, Path) else content
        return hashlib.sha1(b"blob %d\0" % size + data, usedforsecurity=False).hexdigest() != remote.blob_id
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest() != remote.lfs.sha256
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() != remote.lfs.sha256


def _cause(error: Exception) -> Exception:
    """Return what lies behind the errors in which the client wraps others."""
    while isinstance(error, RuntimeError | LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return error


def _may_pass(error: Exception) -> bool:
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in _MAY_PASS
    if isinstance(error, OfflineModeIsEnabled | LocalTokenNotFoundError):
        return False
    if isinstance(error, ValueError):
        return isinstance(error, json.JSONDecodeError)  # a gateway's page in place of an answer
    return not _is_of_the_disk(error)


def _is_of_the_disk(error: Exception) -> bool:
    """Whether an error is the system's, and not about a connection; the client's own OSErrors have no number."""
    network = HfHubHTTPError | ConnectionError | TimeoutError
    return isinstance(error, OSError) and not isinstance(error, network) and error.errno is not None


def _asked_wait_s(error: Exception) -> float:
    """Return the seconds that the Hub asks to wait."""
    asked = error.response.headers.get("Retry-After", "") if isinstance(error, HfHubHTTPError) else ""
    return min(float(asked), _LONGEST_WAIT_S) if asked.isdecimal() else 0.0


def reason(error: Exception) -> str:
    """Return an error's words on one line, without the signatures of URLs and without tokens."""
    text = " ".join(str(error).split()).partition(" For more information check:")[0] or type(error).__name__
    text = re.sub(r"(https?://[^\s?'\"]+)\?[^\s'\"]*", r"\1", text)
    return re.sub(r"\bhf_\w{8,}|(?i:\bbearer )\S+", "[token]", text)[:400].rstrip(" .")


def _explained(what: str, error: Exception) -> CraftError:
    """Say what happened and what to do about it."""
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if isinstance(error, LocalTokenNotFoundError):
        return InputError(f"{what}: you are not logged in to the Hub; {_LOG_IN}.")
    if isinstance(error, OfflineModeIsEnabled):
        return InputError(f"{what}: HF_HUB_OFFLINE is set, and the cache does not hold it; unset it to use the Hub.")
    if isinstance(error, GatedRepoError):
        return InputError(f"{what}: its owner asks for a consent; give it on the repository's page, then {_LOG_IN}.")
    if isinstance(error, RevisionNotFoundError):
        return InputError(f"{what}: the repository has no such revision; give a branch, a tag or a whole commit hash.")
    if isinstance(error, RepositoryNotFoundError):
        return InputError(f"{what}: there is no such repository that you may see; check the name. Is it private? Then "
                          f"{_LOG_IN}.")  # fmt: skip
    if isinstance(error, EntryNotFoundError) and status is not None:
        return InputError(f"{what}: the repository lacks a file ({reason(error)}); check the name, or push it again.")
    if status == 401:
        return InputError(f"{what}: the Hub does not know your token (wrong, or expired); {_LOG_IN} to another.")
    if status == 403:
        return InputError(f"{what}: your token may not do that ({reason(error)}); check the name, or {_LOG_IN} to a "
                          "token that may write there.")  # fmt: skip
    if _is_of_the_disk(error):
        return StorageError(f"{what}: {reason(error)}; free disk space and run it again: complete files are kept.")
    return HubError(f"{what}: {reason(error)}. Run it again later: it resumes where it stopped.")
