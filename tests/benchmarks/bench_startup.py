"""CPU seconds until a command has said its help, and those of a search beside the import of sentence-transformers.

    python tests/benchmarks/bench_startup.py

Each is the least of three runs, in processes of their own; the first run of a search compiles a loop, and builds the
sample index where there is none.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator

import click
import typer

from craft_hf.cli.main import app

RUNS = 3
COMMAND = "from craft_hf.cli.main import main; main()"


def cpu_seconds(code: str, *arguments: str) -> float:
    """Return the CPU seconds, of user and system, that a program takes: the least of some runs."""
    found = []
    for _ in range(RUNS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    return min(found)


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words of each command."""
    yield path
    for name, part in getattr(command, "commands", {}).items():
        yield from commands(part, (*path, name))


def main() -> None:
    """Print a table."""
    print("| command | CPU s |\n|---|---|")
    print(f"| `import craft_hf` | {cpu_seconds('import craft_hf'):.2f} |")
    for path in commands(typer.main.get_command(app)):
        print(f"| `{' '.join(('craft-hf', *path, '--help'))}` | {cpu_seconds(COMMAND, *path, '--help'):.2f} |")
    print(f"| `import sentence_transformers` | {cpu_seconds('import sentence_transformers'):.2f} |")
    print(
        f"| `craft-hf index search TEXT` | {cpu_seconds(COMMAND, 'index', 'search', 'How do plants make sugar?'):.2f} |"
    )


if __name__ == "__main__":
    main()
