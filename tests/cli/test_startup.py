"""What is imported before a command does anything."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("torch", "transformers", "datasets", "sentence_transformers", "pandas", "pyarrow", "numba", "sklearn",
         "matplotlib")  # fmt: skip


def test_help_of_every_command_imports_nothing_heavy() -> None:
    """Neither `craft-hf --help` nor the help of any command imports what takes long to import."""
    code = f"""
import sys
import typer
from typer.testing import CliRunner
from craft_hf.cli.main import app

def commands(command, path):
    yield path
    for name, part in getattr(command, "commands", {{}}).items():
        yield from commands(part, [*path, name])

for path in commands(typer.main.get_command(app), []):
    result = CliRunner().invoke(app, [*path, "--help"])
    assert result.exit_code == 0 and "Usage" in result.output, (path, result.output)
    print("craft-hf", *path, sorted(set({HEAVY}) & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line for line in lines if not line.endswith(" []")] == []
    assert len(lines) > 20
    assert "craft-hf index search []" in lines
