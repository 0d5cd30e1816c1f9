"""Preference training: reading and refusing pairs, and a whole run on a tiny model."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
from peft import PeftModel
from transformers import AutoModelForCausalLM

from craft_hf.base.errors import InputError
from craft_hf.review.decisions import ACCEPT, EDIT, REJECT
from craft_hf.review.pairs import preference_pairs
from craft_hf.training.preference import read_pairs, run_preference_recipe
from tests.reviewing import TASK, decide, made_reviews
from tests.tiny_model import save_tiny_model


def write_pairs(folder: Path, count: int) -> Path:
    """Review samples (a third each edited, accepted and rejected), and write the preference pairs."""
    reviews, samples = made_reviews(folder / "r.sqlite", count)
    for number, sample in enumerate(samples):
        if number % 3 == 0:
            other = "ABCD"[("ABCD".index(str(sample.fields["answer"])) + 1) % 4]
            decide(reviews, sample, EDIT, fields={**sample.fields, "answer": other})
        else:
            decide(reviews, sample, ACCEPT if number % 3 == 1 else REJECT)
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(pair) + "\n" for pair in preference_pairs(reviews, TASK)))
    return path


@pytest.mark.weights
def test_a_review_trains_an_adapter(tmp_path: Path) -> None:
    """With a tiny random model the loss falls, the adapter loads, and the card has the numbers and no local path."""
    base = save_tiny_model(tmp_path / "tiny")
    arguments = ["--pairs", str(write_pairs(tmp_path, 6)), "--model_name_or_path", str(base), "--report_to", "none"]
    target = run_preference_recipe(
        [*arguments, "--output_dir", str(tmp_path / "out"), "--learning_rate", "1e-2", "--num_train_epochs", "2"]
    )
    assert target == tmp_path / "out" / "adapter"
    card = (target / "README.md").read_text()
    assert "4 pairs" in card
    assert "2 edit, 2 instruction" in card
    assert "| optimizer steps | 4 |" in card
    found = re.search(r"loss, first and last step logged \| ([\d.]+), ([\d.]+)", card)
    assert found
    assert float(found[1]) == pytest.approx(math.log(2), abs=1e-3)  # the untrained adapter prefers neither side
    assert float(found[2]) < 0.9 * float(found[1])
    written = [p.read_text() for p in target.iterdir() if p.suffix in (".md", ".json")]
    assert not any(str(tmp_path) in text for text in written)
    PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), target)


def test_an_invalid_pair_is_named(tmp_path: Path) -> None:
    """The error names the line and what was expected."""
    good = write_pairs(tmp_path, 6).read_text().splitlines()[0]
    path = tmp_path / "wrong.jsonl"
    same = json.loads(good) | {"rejected": json.loads(good)["chosen"]}
    for line, said in (
        ("no json", "line 2: not valid JSON"),
        ('{"prompt": "text"}', "line 2, is not a preference pair"),
        ("{}", "expected chat messages in the keys prompt, chosen, rejected"),
        (json.dumps(same), "line 2: chosen and rejected are equal"),
    ):
        path.write_text(f"{good}\n{line}\n")
        with pytest.raises(InputError, match=said):
            read_pairs(path)
    path.write_text("")
    with pytest.raises(InputError, match="has no pairs"):
        read_pairs(path)
    with pytest.raises(InputError, match="craft-hf reviews pairs"):
        read_pairs(tmp_path / "none.jsonl")


def test_line_separators_in_pairs_end_no_line(tmp_path: Path) -> None:
    """U+2028 and U+0085 stand in texts of web pages; a line ends at a line feed only."""
    good = json.loads(write_pairs(tmp_path, 6).read_text().split("\n")[0])
    good["chosen"][0]["content"] = "one\u2028two\u0085three"
    path = tmp_path / "separators.jsonl"
    path.write_text(json.dumps(good, ensure_ascii=False) + "\n", encoding="utf-8")
    assert read_pairs(path)[0][0]["chosen"][0]["content"] == "one\u2028two\u0085three"


def test_wrong_arguments_end_with_one_line(tmp_path: Path) -> None:
    """An unknown argument, the large default model without a GPU, and push_to_hub are refused."""
    pairs = ["--pairs", str(write_pairs(tmp_path, 6)), "--output_dir", str(tmp_path / "out")]
    with pytest.raises(SystemExit, match=r"error: unknown argument --pear.* --pairs"):
        run_preference_recipe(["--pear", "x"])
    with pytest.raises(SystemExit, match="7 billion parameters"):
        run_preference_recipe([*pairs, "--use_cpu"])
    with pytest.raises(SystemExit, match="craft-hf publish"):
        run_preference_recipe([*pairs, "--push_to_hub"])
    with pytest.raises(SystemExit, match=r"error: .*none"):
        run_preference_recipe([*pairs, "--model_name_or_path", str(tmp_path / "none")])
