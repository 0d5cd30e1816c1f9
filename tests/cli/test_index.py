"""The command `craft-hf index`, on real texts and the embedded model."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from craft_hf.base.errors import InputError
from craft_hf.cli.main import app
from craft_hf.retrieval.index.info import read_info
from tests.vectors import shard_paths

pytestmark = [pytest.mark.weights, pytest.mark.slow]

RUNNER = CliRunner()
TEXTS = {
    "valve": "The mitral valve lies between the left atrium and the left ventricle of the heart. " * 4,
    "leaf": "In the chloroplasts of leaves, plants turn light, water and carbon dioxide into sugar. " * 4,
    "bread": "Knead the dough, let it rise for two hours in a warm place, and bake it until it is brown. " * 4,
    "bank": "A central bank lends money to other banks and sets the rate of interest. " * 4,
    "star": "Stars like the sun shine because hydrogen fuses to helium in their cores. " * 4,
}


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the installed command."""
    program = Path(sys.executable).with_name("craft-hf")
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)


def run(*arguments: str | Path) -> str:
    """Run the command in this process and return what it prints."""
    result = RUNNER.invoke(app, ["index", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with TEXTS, and one text that is too short."""
    path = tmp_path_factory.mktemp("corpus") / "notes.jsonl"
    rows = [{"id": name, "title": f"The {name}", "body": text} for name, text in TEXTS.items()]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"id": "short", "body": "short"}]))
    return path


@pytest.fixture(scope="module")
def built(corpus: Path) -> tuple[Path, str]:
    """An index of the corpus, built once by the installed command, and what the command printed."""
    folder = corpus.parent / "index"
    done = command(
        *("index", "build", corpus, "--out", folder, "--text-column", "body", "--license", "CC0"),
        *("--name", "my notes", "--shard-documents", 2),
    )
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


@pytest.mark.parametrize("name", ["build", "info", "search"])
def test_help_shows_an_example(name: str) -> None:
    """The help of each command says how to call it."""
    words = " ".join(run(name, "--help").split())
    assert re.search(rf"Example: craft-hf index {name} [a-z]", words)


def test_build_says_what_the_index_holds(built: tuple[Path, str], corpus: Path) -> None:
    """After building, the summary of the index is printed, as `info` prints it."""
    folder, output = built
    info = read_info(folder)
    assert output == run("info", folder)
    *lines, command_line = [line.strip() for line in output.splitlines()]
    assert command_line.startswith(f"built by: craft-hf index build {corpus} --out {folder} ")
    assert "text=body" in command_line or " --text-column body " in command_line
    assert lines == [
        f"{folder}: 5 documents in 3 shards, fingerprint {info.fingerprint}",
        f"embedded with all-MiniLM-L6-v2 ({info.embedding_revision}), 384 dimensions",
        "5 embeddings, one a chunk; 0 of 5 documents are longer than the 254 tokens that the model reads: they are "
        "embedded in full, in several chunks.",
        "5  my notes  (CC0)",
        "read: 1 file with 6 records: 5 documents",
        "1  left out: too short, such as notes.jsonl, line 6: 5 characters",
    ]


@pytest.mark.parametrize(
    ("question", "name"),
    [
        ("How do plants make sugar?", "leaf"),
        ("Which valve is in the heart?", "valve"),
        ("Why does the sun shine?", "star"),
    ],
)
def test_search_finds_what_answers(built: tuple[Path, str], question: str, name: str) -> None:
    """The best document comes first, with similarity, id, title, licence and a passage; as JSON with all about it."""
    result = RUNNER.invoke(app, ["index", "search", str(built[0]), question, "-k", "3"])
    lines = result.stdout.splitlines()
    assert "No document" not in result.stderr
    hits = [re.fullmatch(r"(0\.\d{3})  (\w+)  The \2 \(CC0\)", line) for line in lines[::2]]
    assert all(hits)
    scores = [float(hit[1]) for hit in hits if hit]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert hits[0] is not None
    assert hits[0][2] == name
    assert TEXTS[name].startswith(lines[1].strip().removesuffix(" ..."))
    rows = [json.loads(line) for line in run("search", built[0], question, "-k", "3", "--json").splitlines()]
    assert [f"{row['similarity']:.3f}" for row in rows] == [hit[1] for hit in hits if hit]
    about = {"id": name, "title": f"The {name}", "url": "", "license": "CC0", "source": "my notes"}
    assert {key: rows[0][key] for key in about} == about
    assert set(rows[0]) == {*about, "similarity", "passage"}
    assert rows[0]["passage"] in TEXTS[name]


def test_search_says_when_nothing_answers(built: tuple[Path, str]) -> None:
    """On stderr, so that JSON stays JSON; the most similar documents are shown all the same."""
    for option in ([], ["--json"]):
        result = RUNNER.invoke(app, ["index", "search", str(built[0]), "xyzzy plugh 12345", *option])
        assert (result.exit_code, result.stderr.splitlines()[-1][:39]) == (0, "No document seems to answer this: the b")
        assert result.stdout


def test_search_shows_links_and_what_is_not_known(tmp_path: Path) -> None:
    """A title that is not there leaves no gap; the link stands on a line of its own."""
    (tmp_path / "c.jsonl").write_text(json.dumps({"id": "a1", "text": "Rain falls. " * 30, "url": "https://r.example"}))
    run("build", tmp_path / "c.jsonl", "--out", tmp_path / "i")
    first, link, passage, *_ = run("search", tmp_path / "i", "Why does rain fall?").splitlines()
    assert re.fullmatch(r"0\.\d{3}  a1 \(licence not stated\)", first)
    assert link.strip() == "https://r.example"
    assert passage.strip().startswith("Rain falls. Rain falls.")


def test_info_lists_the_largest_of_many_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And says how many others there are."""
    monkeypatch.setattr("craft_hf.cli.index._MOST_SOURCES", 2)
    rows = [{"id": f"{i}", "text": f"{s} {i} " * 60, "source": s} for i, s in enumerate("abbbcdd")]
    (tmp_path / "c.jsonl").write_text("\n".join(map(json.dumps, rows)))
    lines = run("build", tmp_path / "c.jsonl", "--out", tmp_path / "i").splitlines()
    assert [" ".join(line.split()) for line in lines if line.startswith("   ")][:3] == [
        "3 b (licence not stated)",
        "2 d (licence not stated)",
        "2 of 2 other sources and licences, which index.json lists",
    ]


def test_search_gives_all_there_is(built: tuple[Path, str]) -> None:
    """-k beyond the index is no mistake, -k 0 is one."""
    assert len(run("search", built[0], "anything", "-k", "50").splitlines()) == 10
    assert RUNNER.invoke(app, ["index", "search", str(built[0]), "anything", "-k", "0"]).exit_code == 2


def test_search_without_a_folder_takes_the_sample_index(built: tuple[Path, str], home: Path) -> None:
    """One word is what to look for; of an index alone it is asked for, and so are quotes around several words."""
    lines = run("search", "Which organelle digests worn-out parts of a cell?", "-k", "2").splitlines()
    assert len(lines) == 6
    assert re.fullmatch(r"0\.\d{3}  openstax-\S+  .*\(CC BY [34]\.0\)", lines[0])
    for arguments, message in (
        ([str(built[0])], "is an index; say behind it what to look for"),
        (["my-index", "green", "plants"], "3 words were given, expected FOLDER and TEXT"),
    ):
        result = RUNNER.invoke(app, ["index", "search", *arguments])
        assert result.exit_code == 2
        assert message in " ".join(result.output.split())


def test_several_sources_of_several_kinds_are_one_index(corpus: Path, tmp_path: Path) -> None:
    """Sources follow each other; each document names the file it came from."""
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "essay.txt").write_text("Banks lend money to people and firms. " * 9)
    output = run("build", corpus, tmp_path / "notes", "--out", tmp_path / "i", "--text-column", "body")
    assert f"{tmp_path / 'i'}: 6 documents in 1 shards" in output
    assert read_info(tmp_path / "i").documents == 6
    assert "6  notes  (licence not stated)" in output


@pytest.mark.parametrize(
    "case", ["missing corpus", "wrong column", "nothing left", "foreign folder", "truncated", "model"]
)
def test_mistakes_are_named_and_leave_nothing(built: tuple[Path, str], corpus: Path, tmp_path: Path, case: str) -> None:
    """Each mistake is an InputError that names it, and no index is left behind."""
    out = tmp_path / "out"
    build = ["build", corpus, "--out", out]
    (tmp_path / "cut").mkdir()
    second = shard_paths(built[0])[1]
    for path in built[0].iterdir():
        (tmp_path / "cut" / path.name).write_bytes(path.read_bytes()[: -1 if path == second else None])
    arguments, message = {
        "missing corpus": (["build", "missing.jsonl", "--out", out], "no corpus file missing.jsonl"),
        "wrong column": (
            [*build, "--field", "text=words"],
            "no field 'words' for the text in 6 records; their fields",
        ),
        "nothing left": ([*build, "--min-chars", 9000], "6 records, but nothing became a document: 6 too short"),
        "foreign folder": ([*build[:-1], corpus.parent, "--text-column", "body"], "which is not part of an index"),
        "truncated": (["search", tmp_path / "cut", "text"], f"{second.name} has"),
        "model": ([*build, "--embedding-model", tmp_path], "has no weights"),
    }[case]
    result = RUNNER.invoke(app, ["index", *map(str, arguments)])
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)
    assert result.stdout == ""
    assert not out.exists()


