"""Calls of the Hugging Face Hub, retried where that helps, with errors that say what to do.

The client retries some requests by itself and others not (creating a repository, committing, an interrupted download).
So whole steps are retried here; a step must therefore be idempotent.
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
"""Seconds before the second, third and fourth attempt of a step, unless the Hub asks for more."""

_MAX_WAIT_S = 300.0
"""Longest Retry-After that is obeyed: the Hub counts requests in windows of five minutes."""

_RETRYABLE_STATUSES = (408, 409, 412, 425, 429, 500, 502, 503, 504)
"""HTTP statuses after which the same step may succeed; 409 and 412: somebody else committed at the same time."""

HUB_EXCEPTIONS = (HTTPError, OSError, RuntimeError, ValueError, EntryNotFoundError, XetDownloadError)
"""The exceptions that the client raises, according to its documentation and source."""

_LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"

_ATTRIBUTES = ".gitattributes"
"""The file that a new repository holds; it lists which files are large."""

Content = Path | bytes
"""A file on disk, or the content of one."""

_T = TypeVar("_T")

logger = logging.getLogger("craft_hf")


def hub_api() -> HfApi:
    """Return a client that identifies itself to the Hub as craft_hf."""
    return HfApi(library_name="craft_hf", library_version=__version__)


def parse_repo_name(text: str) -> tuple[str, str | None] | None:
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
    """Run a step that calls the Hub, up to four times if its error may be temporary, and return its result.

    Args:
        what: the beginning of the error message: "x cannot be published to y".
        step: called again from its beginning at each attempt.

    Raises:
        InputError: nobody is logged in, the token may not do this, or the repository, revision or file does not exist.
        HubError: the Hub cannot be reached, or fails.
        StorageError: the disk is full or not writable.
        CraftError: raised by the step itself.
    """
    waits = iter(_WAITS_S)
    while True:
        try:
            return step()
        except CraftError:
            raise
        except HUB_EXCEPTIONS as e:
            cause = _cause(e)
            wait_s = next(waits, None)
            if wait_s is None or not _is_retryable(cause):
                raise _explained(what, cause) from None  # the client's errors hold requests, and these the token
            wait_s = max(wait_s, _retry_after_s(cause))
            logger.warning("The Hub: %s; trying again in %.0f s.", error_text(cause), wait_s)
            time.sleep(wait_s)


def check_login(what: str) -> None:
    """Check that a token may write; done first, because the Hub accepts some requests without a token as well.

    Raises:
        InputError: nobody is logged in, or the token is wrong or read-only.
        HubError: the Hub cannot be reached.
    """
    who = hub_call(what, hub_api().whoami)
    if who.get("auth", {}).get("accessToken", {}).get("role") == "read":
        raise InputError(f"{what}: the token of {who.get('name')} may only read; {_LOG_IN} to one that may write.")


def ensure_repository(what: str, repo_id: str, repo_type: str, private: bool) -> None:
    """Create a repository unless it exists, and check its visibility before anything is uploaded.

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
    """Make a repository hold exactly these files, in one commit, and return the commit's hash.

    Readers see the previous files or all of the new ones. Files that the repository already has are not uploaded, and
    nothing is committed if nothing differs. Other files are deleted in the same commit. If somebody else commits at the
    same time, the step is done again.

    Args:
        what: as for `hub_call`.
        repo_id: an existing repository, see `ensure_repository`.
        repo_type: "dataset" or "model".
        files: by path in the repository; large ones as paths on disk.
        belongs: whether a path may be in the repository at all.
        message: of the commit.

    Raises:
        InputError: the repository holds a file that does not belong there; or see `hub_call`.
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


def pending_changes(
    what: str, repo_id: str, repo_type: str, files: Mapping[str, Content], commit: str | None = None
) -> dict[str, str]:
    """Return what `push_files` would do to each path: "new", "changed", "same" or "removed".

    If the repository does not exist, every file is new.

    Args:
        what, repo_id, repo_type, files: as for `push_files`.
        commit: to compare with; by default the newest.

    Raises:
        InputError, HubError: see `hub_call`.
    """

    def step() -> Mapping[str, RepoFile]:
        try:
            return _state(repo_id, repo_type, commit)[1]
        except RepositoryNotFoundError:
            return {}

    there = hub_call(what, step)
    found = {
        path: "new" if path not in there else "changed" if _differs(there[path], content) else "same"
        for path, content in files.items()
    }
    return found | {path: "removed" for path in there if path not in {*files, _ATTRIBUTES}}


def _state(repo_id: str, repo_type: str, commit: str | None = None) -> tuple[str, dict[str, RepoFile]]:
    """Return a commit of a repository, by default the newest, and the files that it holds, by path."""
    api = hub_api()
    head = commit or str(api.repo_info(repo_id, repo_type=repo_type).sha)
    tree = api.list_repo_tree(repo_id, repo_type=repo_type, revision=head, recursive=True)
    return head, {file.path: file for file in tree if isinstance(file, RepoFile)}


def _differs(remote: RepoFile | None, content: Content) -> bool:
    """Whether the repository lacks this version of a file; a file on disk is only read if the sizes are equal."""
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
    """Return the error that the client wrapped in others."""
    while isinstance(error, RuntimeError | LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return error


def _is_retryable(error: Exception) -> bool:
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in _RETRYABLE_STATUSES
    if isinstance(error, OfflineModeIsEnabled | LocalTokenNotFoundError):
        return False
    if isinstance(error, ValueError):
        return isinstance(error, json.JSONDecodeError)  # a gateway's error page instead of JSON
    return not _is_disk_error(error)


def _is_disk_error(error: Exception) -> bool:
    """Whether an error comes from the file system, not the network; the client's own OSErrors have no errno."""
    network = HfHubHTTPError | ConnectionError | TimeoutError
    return isinstance(error, OSError) and not isinstance(error, network) and error.errno is not None


