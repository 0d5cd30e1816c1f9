"""How fast prompts are answered, against what others use: all in one process, on one machine.

    make bench-generate [DATA=FOLDER]
    .venv/bin/python tests/benchmarks/bench_generate.py [--data FOLDER] [--prompts 48] [--new-tokens 32]

Prompts as CRAFT makes them, of real text: three few-shots that all prompts share, about 3,000 tokens, and a document of
about 400 tokens. Everybody decodes greedily under the same grammar (xgrammar), by the same weights in bfloat16:
LocalGenerator; transformers' `generate` in left-padded batches; the same one prompt at a time; with --peer also
distilabel's TransformersLLM, if it is installed (without a grammar, it is spared that time).

`same_outputs` is the share of prompts for which LocalGenerator's text is that of `generate`, both computed in float32,
where roundings hardly ever tip the balance between two tokens; in bfloat16 they often do.

With --shape, a model of 1 or 7 billion parameters in Llama's shape with random weights instead of the embedded one, for
a GPU; then transformers' continuous batching (`generate_batch`) takes part, and the GPU's utilisation is printed.

The journal: opening 25,000 answers.

The last line is JSON: ratio of prompts per second to `generate` (1 means equally fast), share of the grammar in the
time of a decode step, share of same outputs.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import os
import platform
import statistics
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from xgrammar.contrib.hf import LogitsProcessor

from craft_hf.base.models import generator_weights
from craft_hf.base.records import Answer, Prompt
from craft_hf.corpus.corpus import Corpus
from craft_hf.corpus.sample import sample_corpus
from craft_hf.generation.generator import Sampling
from craft_hf.generation.journal import Journal
from craft_hf.generation.local.constrained_decoding import GrammarState, JsonConstraint
from craft_hf.generation.local.generator import BATCH_SIZE, LocalGenerator
from craft_hf.tasks.sample import sample_json
from craft_hf.tasks.task import load_task

SHARED, OWN = 3000, 400
BATCH = BATCH_SIZE["cuda"] if torch.cuda.is_available() else 12
"""Prompts that `generate` gets at a time."""
SHAPES = {
    "tiny": (64, 176, 2, 4, 2),
    "1b": (2048, 8192, 16, 32, 8),
    "7b": (4096, 14336, 32, 32, 8),
}
"""Hidden size, intermediate size, layers, heads, key heads; "1b" and "7b" as Llama 3.2 1B and Mistral 7B have them."""

TASK = load_task("bioqa")


def texts(data: Path | None) -> Iterator[str]:
    """Yield real documents: of a folder of corpus_*.jsonl.gz, or of the sample corpus."""
    if data is None:
        yield from (document.text for document in Corpus(sample_corpus()))
        return
    for path in sorted(data.glob("corpus_*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            yield from (json.loads(line)["text"] for line in file)


def make_prompts(tokenizer: Any, data: Path | None, count: int) -> list[Prompt]:
    """Cut the corpus into texts of one size: three for the few-shots, one for each prompt."""

    def cut(size: int) -> Iterator[str]:
        ids: list[int] = []
        for text in itertools.chain.from_iterable(texts(data) for _ in itertools.count()):
            ids += tokenizer(text + "\n\n", add_special_tokens=False)["input_ids"]
            if len(ids) >= size:
                yield tokenizer.decode(ids[:size])
                ids = []

    turns: list[dict[str, str]] = []
    for shot, text in zip(TASK.few_shots[:3], cut(SHARED // 3 - 120), strict=False):
        turns.append({"role": "user", "content": f"{TASK.instructions[0]}\n\nText:\n{text}"})
        turns.append({"role": "assistant", "content": sample_json(shot.sample)})
    return [
        Prompt(
            f"{n:016x}", str(n), (*turns, {"role": "user", "content": f"{TASK.instructions[0]}\n\nText:\n{text}"}), ()
        )
        for n, text in zip(range(count), cut(OWN - 60), strict=False)
    ]


def random_model(shape: str, folder: str) -> str:
    """Write a model with random weights and the embedded default's tokenizer into a folder; return the folder."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    hidden, intermediate, layers, heads, key_heads = SHAPES[shape]
    tokenizer = AutoTokenizer.from_pretrained(generator_weights().location)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=hidden, intermediate_size=intermediate, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=key_heads, max_position_embeddings=8192,
    )  # fmt: skip
    torch.manual_seed(0)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def plain(generator: LocalGenerator, prompts: Sequence[Prompt], new_tokens: int, batch: int) -> dict[str, str]:
    """Answer with transformers' own `generate`, left-padded, under the same grammar."""
    model, tokenizer = generator._loaded
    tokenizer.padding_side, tokenizer.pad_token = "left", tokenizer.pad_token or tokenizer.eos_token
    grammar = JsonConstraint(tokenizer, model.get_output_embeddings().weight.shape[0], TASK.schema)
    answers = {}
    for start in range(0, len(prompts), batch):
        some = prompts[start : start + batch]
        rendered = [
            tokenizer.apply_chat_template([dict(m) for m in p.messages], add_generation_prompt=True, tokenize=False)
            for p in some
        ]
        inputs = tokenizer(rendered, return_tensors="pt", padding=True, add_special_tokens=False).to(model.device)
        with torch.inference_mode():
            out = model.generate(
                **inputs, max_new_tokens=new_tokens, do_sample=False, pad_token_id=tokenizer.pad_token_id,
                logits_processor=[LogitsProcessor(grammar._compiled)],
            )  # fmt: skip
        for p, ids in zip(some, out[:, inputs["input_ids"].shape[1] :], strict=True):
            answers[p.key] = tokenizer.decode(ids, skip_special_tokens=True)
    return answers


