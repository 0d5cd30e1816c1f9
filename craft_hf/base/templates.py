"""The Jinja templates of cards and reports, from the installed wheel or from a checkout."""

from __future__ import annotations

from pathlib import Path

import jinja2

from craft_hf.base.errors import InputError

_PACKAGE = Path(__file__).parents[1]


def template(name: str) -> jinja2.Template:
    """Return a template of cards and reports; rendering it without a value that it needs is an error.

    Args:
        name: path below `dataset_cards/`.

    Raises:
        InputError: the template does not exist, or the installation has no templates.
    """
    folder = _folder()
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    try:
        return environment.get_template(name)
    except jinja2.TemplateNotFound as e:
        there = ", ".join(environment.list_templates())
        raise InputError(f"there is no template {name!r}; templates: {there}.") from e


def chat_template() -> str:
    """Return the chat template (Jinja) for models that come without one."""
    return (Path(__file__).parent / "chat_template.jinja").read_text(encoding="utf-8")


def _folder() -> Path:
    """The wheel's `craft_hf/dataset_cards`, else `dataset_cards` beside the checkout's `pyproject.toml`."""
    packaged, checkout = _PACKAGE / "dataset_cards", _PACKAGE.parent / "dataset_cards"
    if packaged.is_dir():
        return packaged
    if checkout.is_dir() and (_PACKAGE.parent / "pyproject.toml").is_file():
        return checkout
    raise InputError(f"{packaged} is missing, so no card or report can be written; reinstall craft_hf.")
