"""What becomes of a request: answered, no answer for this prompt, tried again, or the end of the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from craft_hf.base.errors import GeneratorError
from craft_hf.base.records import FAILED, FILTERED, Answer
from craft_hf.generation.generator import Sampling
from craft_hf.generation.journal import Journal
from craft_hf.generation.journaled import LEAST_FAILED, Outcomes, ask
from craft_hf.generation.usage import Usage
from craft_hf.servers.connection_pool import TRIP_AFTER
from tests.openai_server import HANG_UP, HTML, FakeServer, Reply, error, ok, serving
from tests.server_client import SCHEMA, answers, clean, failure, generator, prompts

_clean = clean

POISON = [
    error(400, "no"),
    error(403, "moderated"),
    error(500, "x"),
    error(413, "x"),
    Reply('{"choices": []}'),
    Reply('{"error": {"code": 502, "message": "upstream"}}'),
    Reply('{"error": "a gateway\'s words"}'),
    ok("", "error"),
    HTML,
    HANG_UP,
    Reply("x" * 40_000_000),
    Reply(ok().body, delay_s=30.0),
]


@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize(
    "poison", [*POISON[:-1], pytest.param(POISON[-1], marks=pytest.mark.slow)], ids=range(len(POISON))
)
def test_one_prompt_that_always_fails_does_not_end_the_run(poison: Reply, concurrency: int) -> None:
    """Its answer says that there is none and why; all others are answered."""
    with serving(FakeServer(by_content={"ask 2": poison})) as fake:
        asked = generator(fake.url, concurrency=concurrency, timeout_s=2.0, max_retries=1)
        got = {p.key: a for p, a in asked.generate(prompts(8), SCHEMA, Sampling())}
    assert [key for key, answer in got.items() if not answer.is_answer] == ["key2"]
    assert got["key2"].finish_reason == FAILED
    assert fake.url in got["key2"].error
    assert len(got) == 8


@pytest.mark.parametrize(
    "reply",
    [
        ok("", "content_filter"),
        error(400, "The response was filtered", code="content_filter"),
        error(400, "x", innererror={"code": "ResponsibleAIPolicyViolation"}),
    ],
)
def test_a_filter_is_told_by_its_name(reply: Reply) -> None:
    """The prompt is not asked again, in any other way."""
    with serving(FakeServer(by_content={"ask 0": reply})) as fake:
        assert [answer.finish_reason for answer in answers(fake, 3, concurrency=1)] == [FILTERED, "stop", "stop"]
        assert len(fake.requests) == 3


def run(
    fake: FakeServer, folder: Path, count: int, max_failed: float = 0.1, concurrency: int = 1
) -> tuple[dict[str, Answer], Usage]:
    """Ask so many prompts with a journal."""
    usage = Usage()
    with Journal(folder) as journal:
        asked = ask(
            generator(fake.url, max_retries=0, concurrency=concurrency), SCHEMA, Sampling(), prompts(count), journal,
            usage, lambda: True, Outcomes(max_failed),
        )  # fmt: skip
        return {prompt.key: answer for prompt, answer in asked}, usage


def test_what_failed_is_not_kept_and_asked_again_by_the_next_run(tmp_path: Path) -> None:
    """The journal has the answers; a second run pays for none of these, and asks for what failed."""
    with serving(FakeServer(by_content={"ask 1": ok("", "error"), "ask 2": ok("", "content_filter")})) as fake:
        got, usage = run(fake, tmp_path, 4)
        assert [answer.is_answer for answer in got.values()] == [True, False, False, True]
        assert (usage.answers, usage.failed) == (2, 2)
    with serving(FakeServer()) as fake:
        got, usage = run(fake, tmp_path, 4)
        assert all(answer.is_answer for answer in got.values())
        assert (usage.answers_from_journal, usage.answers_generated, usage.failed) == (2, 2, 0)
        assert len(fake.requests) == 2


def test_a_resumed_run_of_which_only_prompts_without_an_answer_are_left_ends_well(tmp_path: Path) -> None:
    """Each of them fails however often it is asked; with the answers in the journal that is no reason to end."""
    poison: dict[str, Reply] = {"ask 1": HANG_UP, "ask 2": error(500, "x"), "ask 3": HTML, "ask 4": error(404, "x")}
    with serving(FakeServer(by_content=poison)) as fake:
        first = run(fake, tmp_path, 9, concurrency=4)[0]
        assert sum(answer.is_answer for answer in first.values()) == 5
        second, usage = run(fake, tmp_path, 9, concurrency=4)
        assert {key: answer.is_answer for key, answer in second.items()} == {k: a.is_answer for k, a in first.items()}
        assert (usage.answers_from_journal, usage.answers_generated, usage.failed) == (5, 0, 4)


def test_too_many_failures_end_the_run_and_are_named(tmp_path: Path) -> None:
    """Up to `LEAST_FAILED` prompts may fail, then only a share; the message has the most frequent reasons."""
    failing = {f"ask {2 * i}": error(403, "moderated") for i in range(LEAST_FAILED)}
    with serving(FakeServer(by_content=failing)) as fake:
        assert run(fake, tmp_path / "a", 60)[1].failed == LEAST_FAILED
    failing["ask 41"] = error(418, "a teapot")
    with serving(FakeServer(by_content=failing)) as fake:
        said = r"21 of 42 prompts got no answer, more than max_failed \(0.1\); 20 times.*moderated.* 1 times.*a teapot"
        with pytest.raises(GeneratorError, match=said):
            run(fake, tmp_path / "b", 60)
        assert len(run(fake, tmp_path / "b", 60, max_failed=0.7)[0]) == 60


def test_a_row_of_failures_ends_the_run_however_much_was_answered_before(tmp_path: Path) -> None:
    """A server that begins to refuse everything is noticed after some prompts, not after a tenth of all."""
    with serving(FakeServer([ok()] * 300, always=error(400, "unloaded"))) as fake:
        with pytest.raises(
            GeneratorError, match=r"21 of 321 prompts got no answer, the last ones all; 21 times: .*unl"
        ):
            run(fake, tmp_path, 600)
        assert len(fake.requests) == 321


def test_when_no_prompt_is_answered_the_run_is_at_fault() -> None:
    """However few they are: a run without any answer does not end well."""
    with serving(FakeServer(always=error(403, "not for you"))) as fake:
        assert "3 of 3 prompts got no answer, every one" in failure(fake, 3)
        assert "not for you" in failure(fake, 1)


@pytest.mark.parametrize(
    "refusal",
    [
        error(402, "Payment Required"),
        error(429, "You exceeded your current quota", type="insufficient_quota", code="insufficient_quota"),
        Reply('{"error": {"code": 402, "message": "Insufficient credits"}}'),
    ],
)
def test_an_exhausted_quota_ends_the_run_at_once(refusal: Reply, tmp_path: Path) -> None:
    """It is called so, nothing more is asked, and later the run goes on from where it stood."""
    with serving(FakeServer([ok(), ok()], always=refusal)) as fake:
        with pytest.raises(GeneratorError, match="quota exhausted"):
            run(fake, tmp_path, 50)
        assert len(fake.requests) == 3
    with serving(FakeServer()) as fake:
        assert run(fake, tmp_path, 50)[1].answers_from_journal == 2


def test_a_key_that_is_wrong_from_the_second_request_on_ends_the_run(tmp_path: Path) -> None:
    """What was answered before is kept."""
    with serving(FakeServer([ok()], always=error(401, "bad key"))) as fake:
        with pytest.raises(GeneratorError, match=r"bad key.*CRAFT_HF_API_KEY"):
            run(fake, tmp_path, 50)
        assert len(fake.requests) == 1 + TRIP_AFTER
    with serving(FakeServer()) as fake:
        assert run(fake, tmp_path, 3)[1].answers_from_journal == 1
