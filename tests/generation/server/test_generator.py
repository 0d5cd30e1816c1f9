"""Tests of the server generator against a real HTTP server on loopback."""

from __future__ import annotations

import json
import logging
import pickle
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from craft_hf.base.errors import GeneratorError, InputError
from craft_hf.base.records import FAILED, FILTERED, Answer, Prompt, fingerprint
from craft_hf.generation.generator import Generator, Sampling
from craft_hf.generation.server.generator import ServerGenerator
from craft_hf.servers.api_keys import api_key_for
from craft_hf.servers.connection_pool import PATIENCE
from tests.openai_server import (
    ANSWER,
    CUT_CONNECTION,
    CUT_JSON,
    HANG,
    HANG_UP,
    HTML,
    FakeServer,
    Reply,
    error,
    free_port,
    ok,
    serving,
)
from tests.server_client import PROMPTLY_S, SCHEMA, answers, both, clean, failure, generator, prompts, until

CANARY = "sk-canary-0123456789abcdef"
TOO_LONG = [
    error(400, "This model's maximum context length is 4096 tokens. However, you requested 9999 tokens (8463 in ..."),
    error(400, "Input too large.", code="context_length_exceeded", param="messages"),
    error(400, "The decoder prompt (length 9999) is longer than the maximum model length of 4096. Make sure ..."),
    error(400, "The input (61709 tokens) is longer than the model's context length (40960 tokens)."),
    error(400, "request (4390 tokens) exceeds the available context size (4096)", type="exceed_context_size_error"),
    error(400, "Requested tokens (2285) exceed context window of 2048"),
    error(422, "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 1512. Given: 1000 `inputs`"),
    error(422, "Input validation error: `inputs` must have less than 4096 tokens. Given: 4545"),
    error(400, "prompt is too long: 218849 tokens > 200000 maximum"),
    Reply('{"error": {"code": 400, "message": "x", "type": "exceed_context_size_error"}}', status=200),
]


_clean = clean


def test_answer_has_text_finish_reason_and_tokens() -> None:
    """An answer keeps what the server said of it, in what the protocol of generators asks for."""
    with serving(FakeServer([ok(), ok("cut her", "length", usage=False)])) as fake:
        g: Generator = generator(fake.url, concurrency=1)
        got = list(g.generate(prompts(2), SCHEMA, Sampling()))
    assert [p.key for p, _ in got] == ["key0", "key1"]
    assert [a for _, a in got] == [Answer(ANSWER, "stop", 7, 3), Answer("cut her", "length", 0, 0)]


def test_cached_tokens_are_told() -> None:
    """What the server says of its prefix cache is kept."""
    with serving(FakeServer([ok(cached=5)])) as fake:
        assert answers(fake) == [Answer(ANSWER, "stop", 7, 3, 5)]


def test_refusal_is_an_answer_with_its_words() -> None:
    """A model that declines is not asked again; its words are kept for reading."""
    with serving(FakeServer([ok(None, refusal="I cannot do that.")])) as fake:
        assert answers(fake) == [Answer("I cannot do that.", "refusal", 7, 3)]
        assert len(fake.requests) == 1


def test_request_carries_sampling_schema_and_a_seed_of_its_own() -> None:
    """The server is sent the sampling, the schema as response_format, and a seed per prompt that is repeatable."""
    with serving(FakeServer()) as fake:
        for seed in (5, 5, 6):
            list(generator(fake.url, concurrency=1).generate(prompts(2), SCHEMA, Sampling(0.3, 0.8, 11, 99, seed)))
        sent = fake.requests
    assert (sent[0]["temperature"], sent[0]["top_p"], sent[0]["top_k"], sent[0]["max_tokens"]) == (0.3, 0.8, 11, 99)
    assert sent[0]["model"] == "tiny"
    assert sent[0]["messages"] == [{"role": "user", "content": "ask 0"}]
    assert sent[0]["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "sample", "schema": SCHEMA, "strict": True},
    }
    seeds = [s["seed"] for s in sent]
    assert seeds[:2] == seeds[2:4]
    assert len(set(seeds)) == 4
    assert all(0 <= s < 2**31 for s in seeds)


