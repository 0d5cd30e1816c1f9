"""A model's word on a sample, if one is wanted: it answers its questions, or scores the sample by the task's rubric.

Multiple choice: the judge answers the question with the document and without it. A sample is kept if it is right with
the document; if it is right without as well, the sample is kept but marked as too easy. Other tasks: the judge gives 1
to 5 points by the rubric. Several draws are decided by the majority, or the mean; the options are in another order in
each, so that a judge that likes a letter is not right by that.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from craft_hf.base import JSON, Document, InputError, Prompt, Verdict, chat_message, fingerprint
from craft_hf.generation import Sampling
from craft_hf.quality.check import Check, CheckContext, GeneratedSample, Limit
from craft_hf.tasks import LABEL, NUMBER, Choice, MultipleChoice, Task, parse_json, sample_json

LEAST_POINTS = 3.0
"""Mean of the points from which a sample is kept."""

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


class JudgeCheck(Check):
    """Asks a model about samples: by the options and the answer of the task, or by its rubric.

    A single draw takes the likeliest tokens.
    """

    name = "judge"
    label = "accepted by the judge"
    about = "with `--judge`: a model that answers the question with the document, or scores by the task's rubric"
    optional = False
    option = "--judge"
    reject_reason = "wrong answer"

    def __init__(self, context: CheckContext) -> None:
        super().__init__(context)
        if context.ask is None:
            raise InputError("there is nobody to ask; pass ask=, or leave the judge out.")
        self._ask, self._draws, self._seed = context.ask, context.judge_draws, context.seed
        self._choices = self.task.multiple_choice
        self._prepared: dict[GeneratedSample, Verdict] = {}

    @classmethod
    def applies(cls, context: CheckContext) -> bool:
        """Return whether there is a model to ask."""
        return context.ask is not None

    @classmethod
    def limit(cls, task: Task) -> Limit:
        """Return the share of draws, or the points."""
        return Limit(0.5, near=0.5) if task.multiple_choice else Limit(LEAST_POINTS, near=2.0)

    @classmethod
    def summary(cls, verdicts: Sequence[Verdict]) -> str:
        """Say how many rows were accepted, and how many of them are too easy."""
        remarked = sum(bool(verdict.reason) for verdict in verdicts)
        return f"The judge accepted all {len(verdicts):,} generated rows; {remarked:,} of them are marked as too easy."

    def prepare(self, samples: Sequence[GeneratedSample]) -> None:
        """Ask about all samples of a batch at once."""
        self._prepared = dict(zip(samples, self._judge(samples), strict=True))

    def check(self, sample: GeneratedSample) -> Verdict:
        """Judge a sample.

        The score is the share of draws in which the judge was right with the document, or the mean of the points. A
        judge that gives no usable answer keeps no sample: "gave no answer".
        """
        if sample not in self._prepared:
            self._prepared[sample] = self._judge([sample])[0]
        return self._prepared[sample]

    def _judge(self, samples: Sequence[GeneratedSample]) -> list[Verdict]:
        asked = [self._questions(sample.document, sample.fields) for sample in samples]
        answers: dict[tuple[str, Sampling], str] = {}
        by_sampling: dict[Sampling, list[Prompt]] = {}
        for questions in asked:
            for question in questions:
                by_sampling.setdefault(question.sampling, []).append(question.prompt)
        for sampling, prompts in by_sampling.items():
            for prompt, answer in self._ask(prompts, self._schema(), sampling):
                answers[prompt.key, sampling] = answer.text
        found = ([(q, answers.get((q.prompt.key, q.sampling), "")) for q in questions] for questions in asked)
        return [self._by_options(self._choices, pairs) if self._choices else self._by_points(pairs) for pairs in found]

    def _schema(self) -> Mapping[str, JSON]:
        if self._choices is None:
            return _POINTS
        properties = self.task.schema["properties"]
        assert isinstance(properties, Mapping)
        answer = {"answer": properties[self._choices.answer_field]}
        return {"type": "object", "additionalProperties": False, "required": ["answer"], "properties": answer}

    def _questions(self, document: Document, fields: Mapping[str, JSON]) -> list[_Question]:
        questions = []
        for draw in range(self._draws):
            sampling = Sampling(max_new_tokens=32, seed=self._seed + draw)
            sampling = sampling if self._draws > 1 else replace(sampling, temperature=0.0)
            if self._choices is None:
                text = f"{self.task.rubric} {_SCORE}\n\nText:\n{document.text}\n\nSample:\n{sample_json(fields)}"
                questions.append(_Question(_prompt(document, text), sampling, None, True))
                continue
            count = len(self._choices.read(fields).texts)
            turned = self._choices.reordered(fields, [(n + draw) % count for n in range(count)])
            question, options = self.task.prompt(turned), self._choices.read(turned)
            answer = f"{_ANSWER}{_what(self._choices, options)}."
            for text, with_document in (
                (f"{_WITH} {answer}\n\nText:\n{document.text}\n\nQuestion:\n{question}", True),
                (f"{_WITHOUT} {answer}\n\nQuestion:\n{question}", False),
            ):
                questions.append(_Question(_prompt(document, text), sampling, options, with_document))
        return questions

    def _by_options(self, choices: MultipleChoice, pairs: Sequence[tuple[_Question, str]]) -> Verdict:
        given = [(q, choices.position(q.options, _field(text, "answer"))) for q, text in pairs if q.options]
        right, known = (
            statistics.mean(
                answer == q.options.right for q, answer in given if q.options and q.with_document is with_document
            )
            for with_document in (True, False)
        )
        if all(answer is None for q, answer in given if q.with_document):
            return self.drop("gave no answer")
        if right <= 0.5:
            return self.drop("answers otherwise with the document", round(right, 4))
        remark = "too easy: right without the document as well" if known > 0.5 else ""
        return self.keep(round(right, 4), remark)

    def _by_points(self, pairs: Sequence[tuple[_Question, str]]) -> Verdict:
        points = [value for _, text in pairs if isinstance(value := _field(text, "points"), int)]
        if not points:
            return self.drop("gave no answer")
        mean = round(statistics.mean(points), 4)
        return self.keep(mean) if mean >= LEAST_POINTS else self.drop("too few points by the rubric", mean)


def _what(choices: MultipleChoice, options: Choice) -> str:
    """What the judge is to answer, in words: what the task's own samples have as answer."""
    if options.kind == LABEL:
        return "the number in front of one option" if options.labels[0].isdigit() else "the letter of one option"
    if options.kind == NUMBER:
        return f"the number of one option, counted from {choices.first}"
    return "the text of one option"


def _prompt(document: Document, text: str) -> Prompt:
    messages = (chat_message("user", text),)
    return Prompt(fingerprint([dict(m) for m in messages]), document.id, messages, ())


def _field(text: str, name: str) -> JSON:
    try:
        value = parse_json(text)
    except ValueError:
        return None
    return value.get(name) if isinstance(value, dict) else None
