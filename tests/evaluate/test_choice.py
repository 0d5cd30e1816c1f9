"""What a model finds likely: log-probabilities against plain passes, letters, option texts, bits per byte, adapters."""

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
from craft_hf.evaluate.choice import letter, option_text
from craft_hf.evaluate.items import Item, read_items
from craft_hf.evaluate.likelihood import Asked, bits_per_byte, continuations, log_probabilities
from craft_hf.evaluate.model import Student
from craft_hf.tasks.task import load_task
from tests.evaluate.test_items import ROW, write
from tests.tiny_model import save_tiny_model

BIOQA = load_task("bioqa")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a random model."""
    return str(save_tiny_model(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def student(tiny: str) -> Student:
    """The random model, loaded."""
    return Student(tiny)


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


def plain(student: Student, ids: list[int], start: int) -> float:
    """The log-probability of the tokens from `start` on, by one pass over all."""
    with torch.no_grad():
        logits = student.model(torch.tensor([ids])).logits[0].log_softmax(-1)
    return sum(float(logits[place - 1, ids[place]]) for place in range(start, len(ids)))


def test_continuations_letters_begin_the_assistants_turn(student: Student, tmp_path: Path) -> None:
    """A letter is the token that stands first in the assistant's turn as training sees it."""
    [item] = read_items(write(tmp_path / "a.jsonl", ROW), BIOQA)
    prefix, tails = continuations(student, item.prompt, ["A", "B", "C"], item.id)
    assert [student.tokenizer.decode(tail) for tail in tails] == ["A", "B", "C"]
    turns = [
        {"role": "user", "content": BIOQA.prompt({**ROW, "options": ["A. the heart", "B. the liver", "C. a lung"]})}
    ]
    turns.append({"role": "assistant", "content": "B"})
    trained = student.tokenizer.apply_chat_template(turns, return_dict=True)["input_ids"]
    assert trained[: len(prefix) + 1] == prefix + tails[1]


def test_continuations_refuse_what_the_model_cannot_read(student: Student) -> None:
    """An item beyond the context is named with its tokens."""
    with pytest.raises(InputError, match=r"long one has \d+ tokens, but .* reads 2048 at most"):
        continuations(student, "word " * 3000, ["A"], "long one")


def test_log_probabilities_equal_one_plain_pass_each(student: Student, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches, their limits, padding and the shared prefix change nothing."""
    torch.manual_seed(1)
    sizes = [(5, (1, 4, 2)), (17, (3, 3, 1)), (9, (1, 1)), (2, (6, 2, 5)), (1, (2, 2)), (12, (1, 1))]

    def draw(n: int) -> list[int]:
        return [int(t) for t in torch.randint(10, 40_000, (n,))]

    asked: list[Asked] = [(draw(n), [draw(m) for m in tails]) for n, tails in sizes]
    expected = [[plain(student, p + t, len(p)) for t in tails] for p, tails in asked]
    for read, said in ((1000, 1000), (20, 1000), (1000, 7)):
        monkeypatch.setattr("craft_hf.evaluate.likelihood.most_tokens", lambda model, most=read: most)
        monkeypatch.setattr("craft_hf.evaluate.likelihood._SAID", {"cpu": said})
        for sums, values in zip(log_probabilities(student, asked, batch_size=3), expected, strict=True):
            assert sums == pytest.approx(values, abs=1e-3)


def test_letter_and_option_text_take_the_likeliest(student: Student, tmp_path: Path) -> None:
    """Letters are compared as they are, texts after division by their bytes, the options not shown."""
    items = questions(tmp_path)
    accuracy, bits = letter(student, items, progress=False)
    by_text, text_bits = option_text(student, items, progress=False)
    for n, item in enumerate(items):
        head = student.tokens(student.head(item.prompt))
        letters = [plain(student, head + student.tokens(a), len(head)) for a in "ABCD"[: len(item.options)]]
        assert accuracy.values[n] == float(letters.index(max(letters)) == item.answer)
        assert bits.values[n] == pytest.approx(-letters[item.answer] / math.log(2), abs=1e-3)
        head = student.tokens(student.head(item.question))
        texts = [plain(student, head + student.tokens(o), len(head)) / len(o.encode()) for o in item.options]
        assert by_text.values[n] == float(texts.index(max(texts)) == item.answer)
        assert text_bits.values[n] == pytest.approx(-texts[item.answer] / math.log(2), abs=1e-3)
    assert accuracy.chance == by_text.chance == pytest.approx((1 / 2 + 1 / 3 + 1 / 4) / 3)
    assert bits.chance == pytest.approx((1 + math.log2(3) + 2) / 3)
    assert accuracy.ids == tuple(item.id for item in items)
    assert [s.measure for s in (accuracy, bits, by_text, text_bits)] == [
        "letter", "letter_bits", "option_text", "option_bits_per_byte"
    ]  # fmt: skip


def test_bits_per_byte_are_all_bits_over_all_bytes(student: Student) -> None:
    """Also where a character has several bytes; less is better."""
    items = [Item("a", "Say it.", "Wasser, Öl"), Item("b", "Say more of it.", "水と油 and so on")]
    [found] = bits_per_byte(student, items, progress=False)
    bits = []
    for item in items:
        head = student.tokens(student.head(item.prompt))
        bits.append(-plain(student, head + student.tokens(item.reference), len(head)) / math.log(2))
    assert found.weights == (11.0, 19.0)
    assert found.value == pytest.approx(sum(bits) / 30, abs=1e-4)
    assert found.higher_is_better is False


def test_values_do_not_depend_on_the_batch(student: Student, tmp_path: Path) -> None:
    """One at a time gives what batches give."""
    items = questions(tmp_path)
    for measure in (letter, option_text, bits_per_byte):
        for one, many in zip(
            measure(student, items, batch_size=1, progress=False), measure(student, items, progress=False), strict=True
        ):
            assert one.values == pytest.approx(many.values, abs=1e-4)


def test_adapters_go_on_and_come_off(tiny: str, adapters: list[str], tmp_path: Path) -> None:
    """A model measures like one loaded anew, whatever was on it before; taken off, nothing is left."""
    items = questions(tmp_path)

    def bits(of: Student) -> tuple[float, ...]:
        return bits_per_byte(of, items, progress=False)[0].values

    student = Student(tiny)
    bare = bits(student)
    for adapter in (*adapters, adapters[0]):
        student.use(adapter)
        assert student.name == adapter
        assert bits(student) == pytest.approx(bits(Student(tiny, adapter)), abs=1e-5)
        assert bits(student) != pytest.approx(bare, abs=0.1)
    assert student.identity != Student(tiny, adapters[1]).identity
    student.use(None)
    assert bits(student) == pytest.approx(bare, abs=1e-5)
    assert student.identity == Student(tiny).identity


def test_student_refuses_what_is_no_model_or_adapter(tiny: str, adapters: list[str], tmp_path: Path) -> None:
    """Each is an error that names what was given."""
    with pytest.raises(InputError, match="no/such-model"):
        Student("no/such-model")
    with pytest.raises(InputError, match=r"has no adapter_config\.json"):
        Student(tiny, tmp_path)
    with pytest.raises(InputError, match=f"the adapter no/such cannot be put on {tiny}"):
        Student(tiny, "no/such")
    shutil.copytree(adapters[0], tmp_path / "other")
    config = tmp_path / "other" / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "r": 3}))
    with pytest.raises(InputError, match="other cannot be put on"):
        Student(tiny, tmp_path / "other")