def test_every_prompt_is_answered_once_and_concurrency_is_kept() -> None:
    """Forty prompts get forty answers, many at a time, and never more than `concurrency`."""
    with serving(FakeServer(always=ok(delay_s=0.05))) as fake:
        got = list(generator(fake.url, concurrency=5).generate(prompts(40), SCHEMA, Sampling()))
    assert sorted(p.key for p, _ in got) == sorted(p.key for p in prompts(40))
    assert fake.most_in_flight == 5
    assert len(fake.requests) == 40


def test_answers_come_as_they_finish() -> None:
    """A slow request does not hold up the answers of those after it."""
    with serving(FakeServer(by_content={"ask 0": ok(delay_s=0.4)})) as fake:
        got = [p.key for p, _ in generator(fake.url, concurrency=2).generate(prompts(6), SCHEMA, Sampling())]
    assert got[-1] == "key0"
    assert len(got) == 6


def test_slow_consumer_pays_for_no_more_than_twice_concurrency_ahead() -> None:
    """As many answers as may be in flight may wait to be taken: whoever stops reading has paid for no more."""
    with serving(FakeServer()) as fake:
        it = generator(fake.url, concurrency=3).generate(prompts(20), SCHEMA, Sampling())
        next(it)
        time.sleep(0.3)
        assert len(fake.requests) <= 1 + 2 * 3
        assert len(list(it)) == 19


def test_half_a_surrogate_pair_is_sent_as_a_question_mark() -> None:
    """A document with a cut emoji, which no UTF-8 can hold, does not end the run."""
    with serving(FakeServer()) as fake:
        broken = Prompt("k", "d", ({"role": "user", "content": "cut \ud83d here"},), ())
        assert len(list(generator(fake.url).generate([broken], SCHEMA, Sampling()))) == 1
    assert fake.requests[0]["messages"][0]["content"] == "cut ? here"


def test_only_prompts_that_should_be_sent_are_sent() -> None:
    """`should_send` is called when a prompt's turn comes; a no costs no request, and frees its slot for the next."""
    with serving(FakeServer()) as fake:
        g = generator(fake.url, concurrency=2)
        got = [p.key for p, _ in g.generate(prompts(9), SCHEMA, Sampling(), lambda p: p.key in ("key3", "key7"))]
        assert sorted(got) == ["key3", "key7"]
        assert len(fake.requests) == 2


def test_should_send_is_called_when_a_prompt_is_sent() -> None:
    """When the budget is spent by the first answers, the prompts behind them are not sent."""
    spent: list[str] = []
    with serving(FakeServer()) as fake:
        it = generator(fake.url, concurrency=4).generate(prompts(20), SCHEMA, Sampling(), lambda _: len(spent) < 4)
        for prompt, _ in it:
            spent.append(prompt.key)
        assert len(fake.requests) <= 4 + 4


def test_no_prompts_asks_nothing() -> None:
    """Without prompts the server is not touched, not even for its models."""
    with serving(FakeServer()) as fake:
        assert list(generator(fake.url, model=None).generate([], SCHEMA, Sampling())) == []
        assert fake.model_requests == 0


def test_null_content_is_an_empty_answer() -> None:
    """A null content, as of a refusal, is an empty text with its finish_reason, and not an error."""
    with serving(FakeServer([ok(None, "content_filter")])) as fake:
        (answer,) = answers(fake)
        assert (answer.text, answer.finish_reason, answer.completion_tokens) == ("", FILTERED, 3)


def test_finish_reason_null_is_unknown() -> None:
    """A server that does not say why it stopped is not taken to have said "stop"."""
    body = {"choices": [{"message": {"content": ANSWER}, "finish_reason": None}]}
    with serving(FakeServer([Reply(json.dumps(body))])) as fake:
        assert answers(fake) == [Answer(ANSWER, "unknown")]


