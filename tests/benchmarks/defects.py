"""A labelled test bed for the checks: real questions with their documents, good ones and ones with planted defects."""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rapidfuzz import fuzz, process, utils

from craft_hf.base.embedder import Embedder
from craft_hf.base.records import Answer, Document
from craft_hf.quality.check import DUPLICATE_THRESHOLD
from craft_hf.tasks.sample import sample_json
from craft_hf.tasks.task import Task
from tests.benchmarks.texts import read, reworded

CHUNKS = 3
"""Pieces of a question's book chapter that make its document: those nearest to question and answer by embedding."""

LONG_ENOUGH = 40
"""Characters of an exam's question from which it does not stand in another one by chance."""

SEEN_BY_RULES = (
    "ungrounded answer", "wrong number", "copied few-shot", "near-duplicate by rewording", "test-set question",
    "empty option", "answer not among options", "wrong language", "truncated",
)  # fmt: skip
"""Defects that words and rules can tell; which of two options is right takes understanding."""

MEANT_FOR = {
    "ungrounded answer": {"grounded"},
    "wrong number": {"grounded"},
    "two right options": {"wellformed"},
    "copied few-shot": {"copied", "duplicate", "semantic"},
    "near-duplicate by rewording": {"duplicate", "semantic"},
    "test-set question": {"contaminated"},
    "empty option": {"schema", "wellformed"},
    "answer not among options": {"schema", "wellformed"},
    "wrong language": {"language"},
    "truncated": {"schema"},
}
"""Which checks are there for which defect."""

_NUMBER = re.compile(r"\b\d{2,}\b")


@dataclass(frozen=True)
class Case:
    """A sample with its document, and its defect; "" for none."""

    document: Document
    fields: Mapping[str, Any]
    defect: str = ""
    text: str = ""
    finish_reason: str = "stop"

    @property
    def answer(self) -> Answer:
        """The sample as a model would have written it."""
        return Answer(self.text or json.dumps(self.fields, ensure_ascii=False), self.finish_reason)


def good_cases(folder: Path, embedder: Embedder, count: int, numeric: int, seed: int = 0) -> list[Case]:
    """Return real four-option questions on biology with the part of the chapter that they belong to.

    Left out, because they are not good: stems that lost their gap when the data was made ("The are collectively called
    the calyx."), of two questions that are duplicates by the paper's rule the second, and questions in which most of a
    test set's question stands.

    Args:
        folder: the data folder.
        embedder: finds the part.
        count: how many of eval_bioqa.
        numeric: how many more of retrieval_squad with a number as the answer, to which other numbers are put.
        seed: draws them.
    """
    rng = random.Random(seed)
    chapters = defaultdict(list)
    for row in read(folder, "corpus_textbooks"):
        chapters[row["url_or_path"]].append(row["text"])
    rows = [row for row in read(folder, "eval_bioqa") if row.get("url") in chapters and len(row["options"]) == 4]
    rows = _sound([row for row in rows if len(row["question"]) > 15], exam_questions(folder), rng)[:count]
    texts = list(dict.fromkeys(text for row in rows for text in chapters[row["url"]]))
    vectors = dict(zip(texts, embedder.encode(texts), strict=True))
    queries = embedder.encode([f"{row['question']} {row['options'][row['answer_index']]}" for row in rows])
    cases = []
    for row, query in zip(rows, queries, strict=True):
        parts = chapters[row["url"]]
        order = np.argsort([-float(vectors[part] @ query) for part in parts], kind="stable")[:CHUNKS]
        text = "\n\n".join(parts[n] for n in sorted(order))
        cases.append(Case(Document(row["id"], text), _sample(row["question"], row["options"], row["answer_index"])))
    return cases + _numeric(folder, numeric, rng)


def exam_questions(folder: Path) -> list[str]:
    """Return the questions of MMLU's tests of biology: the bed's test set."""
    return [row["question"] for row in read(folder, "eval_bioqa") if row["source"].startswith("MMLU")]


