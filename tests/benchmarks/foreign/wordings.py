"""Words of the foreign bed. The checks must see the kind: nothing of this may be copied into them."""

from __future__ import annotations

LEANING = {
    "its author": [
        ("According to the author,", ""),
        ("", "in the view of the writer"),
        ("As the authors point out,", ""),
        ("In the author's opinion,", ""),
        ("", "according to the speaker"),
        ("The researchers state the following;", ""),
    ],
    "a study": [
        ("In this study,", ""),
        ("", "in the present study"),
        ("Based on the findings of the paper,", ""),
        ("", "as reported in this article"),
        ("In the experiment described,", ""),
        ("", "in the trial that was reported"),
    ],
    "a text": [
        ("Based on the excerpt,", ""),
        ("From the information given,", ""),
        ("", "as stated in the chapter"),
        ("According to the provided material,", ""),
        ("", "in the extract"),
        ("As explained in the lecture,", ""),
        ("", "mentioned in the blog post"),
        ("In the story,", ""),
        ("Per the section on this topic,", ""),
        ("", "according to this web page"),
    ],
    "something above": [
        ("Considering the passage above,", ""),
        ("", "as described above"),
        ("With regard to the preceding paragraph,", ""),
        ("", "from the list above"),
        ("Given the aforementioned facts,", ""),
        ("", "in the figure below"),
    ],
    "a person described elsewhere": [
        ("For the patient described above,", ""),
        ("", "in the patient mentioned"),
        ("In this patient's case,", ""),
        ("", "for the man in the vignette"),
        ("Regarding the case presented,", ""),
    ],
}
"""Words that are put before a question, or behind it."""

MENUS = [
    "Home | Products | Support | Contact",
    "This site uses cookies. OK",
    "Click here to subscribe to our newsletter",
    "Share on Facebook Tweet Pin it",
    "Skip to main content",
    "Read more »",
    "© 2019 Example Media Ltd. All rights reserved.",
    "You might also like: 10 tips for spring",
    "Log in or sign up to leave a comment",
    "Advertisement",
    "Previous post: A walk in the hills",
    "Accept all cookies",
    "Jump to navigation",
    "Follow us on Instagram for more",
    "Posted in News by admin on May 3, 2018",
    "Terms of Service - Privacy Policy",
    "Print this page | E-mail to a friend",
]

PREFACES = {
    "question": [
        "Here is a multiple-choice question based on the text:",
        "Question:",
        "Sure, here's a question for you:",
        "Multiple choice question 1:",
        "Q:",
        "Generated question:",
        "Of course! Below is the question you asked for:",
        "Question (medium difficulty):",
        "1.",
    ],
    "summary": [
        "Here is a summary of the text:",
        "Sure! Here's a short summary.",
        "Summary:",
        "TL;DR summary as requested:",
        "Certainly, below is the summary you asked for:",
        "I have summarized the text in three sentences:",
        "Okay, this is my summary:",
    ],
}
"""Words about the task, by field."""

PLACEHOLDERS = [
    "Incorrect answer {n}",
    "Option {letter}",
    "[insert a wrong option]",
    "Wrong option {n}",
    "Distractor {n}",
    "Plausible but false answer",
    "<option {n}>",
    "Answer {letter}",
    "(incorrect)",
    "Choice {n}",
    "None given",
    "TBD",
]

CONTACTS = [
    "Write to jane.miller@example.org.",
    "Call 212-736-5000 for more.",
    "Contact: info@clinic-example.com",
    "Tel. +44 20 7946 0958",
    "(415) 392-8000",
    "Mail your questions to editor@example.co.uk today.",
]

FOREIGN_OPTIONS = [
    [
        "die Zellwand der Pflanzen",
        "eine Entzündung der Leber",
        "durch den Verlust von Wasser",
        "das Herz und die Lunge",
    ],
    ["la paroi des cellules", "une maladie du foie", "par la perte d'eau", "le cœur et les poumons"],
    ["la pared de las células", "una enfermedad del hígado", "por la pérdida de agua", "el corazón y los pulmones"],
    ["la parete delle cellule", "una malattia del fegato", "con la perdita di acqua", "il cuore e i polmoni"],
    ["a parede das células", "uma doença do fígado", "pela perda de água", "o coração e os pulmões"],
    ["de wand van de cellen", "een ziekte van de lever", "door het verlies van water", "het hart en de longen"],
    ["ściana komórki roślinnej", "choroba wątroby", "przez utratę wody", "serce i płuca"],
    ["växternas cellvägg och kärna", "en sjukdom i levern", "genom att vatten går förlorat", "hjärtat och lungorna"],
]

OTHER_REQUESTS = [
    "Translate this text into Spanish.",
    "Write a recipe for a chocolate cake.",
    "Write five quiz questions about the text.",
    "Which keywords describe the text?",
    "Write a poem about the ocean.",
    "Correct the spelling mistakes in this text.",
    "Is the tone of this text positive or negative?",
    "Give me the e-mail address of the author.",
    "Continue the story where it ends.",
    "Explain how to change a tyre.",
]
"""Requests that a summary does not answer."""

SUMMARIES_ABROAD = [
    "Der Text beschreibt, wie sich die Lage in den letzten Jahren verändert hat, nennt die "
    "wichtigsten Gründe dafür und schlägt am Ende mehrere Maßnahmen vor.",
    "Le texte explique comment la situation a changé au cours des dernières années, en donne les "
    "principales raisons et propose pour finir plusieurs mesures.",
    "El texto explica cómo ha cambiado la situación en los últimos años, da las principales razones "
    "y propone al final varias medidas para mejorarla.",
    "Il testo spiega come è cambiata la situazione negli ultimi anni, ne indica le ragioni "
    "principali e propone infine diverse misure per migliorarla.",
    "De tekst beschrijft hoe de toestand in de laatste jaren is veranderd, noemt de belangrijkste "
    "redenen daarvoor en stelt aan het einde maatregelen voor.",
]