@pytest.mark.parametrize("reply", TOO_LONG, ids=lambda r: r.body[:60])
def test_prompt_too_long_is_an_answer_that_says_so(reply: Reply) -> None:
    """However a server words it, a prompt beyond its context is counted, and the others go on."""
    with serving(FakeServer(by_content={"ask 1": reply})) as fake:
        got = {p.key: a for p, a in generator(fake.url, concurrency=1).generate(prompts(3), SCHEMA, Sampling())}
    assert got["key1"] == Answer("", "prompt_too_long")
    assert got["key0"].text == got["key2"].text == ANSWER
    assert len(fake.requests) == 3


def test_echoed_document_is_not_taken_for_a_reason() -> None:
    """Words of the document in an echoed request make neither a prompt too long nor a parameter refused."""
    echo = Reply('{"detail": [{"loc": ["body", "n"], "msg": "Bad", "input": "context length, seed, top_k"}]}', 422)
    with serving(FakeServer(by_content={"ask 1": echo})) as fake:
        got = answers(fake, 3, concurrency=1)
        assert [answer.finish_reason for answer in got] == ["stop", FAILED, "stop"]
        assert "status 422" in got[1].error
        assert [{"top_k", "seed"} <= {*request} for request in fake.requests] == [True] * 3


@pytest.mark.parametrize(
    "fault",
    [
        error(408, "x"),
        error(409, "x"),
        error(429, "x"),
        error(500, "x"),
        error(503, "x"),
        Reply('{"error": {"code": 502, "message": "upstream"}}'),
        Reply('{"choices": []}'),
        Reply("[]"),
        HTML,
        CUT_JSON,
        CUT_CONNECTION,
        HANG_UP,
    ],
    ids=["408", "409", "429", "500", "503", "200-502", "no-choice", "list", "html", "cut-json", "cut", "hang-up"],
)
def test_passing_fault_is_tried_again(fault: Reply) -> None:
    """A fault that may pass costs one more request and no answer."""
    with serving(FakeServer([fault])) as fake:
        assert answers(fake) == [Answer(ANSWER, "stop", 7, 3)]
        assert len(fake.requests) == 2


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (error(500, "out of\nmemory"), ["status 500", r"out of\nmemory", "see the server's log"]),
        (HTML, ["HTML", "<!DOCTYPE html>", "/v1 address of an OpenAI-compatible server?"]),
        (CUT_JSON, ["cut or broken", '"chat.com', "proxy"]),
        (CUT_CONNECTION, ["the connection broke", "received", "proxy"]),
        (Reply(reset=True), ["the connection broke", "reset", "proxy"]),
        (Reply('{"choices": []}'), ["JSON without an answer", '{"choices": []}']),
    ],
    ids=["500", "html", "cut-json", "cut", "reset", "no-choice"],
)
def test_lasting_fault_says_what_came_how_often_and_what_to_do(fault: Reply, said: Sequence[str]) -> None:
    """After its retries a fault ends the run with address, what came, number of tries and advice, on one line."""
    with serving(FakeServer(always=fault)) as fake:
        message = failure(fake)
    for part in [*said, f"{fake.url}/v1", "attempts: 3"]:
        assert part in message
    assert "\n" not in message
    assert len(fake.requests) == 3


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "CRAFT_HF_API_KEY"),
        (403, "CRAFT_HF_API_KEY"),
        (404, "generator_model="),
        (418, "change what the server names"),
    ],
)
def test_refusal_is_fatal_at_once(status: int, said: str) -> None:
    """What no second try can mend is not tried again."""
    with serving(FakeServer(always=error(status, "no"))) as fake:
        message = failure(fake)
    assert f"status {status}" in message
    assert said in message
    assert "attempts: 1" in message
    assert len(fake.requests) == 1