def test_installed_command_says_a_mistake_in_one_line(built: tuple[Path, str], tmp_path: Path) -> None:
    """The installed command ends with code 1 and one line on stderr, without a traceback."""
    (tmp_path / "index.json").write_bytes((built[0] / "index.json").read_bytes())
    done = command("index", "search", tmp_path, "text")
    assert (done.returncode, done.stdout) == (1, "")
    shard = shard_paths(tmp_path)[0]
    assert done.stderr == (
        f"craft-hf: the shard {shard} is missing; mend it with: craft-hf index repair {tmp_path}, or copy the file "
        "again.\n"
    )


@pytest.mark.long
def test_corpus_is_added_by_two_processes(built: tuple[Path, str], tmp_path: Path) -> None:
    """--add puts documents behind those that are there, --workers embeds them elsewhere; verify finds all whole."""
    folder = shutil.copytree(built[0], tmp_path / "index")
    (tmp_path / "essay.txt").write_text("Banks lend money to people and firms. " * 9)
    output = run("build", tmp_path / "essay.txt", "--out", folder, "--add", "--workers", "2", "--license", "CC0")
    assert "6 documents in 4 shards" in output
    assert "1  essay  (CC0)" in output
    assert "6 documents: all as they were written" in run("verify", folder)


def test_corpora_of_a_preset_and_with_names_are_one_index(built: tuple[Path, str], tmp_path: Path) -> None:
    """Raw files of a preset go behind other corpora; each keeps its name and licence."""
    folder = shutil.copytree(built[0], tmp_path / "index")
    (tmp_path / "wikihowAll.csv").write_text(f'headline,title,text\n"\nRest.",How to Rest1,"{"Lie down. " * 30}"\n')
    run("build", tmp_path / "wikihowAll.csv", "--preset", "wikihow", "--out", folder, "--add")
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text(f"{name} Banks lend money to people and firms. " * 9)
    sources = (f"left={tmp_path}/a.txt", f"right={tmp_path}/b.txt")
    output = run("build", *sources, "--out", folder, "--add", "--license", "CC0", "--license", "MIT")
    lines = [line.strip() for line in output.splitlines()]
    assert lines[3:7] == ["1  left  (CC0)", "5  my notes  (CC0)", "1  right  (MIT)", "1  wikihow  (CC BY-NC-SA 3.0)"]


