"""What a setting of a run is, and how a value of one is checked, wherever it comes from."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from craft_hf.base import InputError, token_kind
from craft_hf.generation import parse_engine
from craft_hf.servers import holds_api_key

RUN_COMMANDS = frozenset({"generate", "estimate"})
ALL_COMMANDS = RUN_COMMANDS | {"retrieve"}

_USER = re.compile(":[^@]*@")
"""User or password of a URL, also of a mistyped one (me:secret@host); user/name@revision:config has none."""


@dataclass(frozen=True)
class Setting:
    """What is known of a setting besides its name, type and default.

    Args:
        help: one sentence for `--help` and the docs.
        kind: "text", "whole" (whole number), "number", "flag", or "list" (texts, also given as one text with commas).
        least, most: bounds of a number, inclusive.
        above: bound that a number must exceed.
        choices: the texts that are allowed, of a list the ones that may stand in it.
        words: texts that are taken as they are: beside a number, or where a file could have the same name.
        decides_rows: whether another value can give other rows; if so, it is part of the run's identity.
        place: "path" if it names a file or folder, which is then stored as an absolute path; "path or name" if it may
            also be a name, such as that of a Hub repository: then only what exists is a path.
        is_model: whether it may be the URL of a server, or several of them, or an engine with its model.
        needs: another setting without which this one would do nothing.
        needs_server: whether that other one must be the URL of a server, or an engine.
        needs_engine: whether an engine must be started for the run, without which it would do nothing.
        needs_check: the check that reads it, without which it would do nothing.
        default_text: the default in words, where None stands for something that is looked up.
        commands: which of `craft-hf generate`, `estimate` and `retrieve` take it.
    """

    help: str
    kind: str = "text"
    least: float = -math.inf
    most: float = math.inf
    above: float = -math.inf
    choices: Sequence[str] = ()
    words: Sequence[str] = ()
    decides_rows: bool = True
    place: str = ""
    is_model: bool = False
    needs: str = ""
    needs_server: bool = False
    needs_engine: bool = False
    needs_check: str = ""
    default_text: str = ""
    commands: frozenset[str] = RUN_COMMANDS

    def checked(self, name: str, value: object, base: Path = Path()) -> Any:
        """Return a value as it is stored: numbers as numbers, lists as tuples, places as absolute paths.

        Args:
            name: of the setting, for messages.
            value: what was given.
            base: the folder that relative paths are taken from.

        Raises:
            InputError: it is of another type, out of range, empty, or holds a secret.
        """
        if self.kind == "list":
            return self._listed(name, value, base)
        if isinstance(value, str) and value in self.words:
            return value
        if self.kind == "text":
            return self._text(name, value, base)
        if self.kind == "flag":
            if isinstance(value, bool):
                return value
            raise self._wrong_type(name, value)
        number = self._number(value)
        if number is None or not self.least <= number <= self.most or not number > self.above:
            raise InputError(f"{name} is {value!r}, expected {self.expected}.")
        return number

    @property
    def expected(self) -> str:
        """The values that are allowed, in words."""
        if self.kind == "list":
            return f"some of {', '.join(self.choices)}" if self.choices else "a text, or a list of texts"
        if self.kind == "text":
            return f"one of {', '.join(self.choices)}" if self.choices else "a text"
        if self.kind == "flag":
            return "true or false"
        what = "a whole number" if self.kind == "whole" else "a number"
        if math.isfinite(self.least) and math.isfinite(self.most):
            what += f" from {self.least:,} to {self.most:,}"
        elif math.isfinite(self.least):
            what += f" of at least {self.least:,}"
        if math.isfinite(self.above):
            what += f" above {self.above:,}" + (f" and up to {self.most:,}" if math.isfinite(self.most) else "")
        return what + "".join(f", or {word!r}" for word in self.words)

    def _number(self, value: object) -> float | None:
        if isinstance(value, str):
            try:
                value = int(value) if self.kind == "whole" else float(value)
            except ValueError:
                return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        if self.kind == "whole":
            return value if isinstance(value, int) else None
        try:
            number = float(value) + 0.0  # 1 and 1.0 are the same run, and so are 0 and -0.0
        except OverflowError:
            return None
        return number if math.isfinite(number) else None

    def _text(self, name: str, value: object, base: Path) -> str:
        if self.is_model and isinstance(value, list | tuple):  # several servers
            value = ",".join(map(str, value))
        if not isinstance(value, str | Path):
            raise self._wrong_type(name, value)
        text = str(value)
        self._refuse_secrets(name, text)
        if not text.strip():
            raise InputError(f"{name} is empty, expected {self.expected}; leave it out for the default.")
        if self.choices and text not in self.choices:
            raise InputError(f"{name} is {text!r}, expected {self.expected}.")
        return self._place(text, base)

    def _listed(self, name: str, value: object, base: Path) -> tuple[str, ...]:
        if isinstance(value, str | Path):
            parts = str(value).split(",")
        elif isinstance(value, list | tuple) and all(isinstance(part, str | Path) for part in value):
            parts = [str(part) for part in value]
        else:
            raise self._wrong_type(name, value)
        for part in parts:
            self._refuse_secrets(name, part)
        found = tuple(dict.fromkeys(self._place(part.strip(), base) for part in parts if part.strip()))
        if self.choices and (unknown := sorted(set(found) - set(self.choices))):
            raise InputError(f"{name} has {unknown[0]!r}, expected {self.expected}.")
        if self.choices and not found:
            raise InputError(f"{name} is empty, expected {self.expected}; leave it out for the default.")
        return found

    def _wrong_type(self, name: str, value: object) -> InputError:
        kind = f"a {type(value).__name__}"
        given = f"{value!r} ({kind})" if isinstance(value, int | float) else kind  # texts in it may be passwords
        return InputError(f"{name} is {given}, expected {self.expected}.")

    def _refuse_secrets(self, name: str, text: str) -> None:
        """Refuse what must not be stored: settings are written into run.yaml, report and card."""
        kind = token_kind(text) or ("an API key" if "://" in text and holds_api_key(text) else "")
        if not kind and _USER.search(text):
            kind = "a user or password (before @)"
        if not kind and "://" in text and "?" in text and (self.is_model or self.place):
            kind = "a query (after ?)"
        if kind:
            instead = (
                "set CRAFT_HF_API_KEY in the environment, and leave it out here" if self.is_model else "leave it out"
            )
            raise InputError(f"{name} holds {kind}; expected none, because settings are written down: {instead}.")

    def _place(self, text: str, base: Path) -> str:
        """Return a path as an absolute one, so that it is found again from another folder."""
        if not self.place or "://" in text:
            return text
        if self.is_model and (engine := parse_engine(text)) and engine.model not in self.words:
            return str(engine._replace(model=self._place(engine.model, base)))
        try:
            path = base / Path(text).expanduser()
            is_path = self.place == "path" or path.exists() or text.startswith(("/", "./", "../", "~"))
        except (OSError, RuntimeError):  # too long for a path, or a home that nobody has
            return text
        return str(path.absolute()) if is_path else text