def test_server_that_is_not_there_says_so() -> None:
    """A refused connection names the address, the system's reason, and asks whether the server runs."""
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(GeneratorError, match=r"Connect call failed.*attempts: 3.*is the server running"):
        list(generator(url).generate(prompts(1), SCHEMA, Sampling()))


def test_server_that_ends_says_what_came_before() -> None:
    """Where nobody listens any more, the error tells the fault after which that was."""
    fault = error(500, "EngineCore encountered an issue", {"Retry-After": "0.5"})
    with serving(FakeServer(always=fault)) as fake:

        def kill() -> None:
            until(lambda: len(fake.requests) == 1)
            time.sleep(0.2)  # the fault has come by then, and the next try has not
            fake.kill()

        thread = threading.Thread(target=kill)
        thread.start()
        message = failure(fake)
        thread.join()
    for part in ("Connect call failed", "it ended while it was asked", "EngineCore", "--no-enable-chunked-prefill"):
        assert part in message


def test_server_that_ends_after_an_answer_is_not_said_to_have_died_of_an_older_fault() -> None:
    """A fault before the last answer is no reason of what came later."""
    without_keep_alive = replace(ok(), headers={"Connection": "close"})
    with serving(FakeServer([error(500, "EngineCore encountered an issue"), without_keep_alive])) as fake:

        def should_send(prompt: Prompt) -> bool:
            if prompt.key != "key0":
                fake.kill()
            return True

        with pytest.raises(GeneratorError, match="is the server running") as raised:
            list(generator(fake.url, concurrency=1).generate(prompts(2), SCHEMA, Sampling(), should_send))
    assert "EngineCore" not in str(raised.value)


def test_hanging_server_runs_into_the_timeout() -> None:
    """A request that takes longer than timeout_s is given up, tried again, and the advice is to raise it."""
    with serving(FakeServer([HANG, HANG])) as fake:
        start = time.monotonic()
        message = failure(fake, timeout_s=0.2, max_retries=1)
        assert time.monotonic() - start < PROMPTLY_S
    assert "no answer within 0.2 s" in message
    assert "raise timeout_s=" in message


@pytest.mark.slow
def test_a_busy_server_is_waited_for_however_often_it_says_so() -> None:
    """Refusals for want of room are no fault of a prompt; after minutes without any answer the run ends."""
    with serving(FakeServer([error(429, "slow down"), error(503, "loading")] * 6)) as fake:
        assert [answer.finish_reason for answer in answers(fake, 2, max_retries=0)] == ["stop", "stop"]
    with serving(FakeServer(always=error(429, "slow down"))) as fake:
        start = time.monotonic()
        message = failure(fake, backoff_s=0.001)
        assert PATIENCE * 0.001 < time.monotonic() - start < PROMPTLY_S
    assert all(part in message for part in ["status 429", "slow down", "lower concurrency=", f"{fake.url}/v1"])


def test_body_is_shown_up_to_200_characters() -> None:
    """A long body is cut in the message."""
    with serving(FakeServer(always=Reply("y" * 5000, 500))) as fake:
        message = failure(fake, max_retries=0)
    assert message.count("y" * 200) == 1
    assert "y" * 201 not in message


