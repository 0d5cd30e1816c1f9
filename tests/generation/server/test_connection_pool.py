"""Tests of the server generator with several servers, each a real HTTP server on loopback."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from craft_hf.base.errors import GeneratorError, InputError
from craft_hf.base.records import Prompt
from craft_hf.generation.generator import Sampling
from tests.openai_server import HANG, HANG_UP, FakeServer, Reply, error, free_port, ok, serving
from tests.server_client import PROMPTLY_S, SCHEMA, both, clean, failure, generator, prompts, until

_clean = clean


def keys(asked: list[Prompt], url: str, **changes: object) -> list[str]:
    """The keys of the prompts that are answered, sorted."""
    return sorted(p.key for p, a in generator(url, **changes).generate(asked, SCHEMA, Sampling()) if a.is_answer)


def test_two_servers_share_the_prompts() -> None:
    """Every prompt is answered once, and each server gets its share."""
    asked = prompts(80, few_shots=80)
    with serving(FakeServer(always=ok(delay_s=0.02))) as one, serving(FakeServer(always=ok(delay_s=0.02))) as two:
        assert keys(asked, both(one, two), concurrency=8) == sorted(p.key for p in asked)
        counts = [len(one.requests), len(two.requests)]
    assert sum(counts) == 80
    assert min(counts) >= 20


def test_a_fast_server_gets_more() -> None:
    """The servers are kept busy, not even: the fast one answers most."""
    with serving(FakeServer(always=ok(delay_s=0.2))) as slow, serving(FakeServer(always=ok(delay_s=0.01))) as fast:
        assert len(keys(prompts(80, few_shots=80), both(slow, fast), concurrency=8)) == 80
        assert len(fast.requests) > 2 * len(slow.requests)


def test_prompts_with_the_same_few_shots_go_to_the_same_server() -> None:
    """With more waiting than in flight, few tuples are read by both servers; yet both are busy."""
    asked = prompts(120, few_shots=6)
    with serving(FakeServer(always=ok(delay_s=0.02))) as one, serving(FakeServer(always=ok(delay_s=0.02))) as two:
        assert len(keys(asked, both(one, two), concurrency=48)) == 120
        tuple_of = {p.messages[0]["content"]: p.few_shot_ids for p in asked}
        read = [Counter(tuple_of[r["messages"][0]["content"]] for r in fake.requests) for fake in (one, two)]
    strays = sum(min(read[0][few_shots], read[1][few_shots]) for few_shots in set(tuple_of.values()))
    assert strays < 30, "at random it would be around 50"
    assert min(sum(counts.values()) for counts in read) >= 20


def test_a_killed_server_loses_no_prompt(caplog: pytest.LogCaptureFixture) -> None:
    """When one of two dies in the middle, the other answers the rest; what was in flight is all that is asked twice."""
    with serving(FakeServer(always=ok(delay_s=0.02))) as dying, serving(FakeServer(always=ok(delay_s=0.02))) as other:
        it = generator(both(dying, other), concurrency=8).generate(prompts(100, 100), SCHEMA, Sampling())
        got = []
        for prompt, _ in it:
            got.append(prompt.key)
            if len(got) == 30:
                dying.kill()
        assert sorted(got) == sorted(p.key for p in prompts(100))
        assert len(dying.requests) >= 5
        assert len(dying.requests) + len(other.requests) <= 100 + 8
    assert f"{dying.url}/v1 is not used until it answers again" in caplog.text


def test_a_server_that_comes_back_is_used_again(caplog: pytest.LogCaptureFixture) -> None:
    """A server that is away at first is tried after pauses, and gets its share from when it is there."""
    port = free_port()
    with serving(FakeServer(always=ok(delay_s=0.01))) as other:
        url = f"http://127.0.0.1:{port},{other.url}"
        it = generator(url, concurrency=4).generate(prompts(200, 200), SCHEMA, Sampling())
        got = [next(it)[0].key for _ in range(20)]
        with serving(FakeServer(always=ok(delay_s=0.01)), port) as late:
            got += [prompt.key for prompt, _ in it]
            assert len(late.requests) > 20
    assert len(got) == len(set(got)) == 200
    assert "answers again" in caplog.text


@pytest.mark.parametrize("fault", [error(500, "x"), error(503, "x"), error(429, "x"), HANG_UP, error(401, "no")])
def test_a_server_that_fails_always_does_not_end_the_run(fault: Reply) -> None:
    """One server works, so the run goes on, and the other is asked seldom."""
    with serving(FakeServer(always=fault)) as bad, serving(FakeServer(always=ok(delay_s=0.01))) as good:
        assert len(keys(prompts(60, 60), both(bad, good), concurrency=4, backoff_s=0.05)) == 60
        assert len(bad.requests) < 30


def test_a_server_that_hangs_does_not_end_the_run() -> None:
    """Requests that run out of time go to the other server."""
    with serving(FakeServer(always=HANG)) as bad, serving(FakeServer(always=ok(delay_s=0.01))) as good:
        changes = {"concurrency": 4, "timeout_s": 0.3}
        assert len(keys(prompts(40, 40), both(bad, good), **changes)) == 40  # type: ignore[arg-type]


def test_when_all_fail_each_is_named() -> None:
    """The error says of every address what it gave."""
    nobody = f"http://127.0.0.1:{free_port()}"
    with serving(FakeServer(always=error(500, "out of memory"))) as bad, serving(FakeServer(always=HANG_UP)) as worse:
        message = failure(f"{nobody},{both(bad, worse)}", 8)
    assert "none of the 3 servers answers" in message
    for part in (
        f"{nobody}/v1: no connection",
        f"{bad.url}/v1: HTTP status 500: ",
        f"{worse.url}/v1: the connection broke",
    ):
        assert part in message


def test_a_server_that_dies_alone_ends_the_run_soon() -> None:
    """Many prompts wait, but a server that is gone is tried no more than one prompt would be."""
    with serving(FakeServer(always=error(500, "x"))) as fake:
        start = time.monotonic()
        with pytest.raises(GeneratorError, match="status 500"):
            keys(prompts(200), fake.url, concurrency=64)
        assert time.monotonic() - start < PROMPTLY_S
        assert len(fake.requests) <= 8 + 3 * 8


@pytest.mark.slow
def test_retry_after_leaves_the_whole_server_alone() -> None:
    """Nobody asks a server that wants a pause, while the other goes on."""
    with serving(FakeServer([error(429, "x", {"Retry-After": "0.5"})])) as busy, serving(FakeServer()) as other:
        it = generator(both(busy, other), concurrency=1).generate(prompts(400, 400), SCHEMA, Sampling())
        got = []
        for prompt, _ in it:
            got.append(prompt.key)
            time.sleep(0.002)
        assert len(got) == 400
        assert busy.times[1] - busy.times[0] >= 0.5
        assert sum(busy.times[0] < t < busy.times[1] for t in other.times) > 20


def test_the_model_is_asked_of_the_first_that_answers() -> None:
    """A server that is away does not keep the others from saying what they serve."""
    with serving(FakeServer(models=["one"])) as fake:
        g = generator(f"http://127.0.0.1:{free_port()},{fake.url}", model=None)
        assert g.identity["model"] == "one"


def test_the_model_that_all_have_is_taken() -> None:
    """A server may have more than one model, if only one is everywhere."""
    with serving(FakeServer(models=["one", "two"])) as first, serving(FakeServer(models=["one"])) as second:
        assert generator(both(first, second), model=None).identity["model"] == "one"


def test_servers_of_different_models_are_refused() -> None:
    """Answers of two models under one name would be a lie."""
    with serving(FakeServer(models=["one"])) as first, serving(FakeServer(models=["two"])) as second:
        with pytest.raises(InputError, match="must serve the same model") as e:
            _ = generator(both(first, second), model=None).identity
        for part in (f"{first.url}/v1 lists 1 models (one)", f"{second.url}/v1 lists 1 models (two)"):
            assert part in str(e.value)


def test_closing_cancels_at_all_servers() -> None:
    """A closed iterator has hung up on both servers within a second."""
    with serving(FakeServer([ok()], always=HANG)) as one, serving(FakeServer([ok()], always=HANG)) as two:
        it = generator(both(one, two), concurrency=8).generate(prompts(40, 40), SCHEMA, Sampling())
        next(it)
        until(lambda: one.in_flight >= 3 and two.in_flight >= 3)
        start = time.monotonic()
        it.close()  # type: ignore[attr-defined]
        assert time.monotonic() - start < PROMPTLY_S
        until(lambda: one.in_flight == two.in_flight == 0)


def test_a_prompt_that_only_one_server_refuses_is_sent_to_another() -> None:
    """A bug of one server is no reason to lose the prompt; what it refused once is not sent there again."""
    refused = {f"ask {i}": error(403, "roles must alternate") for i in range(4)}
    with serving(FakeServer(by_content=refused)) as one, serving(FakeServer()) as two:
        assert len(keys(prompts(8), both(one, two))) == 8
        asked = [request["messages"][-1]["content"] for request in one.requests]
        assert len([content for content in asked if content in refused]) == len({*asked} & {*refused}) > 0
        assert len(one.requests) + len(two.requests) == 8 + len({*asked} & {*refused})
