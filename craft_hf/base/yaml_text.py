"""Reads YAML that people write: whatever is wrong with it is one error, with the line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from craft_hf.base.errors import InputError


class _Loader(yaml.SafeLoader):
    """A loader that refuses a key that stands in a mapping twice, and tells the line of every fault."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        lines = dict[str, int]()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in lines:
                problem = f"{key.value!r} stands in line {lines[key.value]} as well; leave one out"
                raise yaml.composer.ComposerError(None, None, problem, key.start_mark)
            lines[key.value] = key.start_mark.line + 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> object:
        try:
            return super().construct_object(node, deep)
        except (yaml.YAMLError, RecursionError):
            raise
        except Exception as e:  # whatever int(), date() and others raise
            problem = "a value looks like a date or a number and is none; put it in quotes if it is a text"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from e


def load_yaml(text: str, path: str | Path) -> tuple[object, dict[str, int]]:
    """Return the value of a YAML text, and for a mapping the line of each of its keys.

    Args:
        text: one YAML document.
        path: the file that it is from, for messages.

    Raises:
        InputError: it is no YAML, a value has the form of a date or number and is none, a key stands in a mapping
            twice, or it is nested too deeply. The message does not show what the line says, which may be a secret.
    """
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        value = None if root is None else loader.construct_document(root)
    except yaml.reader.ReaderError as e:
        line = text.count("\n", 0, e.position) + 1
        problem = f"the character U+{e.character:04X} is not allowed in YAML; remove it"
        raise InputError(f"{path}, line {line}: not valid YAML ({problem}).") from None
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        raise InputError(f"{where}: not valid YAML ({getattr(e, 'problem', None) or 'unreadable'}).") from None
    except RecursionError:
        raise InputError(f"{path}: not valid YAML (brackets are nested too deeply).") from None
    pairs = root.value if isinstance(root, yaml.MappingNode) else ()
    return value, {key.value: key.start_mark.line + 1 for key, _ in pairs if isinstance(key, yaml.ScalarNode)}