def _sound(rows: list[dict[str, Any]], exam: Sequence[str], rng: random.Random) -> list[dict[str, Any]]:
    """Return rows in random order, without those that ask nothing, repeat another one, or have an exam's question."""
    found, texts = [], list[str]()
    exam = [utils.default_process(question) for question in exam if len(question) > LONG_ENOUGH]
    for row in rng.sample(rows, len(rows)):
        question = row["question"].rstrip()
        if question.endswith(".") and not question.endswith("_.") and "?" not in question:
            continue
        asked = utils.default_process(question)
        if process.extractOne(asked, exam, scorer=fuzz.partial_ratio, score_cutoff=DUPLICATE_THRESHOLD) is not None:
            continue
        text = utils.default_process(sample_json({key: row[key] for key in ("question", "options")}))
        if process.extractOne(text, texts, scorer=fuzz.token_set_ratio, score_cutoff=DUPLICATE_THRESHOLD) is None:
            found.append(row)
            texts.append(text)
    return found


def _numeric(folder: Path, count: int, rng: random.Random) -> list[Case]:
    documents = {row["id"]: row["text"] for row in read(folder, "corpus_wikipedia")}
    rows = [row for row in read(folder, "retrieval_squad") if row["doc_id"] in documents]
    rows = [
        row for row in rows if _NUMBER.fullmatch(row["answers"][0]) and row["answers"][0] in documents[row["doc_id"]]
    ]
    cases = []
    for row in rng.sample(rows, count):
        right = row["answers"][0]
        others = rng.sample([str(int(right) + step) for step in (-7, -3, -2, 2, 4, 9, 11)], 3)
        cases.append(Case(Document(row["id"], documents[row["doc_id"]]), _sample(row["question"], [right, *others], 0)))
    return cases


def _sample(question: str, options: Sequence[str], right: int) -> dict[str, Any]:
    labelled = [f"{letter}. {option}" for letter, option in zip("ABCD", options, strict=True)]
    return {"question": question, "options": labelled, "answer": "ABCD"[right]}