def test_build_without_a_source_or_a_preset_is_refused(tmp_path: Path) -> None:
    """The error lists the presets."""
    result = RUNNER.invoke(app, ["index", "build", "--out", str(tmp_path / "out")])
    assert isinstance(result.exception, InputError)
    assert "or a preset: c4, wikipedia, stackexchange, wikihow" in str(result.exception)


def test_fields_limit_and_lengths_are_options(tmp_path: Path) -> None:
    """--field maps nested fields too, --long and --max-chars say what long texts become, --limit how many are taken."""
    texts = [" ".join(f"Of {name}, {n}: {text[:80]}." for n in range(4)) for name, text in TEXTS.items()]
    rows = [{"no": n, "meta": {"text": text, "rights": "MIT"}} for n, text in enumerate(texts)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    fields = ("--field", "text=meta.text", "--field", "license=meta.rights", "--field", "id=no")
    build = ("build", tmp_path / "a.jsonl", "--out", tmp_path / "i", *fields)
    output = run(*build, "--max-chars", "250", "--limit", "3")
    assert "3  a  (MIT)" in output
    assert "read: 1 file with 2 records: 3 documents, 3 of them passages of 2 long records" in output
    lines = run("search", tmp_path / "i", "heart", "-k", "3").splitlines()
    assert {line.split()[1] for line in lines[::2]} == {"0#1", "0#2", "1#1"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--field", "body"], "--field body: expected NAME=FIELD, such as text=body"),
        (["--field", "text=a", "--text-column", "b"], "--field text=a: is given twice"),
        (["--field", "words=a"], "'words' was mapped to 'a'; expected one of text, id, title"),
        (["--field", "text=a", "--preset", "c4"], "the preset c4 knows its fields"),
        (["--min-score", "1"], "--min-score"),
        (["--strict"], "broken.jsonl, line 1: not valid JSON"),
        (
            [],
            "broken: 1 file with 1 record, but nothing became a document: 1 broken record, such as broken.jsonl",
        ),
    ],
)
def test_options_that_do_not_fit_are_named(tmp_path: Path, options: list[str], message: str) -> None:
    """Each is an InputError that names it, and no index is left behind."""
    (tmp_path / "broken.jsonl").write_text("{\n")
    build = ["index", "build", str(tmp_path / "broken.jsonl"), "--out", str(tmp_path / "i"), *options]
    result = RUNNER.invoke(app, build)
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)
    assert not (tmp_path / "i").exists()


def test_repeated_ids_are_told(tmp_path: Path) -> None:
    """Two documents of one id get two ids, and the build says how many."""
    rows = [{"id": "0", "text": TEXTS["leaf"]}, {"id": "0", "text": TEXTS["star"]}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    output = run("build", tmp_path / "a.jsonl", "--out", tmp_path / "i")
    assert "1  ids were there already" in output
    lines = run("search", tmp_path / "i", "stars", "-k", "2").splitlines()
    assert [line.split()[1].partition("~")[0] for line in lines[::2]] == ["0", "0"]
    assert len({line.split()[1] for line in lines[::2]}) == 2