def test_retry_after_is_waited_for_up_to_the_timeout() -> None:
    """The server's Retry-After, in seconds or as a date, is kept, but no longer than one request may take."""
    replies = [
        error(429, "x", {"Retry-After": "0.2"}),
        error(429, "x", {"Retry-After": "3600"}),
        error(429, "x", {"Retry-After": "Wed, 21 Oct 2065 07:28:00 GMT"}),
        error(429, "x", {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
        error(429, "x", {"Retry-After": "soon"}),
    ]
    with serving(FakeServer(replies)) as fake:
        assert len(answers(fake, timeout_s=0.4, max_retries=5)) == 1
        gaps = [b - a for a, b in zip(fake.times, fake.times[1:], strict=False)]
    assert 0.2 <= gaps[0] < 0.4
    assert 0.4 <= gaps[1] < 0.8
    assert 0.4 <= gaps[2] < 0.8
    assert max(gaps[3:]) < 0.35


@pytest.mark.parametrize("refused", ["top_k", "seed"])
def test_refused_parameter_is_left_out_from_then_on(refused: str, caplog: pytest.LogCaptureFixture) -> None:
    """A parameter that the server refuses by name costs one request, is reported once, and is not sent again."""
    with serving(FakeServer(refuses=[refused])) as fake, caplog.at_level(logging.WARNING):
        g = generator(fake.url, concurrency=1)
        assert len(list(g.generate(prompts(3), SCHEMA, Sampling()))) == 3
        assert len(list(g.generate(prompts(2), SCHEMA, Sampling()))) == 2
    assert [refused in r for r in fake.requests] == [True, False, False, False, False, False]
    warnings = [r.getMessage() for r in caplog.records if r.name == "craft_hf.generation.server.endpoints"]
    assert len(warnings) == 1
    assert f"refuses {refused}" in warnings[0]


def test_all_dispensable_parameters_may_be_refused() -> None:
    """A server that knows none of the three still gives its answers, and many requests at once do not confuse it."""
    with serving(FakeServer(refuses=["seed", "top_k", "response_format"])) as fake:
        assert len(answers(fake, 8, concurrency=8)) == 8
        assert not {"seed", "top_k", "response_format"} & set(fake.requests[-1])


def test_other_400_is_fatal_with_its_words() -> None:
    """A 400 that names nothing that can be left out ends the run with the server's words."""
    with serving(FakeServer(always=error(400, "roles must alternate"))) as fake:
        assert "roles must alternate" in failure(fake)


def test_what_is_in_flight_comes_in_before_the_run_ends() -> None:
    """When the run cannot go on, paid answers come first, those too that are still on their way."""
    content = {"ask 3": Reply(error(402, "no").body, 402, delay_s=0.3), "ask 4": ok(delay_s=1.0)}
    with serving(FakeServer(by_content=content)) as fake:
        it = generator(fake.url, concurrency=5).generate(prompts(5), SCHEMA, Sampling())
        first = next(it)
        time.sleep(0.6)
        got = [first]
        start = time.monotonic()
        with pytest.raises(GeneratorError, match="status 402"):
            got.extend(it)
        assert time.monotonic() - start < PROMPTLY_S
        assert sorted(p.key for p, _ in got) == ["key0", "key1", "key2", "key4"]
        assert len(fake.requests) == 5


def test_closing_cancels_what_is_in_flight_within_a_second() -> None:
    """A closed iterator has hung up on the server within a second."""
    with serving(FakeServer([ok()], always=HANG)) as fake:
        it = generator(fake.url, concurrency=4).generate(prompts(20), SCHEMA, Sampling())
        next(it)
        until(lambda: fake.in_flight == 4)
        start = time.monotonic()
        it.close()  # type: ignore[attr-defined]
        assert time.monotonic() - start < PROMPTLY_S
        until(lambda: fake.hung_up == 4)
        assert len(fake.requests) == 5


def test_closing_interrupts_a_wait_between_tries() -> None:
    """A request that waits for its next try does not hold up the end."""
    with serving(FakeServer(by_content={"ask 1": error(429, "x", {"Retry-After": "60"})})) as fake:
        it = generator(fake.url).generate(prompts(2), SCHEMA, Sampling())
        next(it)
        start = time.monotonic()
        it.close()  # type: ignore[attr-defined]
        assert time.monotonic() - start < PROMPTLY_S


def test_keyboard_interrupt_cancels_what_is_in_flight(interruptible: None) -> None:
    """Ctrl-C while waiting for an answer ends the wait, and the requests, at once."""
    with serving(FakeServer(always=HANG)) as fake:
        main = threading.main_thread().ident
        assert main is not None
        sent: list[float] = []

        def interrupt() -> None:
            until(lambda: fake.in_flight == 4, 30)
            sent.append(time.monotonic())
            signal.pthread_kill(main, signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            answers(fake, 4)
        assert time.monotonic() - sent[0] < PROMPTLY_S
        thread.join()
        until(lambda: fake.hung_up == 4)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Shells start what runs in the background deaf to Ctrl-C; here it is heard."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_generate_works_inside_a_running_loop() -> None:
    """A notebook has a running event loop; answers come all the same."""
    import asyncio

    async def notebook() -> int:
        with serving(FakeServer()) as fake:
            return len(answers(fake, 3, model=None))

    assert asyncio.run(notebook()) == 3


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("http://host:8000", "http://host:8000/v1"),
        ("http://host:8000/", "http://host:8000/v1"),
        ("http://host:8000/v1", "http://host:8000/v1"),
        (" https://host/v1/ ", "https://host/v1"),
        ("https://host/api/openai", "https://host/api/openai"),
        ("https://host/v1/chat/completions", "https://host/v1"),
        ("http://[::1]:8000", "http://[::1]:8000/v1"),
        ("http://a:8000, http://b:8000/v1/", "http://a:8000/v1,http://b:8000/v1"),
    ],
)
def test_url_is_normalised(given: str, normal: str) -> None:
    """The address may be given with or without /v1."""
    assert repr(normal) in repr(ServerGenerator(given))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8000",
        "ftp://host/v1",
        "http://",
        "http:///v1",
        "http://h:port",
        "http://[::1",
        "http://h?a=b",
        "http://a,",
        "http://a b",
    ],
)
def test_url_that_is_none_is_refused(url: str) -> None:
    """An address without http, host or a proper port says what is expected."""
    with pytest.raises(InputError, match=r"expected http://host:port/v1"):
        ServerGenerator(url)


