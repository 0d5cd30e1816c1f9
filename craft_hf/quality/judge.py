"""A model's word on a sample, if one is wanted: it answers its questions, or scores the sample by the task's rubric.

Multiple choice: the judge answers the question with the document and without it. A sample is kept if it is right with
the document; if it is right without as well, the sample is kept but marked as too easy. Other tasks: the judge gives 1
to 5 points by the rubric. Several draws are decided by the majority, or the mean; the options are in another order in
each, so that a judge that likes a letter is not right by that.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from craft_hf.base import JSON, Answer, Document, Prompt, Verdict, fingerprint
from craft_hf.generation import Sampling
from craft_hf.tasks import LABEL, NUMBER, Choice, MultipleChoice, Task, parse_json, sample_json

LEAST_POINTS = 3.0
"""Mean of the points from which a sample is kept."""

Ask = Callable[[Sequence[Prompt], Mapping[str, JSON], Sampling], Iterator[tuple[Prompt, Answer]]]
"""Prompts, JSON Schema and sampling come in, answers go out; a prompt may stay without one."""

_POINTS: Mapping[str, JSON] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["points"],
    "properties": {"points": {"type": "integer", "enum": [1, 2, 3, 4, 5]}},
}

_WITH, _WITHOUT = "Read the text and answer the question by it.", "Answer the question."
_ANSWER = "Answer in JSON with the field answer, "
_SCORE = (
    "Answer in JSON with the field points: 5 for a sample without a flaw, 4 for small flaws, 3 for one that is still "
    "useful, 2 for serious flaws, 1 for a useless one."
)


@dataclass(frozen=True)
class _Question:
    """What the judge is asked in one draw; `options` are those of the sample in this draw, None for points."""

    prompt: Prompt
    sampling: Sampling
    options: Choice | None
    with_document: bool


class Judge:
    """Asks a model about samples.

    Args:
        task: gives options and answer, or the rubric.
        ask: how the model is asked.
        draws: how often, 1 or more; a single draw takes the likeliest tokens.
        seed: of the first draw.
    """

    def __init__(self, task: Task, ask: Ask, draws: int = 1, seed: int = 0) -> None:
        self._task, self._ask, self._draws, self._seed = task, ask, draws, seed
        self._choices = task.multiple_choice

    def check_all(self, samples: Sequence[tuple[Document, Mapping[str, JSON]]]) -> list[Verdict]:
        """Judge samples, each with its document.

        The score is the share of draws in which the judge was right with the document, or the mean of the points. A
        judge that gives no usable answer keeps no sample: "gave no answer".
        """
        asked = [self._questions(document, fields) for document, fields in samples]
        answers: dict[tuple[str, Sampling], str] = {}
        by_sampling: dict[Sampling, list[Prompt]] = {}
        for questions in asked:
            for question in questions:
                by_sampling.setdefault(question.sampling, []).append(question.prompt)
        for sampling, prompts in by_sampling.items():
            for prompt, answer in self._ask(prompts, self._schema(), sampling):
                answers[prompt.key, sampling] = answer.text
        found = ([(q, answers.get((q.prompt.key, q.sampling), "")) for q in questions] for questions in asked)
        return [_by_options(self._choices, pairs) if self._choices else _by_points(pairs) for pairs in found]

    def _schema(self) -> Mapping[str, JSON]:
        if self._choices is None:
            return _POINTS
        properties = self._task.schema["properties"]
        assert isinstance(properties, Mapping)
        answer = {"answer": properties[self._choices.answer_field]}
        return {"type": "object", "additionalProperties": False, "required": ["answer"], "properties": answer}

    def _questions(self, document: Document, fields: Mapping[str, JSON]) -> list[_Question]:
        questions = []
        for draw in range(self._draws):
            sampling = Sampling(max_new_tokens=32, seed=self._seed + draw)
            sampling = sampling if self._draws > 1 else replace(sampling, temperature=0.0)
            if self._choices is None:
                text = f"{self._task.rubric} {_SCORE}\n\nText:\n{document.text}\n\nSample:\n{sample_json(fields)}"
                questions.append(_Question(_prompt(document, text), sampling, None, True))
                continue
            count = len(self._choices.read(fields).texts)
            turned = self._choices.reordered(fields, [(n + draw) % count for n in range(count)])
            question, options = self._task.prompt(turned), self._choices.read(turned)
            answer = f"{_ANSWER}{_what(self._choices, options)}."
            for text, with_document in (
                (f"{_WITH} {answer}\n\nText:\n{document.text}\n\nQuestion:\n{question}", True),
                (f"{_WITHOUT} {answer}\n\nQuestion:\n{question}", False),
            ):
                questions.append(_Question(_prompt(document, text), sampling, options, with_document))
        return questions


def _what(choices: MultipleChoice, options: Choice) -> str:
    """What the judge is to answer, in words: what the task's own samples have as answer."""
    if options.kind == LABEL:
        return "the number in front of one option" if options.labels[0].isdigit() else "the letter of one option"
    if options.kind == NUMBER:
        return f"the number of one option, counted from {choices.first}"
    return "the text of one option"


def _by_options(choices: MultipleChoice, pairs: Sequence[tuple[_Question, str]]) -> Verdict:
    given = [(q, choices.position(q.options, _field(text, "answer"))) for q, text in pairs if q.options]
    right, known = (
        statistics.mean(
            answer == q.options.right for q, answer in given if q.options and q.with_document is with_document
        )
        for with_document in (True, False)
    )
    if all(answer is None for q, answer in given if q.with_document):
        return Verdict("judge", False, "gave no answer")
    if right <= 0.5:
        return Verdict("judge", False, "answers otherwise with the document", round(right, 4))
    remark = "too easy: right without the document as well" if known > 0.5 else ""
    return Verdict("judge", True, remark, round(right, 4))


def _by_points(pairs: Sequence[tuple[_Question, str]]) -> Verdict:
    points = [value for _, text in pairs if isinstance(value := _field(text, "points"), int)]
    if not points:
        return Verdict("judge", False, "gave no answer")
    mean = round(statistics.mean(points), 4)
    return Verdict("judge", mean >= LEAST_POINTS, "" if mean >= LEAST_POINTS else "too few points by the rubric", mean)


def _prompt(document: Document, text: str) -> Prompt:
    messages = ({"role": "user", "content": text},)
    return Prompt(fingerprint([dict(m) for m in messages]), document.id, messages, ())


def _field(text: str, name: str) -> JSON:
    try:
        value = parse_json(text)
    except (ValueError, RecursionError):
        return None
    return value.get(name) if isinstance(value, dict) else None
