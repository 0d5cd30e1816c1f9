"""The command `craft-hf publish`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from craft_hf.base import InputError

_FOLDER = "A dataset, an index, or an adapter that craft_hf wrote."
_REPOSITORY = "user/name on the Hub; created if needed."
_TO = "Write the repository into this folder instead of uploading it."


def publish(
    folder: Annotated[Path, typer.Argument(help=_FOLDER)],
    repository: Annotated[str | None, typer.Argument(help=_REPOSITORY)] = None,
    public: Annotated[bool, typer.Option("--public", help="Make it public (default: private).")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Run all checks and list what would be uploaded.")] = False,
    to: Annotated[Path | None, typer.Option(help=_TO)] = None,
    mask_personal: Annotated[
        bool,
        typer.Option("--mask-personal", help="Mask e-mail addresses, phone and card numbers, ... in rows."),
    ] = False,
) -> None:
    """Publish a dataset, an index or an adapter on the Hub in one commit, private and checked for secrets and licences.

    Stopped at any moment, the same command goes on; nothing is sent twice. The log-in is that of `hf auth login`, or
    HF_TOKEN.

    Example: craft-hf publish my-dataset user/name --dry-run

    Example: craft-hf publish finetuned/bioqa/adapter user/name --public
    """
    from craft_hf import publishing

    kind = publishing.folder_kind(folder)
    if repository is None and to is None:
        raise InputError("no destination given. Give user/name on the Hub, or a folder with --to.")
    if dry_run:
        login = _is_logged_in()
        name = repository or "user/name"
        plan = publishing.plan_publish(
            folder, name, private=not public, mask_personal=mask_personal, compare_with_hub=login and to is None
        )  # fmt: skip
        width = max(len(path) for path, _, _ in plan)
        for path, size, state in sorted(plan):
            typer.echo(f"{state:<8} {size:>13,}  {path:<{width}}".rstrip())
        sent = sum(size for _, size, state in plan if state in ("new", "changed"))
        note = "" if login or to is not None else " Not logged in, so not compared with the Hub."
        typer.echo(f"{kind} {folder}: {len(plan)} files, {sent:,} bytes would go up; nothing was sent.{note}")
    elif to is not None:
        publishing.write_repository(
            folder, to, repository or "user/name", private=not public, mask_personal=mask_personal
        )
        typer.echo(f"{kind} {folder}: the repository is in {to}")
    else:
        assert repository is not None
        url = publishing.publish(folder, repository, private=not public, mask_personal=mask_personal)
        typer.echo(f"{kind} {folder}, loaded back and compared: {url}")
        if not public:
            typer.echo("It is private; make it public on its page, or with --public.")


def _is_logged_in() -> bool:
    from huggingface_hub import get_token
    from huggingface_hub.constants import HF_HUB_OFFLINE

    return bool(get_token()) and not HF_HUB_OFFLINE
