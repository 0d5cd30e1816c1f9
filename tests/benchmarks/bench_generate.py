"""What constrained decoding costs, and what shared prefixes save, on the embedded default model.

    .venv/bin/python tests/benchmarks/bench_generate.py

Prints ratios for this machine: the time of the JSON mask as a share of a decode step, and the time of transformers'
own `generate` (left-padded batches, no shared prefix) over that of LocalGenerator for the same prompts and the same
number of new tokens, both in one process.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable

import torch

from craft_hf.corpora import sample_corpus
from craft_hf.corpus import Corpus
from craft_hf.generate import Sampling
from craft_hf.generate.grammar import GrammarRows
from craft_hf.generate.local import LocalGenerator
from craft_hf.prompt import Prompter
from craft_hf.tasks import load_task

PROMPTS = 32
NEW_TOKENS = 48


def timed(spent: list[float], function: Callable[..., object]) -> Callable[..., object]:
    """Wrap a function so that its seconds are added to spent[0]."""

    def wrapper(*args: object, **kwargs: object) -> object:
        started = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            spent[0] += time.perf_counter() - started

    return wrapper


def main() -> None:
    """Run both measurements and print them."""
    task = load_task("bioqa")
    prompter = Prompter(task)
    documents = [d for d in Corpus(sample_corpus()) if "biology" in d.source][:PROMPTS]
    prompts = [prompter.prompt(d) for d in documents]
    generator = LocalGenerator()
    model, tokenizer = generator._loaded
    sampling = Sampling(max_new_tokens=NEW_TOKENS)
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, {generator.identity}")

    mask, decode = [0.0], [0.0]
    GrammarRows.mask = timed(mask, GrammarRows.mask)  # type: ignore[method-assign, assignment]
    GrammarRows.accept = timed(mask, GrammarRows.accept)  # type: ignore[method-assign, assignment]
    forward = model.forward
    measured = timed(decode, forward)
    model.forward = lambda **k: (measured if k["input_ids"].shape[1] == 1 else forward)(**k)
    list(generator.generate(prompts[:8], task.schema, sampling))
    print(f"masking and grammar: {100 * mask[0] / decode[0]:.1f}% of the model's time in decode steps (batch of 8)")
    model.forward = forward

    started = time.perf_counter()
    answers = list(LocalGenerator.generate(generator, prompts, task.schema, sampling))
    ours = time.perf_counter() - started
    tokens = sum(a.completion_tokens for _, a in answers)

    tokenizer.padding_side = "left"
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    started = time.perf_counter()
    plain = 0
    for start in range(0, len(prompts), 8):
        texts = [
            tokenizer.apply_chat_template([dict(m) for m in p.messages], add_generation_prompt=True, tokenize=False)
            for p in prompts[start : start + 8]
        ]
        batch = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        with torch.inference_mode():
            out = model.generate(
                **batch, max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS, do_sample=True, temperature=0.7,
                top_p=0.9, top_k=40, pad_token_id=tokenizer.pad_token_id,
            )  # fmt: skip
        plain += out[:, batch["input_ids"].shape[1] :].numel()
    theirs = time.perf_counter() - started
    print(f"LocalGenerator: {len(prompts)} prompts, {tokens} new tokens in {ours:.1f} s")
    print(f"transformers generate, batches of 8: {plain} new tokens in {theirs:.1f} s; ratio {theirs / ours:.2f}")


if __name__ == "__main__":
    main()