def test_address_that_comes_twice_is_refused() -> None:
    """Two names for one server would count it twice."""
    with pytest.raises(InputError, match="names http://a/v1 twice"):
        ServerGenerator("http://a,http://a/v1")


@pytest.mark.parametrize(
    "url",
    [
        f"http://me:{CANARY}@host/v1",
        f"http://host/v1?key={CANARY}",
        f"me:{CANARY}@host",
        f"http://a,http://me:{CANARY}@b",
        f"http://a,b?k={CANARY}",
    ],
)
def test_url_with_a_secret_is_refused_without_showing_it(url: str) -> None:
    """A password or a query in the address is refused, and not printed."""
    with pytest.raises(InputError) as e:
        ServerGenerator(url)
    assert CANARY not in "".join(traceback.format_exception(e.value))


@pytest.mark.parametrize(
    "wrong", [{"concurrency": 0}, {"concurrency": 1001}, {"timeout_s": 0}, {"max_retries": -1}, {"backoff_s": -1.0}]
)
def test_number_out_of_range_is_refused(wrong: dict[str, object]) -> None:
    """A number that makes no sense is refused with its name and value."""
    name, value = next(iter(wrong.items()))
    with pytest.raises(InputError, match=f"{name} is {value}"):
        generator("http://host", **wrong)


def test_model_is_asked_for_once() -> None:
    """Without a model name the only one that the server lists is used, and kept."""
    with serving(FakeServer(models=["only/one"], model_replies=[error(503, "loading")])) as fake:
        g = generator(fake.url, model=None)
        root = fingerprint(["weights"])
        assert g.identity == {"model": "only/one", "revision": "", "weights": "server", "root": root}
        assert len(list(g.generate(prompts(2), SCHEMA, Sampling()))) == 2
        assert g.identity["model"] == "only/one"
    assert fake.model_requests == 2
    assert {r["model"] for r in fake.requests} == {"only/one"}


