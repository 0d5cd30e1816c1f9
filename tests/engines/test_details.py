"""What real engines say beside an answer, and how they die."""

from __future__ import annotations

import pytest

from craft_hf.base.errors import GeneratorError
from craft_hf.base.models import generator_weights
from craft_hf.base.records import CUT, Answer, Prompt
from craft_hf.generation.generator import Sampling
from craft_hf.generation.server.generator import ServerGenerator
from tests.engines.engine import Engine
from tests.server_client import SCHEMA

pytestmark = pytest.mark.engine

LIMIT = 24


def ask(engine: Engine, *contents: str) -> list[Answer]:
    """The answers to some messages, asked one after the other."""
    prompts = [
        Prompt(f"key{number}", f"d{number}", ({"role": "user", "content": content},), ())
        for number, content in enumerate(contents)
    ]
    generator = ServerGenerator(engine.url, concurrency=1, timeout_s=600)
    return [answer for _, answer in generator.generate(prompts, SCHEMA, Sampling(max_new_tokens=LIMIT))]


def test_tokens_are_counted_and_those_in_the_cache_told(engine: Engine) -> None:
    """Tokens of a prompt are those of the model's own template; what a second prompt begins with is in the cache."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(generator_weights().location)
    beginning = "Ask a question about the sea. " * 60
    contents = [beginning + "Of fish.", beginning + "Of ships."]
    first, second = ask(engine, *contents)
    for content, answer in zip(contents, (first, second), strict=True):
        template = tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, return_dict=True
        )
        assert answer.prompt_tokens == len(template["input_ids"])
        assert not answer.prompt_is_cut
        assert not answer.left_out
        assert 0 < answer.completion_tokens <= LIMIT
        assert answer.finish_reason == "stop" or (answer.finish_reason, answer.completion_tokens) == (CUT, LIMIT)
        assert len(tokenizer(answer.text)["input_ids"]) <= answer.completion_tokens
        assert not answer.reasoning, "the model marks none"
    assert len(tokenizer(beginning)["input_ids"]) / 2 < second.cached_tokens < second.prompt_tokens


@pytest.mark.parametrize("engine", ["vllm-chunked"], indirect=True)
def test_vllm_that_dies_of_a_seed_is_told_with_what_to_do(engine: Engine) -> None:
    """On a CPU the seed of a prompt that is read in chunks kills it; the error says so, as docs/servers.md does."""
    with pytest.raises(GeneratorError) as e:
        ask(engine, "Ask a question about the sea. " * 1000)
    assert "set_offset" in engine.log.read_text(encoding="utf-8"), "it dies of something else"
    for part in ("no connection", "it ended while it was asked", "HTTP status 500", "--no-enable-chunked-prefill"):
        assert part in str(e.value)
