"""Plants one defect into samples that people wrote; whatever is drawn, the seed draws it."""

from __future__ import annotations

import html
import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.benchmarks.foreign.people import Nearest, Sample
from tests.benchmarks.foreign.wordings import (
    CONTACTS,
    FOREIGN_OPTIONS,
    LEANING,
    MENUS,
    OTHER_REQUESTS,
    PLACEHOLDERS,
    PREFACES,
    SUMMARIES_ABROAD,
)

Row = dict[str, Any]
Damage = Callable[[Sample, "Pool"], Row | str | None]
"""Returns the fields of the damaged sample, or an answer that is no JSON; None for a sample that it does not fit."""

QUESTIONS, EXAMS = ("bioqa", "medqa", "csqa"), ("bioqa", "medqa")


@dataclass
class Pool:
    """What damages draw from: a random state, and the samples of the task with their nearest neighbours."""

    rng: random.Random
    samples: Sequence[Sample]
    near: Nearest

    def neighbour(self, sample: Sample) -> Sample:
        """Return the sample with another document that is most like this one."""
        places = self.near.places(sample.document, 8)
        return next(self.samples[n] for n in places if self.samples[n].document != sample.document)


@dataclass(frozen=True)
class Kind:
    """A kind of defect: the tasks it is planted into, and whether a rule that knows no facts can see it."""

    name: str
    tasks: Sequence[str]
    damage: Damage
    seen: bool = True


def damaged(samples: Sequence[Sample], each: int, seed: int = 0) -> list[Sample]:
    """Return samples with one defect each, `each` of a kind where the damage fits so many."""
    found = []
    pools = {}
    for task in {sample.task for sample in samples}:
        of_task = [s for s in samples if s.task == task and s.has_document]
        pools[task] = (of_task, Nearest([s.document for s in of_task]))
    for kind in KINDS:
        rng = random.Random(f"{seed} {kind.name}")
        for task in kind.tasks:
            of_task, near = pools.get(task, ([], None))
            pool, made = Pool(rng, of_task, near), 0
            for sample in rng.sample(of_task, len(of_task)):
                if made * len(kind.tasks) >= each:
                    break
                fields = kind.damage(sample, pool)
                if fields is None or fields == sample.fields:
                    continue
                made += 1
                text = fields if isinstance(fields, str) else ""
                found.append(replace(sample, fields={} if text else fields, kind=kind.name, text=text))
    return found


def _question(change: Callable[[str, Pool], str | None]) -> Damage:
    """A damage of the question's text."""

    def damage(sample: Sample, pool: Pool) -> Row | None:
        text = change(sample.fields["question"], pool)
        return None if text is None else {**sample.fields, "question": text}

    return damage


def _summary(change: Callable[[str, Pool], str | None]) -> Damage:
    """A damage of the summary's text."""

    def damage(sample: Sample, pool: Pool) -> Row | None:
        text = change(sample.fields["summary"], pool)
        return None if text is None else {**sample.fields, "summary": text}

    return damage


def _leaning(kind: str) -> Damage:
    def change(text: str, pool: Pool) -> str | None:
        if not text.endswith("?") or len(re.findall(r"[.?!]\s", text)) > 1:
            return None
        lead, tail = pool.rng.choice(LEANING[kind])
        first = text if re.match(r"[A-Z]{2}|[A-Z]\w*-|[A-Z]\w* [A-Z]", text) else text[0].lower() + text[1:]
        return f"{lead} {first}".strip() if lead else f"{text[:-1]} {tail}?"

    return _question(change)


