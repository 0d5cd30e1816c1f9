"""Is there something in a text that is no part of it: markup, lines of a page around it, words about the task?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html.entities import html5

from craft_hf.base import personal_data_in

_HTML = (
    r"(?:abbr|a|article|aside|audio|blockquote|body|br|button|b|caption|center|cite|code|col|dd|del|div|dl|dt|em|figure|"
    r"font|footer|form|h[1-6]|head|header|hr|html|iframe|img|input|ins|i|label|link|li|main|meta|nav|ol|option|pre|p|q|ref|"
    r"script|section|select|small|span|strong|style|sub|sup|svg|s|table|tbody|td|textarea|tfoot|thead|th|title|tr|ul|u|"
    r"video)"
)
_TAG = re.compile(
    rf"<(?:/{_HTML}|{_HTML}(?:\s+[\w:-]+\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s<>\"']+))*\s*/?|!--)\s*>?", re.IGNORECASE
)
_TAG_END = re.compile(r">|--")
_ENTITY = re.compile(r"&(#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_WIKI = re.compile(
    r"\[\[[^\[\]\n]+\]\]|(?<!['\w])'{2,3}(?=[^\W\d_])[^'\n]{1,80}'{2,3}(?![-'\w])|"
    r"\{\{[^{}\n]+\}\}|(?m:^={2,} ?\w.*={2,}\s*$)"
)
_MARKDOWN = re.compile(
    r"\]\([^()\s]+\)|(?<![*\w])\*{2,3}(?=[^\s*])[^*\n]+\*{2,3}|(?<![_\w])__(?=[^\s_])[^_\n]+[^\s_]__(?![_\w])|"
    r"(?<!`)`[^`\n]+`(?!`)|(?m:^\s{0,3}#{1,6} \S)|```"
)
_ADDRESS = re.compile(r"\bhttps?://\S|\bwww\.\w+\.\w")

_SEPARATED = re.compile(r"\s(\||·|•|›|»|>|/|—|–|-)\s")
_CONTROL = re.compile(
    r"\bcookies?\b.{0,40}\b(?:accept|agree|settings|polic)|\b(?:accept|reject|allow) (?:all )?cookies\W*$|"
    r"\b(?:we|(?:web)?sites?|pages?) uses? cookies\b|\buse of cookies\b|"
    r"\ball rights reserved\b|©\s*\w|\bcopyright\s*(?:©|\(c\)|\d{4})|\(c\)\s*\d{4}\b|"
    r"^(?:please )?(?:click|tap) (?:here\b|on (?:the|this|an?) (?:link|button|image|icon|picture|photo|banner)\b)|"
    r"^(?:please )?(?:(?:sign up|subscribe)\b|register (?:now|here|today|to)\b)|\b(?:sign up|"
    r"subscribe) (?:to|for) (?:our|my)\b|"
    r"\b(?:log|sign) ?in\b.{0,20}\b(?:or|to|sign|register)\b|^(?:skip|jump|back|return) to (?:the )?(?:main|"
    r"content|top|navigation|menu|home)|"
    r"\b(?:share|tweet|pin|like (?:us|this|our))\b.{0,20}\b(?:facebook|twitter|whatsapp|pinterest|linkedin|"
    r"reddit|page|post|article)\b|"
    r"\bfollow (?:us|me) on\b|^read more\b|^(?:learn|see|show|find out|load|view) more\W*\w*\W*$|^(?:continue|"
    r"keep) reading\b|"
    r"\b(?:privacy policy|terms (?:of|and) (?:use|service|conditions)|cookie policy|sitemap)\b|"
    r"\b(?:you (?:might|may) also (?:like|enjoy|be interested))|^(?:related|recommended|popular|recent|latest|"
    r"next|previous|older|newer)"
    r" (?:posts?|articles?|stor(?:y|ies)|links?|pages?|reading|entr(?:y|ies))\b|^advertisements?$|^sponsored\b|"
    r"^(?:posted|published|filed|tagged|written|updated) (?:in|by|on|under|at)\b|^(?:leave|post|write|add) a "
    r"(?:comment|reply)\b|"
    r"^\d+ (?:comments?|shares?|likes?|views?|min(?:ute)?s? read)\b|^(?:print|e-?mail|save|bookmark) (?:this|"
    r"article|page|recipe)\b",
    re.IGNORECASE,
)
"""Lines by which pages are used, or which stand around their text."""

_MOST_WORDS = 14
"""Words of a line of a page around its text, at most."""

_LEAST_PARTS = 3
"""Parts of a menu at least, and the words that each has at most."""
_MOST_OF_PART = 3
_NAME = re.compile(r"[A-Z][\w'’&-]*(?: [\w'’&-]+){0,2}")

_TASK_NOUN = (
    r"(?:multiple[- ]choice|yes[/-](?:or[- ])?no|true[/-]false)|questions?|quiz|statements?|summar(?:y|ies)|"
    r"tl;?dr|synopsis|recipes?|"
    r"requests?|prompts?|samples?|json|output|response|ingredients?|options?"
)
_KIND = (
    r"(?:the|your|my|this|new|short|brief|generated|multiple|choice|yes|no|true|false|easy|medium|hard|final|example|"
    r"suggested|exam|test)"
)
_PREFACE = re.compile(
    rf"^\W*(?:(?:sure|certainly|of course|okay|ok|absolutely|great|alright|gladly|no problem|yes)\b[^\w\n]{{1,3}}"
    rf"(?=[^\n]{{0,120}}\b(?:{_TASK_NOUN})\b)|"
    rf"(?:here(?:['’]s| is| are)|below (?:is|are))\b[^\n:.!?]{{0,80}}\b(?:{_TASK_NOUN})\b[^\n:.!?]{{0,60}}[:.!]|"
    rf"(?:this|that|the following) (?:is|are|was|will be)\b[^\n:.!?]{{0,80}}\b(?:{_TASK_NOUN})\b[^\n:.!?]{{0,60}}:|"
    rf"i(?:['’]ve| have)? (?:summari[sz]ed|written|wrote|created|made|generated|prepared|come up with)\b"
    rf"(?=[^\n.!?]{{0,60}}\b(?:{_TASK_NOUN}|text|article|passage|document)\b)|"
    rf"(?:{_KIND}[- ]){{0,3}}(?:question|q|summary|tl;?dr|statement|answer|title|instruction|request|prompt|output|"
    rf"response|recipe|step)\b(?:\s+(?!(?:of|to|an?|the|from|in|on|for)\b)[\w#()-]+){{0,4}}\s*:|"
    rf"(?P<number>(?:(?:question|q|step|item)\s*#?\d{{1,2}}\s*[.):]|#?\d{{1,2}}\s*[.)])(?=\s+\D)))",
    re.IGNORECASE,
)
_SECOND = re.compile(r"\b2[.):]\s")
_TASK_WORD = re.compile(
    r"(?:in)?correct|wrong|right|false|true|bad|good|plausible|implausible|distract(?:or|er|ors|ers)|options?|"
    r"answers?|choices?|alternatives?|"
    r"placeholders?|insert|fill|tbd|todo|n|a|b|c|d|e|f|an|the|or|but|and|your|here|goes|another|other|possible|first|"
    r"second|third|fourth|one|two|three|four|\d+|text|lorem|ipsum|more|of",
    re.IGNORECASE,
)
_SAYS_TASK = re.compile(
    r"distract|option|answer|choice|alternative|placeholder|insert|fill|your|here|tbd|todo|lorem", re.IGNORECASE
)
_BRACKETED = re.compile(r"\s*(?:\[[^\[\]]*\]|<[^<>]*>|\{[^{}]*\})\W*")
_WORD = re.compile(r"\w+")


def residue_in(text: str, language: str) -> str:
    """Say what in a text of a few sentences is no part of it; "" for nothing.

    Args:
        text: a question, an option, a step, a summary.
        language: ISO 639-1 code. Lines of pages and words about the task are known in English alone.
    """
    found = _html_in(text) or _markup_in(text) or addresses_in(text)
    return found if found or language != "en" else page_lines_in(text) or words_on_task_in(text)


def residue_of_page_in(text: str, language: str) -> str:
    """Say what in a text of any length belongs to the page that it is from; "" for nothing."""
    return _html_in(text) or (page_lines_in(text) if language == "en" else "")


def _html_in(text: str) -> str:
    tags = "<" in text and any(_TAG_END.search(match[0]) for match in _TAG.finditer(text))
    entities = "&" in text and any(f"{m[1]};" in html5 or m[1][0] == "#" for m in _ENTITY.finditer(text))
    return "has HTML in it" if tags or entities else ""


def _markup_in(text: str) -> str:
    if _WIKI.search(text):
        return "has wiki markup in it"
    return "has Markdown in it" if _MARKDOWN.search(text) else ""


def addresses_in(text: str) -> str:
    """Say whether a text has an address by which somebody or something is reached; "" if not."""
    if _ADDRESS.search(text):
        return "has a web address in it"
    kinds = {kind for _, _, kind in personal_data_in(text)}
    return "has an e-mail address or a phone number in it" if kinds & {"e-mail", "phone"} else ""


def page_lines_in(text: str) -> str:
    """Say whether a line of a text belongs to the page around it; "" if none does."""
    lines = text.split("\n")
    in_table = "|" in text and sum(line.count(" | ") > 0 for line in lines) > 1
    found = any(_is_control(line) or (not in_table and _is_menu(line)) for line in lines)
    return "has a menu or a line of a web page in it" if found else ""


def words_on_task_in(text: str) -> str:
    """Say whether a text begins with words about the task; "" if not."""
    match = _PREFACE.match(text)
    is_list = match and match["number"] and _SECOND.search(text)
    return "begins with words about the task" if match and not is_list else ""


def is_placeholder(option: str) -> bool:
    """Whether an option says nothing but that it is one."""
    if _BRACKETED.fullmatch(option):
        return bool(_SAYS_TASK.search(option))
    words = _WORD.findall(option)
    only = bool(words) and all(_TASK_WORD.fullmatch(word) for word in words)
    in_brackets = re.fullmatch(r"\s*[\[(<{].*[\])>}]\s*", option) and any(
        word.isalpha() for word in words if len(word) > 1
    )
    return only and bool(_SAYS_TASK.search(option) or in_brackets)


def _is_control(line: str) -> bool:
    line = line.strip(" \t*-•|")
    return len(line.split()) <= _MOST_WORDS and not line.endswith("?") and bool(_CONTROL.search(line))


def _is_menu(line: str) -> bool:
    """Whether a line is a row of names, each of a few words that begin with a capital."""
    found = _SEPARATED.split(line.strip(" \t*-•|"))
    parts, often = [part.strip() for part in found[::2]], {*found[1::2]} & {*"|·•›»"}
    return len(parts) >= _LEAST_PARTS + (not often) and all(map(_NAME.fullmatch, parts))


def is_list_of_links(text: str) -> bool:
    """Whether a text is a menu: short names in a row, and no sentence."""
    if text.rstrip().endswith("?") or any(map(str.isdigit, text)):  # findings, values: of a question
        return False
    parts: Sequence[str] = [part for part in re.split(r"\s[|·•›»>]\s|\n", text) if part.strip()]
    return len(parts) > _LEAST_PARTS and sum(len(part.split()) <= _MOST_OF_PART for part in parts) > 0.8 * len(parts)
