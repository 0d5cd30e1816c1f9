"""Scores on multiple-choice files: the files, the log-probabilities, the interval."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from craft_hf.errors import InputError
from craft_hf.evaluate import Score, candidates, evaluate, log_probabilities, wilson
from craft_hf.questions import Question, read_questions
from tests.tiny_model import save_tiny_model

ROW = {"question": "Which organ pumps blood?", "options": ["the heart", "the liver", "a lung"], "answer_index": 0}
LONG = {"question": "Which of these is a planet " * 5 + "?", "options": ["Mars", "the Moon"], "answer": "A"}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a random model."""
    return str(save_tiny_model(tmp_path_factory.mktemp("tiny")))


def write(path: Path, *rows: object) -> Path:
    """Write a JSONL file, gzipped if the name says so."""
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_read_questions_takes_both_ways_to_say_the_answer(tmp_path: Path, name: str) -> None:
    """An index and a letter give the same question, with the options' own letters taken off."""
    lettered = {**ROW, "options": ["A. the heart", "B. the liver", "C. a lung"], "answer": "A", "id": 7}
    del lettered["answer_index"]
    assert read_questions(write(tmp_path / name, ROW, "", lettered)) == [
        Question("Which organ pumps blood?", ("the heart", "the liver", "a lung"), 0)
    ] * 2  # fmt: skip


def test_read_questions_leaves_options_that_only_look_lettered(tmp_path: Path) -> None:
    """Letters are taken off only where every option has its own."""
    row = {**ROW, "options": ["A. thaliana", "E. coli", "C. elegans"]}
    assert read_questions(write(tmp_path / "a.jsonl", row))[0].options == ("A. thaliana", "E. coli", "C. elegans")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", r"line 2: not valid JSON"),
        ("[]", r"line 2: has list; expected question, options"),
        (
            {"question": "a", "options": ["b", "c"]},
            r"line 2: has question, options; expected .* answer_index or answer",
        ),
        ({**ROW, "question": " "}, r"line 2, field question: is ' '"),
        ({**ROW, "options": "abc"}, r"line 2, field options: is 'abc'"),
        ({**ROW, "options": ["one"]}, r"line 2, field options: has 1, expected 2 to 26"),
        ({**ROW, "options": ["one", ""]}, r"line 2, field options"),
        ({**ROW, "answer_index": 3}, r"line 2, field answer_index: is 3, expected 0 to 2"),
        ({**ROW, "answer_index": -1}, r"line 2, field answer_index: is -1"),
        ({**ROW, "answer_index": True}, r"line 2, field answer_index: is True"),
        ({**LONG, "answer": "C"}, r"line 2, field answer: is 'C', expected A to B"),
        ({**LONG, "answer": ["A"]}, r"line 2, field answer: is \['A'\]"),
    ],
)
def test_read_questions_names_the_broken_line(tmp_path: Path, row: object, message: str) -> None:
    """A broken line is named with the field and what it holds."""
    with pytest.raises(InputError, match=message):
        read_questions(write(tmp_path / "a.jsonl", ROW, row))


def test_read_questions_missing_empty_or_broken_file(tmp_path: Path) -> None:
    """Each says what is wrong with the file."""
    with pytest.raises(InputError, match=r"there is no file .*none\.jsonl"):
        read_questions(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="holds no question"):
        read_questions(write(tmp_path / "empty.jsonl", ""))
    (tmp_path / "plain.jsonl.gz").write_text(json.dumps(ROW))
    with pytest.raises(InputError, match="cannot be read as gzipped"):
        read_questions(tmp_path / "plain.jsonl.gz")
    cut = write(tmp_path / "cut.jsonl.gz", *[ROW] * 500)
    cut.write_bytes(cut.read_bytes()[:-20])
    with pytest.raises(InputError, match="cannot be read as gzipped"):
        read_questions(cut)


def test_wilson_matches_published_values() -> None:
    """Newcombe (Statistics in Medicine 17, 1998, table I, method 3) gives these four intervals."""
    published = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    for (correct, n), interval in published.items():
        assert wilson(correct, n) == pytest.approx(interval, abs=5e-5)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_proportion(case: tuple[int, int]) -> None:
    """The interval lies in [0, 1], holds the proportion, and mirrors that of the wrong answers."""
    correct, n = case
    low, high = wilson(correct, n)
    assert 0 <= low <= correct / n <= high <= 1
    assert wilson(n - correct, n) == pytest.approx((1 - high, 1 - low))


def test_wilson_refuses_what_is_no_proportion() -> None:
    """More right answers than questions, or no question, is an error."""
    for correct, n in ((0, 0), (2, 1), (-1, 1)):
        with pytest.raises(ValueError, match="is no proportion"):
            wilson(correct, n)