def _retry_after_s(error: Exception) -> float:
    """Return the seconds that the Hub asks to wait, at most `_MAX_WAIT_S`."""
    asked = error.response.headers.get("Retry-After", "") if isinstance(error, HfHubHTTPError) else ""
    return min(float(asked), _MAX_WAIT_S) if asked.isdecimal() else 0.0


def error_text(error: Exception) -> str:
    """Return an error's message on one line, without the queries of URLs (they hold signatures) and without tokens."""
    text = " ".join(str(error).split()).partition(" For more information check:")[0] or type(error).__name__
    text = re.sub(r"(https?://[^\s?'\"]+)\?[^\s'\"]*", r"\1", text)
    return re.sub(r"\bhf_\w{8,}|(?i:\bbearer )\S+", "[token]", text)[:400].rstrip(" .")


def _explained(what: str, error: Exception) -> CraftError:
    """Return the error to raise, with what happened and what to do about it."""
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if isinstance(error, LocalTokenNotFoundError):
        return InputError(f"{what}: you are not logged in to the Hub; {_LOG_IN}.")
    if isinstance(error, OfflineModeIsEnabled):
        return InputError(f"{what}: HF_HUB_OFFLINE is set, and the cache does not hold it; unset it to use the Hub.")
    if isinstance(error, GatedRepoError):
        return InputError(f"{what}: the repository is gated; accept its terms on its page, then {_LOG_IN}.")
    if isinstance(error, RevisionNotFoundError):
        return InputError(f"{what}: the repository has no such revision; give a branch, a tag or a full commit hash.")
    if isinstance(error, RepositoryNotFoundError):
        return InputError(f"{what}: there is no such repository that you may see; check the name. Is it private? Then "
                          f"{_LOG_IN}.")  # fmt: skip
    if isinstance(error, EntryNotFoundError) and status is not None:
        return InputError(f"{what}: a file is missing there ({error_text(error)}); check the name, or push it again.")
    if status == 401:
        return InputError(f"{what}: the Hub does not accept your token (wrong, or expired); {_LOG_IN} to another.")
    if status == 403:
        return InputError(f"{what}: your token may not do that ({error_text(error)}); check the name, or {_LOG_IN} "
                          "to a token that may write there.")  # fmt: skip
    if _is_disk_error(error):
        return StorageError(f"{what}: {error_text(error)}; free disk space and run it again: complete files are kept.")
    return HubError(f"{what}: {error_text(error)}. Run it again later: it resumes where it stopped.")
