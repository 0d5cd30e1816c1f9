"""Options of the commands around a run, made from the settings where they are declared."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from craft_hf.run import PRESET, PRESETS, SETTINGS, default_text

_KINDS: dict[str, type] = {"text": str, "list": str, "whole": int, "number": float, "flag": bool}

CONFIG = Annotated[
    Path | None,
    typer.Option(help="A run.yaml, such as the one in a dataset's folder; options given beside it override it."),
]
_PRESET = Annotated[str | None, typer.Option(help=f"Several settings under one name: {', '.join(PRESETS)}.")]


def takes_settings(command: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command's function an option for each setting of this command.

    The function gets what was given in the parameter `given`, by the settings' names, beside its own parameters.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in inspect.signature(function, eval_str=True).parameters.values() if p.name != "given"]
        names = [name for name, setting in SETTINGS.items() if command in setting.commands]
        parameters = [_parameter("task"), *own, *(_parameter(name) for name in names if name != "task")]
        parameters.append(inspect.Parameter(PRESET, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_PRESET))

        def run(**values: Any) -> None:
            given = {name: values.pop(name) for name in (*names, PRESET)}
            function(given=given, **values)

        run.__doc__, run.__name__ = function.__doc__, function.__name__
        keyword_only = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
        run.__signature__ = inspect.Signature(keyword_only)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in keyword_only}
        return run

    return decorate


def _parameter(name: str) -> inspect.Parameter:
    setting, default = SETTINGS[name], default_text(name)
    kind = str if setting.words and setting.kind != "text" else _KINDS[setting.kind]
    help = setting.help + (f" (default: {default})" if default else "")
    about: object
    if name == "task":
        about = typer.Argument(help=help, metavar="TASK", show_default=False)
    else:
        about = typer.Option(help=help, show_default=False)
    annotation = Annotated[kind | None, about]  # type: ignore[valid-type]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