def test_candidates_letters_are_one_token_of_the_chat_template(tiny: str) -> None:
    """A letter is the token that stands first in the assistant's turn as training sees it."""
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    question = Question("Which organ pumps blood?", ("the heart", "the liver", "a lung"), 0)
    prefix, tails = candidates(question, "letter", tokenizer)
    assert [tokenizer.decode(tail) for tail in tails] == ["A", "B", "C"]
    user = {"role": "user", "content": "Which organ pumps blood?\nA. the heart\nB. the liver\nC. a lung"}
    trained = tokenizer.apply_chat_template([user, {"role": "assistant", "content": "B"}], return_dict=True)[
        "input_ids"
    ]
    assert trained[: len(prefix) + 1] == prefix + tails[1]


def test_candidates_option_texts_do_not_show_the_options(tiny: str) -> None:
    """For the option's text the question stands alone, and each option is whole."""
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    prefix, tails = candidates(Question("Which organ?", ("the heart", "a lung"), 0), "option_text", tokenizer)
    assert "the heart" not in tokenizer.decode(prefix)
    assert [tokenizer.decode(tail) for tail in tails] == ["the heart", "a lung"]


def test_log_probabilities_equal_one_plain_pass_each(tiny: str) -> None:
    """Batches, padding and the shared prefix change nothing: each sum is that of a plain pass over the text."""
    model = AutoModelForCausalLM.from_pretrained(tiny).eval()
    torch.manual_seed(1)
    sizes = [(5, (1, 4, 2)), (17, (3, 3, 1)), (9, (1, 1)), (2, (6, 2, 5)), (1, (2, 2))]

    def draw(n: int) -> list[int]:
        return [int(t) for t in torch.randint(10, 40_000, (n,))]

    asked = [(draw(n), [draw(m) for m in tails]) for n, tails in sizes]
    for (prefix, tails), sums in zip(asked, log_probabilities(model, asked, batch_size=2), strict=True):
        for tail, value in zip(tails, sums, strict=True):
            with torch.no_grad():
                logits = model(torch.tensor([prefix + tail])).logits[0].log_softmax(-1)
            plain = sum(float(logits[len(prefix) + i - 1, token]) for i, token in enumerate(tail))
            assert value == pytest.approx(plain, abs=1e-3)


def test_evaluate_prefers_the_option_that_the_model_finds_likeliest(
    tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Letters are compared as they are, texts after division by their bytes; a tie goes to the first."""
    values = {"letter": [-1.0, -3.0, -2.0], "option_text": [-9.0, -9.1, -6.0]}  # per byte: -1, -1.01, -1
    monkeypatch.setattr("craft_hf.evaluate.log_probabilities", lambda m, a, b, bar: [values[bar]] * len(a))
    rows = [{**ROW, "answer_index": i} for i in (0, 0, 1)]
    scores = evaluate(tiny, write(tmp_path / "a.jsonl", *rows))
    assert [(s.method, s.n, s.correct) for s in scores] == [("letter", 3, 2), ("option_text", 3, 2)]
    assert scores[0] == Score("letter", 3, 2, 2 / 3, *wilson(2, 3), pytest.approx(1 / 3))
    assert str(scores[0]) == "letter: 0.667 (2 of 3; 95% interval 0.208 to 0.939; chance 0.333)"


def test_evaluate_draws_the_same_questions_for_a_seed(tiny: str, tmp_path: Path) -> None:
    """The same seed gives the same scores; a limit above the file's length takes all questions."""
    data = write(tmp_path / "a.jsonl", *[{**ROW, "question": f"Which organ is number {i}?"} for i in range(20)], LONG)
    first = evaluate(tiny, data, limit=6, progress=False)
    assert first == evaluate(tiny, data, limit=6, progress=False, batch_size=1)
    assert [s.n for s in first] == [6, 6]
    assert evaluate(tiny, data, limit=100, methods=["letter"], progress=False)[0].n == 21


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"limit": 0}, "limit is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"methods": ["lettre"]}, "no method 'lettre'; expected some of letter, option_text"),
        ({"methods": []}, "no method ''"),
        ({"adapter": "."}, "has no adapter_config.json"),
    ],
)
def test_evaluate_refuses_bad_values(
    tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: dict[str, object], message: str
) -> None:
    """Each is an error that names what was given."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        evaluate(tiny, write(tmp_path / "a.jsonl", ROW), progress=False, **values)  # type: ignore[arg-type]


def test_evaluate_names_a_model_that_is_not_there(tmp_path: Path) -> None:
    """Neither a folder nor a model in the cache: the error names it."""
    with pytest.raises(InputError, match="no/such-model"):
        evaluate("no/such-model", write(tmp_path / "a.jsonl", ROW), progress=False)