def continuous(generator: LocalGenerator, prompts: Sequence[Prompt], new_tokens: int) -> int:
    """Answer with transformers' continuous batching; it knows no grammar. Returns the number of answers."""
    from transformers import GenerationConfig

    model, tokenizer = generator._loaded
    inputs = [list(generator._render([dict(m) for m in p.messages], answer=True)) for p in prompts]
    config = GenerationConfig(max_new_tokens=new_tokens, do_sample=False, eos_token_id=tokenizer.eos_token_id)
    return len(model.generate_batch(inputs=inputs, generation_config=config))


def distilabel(folder: str, prompts: Sequence[Prompt], new_tokens: int) -> int:
    """Answer with distilabel's transformers back end. Returns the number of answers."""
    from distilabel.models import TransformersLLM

    llm = TransformersLLM(model=folder, torch_dtype="bfloat16")
    llm.load()
    done = 0
    for start in range(0, len(prompts), BATCH):
        inputs = [[dict(m) for m in p.messages] for p in prompts[start : start + BATCH]]
        done += len(llm.generate(inputs=inputs, max_new_tokens=new_tokens, do_sample=False))
    return done


def ours(generator: LocalGenerator, prompts: Sequence[Prompt], new_tokens: int) -> dict[str, Answer]:
    """Answer with LocalGenerator."""
    sampling = Sampling(temperature=0, max_new_tokens=new_tokens)
    return {p.key: answer for p, answer in generator.generate(prompts, TASK.schema, sampling)}