def planted(
    task: Task, good: Sequence[Case], bases: Sequence[Case], tests: Sequence[str], each: int, seed: int = 0
) -> list[Case]:
    """Return samples with one defect each.

    Args:
        task: gives the few-shots that are copied.
        good: the samples that are reworded; they must be checked before these.
        bases: other good samples, into which the defects are planted; the numeric ones last.
        tests: questions of a test set.
        each: how many of each kind; of wrong languages there are as many as are written here.
        seed: draws what is changed.
    """
    rng = random.Random(seed)
    words, numeric = list(bases[: -each or None]), list(bases[-each:])
    cases = []
    for n in range(each):
        donor = words[(n + len(words) // 2) % len(words)]
        cases.append(_changed(words[n], "ungrounded answer", with_right(words[n].fields, right_text(donor.fields))))
    for case in numeric:
        there = set(re.findall(r"\d+", case.document.text))
        wrong = next(o for o in case.fields["options"] if o[3:] not in there)
        cases.append(_changed(case, "wrong number", {**case.fields, "answer": wrong[0]}))
    for n in range(each):
        case = words[each + n]
        options = list(case.fields["options"])
        place = rng.choice([i for i in range(4) if "ABCD"[i] != case.fields["answer"]])
        options[place] = f"{'ABCD'[place]}. {_said_otherwise(right_text(case.fields), n)}"
        cases.append(_changed(case, "two right options", {**case.fields, "options": options}))
    for n in range(each):
        shot, case = task.few_shots[n % len(task.few_shots)], words[2 * each + n]
        question = str(shot.sample["question"])
        question = question if n % 2 else reworded(question, rng)
        cases.append(_changed(case, "copied few-shot", {**case.fields, "question": question}))
    for n in range(each):
        case = good[n]
        options = [option[3:] for option in case.fields["options"]]
        order = rng.sample(range(4), 4)
        right = order.index("ABCD".index(case.fields["answer"]))
        fields = _sample(reworded(case.fields["question"], rng), [options[i] for i in order], right)
        cases.append(_changed(case, "near-duplicate by rewording", fields))
    for n in range(each):
        case, question = words[3 * each + n], tests[n % len(tests)]
        question = question if n % 2 else reworded(question, rng)
        cases.append(_changed(case, "test-set question", {**case.fields, "question": question}))
    for n in range(each):
        case = words[4 * each + n]
        options = list(case.fields["options"])
        options[n % 4] = f"{'ABCD'[n % 4]}. {rng.choice(['', ' ', '...', '-', '____'])}"
        cases.append(_changed(case, "empty option", {**case.fields, "options": options}))
    for n in range(each):
        case = words[5 * each + n]
        answer = rng.choice(["E", "", "None of them", right_text(case.fields), "a"])
        cases.append(_changed(case, "answer not among options", {**case.fields, "answer": answer}))
    foreign = re.findall(r"^(\S.*)\n  (.*)\n  (.*)\n  (.*)\n  (.*)$", FOREIGN, re.MULTILINE)
    for n, (question, *options) in enumerate(foreign):
        cases.append(_changed(words[6 * each + n], "wrong language", _sample(question, options, n % 4)))
    for n in range(each):
        case = words[6 * each + len(foreign) + n]
        text = case.answer.text
        cut = text[: rng.randrange(10, len(text) - 1)]
        cases.append(replace(case, defect="truncated", text=cut, finish_reason="length" if n % 2 else "stop"))
    return cases


def _changed(case: Case, defect: str, fields: Mapping[str, Any]) -> Case:
    return Case(case.document, fields, defect)


def right_text(fields: Mapping[str, Any]) -> str:
    """Return the text of the right option."""
    return str(fields["options"]["ABCD".index(fields["answer"])][3:])


def with_right(fields: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Return a sample with another text as the right option."""
    options = [f"{o[0]}. {text}" if o[0] == fields["answer"] else o for o in fields["options"]]
    return {**fields, "options": options}


def _said_otherwise(text: str, number: int) -> str:
    """Say an option in other words: with an article, in the plural, with another case or order, or with more words."""
    ways = (
        f"the {text}", f"{text}s" if not text.endswith("s") else text[:-1], f"{text.upper()}.",
        " and ".join(reversed(text.split(" and "))) if " and " in text else f"mainly {text}", f"{text}, as a rule",
    )  # fmt: skip
    return ways[number % len(ways)]


FOREIGN = """
Welches Organell stellt in der Zelle den größten Teil des ATP her?
  der Zellkern
  das Mitochondrium
  das Ribosom
  der Golgi-Apparat
Wodurch unterscheiden sich Arterien von Venen?
  durch dickere Wände
  durch Klappen
  durch die Farbe
  durch nichts
Welche Aufgabe haben die roten Blutkörperchen?
  Abwehr von Keimen
  Transport von Sauerstoff
  Blutgerinnung
  Verdauung
Quel gaz les plantes absorbent-elles pendant la photosynthèse ?
  l'oxygène
  le dioxyde de carbone
  l'azote
  l'hélium
Quelle est la fonction principale du foie dans la digestion ?
  produire la bile
  absorber l'eau
  broyer les aliments
  stocker l'urine
Où se trouve l'information génétique d'une cellule eucaryote ?
  dans le noyau
  dans la membrane
  dans la paroi
  dans le cytosol
¿Qué parte de la planta absorbe el agua del suelo?
  las hojas
  las raíces
  las flores
  los frutos
¿Cuál es la función de los glóbulos blancos?
  transportar oxígeno
  defender el cuerpo
  coagular la sangre
  producir hormonas
¿Qué proceso divide una célula en dos células iguales?
  la meiosis
  la mitosis
  la fecundación
  la traducción
Quale organo produce l'insulina nel corpo umano?
  il fegato
  il pancreas
  lo stomaco
  il rene
In che cosa consiste la respirazione cellulare?
  nella produzione di energia
  nella divisione
  nel movimento
  nella crescita delle foglie
Quale molecola contiene le istruzioni per costruire le proteine?
  il glucosio
  il DNA
  l'acqua
  il colesterolo
Qual é a função dos ribossomos na célula?
  produzir energia
  sintetizar proteínas
  digerir resíduos
  armazenar água
Que animais respiram por brânquias durante toda a vida?
  os peixes
  as aves
  os répteis
  os mamíferos
Welk deel van het oog regelt hoeveel licht er binnenkomt?
  het hoornvlies
  de iris
  de lens
  het netvlies
Waar vindt de vertering van eiwitten voor het eerst plaats?
  in de mond
  in de maag
  in de dunne darm
  in de lever
Który narząd filtruje krew i wytwarza mocz?
  wątroba
  nerka
  serce
  płuco
Co jest głównym zadaniem chlorofilu w liściach?
  pochłanianie światła
  magazynowanie wody
  obrona
  transport soli
Vilket organ pumpar blodet genom kroppen?
  lungan
  hjärtat
  levern
  njuren
Vad händer med syret i kroppens celler?
  det används för energi
  det lagras i fett
  det blir till socker
  ingenting
"""
"""Questions of biology in eight languages, written for this bed, each with four options below it."""
