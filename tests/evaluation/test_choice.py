"""Log-probabilities against one forward pass each, letters, option texts, bits per byte, and adapters."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from craft_hf.base.errors import InputError
from craft_hf.evaluation.choice import score_letters, score_option_texts
from craft_hf.evaluation.items import Item, read_items
from craft_hf.evaluation.likelihood import LikelihoodRequest, likelihood_request, log_probabilities, score_bits_per_byte
from craft_hf.evaluation.model import EvaluatedModel
from craft_hf.tasks.task import load_task
from tests.evaluation.test_items import ROW, write
from tests.tiny_model import save_tiny_model

pytestmark = [pytest.mark.weights, pytest.mark.slow]

BIOQA = load_task("bioqa")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a random model."""
    return str(save_tiny_model(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def model(tiny: str) -> EvaluatedModel:
    """The random model, loaded."""
    return EvaluatedModel(tiny)


@pytest.fixture(scope="module")
def adapters(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Folders of two random adapters for it, of different sizes."""
    folders = []
    for rank in (2, 4):
        torch.manual_seed(rank)
        model = AutoModelForCausalLM.from_pretrained(tiny)
        adapted = get_peft_model(model, LoraConfig(r=rank, target_modules="all-linear", init_lora_weights=False))
        folders.append(str(tmp_path_factory.mktemp("adapter")))
        adapted.save_pretrained(folders[-1])
    return folders


def questions(folder: Path, count: int = 12) -> list[Item]:
    """Questions with two to four options."""
    options = ["the heart", "the liver", "a lung", "the left kidney of a frog"]
    rows = [
        {"question": f"Which organ is number {i}?", "options": options[: 2 + i % 3], "answer_index": i % 2}
        for i in range(count)
    ]
    return read_items(write(folder / "questions.jsonl", *rows), BIOQA)


def plain(model: EvaluatedModel, ids: list[int], start: int) -> float:
    """Return the log-probability of the tokens from `start` on, by one forward pass over all."""
    with torch.no_grad():
        logits = model.model(torch.tensor([ids])).logits[0].log_softmax(-1)
    return sum(float(logits[place - 1, ids[place]]) for place in range(start, len(ids)))


def test_likelihood_request_has_letters_that_begin_the_assistants_turn(model: EvaluatedModel, tmp_path: Path) -> None:
    """A letter is the first token of the assistant's turn, exactly as in training."""
    [item] = read_items(write(tmp_path / "a.jsonl", ROW), BIOQA)
    prefix, tails = likelihood_request(model, item.prompt, ["A", "B", "C"], item.id)
    assert [model.tokenizer.decode(tail) for tail in tails] == ["A", "B", "C"]
    turns = [
        {"role": "user", "content": BIOQA.prompt({**ROW, "options": ["A. the heart", "B. the liver", "C. a lung"]})}
    ]
    turns.append({"role": "assistant", "content": "B"})
    trained = model.tokenizer.apply_chat_template(turns, return_dict=True)["input_ids"]
    assert trained[: len(prefix) + 1] == prefix + tails[1]


def test_likelihood_request_refuses_an_item_beyond_the_context(model: EvaluatedModel) -> None:
    """The error names the item and its number of tokens."""
    with pytest.raises(InputError, match=r"long one has \d+ tokens, which exceeds the context of 2048 tokens of "):
        likelihood_request(model, "word " * 3000, ["A"], "long one")


def test_log_probabilities_equal_those_of_single_forward_passes(
    model: EvaluatedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batching, its limits, padding and the shared prefix do not affect the values."""
    torch.manual_seed(1)
    sizes = [(5, (1, 4, 2)), (17, (3, 3, 1)), (9, (1, 1)), (2, (6, 2, 5)), (1, (2, 2)), (12, (1, 1))]

    def random_tokens(n: int) -> list[int]:
        return [int(t) for t in torch.randint(10, 40_000, (n,))]

    requests: list[LikelihoodRequest] = [(random_tokens(n), [random_tokens(m) for m in tails]) for n, tails in sizes]
    expected = [[plain(model, p + t, len(p)) for t in tails] for p, tails in requests]
    for most, most_continued in ((1000, 1000), (20, 1000), (1000, 7)):
        monkeypatch.setattr("craft_hf.evaluation.likelihood.max_batch_tokens", lambda model, most=most: most)
        monkeypatch.setattr("craft_hf.evaluation.likelihood._MAX_CONTINUATION_TOKENS", {"cpu": most_continued})
        for sums, values in zip(log_probabilities(model, requests, batch_size=3), expected, strict=True):
            assert sums == pytest.approx(values, abs=1e-3)


def test_letter_and_option_text_take_the_likeliest(model: EvaluatedModel, tmp_path: Path) -> None:
    """Letters are compared by log-probability; option texts by log-probability per byte, with the options not shown."""
    items = questions(tmp_path)
    accuracy, bits = score_letters(model, items)
    by_text, text_bits = score_option_texts(model, items)
    for n, item in enumerate(items):
        head = model.tokenize(model.render_chat(item.prompt))
        letters = [plain(model, head + model.tokenize(a), len(head)) for a in "ABCD"[: len(item.options)]]
        assert accuracy.values[n] == float(letters.index(max(letters)) == item.answer)
        assert bits.values[n] == pytest.approx(-letters[item.answer] / math.log(2), abs=1e-3)
        head = model.tokenize(model.render_chat(item.question))
        texts = [plain(model, head + model.tokenize(o), len(head)) / len(o.encode()) for o in item.options]
        assert by_text.values[n] == float(texts.index(max(texts)) == item.answer)
        assert text_bits.values[n] == pytest.approx(-texts[item.answer] / math.log(2), abs=1e-3)
    assert accuracy.chance == by_text.chance == pytest.approx((1 / 2 + 1 / 3 + 1 / 4) / 3)
    assert bits.chance == pytest.approx((1 + math.log2(3) + 2) / 3)
    assert accuracy.ids == tuple(item.id for item in items)
    assert [s.measure for s in (accuracy, bits, by_text, text_bits)] == [
        "letter", "letter_bits", "option_text", "option_bits_per_byte"
    ]  # fmt: skip


def test_bits_per_byte_are_all_bits_over_all_bytes(model: EvaluatedModel) -> None:
    """The mean is a ratio of sums, also with characters of several bytes; lower is better."""
    items = [Item("a", "Say it.", "Wasser, Öl"), Item("b", "Say more of it.", "水と油 and so on")]
    [found] = score_bits_per_byte(model, items)
    bits = []
    for item in items:
        head = model.tokenize(model.render_chat(item.prompt))
        bits.append(-plain(model, head + model.tokenize(item.reference), len(head)) / math.log(2))
    assert found.weights == (11.0, 19.0)
    assert found.value == pytest.approx(sum(bits) / 30, abs=1e-4)
    assert found.higher_is_better is False


def test_values_do_not_depend_on_the_batch(model: EvaluatedModel, tmp_path: Path) -> None:
    """Batches of one give the same values as larger batches."""
    items = questions(tmp_path)
    for score in (score_letters, score_option_texts, score_bits_per_byte):
        for one, many in zip(score(model, items, batch_size=1), score(model, items), strict=True):
            assert one.values == pytest.approx(many.values, abs=1e-4)


def test_adapters_can_be_replaced_and_removed(tiny: str, adapters: list[str], tmp_path: Path) -> None:
    """Scores with an adapter equal those of a fresh model with it; after removal those of the base model come back."""
    items = questions(tmp_path)

    def bits(of: EvaluatedModel) -> tuple[float, ...]:
        return score_bits_per_byte(of, items)[0].values

    model = EvaluatedModel(tiny)
    bare = bits(model)
    for adapter in (*adapters, adapters[0]):
        model.set_adapter(adapter)
        assert model.name == adapter
        assert bits(model) == pytest.approx(bits(EvaluatedModel(tiny, adapter)), abs=1e-5)
        assert bits(model) != pytest.approx(bare, abs=0.1)
    assert model.identity != EvaluatedModel(tiny, adapters[1]).identity
    model.set_adapter(None)
    assert bits(model) == pytest.approx(bare, abs=1e-5)
    assert model.identity == EvaluatedModel(tiny).identity


def test_evaluated_model_refuses_what_is_no_model_or_adapter(tiny: str, adapters: list[str], tmp_path: Path) -> None:
    """Each error names what was given."""
    with pytest.raises(InputError, match="no/such-model"):
        EvaluatedModel("no/such-model")
    with pytest.raises(InputError, match=r"has no adapter_config\.json"):
        EvaluatedModel(tiny, tmp_path)
    with pytest.raises(InputError, match=f"the adapter no/such cannot be loaded into {tiny}"):
        EvaluatedModel(tiny, "no/such")
    shutil.copytree(adapters[0], tmp_path / "other")
    config = tmp_path / "other" / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "r": 3}))
    with pytest.raises(InputError, match="other cannot be loaded into"):
        EvaluatedModel(tiny, tmp_path / "other")
