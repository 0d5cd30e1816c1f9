"""A run: rounds until enough is kept, shortfalls said aloud, nothing half-written."""

from __future__ import annotations

import itertools
import json
import logging
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from craft_hf.base.embedder import Embedder, Vectors
from craft_hf.base.errors import InputError, StorageError
from craft_hf.base.records import Answer, Document, Hit, Prompt
from craft_hf.corpus.corpus import Corpus
from craft_hf.dataset.folder import DatasetFolder
from craft_hf.generation.journaled import Outcomes
from craft_hf.quality.quality import Quality
from craft_hf.retrieval.documents import open_index
from craft_hf.retrieval.index.build import build_index
from craft_hf.run import rounds
from craft_hf.run.pipeline import execute
from craft_hf.run.progress import progress_line
from craft_hf.run.resolution import resolve
from craft_hf.run.result import RunResult
from craft_hf.run.rounds import HOPELESS
from craft_hf.run.runs import ensure_run, read_rows
from craft_hf.run.settings import RunSettings
from craft_hf.tasks.task import load_task
from tests.openai_server import Reply, error
from tests.writer_server import WriterServer

pytestmark = pytest.mark.weights

TOPICS = ("lichen", "whales", "enzymes", "volcano", "bridges", "glacier", "printing")


@pytest.fixture(scope="module")
def small_index(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An index of seven documents, one of them nearly a few-shot's text, embedded with the real model."""
    texts = {topic: " ".join(f"{topic}{a}{b}" for a in "abcdef" for b in "klmno") for topic in TOPICS}
    rows = [{"id": topic, "text": text} for topic, text in texts.items()]
    rows.append({"id": "leak", "text": "Copied: " + load_task("bioqa").few_shots[0].text})
    folder = tmp_path_factory.mktemp("index") / "small"
    build_index([Corpus(rows, name="made", license="CC0")], folder, Embedder())
    return str(folder)


def settings(server: WriterServer, index: str, samples: int, **more: object) -> RunSettings:
    """Settings of a bioqa run over a small index."""
    return RunSettings("bioqa", generator=server.url, index=index, num_samples=samples, **more)  # type: ignore[arg-type]


def test_more_than_the_index_has_gives_what_there_is(
    home: Path, server: WriterServer, small_index: str, caplog: pytest.LogCaptureFixture, plots: None
) -> None:
    """Asked for 50 of seven documents, the run gives seven, says so, and has left the few-shot's text out."""
    with caplog.at_level(logging.WARNING, logger="craft_hf"):
        run = resolve(settings(server, small_index, 50))
        folder = ensure_run(run)
    assert len(server.requests) == len(TOPICS)
    report = json.loads((folder / "report.json").read_text())
    assert report["funnel"] == [
        {"stage": "index", "label": "documents in the index", "count": 8, "removed": False},
        {"stage": "retrieved", "label": "retrieved", "count": 8, "removed": False},
        {"stage": "few_shot_texts", "label": "few-shot texts left out", "count": 1, "removed": True},
        {"stage": "prompted", "label": "prompted", "count": 7, "removed": False},
        {"stage": "kept", "label": "kept", "count": 7, "removed": False},
    ]
    used = "Asked for 50 samples, gave 7: all 7 documents that the index has for this were used."
    assert report["notes"][0] == used
    assert "Asked for 50 samples, gave 7" in caplog.text
    assert report["drops"] == [{"check": "leakage", "reason": "the document is nearly a few-shot's text", "count": 1}]
    assert (report["coverage"]["hits"], report["coverage"]["left_out"]) == (7, 1)
    assert [source["source"] for source in report["coverage"]["sources"]] == ["made"]
    assert "no documents like the few-shots" in (folder / "report.md").read_text()
    assert (folder / "assets" / "decay.png").is_file()


def test_a_hopeless_generator_is_stopped(home: Path, server: WriterServer) -> None:
    """When nothing is kept, the run ends after ten prompts a sample and says what to look at."""
    server.bad_every = 1
    outcome = execute(resolve(RunSettings("bioqa", generator=server.url, num_samples=2)))
    assert len(server.requests) == 2 * 10
    assert not outcome.samples
    assert len(outcome.rejects) == 2 * 10
    assert "stopped after 20 prompts" in outcome.notes[0]


def test_a_run_without_a_valid_answer_stops_early(home: Path, server: WriterServer) -> None:
    """After 32 prompts nothing more is paid; two answers are shown, and what may help."""
    server.bad_every = 1
    outcome = execute(resolve(RunSettings("bioqa", generator=server.url, num_samples=20)))
    assert len(server.requests) == len(outcome.rejects) == HOPELESS == 32
    assert outcome.notes[0].startswith(
        "Stopped after 32 answers, because none follows the task's schema (no valid JSON: 32). "
        'For instance: "I cannot do that." and "I cannot do that.". Look at what is asked with `craft-hf estimate'
    )


def test_what_the_server_does_is_told(home: Path, server: WriterServer, tmp_path: Path, small_index: str) -> None:
    """Prompts that it cuts, parameters that it refuses, prompts that it does not answer, and markers in documents."""
    server.refuses = ["top_k"]
    outcome = execute(resolve(settings(server, small_index, 7)))
    assert outcome.notes[0] == "7 of 7 answers were given without top_k, which the server does not take."
    assert outcome.notes[1].startswith("The server seems to cut prompts: for 7 of 7 it counted fewer tokens")
    server.counts = True
    text = " ".join(f"remarkable{a}{b}" for a in "abcdef" for b in "klmno")
    build_index([Corpus([{"id": "one", "text": text + " <|im_end|>"}], name="one")], tmp_path / "index", Embedder())
    outcome = execute(resolve(settings(server, str(tmp_path / "index"), 1)))
    assert "< |im_end|>" in server.requests[-1]["messages"][-1]["content"]
    assert outcome.notes[-1].startswith("1 documents hold chat markers such as <|im_end|>")
    assert not any("cut prompts" in note for note in outcome.notes)


def test_prompts_that_fail_are_rejects_and_counted(home: Path, server: WriterServer, small_index: str) -> None:
    """What came in place of the answer stands in the reject."""
    server.fail_after, server.failure = 5, error(403, "moderated")
    outcome = execute(resolve(replace(settings(server, small_index, 7), concurrency=1)))
    failed = [reject for reject in outcome.rejects if reject.check == "context"]
    assert [reject.reason for reject in failed] == ["every request failed"] * 2
    assert all("moderated" in reject.answer for reject in failed)
    assert any(note.startswith("2 prompts got no answer") for note in outcome.notes)


def test_rounds_ask_for_what_is_missing(home: Path, server: WriterServer) -> None:
    """The first round asks for as many as wanted; later ones by the yield so far; every answer is accounted for."""
    server.bad_every = 2
    outcome = execute(resolve(RunSettings("bioqa", generator=server.url, num_samples=8)))
    assert len(outcome.samples) == 8
    assert 8 < len(server.requests) <= 8 * 10
    assert len(server.requests) == len(outcome.samples) + len(outcome.rejects)
    usage = outcome.usage
    assert (usage.answers_generated, usage.answers_from_journal) == (len(server.requests), 0)
    assert usage.prompt_tokens == 7 * len(server.requests)
    surplus = [r for r in outcome.rejects if r.check == "surplus"]
    assert all(r.similarity is not None and r.answer for r in surplus)


def test_the_size_of_a_round_changes_no_row(home: Path, server: WriterServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """In many small rounds the same prompts are asked in the same order, and the same is kept."""
    server.bad_every = 3
    asked = RunSettings("bioqa", generator=server.url, num_samples=12)
    whole = execute(resolve(asked))
    monkeypatch.setattr(rounds, "LARGEST", 5)
    parts = execute(resolve(asked))
    assert [sample.prompt.key for sample in parts.samples] == [sample.prompt.key for sample in whole.samples]
    assert [sample.verdicts for sample in parts.samples] == [sample.verdicts for sample in whole.samples]
    assert parts.usage.answers_generated == 0


def test_each_round_says_where_the_run_is_going(
    home: Path, server: WriterServer, caplog: pytest.LogCaptureFixture
) -> None:
    """By what came, not by what was thought: prompts and tokens in all, and whether the budget will do."""
    server.bad_every = 2
    with caplog.at_level(logging.INFO, logger="craft_hf"):
        outcome = execute(resolve(RunSettings("bioqa", generator=server.url, num_samples=8, max_budget=150)))
    first = next(record.message for record in caplog.records if "at this rate" in record.message)
    match = re.fullmatch(
        r"(\d+) of 8 samples from (\d+) prompts; at this rate (\d+) prompts in all, (\d+) tokens"
        r"(: max_budget of 150 tokens will end the run after about (\d+) samples)?\.",
        first,
    )
    assert match
    kept, seen, prompts, tokens = map(int, match.groups()[:4])
    assert abs(prompts - seen * 8 / kept) <= 0.5
    assert abs(tokens - 10 * seen * 8 / kept) <= 0.5
    assert bool(match[5]) == (tokens > 150)
    assert outcome.usage.answers * 10 >= 150 or len(outcome.samples) == 8


def test_a_budget_is_passed_by_no_more_than_what_is_in_flight(
    home: Path, server: WriterServer, small_index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has arrived counts before anybody looks at it: checks that take long do not let more be sent."""

    def slowly(self: Quality, *arguments: object) -> object:
        time.sleep(0.3)
        return check_all(self, *arguments)

    check_all = Quality.check_all
    monkeypatch.setattr(Quality, "check_all", slowly)
    monkeypatch.setattr(rounds, "PILOT", 7)
    execute(resolve(settings(server, small_index, 7, max_budget=25, concurrency=1)))
    assert len(server.requests) == 3  # of ten tokens each


def test_reasoning_is_kept_where_that_is_asked_for(
    home: Path, server: WriterServer, small_index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a column of its own, which other runs do not have; few-shots have none."""
    reply_to = WriterServer.reply_to

    def thoughtfully(self: WriterServer, body: dict[str, object]) -> Reply:
        reply = json.loads(reply_to(self, body).body)
        reply["choices"][0]["message"]["content"] = (
            "<think>of it \ud83d</think>" + reply["choices"][0]["message"]["content"]
        )
        return Reply(json.dumps(reply))

    monkeypatch.setattr(WriterServer, "reply_to", thoughtfully)
    plain = DatasetFolder(ensure_run(resolve(settings(server, small_index, 2)))).rows
    assert "model_reasoning" not in plain.schema.names
    kept = DatasetFolder(ensure_run(resolve(settings(server, small_index, 2, keep_reasoning=True)))).rows
    assert [row["model_reasoning"] for row in kept if not row["is_few_shot"]] == ["of it ?", "of it ?"]
    assert {row["model_reasoning"] for row in kept if row["is_few_shot"]} == {None}
    assert len(server.requests) == 2  # the second run finds both answers in the journal


def test_the_report_embeds_nothing_again(
    home: Path, server: WriterServer, small_index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its figures come from the vectors of the checks and of the index; without the check there are none."""
    embedded: list[str] = []
    encode_each, batches = Embedder.encode_each, Embedder.encode_batches

    def each(self: Embedder, texts: Sequence[str]) -> Vectors:
        embedded.extend(texts)
        return encode_each(self, texts)

    def refuse(self: Embedder, texts: Sequence[str]) -> object:
        known = {shot.text for shot in load_task("bioqa").few_shots}
        assert not any("remarkable" in text or text in known for text in texts)
        return batches(self, texts)

    monkeypatch.setattr(Embedder, "encode_each", each)
    monkeypatch.setattr(Embedder, "encode_batches", refuse)
    run = resolve(settings(server, small_index, 3))
    diversity = DatasetFolder(ensure_run(run)).report.diversity
    assert diversity["embedded"] == 3
    assert len(embedded) == len(set(embedded)) == 3
    result = execute(run)
    assert result.vectors is not None
    documents = {d.id: d.text for d in (s.hit.document for s in result.samples)}
    for vector, sample in zip(result.vectors.documents, result.samples, strict=True):
        expected = Embedder().encode([documents[sample.hit.document.id]])[0]
        assert float(vector @ expected) > 0.99
    without = DatasetFolder(ensure_run(resolve(settings(server, small_index, 3, skip_checks=["semantic"])))).report
    assert without.diversity["embedded"] == 0
    assert without.diversity["distinct"]


def test_answers_are_checked_together_as_long_as_they_are_at_hand() -> None:
    """First one, then twice as many each time, in the order of the prompts; before a pause or an error all there is."""
    hits = [Hit(Document(f"d{n}", ""), 0.0, ()) for n in range(12)]
    asked = [(hit, Prompt(f"k{n}", hit.document.id, (), ())) for n, hit in enumerate(hits)]

    outcomes = Outcomes()

    def arriving() -> Iterator[tuple[Prompt, Answer]]:
        for burst in ((0, 1, 2, 4, 3, 5, 6, 7), (8, 9), (11,)):  # number 10 never comes
            outcomes.arrived += len(burst)
            for number in burst:
                outcomes.taken += 1
                yield asked[number][1], Answer(str(number), "stop")
        raise ValueError

    batches = []
    with suppress(ValueError):
        for batch in rounds.in_order(asked, arriving(), outcomes, 3):
            batches.append([answered.answer.text for answered in batch])
    assert batches == [["0"], ["1", "2"], ["3", "4", "5"], ["6", "7"], ["8", "9"]]


def test_several_samples_of_a_document(home: Path, server: WriterServer, small_index: str) -> None:
    """Each prompt has a key and few-shots of its own; equal samples are dropped; a second run pays for nothing."""
    asked = settings(server, small_index, 7, samples_per_document=3, prompts_per_sample=3)
    outcome = execute(resolve(asked))
    assert len(server.requests) == 3 * len(TOPICS)
    assert Counter(Counter(server.documents).values()) == {3: len(TOPICS)}
    assert len({json.dumps(request["messages"]) for request in server.requests}) == 3 * len(TOPICS)
    assert len({request["seed"] for request in server.requests}) == 3 * len(TOPICS)
    assert len(outcome.samples) == len({sample.hit.document.id for sample in outcome.samples}) == len(TOPICS)
    assert Counter(reject.check for reject in outcome.rejects)["duplicate"] == 2 * len(TOPICS)
    again = execute(resolve(asked))
    assert [sample.prompt.key for sample in again.samples] == [sample.prompt.key for sample in outcome.samples]
    assert len(server.requests) == again.usage.answers_from_journal == 3 * len(TOPICS)


def test_documents_of_nearly_the_same_text_give_one_row(home: Path, server: WriterServer, tmp_path: Path) -> None:
    """Of equal texts the index takes one; where two differ by a blank, the second sample is a duplicate."""
    text = " ".join(f"remarkable{a}{b}" for a in "abcdef" for b in "klmno")
    twins = [{"id": "one", "text": text}, {"id": "same", "text": text}, {"id": "two", "text": text + " "}]
    build_index([Corpus(twins, name="twins")], tmp_path / "index", Embedder())
    outcome = execute(resolve(settings(server, str(tmp_path / "index"), 2)))
    assert len(server.requests) == 2
    assert [s.hit.document.id for s in outcome.samples] == ["one"]
    assert [(r.document_id, r.check, r.partner) for r in outcome.rejects] == [("two", "duplicate", "one")]


def test_prompts_too_long_for_the_server_are_counted(home: Path, server: WriterServer, small_index: str) -> None:
    """A document that does not fit is a reject of its own kind, and not counted as answered."""
    server.fail_after, server.failure = (
        5,
        error(400, "maximum context length is 10 tokens", code="context_length_exceeded"),
    )
    outcome = execute(resolve(replace(settings(server, small_index, 7), concurrency=1)))
    assert {stage.stage: stage.count for stage in outcome.funnel}["context"] == 5
    assert sum(r.check == "context" for r in outcome.rejects) == 2


def test_a_budget_ends_the_run_with_what_it_has(home: Path, server: WriterServer) -> None:
    """200 tokens, at 10 an answer, are 20 prompts and what was in flight; a higher budget pays for the rest only."""
    asked = RunSettings("bioqa", generator=server.url, num_samples=60, max_budget=200)
    outcome = execute(resolve(replace(asked, concurrency=2)))
    assert 20 <= len(server.requests) <= 21
    assert outcome.usage.prompt_tokens + outcome.usage.completion_tokens == 10 * len(server.requests)
    assert 0 < len(outcome.samples) <= len(server.requests)
    assert outcome.notes[0] == (
        f"Asked for 60 samples, gave {len(outcome.samples)}: max_budget of 200 tokens was spent on "
        f"{len(server.requests)} prompts. With a higher one the run goes on from here."
    )
    before = len(server.requests)
    more = execute(resolve(replace(asked, max_budget=400, concurrency=2)))
    assert 40 <= len(server.requests) <= 42
    assert more.usage.answers_from_journal == before


def test_a_budget_in_money(home: Path, server: WriterServer) -> None:
    """7 tokens read at 1 and 3 written at 2 a million make 13 a million prompts; the report has the price."""
    asked = RunSettings("bioqa", generator=server.url, num_samples=60, max_budget=20 * 13e-6, price_in=1, price_out=2)
    folder = ensure_run(resolve(replace(asked, concurrency=1)))
    assert 20 <= len(server.requests) <= 21
    assert DatasetFolder(folder).report.usage["cost"] == pytest.approx(13e-6 * len(server.requests))


def test_a_floor_of_similarity_ends_the_run(home: Path, server: WriterServer, small_index: str) -> None:
    """No document below it is prompted, and the report says that nothing more was there."""
    run = resolve(settings(server, small_index, 7))
    execute(run)
    index, documents = open_index(small_index), run.documents(open_index(small_index))
    branches = np.vstack([documents._queries, documents._queries.mean(axis=0)])
    similarities = np.sort(index.similarities(branches, range(len(TOPICS))).max(axis=0))
    floor = float(similarities[-2] + similarities[-1]) / 2
    outcome = execute(resolve(settings(server, small_index, 7, min_similarity=floor)))
    assert all(sample.hit.similarity >= floor for sample in outcome.samples)
    assert 1 <= len(outcome.samples) < 7
    assert f"all {len(outcome.samples)} documents that the index has for this were used" in outcome.notes[0]
    assert len(server.requests) == len(TOPICS), "the answers came from the journal"


def test_sources_and_licences_are_filtered_before_anything_is_paid_for(
    home: Path, server: WriterServer, tmp_path: Path
) -> None:
    """What is not asked for is no prompt, is counted in funnel and coverage, and a name that is not there is told."""
    texts = [" ".join(f"{topic}{a}{b}" for a in "abcdef" for b in "klmno") for topic in TOPICS]
    places = [
        ("book", "CC0"),
        ("book", "CC BY 4.0"),
        ("book", "CC0"),
        ("book", "CC0"),
        ("web", "CC0"),
        ("web", ""),
        ("notes", "MIT"),
    ]
    rows = [{"text": t, "source": s, "license": lic} for t, (s, lic) in zip(texts, places, strict=True)]
    build_index([Corpus(rows)], tmp_path / "index", Embedder())
    asked = {"index": str(tmp_path / "index"), "samples": 7, "sources": "book,web", "licenses": ["CC*"]}
    folder = ensure_run(resolve(settings(server, **asked, most_per_source=2)))
    report = DatasetFolder(folder).report
    assert [(stage.stage, stage.count) for stage in report.funnel[:4]] == [
        ("index", 7),
        ("selected", 5),
        ("passed_over", 2),
        ("retrieved", 3),
    ]
    assert len(server.requests) == 3
    assert Counter(row["source"] for row in DatasetFolder(folder).rows if not row["is_few_shot"]) == {
        "book": 2,
        "web": 1,
    }
    assert (report.coverage["not_selected"], report.coverage["passed_over"]) == (2, 2)
    page = (folder / "report.md").read_text()
    assert "2 were passed over, because their source gave its most." in page
    assert "2 documents of the index are of other sources or licences than asked for, and count nowhere below." in page
    assert report.settings["sources"] == ["book", "web"]
    with pytest.raises(InputError, match=r"sources names 'books', which the index does not have.*mean 'book'"):
        execute(resolve(settings(server, str(tmp_path / "index"), 7, sources="books")))
    assert len(server.requests) == 3
    one, other = (resolve(settings(server, str(tmp_path / "index"), 7, sources=s)) for s in ("book,web", "web,book"))
    assert one.run_id == other.run_id


def test_prompts_with_the_same_few_shots_are_sent_together(home: Path, server: WriterServer) -> None:
    """A server sees each triple of few-shots in one go, also where they are drawn for every prompt."""
    for groups in (4, "per-prompt"):
        server.requests.clear()
        asked = RunSettings("bioqa", generator=server.url, num_samples=30, prefix_groups=groups)
        execute(resolve(replace(asked, concurrency=1)))
        first_round = [tuple(m["content"] for m in r["messages"][:-1]) for r in server.requests[:30]]
        runs = [few_shots for few_shots, _ in itertools.groupby(first_round)]
        assert len(runs) == len(set(runs))
        assert len(runs) == 4 if groups == 4 else len(runs) > 20


def test_progress_says_what_is_kept_dropped_by_which_check_and_how_fast(home: Path, server: WriterServer) -> None:
    """The line of a run that has just ended has its own figures, and the checks by their names."""
    server.bad_every = 2
    result = execute(resolve(RunSettings("bioqa", generator=server.url, num_samples=8)))
    result.usage.completion_tokens_generated, result.usage.seconds_generating = 50, 2
    dropped = Counter(reject.check for reject in result.rejects)
    assert dropped["schema"] > 0
    assert progress_line("bioqa", 8, result) == (
        f"Generating bioqa: 8 of 8 samples from {len(server.requests)} answers, "
        f"dropped: {', '.join(f'{check} {count}' for check, count in sorted(dropped.items()))}, 25 tokens/s"
    )
    assert progress_line("bioqa", 8, RunResult()) == "Generating bioqa: 0 of 8 samples from 0 answers"


def test_a_run_is_done_once(home: Path, server: WriterServer, small_index: str) -> None:
    """A finished run is not done again; a fresh one takes the place of the old one, and its coverage is the same."""
    run = resolve(settings(server, small_index, 3))
    rows = read_rows(ensure_run(run), 0, 1)
    assert len(rows) == 35
    ensure_run(run)
    assert len(server.requests) == 3
    coverage = DatasetFolder(run.folder).report.coverage
    ensure_run(run, fresh=True)
    assert len(server.requests) == 6
    assert DatasetFolder(run.folder).report.coverage == coverage
    assert coverage["hits"] == 3
    assert [p.name for p in run.folder.parent.iterdir() if p.is_dir()] == [run.folder.name]


def test_parts_of_the_rows_are_consecutive_and_complete(home: Path, server: WriterServer, small_index: str) -> None:
    """Cut into any number of parts, the rows come back in order."""
    folder = ensure_run(resolve(settings(server, small_index, 3)))
    whole = list(read_rows(folder, 0, 1))
    for shards in (2, 8, 50):
        assert [row for shard in range(shards) for row in read_rows(folder, shard, shards)] == whole


def test_a_folder_that_cannot_be_written_is_named(home: Path, server: WriterServer, small_index: str) -> None:
    """A file in the way gives an error that names the place."""
    (home / "runs").write_text("in the way")
    with pytest.raises(StorageError, match="runs cannot be made"):
        ensure_run(resolve(settings(server, small_index, 3)))


def test_a_full_disk_at_the_end_keeps_the_answers(
    home: Path, server: WriterServer, small_index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the run folder cannot be written, nothing half-written stays, and the next try pays for nothing."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    run = resolve(settings(server, small_index, 3))
    monkeypatch.setattr("craft_hf.dataset.folder.DatasetFolder.write_card", full)
    with pytest.raises(StorageError, match=r"No space left on device.*safe in the journal"):
        ensure_run(run)
    assert not [p for p in (home / "runs").iterdir() if p.is_dir()]
    monkeypatch.undo()
    monkeypatch.setenv("CRAFT_HF_HOME", str(home))
    ensure_run(run)
    assert len(server.requests) == 3


def test_an_index_of_another_model_is_refused(
    home: Path, server: WriterServer, small_index: str, tmp_path: Path
) -> None:
    """An index whose model has changed since is refused before anything is paid for."""
    import shutil

    shutil.copytree(small_index, tmp_path / "index")
    info = json.loads((tmp_path / "index" / "index.json").read_text())
    (tmp_path / "index" / "index.json").write_text(json.dumps({**info, "embedding_identity": "another"}))
    with pytest.raises(InputError, match="was built with"):
        execute(resolve(settings(server, str(tmp_path / "index"), 3)))
    assert not server.requests


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"concurrency": 0}, "concurrency is 0"),
        ({"max_retries": -1}, "max_retries is -1"),
        ({"timeout_s": 0}, "timeout_s is 0"),
    ],
)
def test_bad_limits_are_named(values: dict[str, int], message: str) -> None:
    """Each number out of range is named."""
    with pytest.raises(InputError, match=message):
        RunSettings("bioqa", **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"prefix_groups": 0}, "prefix_groups is 0, expected a whole number of at least 1, or 'per-prompt'"),
        ({"prefix_groups": "all"}, "prefix_groups is 'all'"),
        ({"min_similarity": 2}, "min_similarity is 2"),
        ({"max_budget": 0}, "max_budget is 0"),
        ({"max_budget": "much"}, "max_budget is 'much', expected a number"),
        ({"price_in": -1}, "price_in is -1"),
        ({"retrieval": "best"}, "retrieval is 'best', expected one of mixed, random"),
    ],
)
def test_bad_settings_are_named(values: dict[str, object], message: str) -> None:
    """Each value out of range is named, with what was expected."""
    with pytest.raises(InputError, match=message):
        RunSettings("bioqa", **values)  # type: ignore[arg-type]


def test_what_is_written_out_is_the_same_run_as_the_default(home: Path, server: WriterServer) -> None:
    """Eleven groups for 32 few-shots are the default; a price changes no row, a budget and another number do."""
    plain = RunSettings("bioqa", generator=server.url)
    same = [replace(plain, prefix_groups="11"), replace(plain, price_in=3)]
    changes = {"prefix_groups": 4, "max_budget": 9, "min_similarity": 0.1, "retrieval": "random"}
    other = [replace(plain, **{name: value}) for name, value in changes.items()]  # type: ignore[arg-type]
    assert {resolve(s).run_id for s in same} == {resolve(plain).run_id}
    assert len({resolve(s).run_id for s in (plain, *other)}) == 5


def test_random_documents_are_a_run_of_their_own(home: Path, server: WriterServer, plots: None) -> None:
    """Every row says that its document was drawn; report and card do not speak of finding; a longer run goes on."""
    asked = RunSettings("bioqa", generator=server.url, num_samples=3, retrieval="random", seed=4)
    run = resolve(asked)
    folder = ensure_run(run)
    assert run.run_id != resolve(replace(asked, retrieval="mixed")).run_id
    rows = [row for row in read_rows(folder, 0, 1) if not row["is_few_shot"]]
    assert [row["retrieved_by"] for row in rows] == [["random"]] * 3
    assert len({row["similarity"] for row in rows}) == 3
    report = DatasetFolder(folder).report
    assert (report.coverage["drawn"], report.coverage["decay"], report.coverage["both"]) == (True, {}, None)
    assert report.coverage["warnings"] == []
    page, card = (folder / "report.md").read_text(), (folder / "README.md").read_text()
    assert "3 documents were drawn at random." in page
    assert "half of them by" not in page
    assert "found alone" not in page
    assert "\n\n\n" not in page
    assert "Retrieval: documents drawn at random, to compare with retrieval by similarity, out of 452 documents" in card
    assert not (folder / "assets" / "decay.png").exists()
    calls = server.documents
    more = execute(resolve(replace(asked, num_samples=4)))
    assert server.documents[: len(calls)] == calls
    assert [sample.hit.document.id for sample in more.samples[:3]] == [row["document_id"] for row in rows]
