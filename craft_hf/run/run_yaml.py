"""Settings from several places (a preset, a run.yaml, what is given by hand), and back into a run.yaml."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

from craft_hf.base import InputError
from craft_hf.generation import holds_api_key
from craft_hf.run.presets import preset_of
from craft_hf.run.settings import ALTERNATIVES, SETTINGS, RunSettings
from craft_hf.tasks import NAMES

PRESET = "preset"
"""The key of a run.yaml, and the name of the argument, that names a preset."""

_HEAD = "# What this run was asked for; the same rows again: craft-hf generate --config run.yaml --out again\n"


def settings_from(given: Mapping[str, object], config: str | Path | None = None) -> RunSettings:
    """Return the settings of a run: what is given by hand over a run.yaml over a preset over the defaults.

    Args:
        given: values by the names of `RunSettings`, and `preset`; None counts as not given.
        config: path of a run.yaml.

    Raises:
        InputError: a value or a name is wrong; of a run.yaml the message names the line.
    """
    given = {name: value for name, value in given.items() if value is not None}
    if unknown := next((name for name in given if name not in SETTINGS and name != PRESET), None):
        raise InputError(_unknown(unknown))
    read, lines = read_run_yaml(Path(config)) if config is not None else ({}, {})
    if any(name in given for name in ALTERNATIVES):
        read = {name: value for name, value in read.items() if name not in ALTERNATIVES}
    values = {**read, **given}
    preset = values.pop(PRESET, None)
    if preset is not None:
        values = {**preset_of(preset).of(values.get("task")), **values}
    if config is not None and "task" not in given and "task" in read:
        _check_task(str(read["task"]), Path(config), lines["task"])
    return RunSettings(**values)  # type: ignore[arg-type]


def read_run_yaml(path: Path) -> tuple[dict[str, object], dict[str, int]]:
    """Read a run.yaml.

    Returns:
        The checked values by their names, and the line of each.

    Raises:
        InputError: the file cannot be read, is no mapping, or a line has an unknown key or a wrong value.
    """
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(f"the configuration {path} cannot be read: {e}; give a run.yaml.") from e
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return {}, {}
        if not isinstance(root, yaml.MappingNode):
            raise InputError(f"{path} holds no settings; expected lines such as `task: bioqa` and `num_samples: 100`.")
        values, lines = dict[str, object](), dict[str, int]()
        for key, node in root.value:
            line, name = key.start_mark.line + 1, str(key.value)
            where = f"{path}, line {line}"
            if name not in SETTINGS and name != PRESET:
                raise InputError(f"{where}: {_unknown(name)}")
            if name in lines:
                raise InputError(f"{where}: {name} stands in line {lines[name]} as well; leave one out.")
            value, lines[name] = loader.construct_object(node, deep=True), line
            if value is None:
                continue
            try:
                values[name] = preset_of(value) and value if name == PRESET else SETTINGS[name].checked(name, value)
            except InputError as e:
                raise InputError(f"{where}: {e}") from e
    except yaml.YAMLError as e:
        raise InputError(f"{path} is not valid YAML: {e}") from e
    finally:
        loader.dispose()
    return values, lines


def run_yaml(settings: RunSettings) -> str:
    """Return a run.yaml that asks for the same run: all settings that have another value than their default.

    A value with an API key in it is left out; the generator refuses addresses with a password before that.
    """
    import yaml

    lines = [_HEAD]
    for name, value in settings.changed().items():
        line = yaml.safe_dump({name: value}, sort_keys=False, allow_unicode=True, width=1_000_000)
        lines.append(f"# {name} holds a key, and is not written here\n" if holds_api_key(line) else line)
    return "".join(lines)


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name.replace("-", "_"), [*SETTINGS, PRESET], n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"there is no setting {name!r}.{hint} Settings: {', '.join([*SETTINGS, PRESET])}."


def _check_task(task: str, path: Path, line: int) -> None:
    if task not in NAMES and not (Path(task) / "task.yaml").is_file():
        raise InputError(
            f"{path}, line {line}: the task {task} is gone (no task.yaml is there). Write where it is now into this "
            f"line, or give it by hand (craft-hf generate PATH/TO/TASK --config {path}); shipped tasks: "
            f"{', '.join(NAMES)}."
        )