def _cut(text: str, pool: Pool) -> str | None:
    """The first half or more of the last sentence of a question, up to a blank."""
    if not text.endswith("?"):
        return None
    words = text.split(" ")
    keep = pool.rng.randint(len(words) // 2, len(words) - 2) if len(words) > 5 else 0
    cut = " ".join(words[:keep])
    return (
        cut
        if keep
        and re.match(
            r"(?i)(what|which|how|why|when|where|who|is|are|do|does|did|can)\b", re.split(r"(?<=[.])\s", cut)[-1]
        )
        else None
    )


def _cut_summary(text: str, pool: Pool) -> str | None:
    return (
        text[: pool.rng.randint(len(text) * 3 // 5, len(text) * 9 // 10)].rsplit(" ", 1)[0].rstrip(".")
        if len(text) > 200
        else None
    )


def _words_marked(before: str, after: str) -> Callable[[str, Pool], str]:
    """Put marks around one or two words that stand in a row."""

    def change(text: str, pool: Pool) -> str:
        words = text.split(" ")
        at = pool.rng.randrange(max(1, len(words) - 2))
        size = min(2, len(words) - at)
        return " ".join([*words[:at], f"{before}{' '.join(words[at : at + size])}{after}", *words[at + size :]])

    return change


def _html(text: str, pool: Pool) -> str:
    before, after = pool.rng.choice(
        [
            ("<b>", "</b>"),
            ("<a href='/wiki/x'>", "</a>"),
            ("<sup>", "</sup>"),
            ('<span class="t">', "</span>"),
            ("<p>", "</p>"),
        ]
    )
    return _words_marked(before, after)(text, pool)


def _entities(text: str, pool: Pool) -> str:
    words = text.split(" ")
    at = pool.rng.randrange(1, len(words))
    entity = pool.rng.choice(["&nbsp;", "&amp;", "&#39;s", "&quot;", "&ndash;", "&#x27;"])
    words[at] = f"{words[at]}{entity}" if entity != "&nbsp;" else f"&nbsp;{words[at]}"
    return " ".join(words)


def _wiki(text: str, pool: Pool) -> str:
    before, after = pool.rng.choice([("[[", "]]"), ("'''", "'''"), ("[[File:x.jpg|thumb|", "]]"), ("{{lang|en|", "}}")])
    return _words_marked(before, after)(text, pool)


def _emphasis(text: str, pool: Pool) -> str:
    mark = pool.rng.choice(["**", "__", "`", "***"])
    return f"## {text}" if pool.rng.random() < 0.2 else _words_marked(mark, mark)(text, pool)


def _link(text: str, pool: Pool) -> str:
    target = pool.rng.choice(["https://example.org/a", "/topics/12", "#section-2", "http://www.example.com"])
    return _words_marked("[", f"]({target})")(text, pool)


def _address(text: str, pool: Pool) -> str:
    return f"{text} {pool.rng.choice(['https://example.org/read-on', 'www.example.com/page?id=4', 'Source: http://example.net'])}"


def _with_menu(text: str, pool: Pool) -> str:
    menu = pool.rng.choice(MENUS)
    return f"{menu}\n{text}" if pool.rng.random() < 0.5 else f"{text}\n{menu}"


def _options(change: Callable[[list[str], int, Pool], list[str] | None]) -> Damage:
    """A damage of the options' texts; the second argument is the place of the right one."""

    def damage(sample: Sample, pool: Pool) -> Row | None:
        texts = [option[3:] for option in sample.fields["options"]]
        changed = change(texts, "ABCD".index(sample.fields["answer"]), pool)
        return (
            None
            if changed is None
            else {**sample.fields, "options": [f"{'ABCD'[n]}. {text}" for n, text in enumerate(changed)]}
        )

    return damage


def _labels_twice(texts: list[str], right: int, pool: Pool) -> list[str]:
    form = pool.rng.choice(["{}. ", "{}) ", "({}) ", "{}: "])
    return [form.format("ABCD"[n]) + text for n, text in enumerate(texts)]


def _same_option(texts: list[str], right: int, pool: Pool) -> list[str]:
    place = pool.rng.choice([n for n in range(4) if n != right])
    text = texts[right].rstrip(". ")
    texts[place] = pool.rng.choice([text.upper(), f"{text}.", f"The {text}", f'"{text}"', text.title(), f"{text} ;"])
    return texts


def _placeholder(texts: list[str], right: int, pool: Pool) -> list[str]:
    form = pool.rng.choice(PLACEHOLDERS)
    return [text if n == right else form.format(n=n + 1, letter="ABCD"[n]) for n, text in enumerate(texts)]


def _abroad(texts: list[str], right: int, pool: Pool) -> list[str]:
    options = pool.rng.choice(FOREIGN_OPTIONS)
    for place, text in zip(
        pool.rng.sample(range(4), pool.rng.randint(1, 2)), pool.rng.sample(options, 2), strict=False
    ):
        texts[place] = text
    return texts


def _empty(texts: list[str], right: int, pool: Pool) -> list[str]:
    texts[pool.rng.randrange(4)] = pool.rng.choice(
        ["?", "--", ". . .", "_____", "n/a -"[:1] + "."[:0] if False else "*"]
    )
    return texts


def _rest_of_json(texts: list[str], right: int, pool: Pool) -> list[str]:
    texts[-1] = texts[-1] + pool.rng.choice(['"]', '"}', "]}", '", "answer": "B'])
    return texts


def _question_again(texts: list[str], right: int, pool: Pool) -> list[str]:
    return texts


def _unknown_answer(sample: Sample, pool: Pool) -> str:
    return json.dumps({**sample.fields, "answer": pool.rng.choice(["E", "F", "", "none", "A and B"])})


def _broken_json(sample: Sample, pool: Pool) -> str:
    text = json.dumps(dict(sample.fields))
    return text[: pool.rng.randrange(len(text) // 4, len(text) * 3 // 4)]


def _other_fact(sample: Sample, pool: Pool) -> Row | None:
    """The letter of the right option stands on a phrase of the document about something else."""
    right = "ABCD".index(sample.fields["answer"])
    phrases = [p.strip() for p in re.split(r"[.,;:()\n]", sample.document) if 2 <= len(p.split()) <= 6]
    phrases = [p for p in phrases if p.casefold() not in sample.fields["question"].casefold()]
    if not phrases:
        return None
    options = list(sample.fields["options"])
    options[right] = f"{'ABCD'[right]}. {pool.rng.choice(phrases)}"
    return {**sample.fields, "options": options}


def _wrong_letter(sample: Sample, pool: Pool) -> Row:
    return {**sample.fields, "answer": pool.rng.choice([c for c in "ABCD" if c != sample.fields["answer"]])}


def _two_right(texts: list[str], right: int, pool: Pool) -> list[str]:
    place = pool.rng.choice([n for n in range(4) if n != right])
    texts[place] = f"mostly {texts[right]}"
    return texts


def _next_question(sample: Sample, pool: Pool) -> Row:
    return dict(pool.neighbour(sample).fields)


_DIGITS = re.compile(r"(?<![\w.,/-])(\d{2,4})(?![\w,/-]|\.\d)")


def _one_off(text: str, document: str, pool: Pool) -> str | None:
    """Another number in place of one, which the document does not have."""
    found = list(_DIGITS.finditer(text))
    if not found:
        return None
    match = pool.rng.choice(found)
    number = str(int(match[0]) + pool.rng.choice([-1, 1]))
    return (
        None
        if re.search(rf"(?<!\d){number}(?!\d)", document)
        else f"{text[: match.start()]}{number}{text[match.end() :]}"
    )


def _right_one_off(sample: Sample, pool: Pool) -> Row | None:
    return _right_changed(sample, lambda text: _one_off(text, sample.document, pool))


def _right_changed(sample: Sample, change: Callable[[str], str | None]) -> Row | None:
    right = "ABCD".index(sample.fields["answer"])
    options = list(sample.fields["options"])
    text = options[right][3:]
    if text.casefold() not in sample.document.casefold() or (changed := change(text)) is None:
        return None
    options[right] = f"{options[right][:3]}{changed}"
    return {**sample.fields, "options": options}


_UNITS = {
    "mg": "g",
    "g": "kg",
    "kg": "g",
    "ml": "l",
    "mL": "L",
    "cm": "mm",
    "mm": "cm",
    "m": "km",
    "km": "m",
    "miles": "feet",
    "feet": "miles",
    "inches": "feet",
    "minutes": "hours",
    "hours": "minutes",
    "seconds": "minutes",
    "days": "weeks",
    "weeks": "days",
    "months": "years",
    "years": "months",
    "min": "hours",
    "mins": "hours",
    "hour": "minute",
    "minute": "hour",
    "°C": "°F",
    "°F": "°C",
    "degrees Fahrenheit": "degrees Celsius",
    "tablespoon": "cup",
    "tablespoons": "cups",
    "tbsp": "cups",
    "Tbsp": "cups",
    "Tbs": "cups",
    "tbs": "cups",
    "teaspoon": "tablespoon",
    "teaspoons": "tablespoons",
    "tsp": "tbsp",
    "cup": "teaspoon",
    "cups": "teaspoons",
    "ounce": "pound",
    "oz": "lb",
    "pound": "ounce",
    "lb": "oz",
    "lbs": "oz",
    "pounds": "ounces",
}
_MEASURE = re.compile(
    rf"(?<![\w/])(\d+(?:[.,/]\d+)?|[½¼¾⅓⅔]|one|two|three|four|five|six|ten|half)([ -]?)"
    rf"({'|'.join(sorted(_UNITS, key=len, reverse=True))})(?!\w)"
)


def _other_unit(text: str, document: str, pool: Pool) -> str | None:
    found = list(_MEASURE.finditer(text))
    if not found:
        return None
    match = pool.rng.choice(found)
    changed = f"{match[1]}{match[2]}{_UNITS[match[3]]}"
    return None if changed in document else f"{text[: match.start()]}{changed}{text[match.end() :]}"


def _right_other_unit(sample: Sample, pool: Pool) -> Row | None:
    return _right_changed(sample, lambda text: _other_unit(text, sample.document, pool))


def _again(text: str, pool: Pool) -> str:
    words = text.rstrip("?. ").split(" ")[-5:]
    return f"{text.rstrip('?. ')} {' '.join(words * 6)}?"


def _repeats_question(texts: list[str], right: int, pool: Pool) -> list[str] | None:
    return None


def _question_as_option(sample: Sample, pool: Pool) -> Row:
    options = list(sample.fields["options"])
    place = pool.rng.randrange(4)
    options[place] = f"{'ABCD'[place]}. {sample.fields['question']}"
    return {**sample.fields, "options": options}


def _negated(text: str, pool: Pool) -> str | None:
    match = re.search(r"\b(is|are|was|were|can|does|should|will)\b(?! not)", text)
    return None if match is None else f"{text[: match.end()]} not{text[match.end() :]}"


def _swapped(text: str, pool: Pool) -> str | None:
    names = list(dict.fromkeys(re.findall(r"(?<=[a-z,] )[A-Z][a-z]{2,}", text)))
    if len(names) < 2:
        return None
    one, other = names[:2]
    return re.sub(rf"\b({one}|{other})\b", lambda m: other if m[0] == one else one, text)


_OPPOSITES = {
    "increase": "decrease",
    "increases": "decreases",
    "high": "low",
    "more": "less",
    "before": "after",
    "large": "small",
    "improve": "worsen",
    "first": "last",
    "many": "few",
}


def _opposite(text: str, pool: Pool) -> str | None:
    found = [m for m in re.finditer(r"\b\w+\b", text) if m[0] in _OPPOSITES]
    if not found:
        return None
    match = pool.rng.choice(found)
    return f"{text[: match.start()]}{_OPPOSITES[match[0]]}{text[match.end() :]}"


MEETINGS = "QMSum"
"""A source of meetings of the same few groups on the same matters: what one says another says too."""


def _of_neighbour(but: str, *names: str) -> Damage:
    """Some fields are those of the sample whose document is nearest; not of one source, or of it alone."""

    def damage(sample: Sample, pool: Pool) -> Row | None:
        if (sample.source == MEETINGS) is bool(but):
            return None
        other = pool.neighbour(sample)
        return {**sample.fields, **{name: other.fields[name] for name in names}}

    return damage


def _of_stranger(*names: str) -> Damage:
    """Some fields are those of a sample of another document that is drawn."""

    def damage(sample: Sample, pool: Pool) -> Row | None:
        other = pool.rng.choice(pool.samples)
        return (
            {**sample.fields, **{name: other.fields[name] for name in names}}
            if other.document != sample.document
            else None
        )

    return damage


def _links(text: str, pool: Pool) -> str:
    names = pool.rng.sample(
        [
            "Home",
            "About us",
            "News",
            "Contact",
            "Login",
            "Archive",
            "Events",
            "Privacy policy",
            "Careers",
            "Shop",
            "Press",
            "FAQ",
            "Sitemap",
            "Terms of use",
        ],
        9,
    )
    return pool.rng.choice([" | ", "\n- ", " › ", " · "]).join(names) + pool.rng.choice(
        [".", " © 2021 All rights reserved.", ""]
    )


def _with_contact(text: str, pool: Pool) -> str:
    return f"{text} {pool.rng.choice(CONTACTS)}"


def _lead(sample: Sample, pool: Pool) -> Row | None:
    """The summary is the beginning of the text, word for word."""
    parts = re.split(r"(?<=[.!?])\s+", sample.fields["long_but_clean_text"])
    lead = " ".join(parts[:3])
    return {**sample.fields, "summary": lead} if 101 <= len(lead) <= 1200 and lead.endswith((".", "!", "?")) else None


def _preface(name: str) -> Damage:
    def damage(sample: Sample, pool: Pool) -> Row:
        return {**sample.fields, name: f"{pool.rng.choice(PREFACES[name])} {sample.fields[name]}"}

    return damage


def _other_request(sample: Sample, pool: Pool) -> Row:
    return {**sample.fields, "instruction": pool.rng.choice(OTHER_REQUESTS)}


def _summary_abroad(text: str, pool: Pool) -> str:
    return pool.rng.choice(SUMMARIES_ABROAD)


def _dirty_text(sample: Sample, pool: Pool) -> Row:
    """Lines of a page around the text that was to be cleaned."""
    lines = pool.rng.sample(MENUS, 3)
    parts = sample.fields["long_but_clean_text"].split("\n")
    at = len(parts) // 2
    return {**sample.fields, "long_but_clean_text": "\n".join([lines[0], *parts[:at], lines[1], *parts[at:], lines[2]])}


def _list_changed(name: str, change: Callable[[str, str, Pool], str | None]) -> Damage:
    """Change one item of a list."""

    def damage(sample: Sample, pool: Pool) -> Row | None:
        items = list(sample.fields[name])
        for place in pool.rng.sample(range(len(items)), len(items)):
            if (changed := change(items[place], sample.document, pool)) is not None:
                return {**sample.fields, name: [*items[:place], changed, *items[place + 1 :]]}
        return None

    return damage


_QUANTITY = re.compile(r"(?<![\w/.½¼¾⅓⅔-])(\d{1,3})(?![\w/.,½¼¾⅓⅔-]| ?[½¼¾⅓⅔]| \d)")


def _quantity_off(text: str, document: str, pool: Pool) -> str | None:
    """Another number, which the document does not have."""
    match = _QUANTITY.search(text)
    if match is None:
        return None
    number = str(int(match[0]) + pool.rng.choice([1, 2, 3]))
    return (
        None
        if re.search(rf"(?<!\d){number}(?!\d)", document)
        else f"{text[: match.start()]}{number}{text[match.end() :]}"
    )


def _half_of_steps(sample: Sample, pool: Pool) -> Row | None:
    steps = sample.fields["steps"]
    kept = steps[: len(steps) // 2] if pool.rng.random() < 0.5 else steps[len(steps) // 2 :]
    return {**sample.fields, "steps": kept} if len(steps) >= 4 else None


def _reversed_steps(sample: Sample, pool: Pool) -> Row | None:
    return {**sample.fields, "steps": sample.fields["steps"][::-1]} if len(sample.fields["steps"]) >= 4 else None


_FOODS = (
    "saffron",
    "anchovies",
    "pistachios",
    "goat cheese",
    "lemongrass",
    "capers",
    "sauerkraut",
    "dried apricots",
    "tofu",
    "rosewater",
    "horseradish",
    "smoked trout",
    "tahini",
    "figs",
    "okra",
    "miso paste",
    "quinoa",
    "star anise",
    "rhubarb",
    "polenta",
)


def _strange_ingredient(sample: Sample, pool: Pool) -> Row | None:
    food = pool.rng.choice([f for f in _FOODS if f.split()[-1] not in sample.document.casefold()])
    items = list(sample.fields["ingredients"])
    items.insert(pool.rng.randrange(len(items) + 1), pool.rng.choice(["{}", "some {}", "a handful of {}"]).format(food))
    return {**sample.fields, "ingredients": items}


def _step_with_strange(sample: Sample, pool: Pool) -> Row | None:
    """A step uses what is neither in the list nor in the document."""
    food = pool.rng.choice([f for f in _FOODS if f.split()[-1] not in sample.document.casefold()])
    steps = list(sample.fields["steps"])
    steps.insert(pool.rng.randrange(1, len(steps)), f"Stir in the {food}.")
    return {**sample.fields, "steps": steps}


def _main_word(item: str) -> str:
    words = list(re.findall(r"[A-Za-z]{4,}", re.sub(r"\(.*?\)", "", item.split(",")[0])))
    return words[-1].casefold().rstrip("s") if words else ""


def _unlisted(sample: Sample, pool: Pool) -> Row | None:
    """An ingredient that the steps name is missing from the list."""
    steps = " ".join(sample.fields["steps"]).casefold()
    items = sample.fields["ingredients"]
    named = [n for n, item in enumerate(items) if _main_word(item) and _main_word(item) in steps]
    if len(named) < 2 or len(items) < 4:
        return None
    gone = pool.rng.choice(named)
    rest = [item for n, item in enumerate(items) if n != gone]
    if any(_main_word(items[gone]) in item.casefold() for item in [*rest, sample.fields["instruction"]]):
        return None
    return {**sample.fields, "ingredients": rest}


def _unused(sample: Sample, pool: Pool) -> Row | None:
    """An ingredient of the list is used in no step: the step that did it is gone."""
    items, steps = sample.fields["ingredients"], sample.fields["steps"]
    for item in pool.rng.sample(items, len(items)):
        word = _main_word(item)
        using = [n for n, step in enumerate(steps) if word and word in step.casefold()]
        if word and len(using) == 1 and len(steps) >= 4:
            return {**sample.fields, "steps": [step for n, step in enumerate(steps) if n != using[0]]}
    return None


def _step_changed(change: Callable[[str, Pool], str]) -> Damage:
    return _list_changed("steps", lambda text, _, pool: change(text, pool) if len(text.split()) > 3 else None)


def _escaped(text: str, pool: Pool) -> str:
    return html.escape(f'{text} "Enjoy" & share')


KINDS: tuple[Kind, ...] = (
    *(
        Kind(
            f"question leans on {kind}", EXAMS if kind == "a person described elsewhere" else QUESTIONS, _leaning(kind)
        )
        for kind in LEANING
    ),
    Kind("question cut off", EXAMS, _question(_cut)),
    Kind("HTML tags in a question", QUESTIONS, _question(_html)),
    Kind("HTML entities in a question", QUESTIONS, _question(_entities)),
    Kind("wiki markup in a question", QUESTIONS, _question(_wiki)),
    Kind("Markdown emphasis in a question", QUESTIONS, _question(_emphasis)),
    Kind("Markdown link in a question", QUESTIONS, _question(_link)),
    Kind("web address in a question", QUESTIONS, _question(_address)),
    Kind("menu or cookie line at a question", QUESTIONS, _question(_with_menu)),
    Kind("words about the task before a question", QUESTIONS, _preface("question")),
    Kind("contact in a question", QUESTIONS, _question(_with_contact)),
    Kind("question goes round in circles", QUESTIONS, _question(_again)),
    Kind("labels twice", EXAMS, _options(_labels_twice)),
    Kind("option is another one in other case", EXAMS, _options(_same_option)),
    Kind("placeholders as options", EXAMS, _options(_placeholder)),
    Kind("options in another language", EXAMS, _options(_abroad)),
    Kind("empty option", EXAMS, _options(_empty)),
    Kind("rests of JSON in an option", EXAMS, _options(_rest_of_json)),
    Kind("the question as an option", EXAMS, _question_as_option),
    Kind("answer is no option", QUESTIONS, _unknown_answer),
    Kind("broken JSON", (*QUESTIONS, "recipegen", "summarization"), _broken_json),
    Kind("number one off in the right option", ("bioqa", "medqa"), _right_one_off),
    Kind("other unit in the right option", ("bioqa", "medqa"), _right_other_unit),
    Kind("question of the nearest other document", EXAMS, _next_question, seen=False),
    Kind("right letter on another fact of the document", EXAMS, _other_fact, seen=False),
    Kind("right letter on a distractor", EXAMS, _wrong_letter, seen=False),
    Kind("two options are right", EXAMS, _options(_two_right), seen=False),
    Kind("summary of the nearest other document", ("summarization",), _of_neighbour(MEETINGS, "summary")),
    Kind("summary of another meeting on the same matter", ("summarization",), _of_neighbour("", "summary"), seen=False),
    Kind("summary of any other document", ("summarization",), _of_stranger("summary")),
    Kind("menu or list of links as a summary", ("summarization",), _summary(_links)),
    Kind("contact in a summary", ("summarization",), _summary(_with_contact)),
    Kind("HTML tags in a summary", ("summarization",), _summary(_html)),
    Kind("HTML entities in a summary", ("summarization",), _summary(_entities)),
    Kind("wiki markup in a summary", ("summarization",), _summary(_wiki)),
    Kind("Markdown link in a summary", ("summarization",), _summary(_link)),
    Kind("menu or cookie line at a summary", ("summarization",), _summary(_with_menu)),
    Kind("words about the task before a summary", ("summarization",), _preface("summary")),
    Kind("summary cut off", ("summarization",), _summary(_cut_summary)),
    Kind("summary in another language", ("summarization",), _summary(_summary_abroad)),
    Kind("summary is the beginning of the text", ("summarization",), _lead),
    Kind("summary goes round in circles", ("summarization",), _summary(_again)),
    Kind("another request than for a summary", ("summarization",), _other_request),
    Kind("text to be summarized is not cleaned", ("summarization",), _dirty_text),
    Kind(
        "number one off in a summary",
        ("summarization",),
        lambda s, p: (lambda t: None if t is None else {**s.fields, "summary": t})(
            _one_off(s.fields["summary"], s.document, p)
        ),
    ),
    Kind("negation in a summary", ("summarization",), _summary(_negated), seen=False),
    Kind("names swapped in a summary", ("summarization",), _summary(_swapped), seen=False),
    Kind("opposite in a summary", ("summarization",), _summary(_opposite), seen=False),
    Kind("recipe of another dish than asked for", ("recipegen",), _of_stranger("instruction")),
    Kind("recipe of another document", ("recipegen",), _of_stranger("instruction", "ingredients", "steps")),
    Kind("half of the steps missing", ("recipegen",), _half_of_steps),
    Kind("steps in reverse order", ("recipegen",), _reversed_steps),
    Kind("ingredient that no step uses", ("recipegen",), _unused),
    Kind("step with an ingredient that is not listed", ("recipegen",), _unlisted),
    Kind("ingredient that the document does not have", ("recipegen",), _strange_ingredient),
    Kind("step with what the document does not have", ("recipegen",), _step_with_strange),
    Kind("quantity off", ("recipegen",), _list_changed("ingredients", _quantity_off)),
    Kind("other unit of an ingredient", ("recipegen",), _list_changed("ingredients", _other_unit)),
    Kind("other unit in a step", ("recipegen",), _list_changed("steps", _other_unit)),
    Kind("HTML tags in a step", ("recipegen",), _step_changed(_html)),
    Kind("Markdown link in a step", ("recipegen",), _step_changed(_link)),
    Kind(
        "menu or cookie line as a step",
        ("recipegen",),
        lambda s, p: {**s.fields, "steps": [*s.fields["steps"], p.rng.choice(MENUS)]},
    ),
)
"""All kinds of defect."""

SEEN: Mapping[str, bool] = {kind.name: kind.seen for kind in KINDS}
"""Whether a rule can see a kind."""