def test_several_models_must_be_chosen_from() -> None:
    """With several models the first ten are named, and how to choose."""
    names = [f"organisation/model-with-a-long-name-{i:02}" for i in range(12)]
    with serving(FakeServer(models=names)) as fake, pytest.raises(InputError) as e:
        next(generator(fake.url, model=None).generate(prompts(1), SCHEMA, Sampling()))
    assert all(name in str(e.value) for name in names[:10])
    assert names[10] not in str(e.value)
    assert "12 models" in str(e.value)
    assert "generator_model=" in str(e.value)


def test_no_model_must_be_named() -> None:
    """A server that lists no model needs one to be named."""
    with serving(FakeServer(models=[])) as fake, pytest.raises(InputError, match=r"0 models.*generator_model="):
        _ = generator(fake.url, model=None).identity


@pytest.mark.parametrize(
    ("reply", "said"),
    [(error(401, "no"), "CRAFT_HF_API_KEY"), (HTML, "HTML"), (error(404, "no"), "Or pass generator_model=")],
)
def test_models_that_cannot_be_listed_say_why(reply: Reply, said: str) -> None:
    """The faults of the list of models are told as those of answers are."""
    with serving(FakeServer(model_replies=[reply] * 3)) as fake, pytest.raises(GeneratorError, match=said):
        _ = generator(fake.url, model=None).identity


def test_identity_shows_no_folder_but_tells_folders_apart() -> None:
    """A model that is named by its path at the server is known by its last part and a hash."""
    with serving(FakeServer()) as fake:
        one, two = (ServerGenerator(fake.url, f"/home/{user}/checkpoint-100/").identity for user in "ab")
    assert one["model"] == two["model"] == "checkpoint-100"
    assert one["revision"] != two["revision"]
    assert "home" not in str(one)


def test_one_name_at_two_servers_is_one_model_only_if_both_say_so() -> None:
    """`root` of /v1/models decides, without one the address; a restart changes nothing, and replicas are one model."""
    with serving(FakeServer()) as one, serving(FakeServer()) as two:
        alike = [generator(url).identity for url in (one.url, two.url, both(one, two))]
        assert alike[0] == alike[1] == alike[2]
        two.root = "other weights"
        assert generator(two.url).identity != alike[0]
        one.root = two.root = None
        assert len({str(generator(url).identity) for url in (one.url, two.url, both(one, two))}) == 3
        assert generator(both(one, two)).identity == generator(both(two, one)).identity
        assert one.url.split(":")[-1] not in str(generator(one.url).identity)


def test_a_server_that_is_down_is_what_it_was() -> None:
    """A finished run can be read from its journal; one that was never asked is known by its address."""
    with serving(FakeServer()) as one, serving(FakeServer()) as two:
        two.root = "other weights"
        before = generator(both(one, two)).identity
        one.model_replies = [HTML]
        assert generator(both(one, two)).identity == before
    assert generator(both(one, two)).identity == before
    nobody = f"http://127.0.0.1:{free_port()}"
    assert generator(nobody).identity == generator(nobody).identity != before
    with pytest.raises(GeneratorError, match="is the server running"):
        _ = generator(nobody, model=None).identity


@pytest.mark.parametrize(
    "reply", [error(404, "no"), error(401, "no"), HTML, Reply("[]"), Reply('{"data": null}'), error(500, "x")]
)
def test_a_server_without_a_list_of_models_is_known_by_its_address(reply: Reply) -> None:
    """A named model needs no list."""
    with serving(FakeServer(model_replies=[reply] * 2)) as fake:
        assert generator(fake.url).identity == generator(fake.url).identity
        assert len(answers(fake)) == 1


