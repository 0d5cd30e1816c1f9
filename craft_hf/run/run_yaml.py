"""Settings from several places (a preset, a run.yaml, what is given by hand), and back into a run.yaml."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

from craft_hf.base import InputError
from craft_hf.generation import names_engine
from craft_hf.run.presets import preset_of
from craft_hf.run.settings import ALTERNATIVES, SETTINGS, RunSettings, is_served
from craft_hf.tasks import NAMES

PRESET = "preset"
"""The key of a run.yaml, and the name of the argument, that names a preset."""

_HEAD = "# What this run was asked for; the same rows again: craft-hf generate --config run.yaml --out again\n"


def settings_from(given: Mapping[str, object], config: str | Path | None = None) -> RunSettings:
    """Return the settings of a run: what is given by hand over a run.yaml over a preset over the defaults.

    Args:
        given: values by the names of `RunSettings`, and `preset`; None counts as not given.
        config: path of a run.yaml, or of the folder of a dataset that has one.

    Raises:
        InputError: a value or a name is wrong; of a run.yaml the message names the line.
    """
    given = {name: value for name, value in given.items() if value is not None}
    if unknown := next((name for name in given if name not in SETTINGS and name != PRESET), None):
        raise InputError(unknown_setting(unknown))
    path = None if config is None else Path(config)
    read, lines = read_run_yaml(path) if path is not None else ({}, {})
    if any(name in given for name in ALTERNATIVES):
        read = {name: value for name, value in read.items() if name not in ALTERNATIVES}
    for name, setting in SETTINGS.items():
        if setting.needs_server and setting.needs in given and not is_served(str(given[setting.needs])):
            read.pop(name, None)  # the name of a model on servers that another model takes the place of
        if setting.needs_engine and "generator" in given and not names_engine(str(given["generator"])):
            read.pop(name, None)
    values = {**read, **given}
    preset = values.pop(PRESET, None)
    if preset is not None:
        values = {**preset_of(preset).of(values.get("task")), **values}
    if path is not None and "task" not in given and "task" in read:
        _check_task(str(read["task"]), path, lines["task"])
    return RunSettings(**values)  # type: ignore[arg-type]


def read_run_yaml(path: Path) -> tuple[dict[str, object], dict[str, int]]:
    """Read a run.yaml, or that of a dataset's folder.

    Relative paths are taken from the file's folder.

    Returns:
        The checked values by their names, and the line of each.

    Raises:
        InputError: the file cannot be read, is no mapping, or a line has an unknown key or a wrong value.
    """
    import yaml

    from craft_hf.dataset import DatasetFolder

    base = path if path.is_dir() else path.parent
    try:
        text = DatasetFolder(path).run_yaml if path.is_dir() else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(f"the configuration {path} cannot be read: {e}; give a run.yaml.") from e
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            return {}, {}
        if not isinstance(root, yaml.MappingNode):
            raise InputError(f"{path} holds no settings; expected lines such as `task: bioqa` and `num_samples: 100`.")
        values, lines = dict[str, object](), dict[str, int]()
        for key, node in root.value:
            line, name = key.start_mark.line + 1, key.value
            where = f"{path}, line {line}"
            if not isinstance(key, yaml.ScalarNode):
                raise InputError(f"{where}: the key is no text; expected lines such as `seed: 3`.")
            if name not in SETTINGS and name != PRESET:
                raise InputError(f"{where}: {unknown_setting(name)}")
            if name in lines:
                raise InputError(f"{where}: {name} stands in line {lines[name]} as well; leave one out.")
            lines[name] = line
            try:
                value = loader.construct_object(node, deep=True)
                if value is not None:
                    values[name] = (
                        preset_of(value) and value if name == PRESET else SETTINGS[name].checked(name, value, base)
                    )
            except InputError as e:
                raise InputError(f"{where}: {e}") from e
            except ValueError:  # a date that there is not, a number of thousands of digits
                raise InputError(f"{where}: the value of {name} is not valid YAML; put it in quotes.") from None
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        line = mark.line if mark else text.count("\n", 0, getattr(e, "position", 0))
        problem = getattr(e, "problem", None) or getattr(e, "reason", "unreadable")  # not str(e), which prints the line
        raise InputError(f"{path}, line {line + 1}: not valid YAML ({problem}).") from None
    except RecursionError:
        raise InputError(f"{path}: nested too deeply; expected lines such as `seed: 3`.") from None
    return values, lines


def run_yaml(settings: RunSettings) -> str:
    """Return a run.yaml that asks for the same run: all settings that have another value than their default."""
    import yaml

    return _HEAD + yaml.safe_dump(settings.changed(), sort_keys=False, allow_unicode=True, width=1_000_000)


def unknown_setting(name: str) -> str:
    """Return the message for a name that is no setting, with the nearest ones."""
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
