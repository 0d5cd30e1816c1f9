"""The command line: help with examples, results said, mistakes in one line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from craft_hf.base.errors import CraftError, InputError, StorageError
from craft_hf.base.version import __version__
from craft_hf.cli.main import app, main
from craft_hf.tasks.task import FOLDER
from tests.publishable_folders import write_run
from tests.writer_server import WriterServer

RUNNER = CliRunner()


def craft_hf(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command."""
    command = [str(Path(sys.executable).with_name("craft-hf")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_help_has_an_example_for_every_command() -> None:
    """Each command's help shows how to call it."""
    assert "craft-hf generate bioqa" in RUNNER.invoke(app, ["--help"]).output
    commands = (
        ["generate"],
        ["retrieve"],
        ["rejected"],
        ["report"],
        ["evaluate"],
        ["index", "build"],
        ["index", "info"],
        ["index", "search"],
        ["tasks", "list"],
        ["tasks", "show"],
        ["tasks", "check"],
        ["tasks", "new"],
    )
    for command in commands:
        output = " ".join(RUNNER.invoke(app, [*command, "--help"]).output.split())
        assert f"Example: craft-hf {' '.join(command)} " in output
    assert RUNNER.invoke(app, ["--version"]).output == f"craft_hf {__version__}\n"


@pytest.mark.weights
def test_generate_writes_a_dataset_folder_and_says_where(home: Path, server: WriterServer, tmp_path: Path) -> None:
    """Rows are printed with their documents; dataset, report, card and rejects are named; doing it again is fine."""
    server.bad_every = 3
    command = ["generate", "bioqa", "--generator", server.url, "--num-samples", "4", "--out", str(tmp_path / "out")]
    result = RUNNER.invoke(app, command)
    assert result.exit_code == 0, result.output
    assert result.output.count("question: What is said of") == 3
    assert "similarity 0." in result.output
    assert "kept: 4" in result.output
    assert list((tmp_path / "out" / "assets").glob("*.png"))
    for part in ("data", "report.html", "README.md"):
        assert f"{tmp_path / 'out'}/{part}" in result.output
        assert (tmp_path / "out" / part).exists()
    calls = len(server.requests)
    assert RUNNER.invoke(app, command).exit_code == 0
    assert len(server.requests) == calls
    shown = RUNNER.invoke(app, ["rejected", str(tmp_path / "out"), "--check", "schema"]).output.splitlines()
    assert shown
    assert {json.loads(line)["reason"] for line in shown} == {"no valid JSON"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_generate_never_writes_over_something_else(tmp_path: Path, kind: str) -> None:
    """A folder that holds other things, or a file, is refused before anything is done."""
    out = tmp_path / "out"
    if kind == "file":
        out.write_text("mine")
    else:
        out.mkdir()
        (out / "mine.txt").write_text("mine")
    result = craft_hf("generate", "bioqa", "--out", str(out))
    assert result.returncode == 1
    assert "give another --out" in result.stderr
    assert "mine" in (out.read_text() if kind == "file" else (out / "mine.txt").read_text())


@pytest.mark.parametrize(
    "arguments",
    [
        ["generate", "bioga", "--out", "o"],
        ["rejected", "."],
        ["report", "."],
        ["index", "info", "nowhere"],
        ["evaluate", "embedded", "--task", "bioqa", "--data", "nowhere.jsonl"],
        ["evaluate", "embedded", "--task", "bioqa", "--data", "nowhere.jsonl", "--out", "."],
    ],
    ids=lambda arguments: arguments[0],
)
def test_mistakes_are_one_line_without_a_traceback(
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
) -> None:
    """Errors go to stderr as one line that starts with the command's name; exit code 1."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["craft-hf", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr()
    assert (end.value.code, said.out) == (1, "")
    assert said.err.startswith("craft-hf: ")
    assert said.err.count("\n") == 1


def test_a_check_that_rejected_nothing_is_told_with_those_that_did(tmp_path: Path) -> None:
    """A misspelt name is no empty list of rejects."""
    folder = str(write_run(tmp_path / "run", 2))
    assert json.loads(RUNNER.invoke(app, ["rejected", folder, "--check", "schema"]).output)["check"] == "schema"
    for name, message in (
        ("shcema", r"rejected by 'shcema'\. Did you mean schema\? Checks that rejected some: schema \(1\)\."),
        ("judge", r"rejected by 'judge'\. Checks that rejected some: schema \(1\)\."),
    ):
        result = RUNNER.invoke(app, ["rejected", folder, "--check", name])
        assert isinstance(result.exception, InputError)
        assert re.search(message, str(result.exception))
        assert result.stdout == ""


def test_the_installed_command_ends_with_one_line(tmp_path: Path) -> None:
    """The same from a shell."""
    result = craft_hf("index", "info", str(tmp_path / "nowhere"))
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)


@pytest.mark.weights
def test_retrieve_tells_what_the_few_shots_find(home: Path) -> None:
    """The same figures come as Markdown and as JSON; k beyond the index gives all of it; no generator is asked."""
    page = RUNNER.invoke(app, ["retrieve", "bioqa", "-k", "20"])
    assert page.exit_code == 0, page.output
    assert page.stdout.startswith("# Retrieval for bioqa\n\nIndex: 452 documents, embedded with all-MiniLM-L6-v2: ")
    assert "\n\n\n" not in page.stdout
    found = json.loads(RUNNER.invoke(app, ["retrieve", "bioqa", "-k", "20", "--json"]).stdout)
    assert (found["task"], found["asked"], found["coverage"]["hits"]) == ("bioqa", 20, 20)
    first = found["coverage"]["sources"][0]
    assert first["source"] == "openstax-biology-1e"
    assert first["hits"] > 10
    assert f"| openstax-biology-1e | {first['hits']} | {first['share']:.1%} |" in page.stdout
    assert found["coverage"]["warnings"] == []
    everything = json.loads(RUNNER.invoke(app, ["retrieve", "bioqa", "-k", "5000", "--json"]).stdout)
    assert everything["coverage"]["hits"] == everything["index"]["documents"] == 452
    assert any("The end of the averaged half" in warning for warning in everything["coverage"]["warnings"])


@pytest.mark.weights
def test_retrieve_takes_other_few_shots_and_refuses_what_it_cannot_use(home: Path, tmp_path: Path) -> None:
    """--few-shots is used in place of the task's own; a missing index or task is one line."""
    lines = (FOLDER / "bioqa" / "few_shots.jsonl").read_text().splitlines()
    (tmp_path / "shots.jsonl").write_text("\n".join(lines[:4]))
    command = ["retrieve", "bioqa", "-k", "4", "--few-shots", str(tmp_path / "shots.jsonl"), "--json"]
    assert len(json.loads(RUNNER.invoke(app, command).stdout)["coverage"]["few_shots"]) == 4
    assert RUNNER.invoke(app, ["retrieve", "bioqa", "-k", "0"]).exit_code == 2
    for arguments in (["bioga"], ["bioqa", "--index", str(tmp_path / "nowhere")]):
        assert isinstance(RUNNER.invoke(app, ["retrieve", *arguments]).exception, CraftError)


@pytest.mark.weights
def test_generate_keeps_what_others_put_into_the_folder(home: Path, tmp_path: Path) -> None:
    """A folder with a dataset of ours and something else in it is left alone; a link is, too."""
    out = tmp_path / "out"
    command = ["generate", "bioqa", "--size", "XS", "--out", str(out)]
    assert RUNNER.invoke(app, command).exit_code == 0
    assert RUNNER.invoke(app, command).exit_code == 0
    (out / "thesis.txt").write_text("mine")
    assert isinstance(RUNNER.invoke(app, command).exception, CraftError)
    assert (out / "thesis.txt").read_text() == "mine"
    (tmp_path / "link").symlink_to(out)
    result = RUNNER.invoke(app, [*command[:-1], str(tmp_path / "link")])
    assert isinstance(result.exception, CraftError)
    assert isinstance(RUNNER.invoke(app, [*command[:-1], "/proc/nowhere/out"]).exception, StorageError)
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []
