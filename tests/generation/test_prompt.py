"""Prompts: few-shots per group, stable per document."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from craft_hf.base.records import Document
from craft_hf.generation.prompt import PromptBuilder
from craft_hf.tasks.task import NAMES, load_task

BIOQA = load_task("bioqa")
CSQA = load_task("csqa")


def test_prompt_shows_three_few_shots_then_the_document() -> None:
    """A prompt is three pairs of turns with few-shots, and the document as the last user turn."""
    prompt = PromptBuilder(BIOQA).build(Document("d1", "  The text of the document. "))
    assert [m["role"] for m in prompt.messages] == ["user", "assistant"] * 3 + ["user"]
    assert prompt.messages[-1]["content"].endswith("Text:\nThe text of the document.")
    shots = {s.id: s for s in BIOQA.few_shots}
    for turn, shot_id in enumerate(prompt.few_shot_ids):
        assert shots[shot_id].text in prompt.messages[2 * turn]["content"]
        assert json.loads(prompt.messages[2 * turn + 1]["content"]) == shots[shot_id].sample


def test_as_many_groups_as_few_shots_use_each_once_in_every_position() -> None:
    """Over these groups, each few-shot stands once in each of the three positions, and never twice in a prompt."""
    for seed in range(20):
        groups = PromptBuilder(BIOQA, seed, len(BIOQA.few_shots)).groups
        for position in range(3):
            assert Counter(g[position].id for g in groups) == Counter(s.id for s in BIOQA.few_shots)
        assert all(len({s.id for s in g}) == 3 for g in groups)


@example(8, 20, 0)
@given(st.integers(3, 8), st.integers(1, 40), st.integers(0, 2**31))
def test_any_number_of_groups_is_balanced(shots: int, count: int, seed: int) -> None:
    """Few-shots and positions are used equally often or once more, per round of as many groups as few-shots."""
    task = replace(BIOQA, few_shots=BIOQA.few_shots[:shots])
    groups = PromptBuilder(task, seed, count).groups
    assert len(groups) == count
    assert all(len({shot.id for shot in group}) == 3 for group in groups)
    for places in ((0,), (1,), (2,), (0, 1, 2)):
        used = Counter(group[place].id for group in groups for place in places)
        assert max(used.values()) - min(used[shot.id] for shot in task.few_shots) <= 1


def test_per_prompt_draws_from_all_triples() -> None:
    """Without groups, 2,000 documents get nearly all of the 8 x 7 x 6 triples, each few-shot about equally often."""
    task = replace(BIOQA, few_shots=BIOQA.few_shots[:8])
    builder = PromptBuilder(task, prefix_groups="per-prompt")
    triples = Counter(builder.build(Document(f"d{i}", "text")).few_shot_ids for i in range(2000))
    assert len(triples) > 320
    used = Counter(shot for triple, count in triples.items() for shot in triple * count)
    assert all(650 < count < 850 for count in used.values())
    assert builder.build(Document("d1", "text")) == PromptBuilder(task, 0, "per-prompt").build(Document("d1", "text"))


@pytest.mark.parametrize("shots", [3, 8, 31, 32])
def test_default_groups_show_every_few_shot(shots: int) -> None:
    """No few-shot is left out, and no group more is there than that takes."""
    task = replace(BIOQA, few_shots=BIOQA.few_shots[:shots])
    groups = PromptBuilder(task, 3).groups
    assert {shot.id for group in groups for shot in group} == {shot.id for shot in task.few_shots}
    assert len(groups) == -(-shots // 3)


@given(st.text(min_size=1), st.text(min_size=1), st.integers(0, 2**31))
def test_prompt_depends_on_document_and_seed_alone(document_id: str, text: str, seed: int) -> None:
    """Two prompters with the same seed give the same prompt for the same document."""
    document = Document(document_id, text)
    first, second = PromptBuilder(BIOQA, seed), PromptBuilder(BIOQA, seed)
    first.build(Document("another", "one before it"))
    assert first.build(document) == second.build(document)


def test_another_seed_draws_other_few_shots() -> None:
    """Over many documents, two seeds do not show the same few-shots."""
    documents = [Document(f"d{i}", "text") for i in range(50)]
    shots = [[PromptBuilder(BIOQA, seed).build(d).few_shot_ids for d in documents] for seed in (0, 1)]
    assert shots[0] != shots[1]


def test_alternative_instructions_are_given_to_about_half_each() -> None:
    """A task with two instructions gives each to about half of the documents (1,000 documents, 5 sigma)."""
    builder = PromptBuilder(CSQA)
    starts = Counter(builder.build(Document(f"d{i}", "t")).messages[-1]["content"] for i in range(1000))
    assert len(starts) == 2
    assert all(420 < count < 580 for count in starts.values())


def test_few_shots_are_shown_with_the_instruction_that_asks_for_them() -> None:
    """In csqa a question stands below the instruction for questions, a statement below that for statements."""
    builder, seen = PromptBuilder(CSQA), Counter[tuple[bool, bool]]()
    for number in range(200):
        messages = builder.build(Document(f"d{number}", "text")).messages
        for user, assistant in zip(messages[:-1:2], messages[1::2], strict=True):
            is_question = json.loads(assistant["content"])["question"].endswith("?")
            assert user["content"].startswith(CSQA.instructions[0 if is_question else 1])
            seen[is_question, messages[-1]["content"].startswith(CSQA.instructions[0])] += 1
    assert len(seen) == 4


def test_three_few_shots_are_enough() -> None:
    """With as few few-shots as a task may have, each group holds all of them."""
    few = CSQA.few_shots[:3]
    task = replace(CSQA, few_shots=few)
    assert all({s.id for s in g} == {s.id for s in few} for g in PromptBuilder(task).groups)
    assert PromptBuilder(task).build(Document("d", "t")).few_shot_ids


@pytest.mark.parametrize("name", NAMES)
def test_prompts_of_shipped_tasks_are_short_enough_for_the_embedded_model(name: str) -> None:
    """A prompt's few-shots leave room in 8,192 tokens (about 4 characters a token) for document and answer."""
    task = load_task(name)
    longest = max(
        sum(len(m["content"]) for m in PromptBuilder(task).build(Document(f"d{i}", "")).messages) for i in range(64)
    )
    assert longest / 4 < 8192 - task.max_new_tokens - 800


@pytest.mark.parametrize("prefix_groups", [None, 1, "per-prompt"])
def test_further_prompts_of_a_document_have_other_few_shots_and_keys_of_their_own(
    prefix_groups: int | str | None,
) -> None:
    """Where there is one group only, the key alone tells them apart; the first prompt is what it always was."""
    builder = PromptBuilder(load_task("bioqa"), 0, prefix_groups)
    document = Document("d", "text")
    built = [builder.build(document, number) for number in range(4)]
    assert len({prompt.key for prompt in built}) == 4
    assert built[0] == builder.build(document)
    assert len({prompt.few_shot_ids for prompt in built}) == (1 if prefix_groups == 1 else 4)