def seconds(function: Callable[[], Any]) -> tuple[float, Any]:
    """Return how long a call took, and what it gave."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def mask_share(generator: LocalGenerator, prompts: Sequence[Prompt], new_tokens: int) -> float:
    """Return the share of the grammar in the time of decode steps."""
    spent = {"mask": 0.0, "model": 0.0}

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if name == "model" and kwargs["input_ids"].shape[1] > 1:
                return function(*args, **kwargs)
            took, result = seconds(lambda: function(*args, **kwargs))
            spent[name] += took
            return result

        return wrapper

    model, _ = generator._loaded
    before = GrammarState.mask, GrammarState.accept, model.forward
    GrammarState.mask, GrammarState.accept = timed("mask", before[0]), timed("mask", before[1])  # type: ignore[method-assign]
    model.forward = timed("model", before[2])
    ours(generator, prompts, new_tokens)
    GrammarState.mask, GrammarState.accept, model.forward = before  # type: ignore[method-assign]
    return spent["mask"] / (spent["mask"] + spent["model"])


class Utilisation:
    """Samples how busy the GPU is; `percent` is the mean, None without a GPU."""

    percent: float | None = None

    def __enter__(self) -> Utilisation:
        self._seen: list[int] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while torch.cuda.is_available() and not self._stop.wait(0.1):
            self._seen.append(torch.cuda.utilization())

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        self.percent = statistics.mean(self._seen) if self._seen else None


def speed(generator: LocalGenerator, prompts: Sequence[Prompt], options: argparse.Namespace) -> float:
    """Print a table of prompts a second; return the ratio to `generate`."""
    new, few = options.new_tokens, prompts[: max(1, len(prompts) // 4)]
    ways: dict[str, tuple[Sequence[Prompt], Callable[[Sequence[Prompt]], Any]]] = {
        "LocalGenerator": (prompts, lambda some: ours(generator, some, new)),
        f"generate, batches of {BATCH}": (prompts, lambda some: plain(generator, some, new, BATCH)),
        "generate, one at a time": (few, lambda some: plain(generator, some, new, 1)),
    }
    if torch.cuda.is_available():
        ways["continuous batching"] = (prompts, lambda some: continuous(generator, some, new))
    if options.peer:
        ways["distilabel"] = (few, lambda some: distilabel(generator_weights(generator._name).location, some, new))
    rates: dict[str, float] = {}
    print(f"\n{'':28}prompts/s  times slower  GPU busy")
    for name, (some, function) in ways.items():
        model, _ = generator._loaded
        if name != "LocalGenerator":
            model.set_attn_implementation("sdpa")
        with Utilisation() as busy:
            took, _ = seconds(lambda function=function, some=some: function(some))
        rates[name] = len(some) / took
        shown = "" if busy.percent is None else f"{busy.percent:.0f}%"
        print(f"{name:28}{rates[name]:>9.3f}  {rates['LocalGenerator'] / rates[name]:>12.2f}  {shown:>8}", flush=True)
    return rates["LocalGenerator"] / rates[f"generate, batches of {BATCH}"]


def same_outputs(prompts: Sequence[Prompt], new_tokens: int, name: str) -> float:
    """Return the share of prompts with the same text from LocalGenerator and `generate`, in float32."""
    generator = LocalGenerator(name)
    generator._loaded[0].float()
    mine = ours(generator, prompts, new_tokens)
    generator._loaded[0].set_attn_implementation("sdpa")
    theirs = plain(generator, prompts, new_tokens, BATCH)
    return statistics.mean(mine[p.key].text == theirs[p.key] for p in prompts)


def journal() -> None:
    """Print how long 25,000 answers of 2,000 characters take to open, and the memory they hold."""
    with tempfile.TemporaryDirectory() as folder:
        with Journal(Path(folder)) as written:
            for number in range(25_000):
                written.put(f"{number:016x}", Answer("x" * 2000, "stop", 3000, 200))
        took, _ = seconds(lambda: Journal(Path(folder)))
        tracemalloc.start()
        opened = Journal(Path(folder))
        held, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        megabytes = f"{held / 1e6:.0f} MB held, {peak / 1e6:.0f} at the peak"
        print(f"\njournal: {len(opened):,} answers opened in {took:.2f} s; {megabytes}")


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of corpora (default: the sample corpus)")
    parser.add_argument("--prompts", type=int, default=48)
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--shape", choices=SHAPES, help="random weights in this shape in place of the embedded model")
    parser.add_argument("--peer", action="store_true", help="with distilabel")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="random-model-") as folder:
        compare(random_model(options.shape, folder) if options.shape else "embedded", options)


def compare(name: str, options: argparse.Namespace) -> None:
    """Measure a model in all ways and print what was found."""
    generator = LocalGenerator(name)
    tokenizer = generator._loaded[1]
    prompts = make_prompts(tokenizer, options.data, options.prompts)
    sizes = [len(generator._encode(p)) for p in prompts]
    shared = sum(map(len, generator._encode(prompts[0]).path))
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{_processor()}, {os.cpu_count()} cores"
    print(
        f"{where}; torch {torch.__version__}, Python {platform.python_version()}; {options.shape or 'embedded'} model\n"
        f"{len(prompts)} prompts of {statistics.mean(sizes):.0f} tokens, {shared} of them shared; "
        f"{options.new_tokens} new ones"
    )
    share = mask_share(generator, prompts[:16], options.new_tokens)
    print(f"grammar: {100 * share:.1f}% of a decode step")
    ratio = speed(generator, prompts, options)
    same = same_outputs(prompts[:BATCH], options.new_tokens, name)
    print(f"\nsame outputs as generate, float32: {same:.3f}")
    journal()
    print(
        json.dumps(
            {"vs_plain_generate": round(ratio, 3), "mask_share": round(share, 4), "same_outputs": round(same, 3)}
        )
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.machine())


if __name__ == "__main__":
    main()