@pytest.mark.parametrize("name", ["CRAFT_HF_API_KEY", "OPENAI_API_KEY"])
def test_key_is_sent_and_shown_nowhere(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The key reaches the server, and no message, traceback, log, identity, repr or pickle, though it is echoed."""
    monkeypatch.setenv(name, f"{CANARY}\n")
    echo = f"key {'z' * 180}{CANARY} {CANARY}"
    refusal = error(400, f"no top_k with {CANARY}")
    seen: list[str] = []
    caplog.set_level(logging.DEBUG)
    for replies in ([error(401, echo)], [error(500, echo)] * 3, [refusal, HTML, CUT_JSON, error(403, CANARY)]):
        with serving(FakeServer(replies)) as fake:
            g = generator(fake.url, max_retries=2, model=None)
            seen += [repr(g), repr(pickle.dumps(g)), repr(g.identity), repr(vars(g))]
            seen.append(failure(fake, max_retries=2, model=None))
            assert set(fake.keys) == {f"Bearer {CANARY}"}
    with serving(FakeServer(always=error(401, echo))) as one, serving(FakeServer(always=error(500, echo))) as two:
        seen.append(failure(f"{one.url},{two.url}", 3))
        assert one.url in seen[-1] or two.url in seen[-1]
    with serving(FakeServer(models=[CANARY, "other"])) as fake, pytest.raises(InputError) as listed:
        _ = generator(fake.url, model=None).identity
    seen += [str(listed.value), caplog.text]
    assert not [text for text in seen if CANARY in text or CANARY[:12] in text]
    assert any(f"<{name}>" in text for text in seen)


def test_craft_key_goes_before_openai_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """CRAFT_HF_API_KEY is sent when both are set; without any, a word that is no secret."""
    with serving(FakeServer()) as fake:
        answers(fake)
        monkeypatch.setenv("OPENAI_API_KEY", "second")
        monkeypatch.setenv("CRAFT_HF_API_KEY", "first")
        answers(fake)
    assert fake.keys == ["Bearer none", "Bearer first"]


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://router.huggingface.co/v1", "hub"),
        ("https://huggingface.co", "hub"),
        ("https://x.endpoints.huggingface.co:443/v1", "hub"),
        ("http://router.huggingface.co/v1", "other"),
        ("https://huggingface.co.example.com/v1", "other"),
        ("https://nothuggingface.co/v1", "other"),
        ("https://example.com/huggingface.co/v1", "other"),
    ],
)
def test_hub_token_goes_to_the_hub_alone(url: str, sent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """HF_TOKEN goes to hosts under huggingface.co, encrypted; the key of another provider does not go there."""
    monkeypatch.setenv("HF_TOKEN", "hub")
    monkeypatch.setenv("OPENAI_API_KEY", "other")
    assert api_key_for(url) == sent
    monkeypatch.setenv("CRAFT_HF_API_KEY", "own")
    assert api_key_for(url) == "own"


def test_hub_token_is_not_sent_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server on loopback sees no HF_TOKEN."""
    monkeypatch.setenv("HF_TOKEN", CANARY)
    with serving(FakeServer()) as fake:
        answers(fake, model=None)
    assert set(fake.keys) == {"Bearer none"}


def test_redirect_takes_no_key_along(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that redirects to another one does not make the key go there."""
    monkeypatch.setenv("CRAFT_HF_API_KEY", CANARY)
    with serving(FakeServer()) as there:
        away = Reply("", 307, headers={"Location": f"{there.url}/v1/chat/completions"})
        with serving(FakeServer([away])) as fake:
            assert len(answers(fake)) == 1
            assert fake.keys == [f"Bearer {CANARY}"]
        assert there.keys == [""]


def test_key_that_no_header_can_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key with a line break inside is refused by the name of its variable."""
    monkeypatch.setenv("CRAFT_HF_API_KEY", f"{CANARY}\nmore")
    with pytest.raises(InputError, match="CRAFT_HF_API_KEY") as e:
        ServerGenerator("http://host")
    assert CANARY not in str(e.value)


def test_module_imports_without_the_extra() -> None:
    """The base install imports the module; making a generator names the extra to install."""
    code = (
        "import sys; sys.modules['aiohttp'] = None\n"
        "from craft_hf.generation import ServerGenerator\n"
        "from craft_hf.base.extras import MissingExtra\n"
        "try: ServerGenerator('http://host')\n"
        "except MissingExtra as e: print(e)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "craft_hf[server]"' in done.stdout
