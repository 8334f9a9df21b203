r"""Which part of a response is its answer.

In this order:

1. the last box that is closed and not empty (`\boxed{…}`, `\fbox{…}`), with the boxes next to it: `\boxed{1} and
   \boxed{2}` is the list 1, 2;
2. what is **stated**, the last time: after `#### `, `the answer is`, `Answer:`, the heading `Final Answer` or
   `<answer>`, before `is the answer`, or bold on a line of its own. Formulas joined by commas or `and` belong
   together; else the clause counts;
3. the **conclusion**: a list of solutions, an item a line, that ends the text; else the last sentence with a value
   or with a conclusion in words (`no solution`, `Thursday`). There what is bold counts; else the last value behind a
   verb or a sign (`is`, `pays`, `a maximum of`, `=`, `:`); else the last value. A value is a formula, a number with
   its unit, an expression with a letter, or `x = …`. What explains a value is none: `at x = 3`, `for all $x > 0$`,
   `to finish 120 pages`, `which is $5 less than before`. Behind an implication (`⇒`) only what follows it counts.

Reasoning up to `</think>` is skipped, and so is a next `Problem:` that a response goes on with after an answer.
Everything is bounded, so that reading takes time linear in the text, whatever the text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from larpo_ir.tasks.math.boxes import BOX, MAX_LENGTH, beside, boxed, boxes
from larpo_ir.tasks.math.dollars import Span, formulas
from larpo_ir.tasks.math.phrases import Found, group, leads, tidy, value_of
from larpo_ir.tasks.math.quantities import NUMBER_WORDS

MAX_MARKS = 50  # from the end
MAX_SENTENCES = 200  # from the end, in which a conclusion is looked for

_MARK = re.compile(
    r"(?<!\#)\#{4}(?!\#)[ \t]*"
    r"|\banswer\b[*_ \t]*(?:(?:to|of|for|in|here|as|should|would|will|must|can|then|therefore)\b"
    r"(?!['’]t)(?:(?!\bnot\b|n['’]t\b)[^.:=\n]){0,60}?\b)?"
    r"(?:is|are|be|equals)\b(?! not\b|n't\b)[ \t]*:?[*_]*[ \t]*(?:(?:thus|therefore|then|simply|just|only|actually"
    r"|indeed|in fact|now|really|hence|clearly)\b[ \t]*)?"
    r"|(?<!/)(?<!per )\banswer[*_]*(?:[ \t]?\([^()\n]{0,40}\))?[*_ \t]*[:=][*_]*[ \t]*"
    r"|^[^\w\n]{0,10}(?:(?:the|final|correct)[ \t]){0,2}answer[^\w\n$\\-]{0,10}\n\s*"
    r"|<answer>\s*|\bcorrect (?:option|choice|statement)\b[ \t]*(?:is|:)[ \t]*:?[*_]*[ \t]*",
    re.IGNORECASE | re.MULTILINE,
)
_IS_THE_ANSWER = re.compile(
    r"\b(?:is|are)\s(?:the|our|my)\s(?:(?:final|correct|desired|required)\s)?answers?\b", re.IGNORECASE
)
_BOLD_LINE = re.compile(r"^[ \t>]{0,4}\*\*(?P<value>[^*\n]{1,300})\*\*[.!]?[ \t]*$", re.MULTILINE)
_CLAUSE_END = re.compile(
    r"(?<!\.)[.!?;](?=\s|\*|$|\})(?<![ap]\.m\.)|,?\s(?:because|since|so|which|where|as|when)\b"
    r"|,\s(?:not|and not|but|if|i\.e|that is|namely|or (?:about|approximately|roughly))\b"
    r"|(?<=[0-9%])\s\((?=[0-9][0-9 .+*/×·÷=−-]{2,60}\)[.!*]*$)"  # 7 (3 + 4)
    r"|\s\((?=(?:since|because|as|i\.e|after|from|or|approximately|about|rounded)\b)|</answer>|\s#|\\\\(?=\s|$)",
    re.IGNORECASE,
)
_NEXT = re.compile(
    r"^[ \t*#>]{0,8}(?:Problem|Question|Q|Human|User)\b[ \t*]{0,4}\d{0,3}[ \t*]{0,4}:"
    r"|<\|(?:im_end|im_start|eot_id|end)\|>",
    re.MULTILINE,
)
_SENTENCE_END = re.compile(r"(?<=[.!?])(?<!\b[A-Za-z]\.)[\"')*_]{0,4}\s+(?=[A-Z*$\\(\[\"'])|\n+")
_BOLD = re.compile(r"\*\*(?=\S)([^*\n]{1,300}?)\*\*|(?<!\w)__(?=\S)([^_\n]{1,300}?)__(?!\w)")
_ITEM = re.compile(r"\A\s*(?:[-*•]\s+|[0-9]{1,2}[.)]\s+)")
_LABEL = re.compile(r"(?i)\A[*_\s]*(?:step|part|case|question|problem|note|example|option|method|figure)\b")


# --- Statements ---------------------------------------------------------------------------------------------


_SAYS = ("is", "equals", "=", "must", "should")


def _stated(text: str, start: int, spans: Sequence[Span]) -> str | None:
    """The answer that a mark before `start` announces."""
    index = next((i for i, span in enumerate(spans) if span.start >= start), None)
    rest = text[start:].lstrip()[: MAX_LENGTH + 100].split("\n", 1)[0]
    if index is not None:
        between = text[start : spans[index].start]
        words = re.findall(r"[A-Za-z]+", between)
        # `the answer is thus $5$`: a formula that a few words lead to, rather than the words.
        if len(between) < 80 and len(words) <= 3 and not re.search(r"[0-9\\]|[.!?]\s", between):
            formula = group(text, spans, index)[0]
            letter = len(formula) == 1 and formula.isalpha()
            if not (letter and text[spans[index].end :][:20].lstrip().startswith(_SAYS)):
                return tidy(formula)
            found = value_of(rest, formulas(rest))  # `The value of $x$ is $4$`
            return found.answer if found else None
    end = _CLAUSE_END.search(rest)
    clause = rest[: end.start()] if end else rest
    answer = tidy(clause)
    if answer is None:
        return None
    if len(re.findall(r"[A-Za-z]{2,}", re.sub(r"\\[A-Za-z]+", " ", answer))) > 3:
        found = value_of(clause, formulas(clause))
        return found.answer if found else None
    return answer


# --- Conclusions --------------------------------------------------------------------------------------------


def _concluded(text: str, spans: Sequence[Span]) -> Found | None:
    if (listed := _itemized(text)) is not None:
        return listed
    sentences = _sentences(text, spans)
    for number, (start, end) in enumerate(reversed(sentences[-MAX_SENTENCES:])):
        item = _ITEM.match(text[start:end])
        start += item.end() if item else 0
        sentence = text[start:end]
        inner = [
            Span(span.start - start, span.end - start, span.inside)
            for span in spans
            if start <= span.start < end
        ]
        bolds = list(_BOLD.finditer(sentence))[::-1]
        # `pays **$10.80** for **24 apples**`: of several, the one that a verb leads to.
        for bold in sorted(bolds, key=lambda bold: not leads(sentence[: bold.start()])):
            inside = bold[1] or bold[2]
            if _LABEL.match(inside):
                continue
            # A formula within the emphasis, or the emphasis within a formula's neighbourhood, alike.
            value = value_of(inside, formulas(inside))
            if value is not None:
                answer = value.answer + ("" if "\\text" in value.answer else beside(sentence, bold.end()))
                return Found(answer, sentence[max(bold.start() - 120, 0) : bold.start()] + value.before)
            if number == 0 and not inner and len(inside.split()) <= 4 and not re.search(r"[:?]\s*$", inside):
                return Found(inside)
        found = _clause_in_words(sentence, inner) or value_of(sentence, inner)
        if found is None:
            found = _worded(sentence, last=number == 0, alone=len(sentences) == 1)
        if found is not None:
            return found
    return None


# --- Lists of solutions, and conclusions in words ---------------------------------------------------------------


_SEVERAL = re.compile(
    r"\b(?:solutions|roots|zeros|zeroes|values|answers|possibilities|pairs|numbers|integers|intercepts|points)\b"
    r"[^.:\n]{0,80}(?::|\bare)[ \t*:]*\n\s*+"
    r"(?P<items>(?:(?:[-*•]|[0-9]{1,2}[.)])[ \t]+[^\n]{1,200}(?:\n\s*+|\Z)){2,20})\Z",
    re.IGNORECASE,
)
_SAID = re.compile(
    r"(?:\b(?:is|are|has|have|be|equals)|[=:])\s+(?:an?\s|the\s)?(?P<words>(?:all\s(?:the\s)?real(?:s|\snumbers)"
    r"|no\s(?:real\s)?solutions?|infinitely\smany(?:\ssolutions)?|(?:negative\s|positive\s)?infinity|undefined|even|odd|neither|both|yes|no|true|false"
    r"|(?:strictly\s)?(?:in|de)creasing|(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day|January|February|March|April|May|June"
    r"|July|August|September|October|November|December))[*_.!\s]*\Z",
    re.IGNORECASE,
)
_OPTION = re.compile(r"\b(?:[Oo]ption|[Cc]hoice|[Aa]nswer)\s\(?(?P<words>[A-H])\)?\s(?:is|must be)\b")
_ALONE = re.compile(r"\W*(?P<words>yes|no|true|false|even|odd|none|no solution)\W*", re.IGNORECASE)
_NAME = re.compile(r"\b(?:is|was)\s+(?P<words>[A-Z][a-z]+)[*_.!\s]*\Z")
_COUNT = re.compile(
    rf"\b(?:is|are|has|have)\s+(?:exactly\s|only\s|a\stotal\sof\s)?"
    rf"(?P<words>(?:minus\s|negative\s)?(?:{'|'.join(NUMBER_WORDS)}))\b",
    re.IGNORECASE,
)
_CONCLUDES = re.compile(
    r"(?:so|thus|hence|therefore|in total|altogether|finally|we conclude)\b", re.IGNORECASE
)


def _itemized(text: str) -> Found | None:
    """`The solutions are:` and a list to the end of the text, an item each."""
    mark = _SEVERAL.search(text, max(len(text) - MAX_LENGTH, 0))
    if mark is None:
        return None
    items = [_ITEM.sub("", line).strip() for line in mark["items"].splitlines() if line.strip()]
    values = [value_of(item, formulas(item)) for item in items]
    answers = [value.answer for value in values if value is not None]
    return Found(", ".join(answers)) if len(answers) == len(items) else None


def _clause_in_words(sentence: str, spans: Sequence[Span]) -> Found | None:
    """Of `Since $100 = 98 + 2$, the day is Thursday.` the last clause, which no value is in."""
    said = _SAID.search(sentence)
    comma = sentence.rfind(", ", 0, said.start()) if said else -1
    clause = sentence[comma + 2 : said.start()] if said and comma >= 0 else ""
    in_formula = any(span.end > comma for span in spans) or re.search(r"[0-9\\]", clause)
    if said is None or not clause or in_formula or re.match(r"(?:which|that|and|it|they|so it)\b", clause):
        return None
    return Found(said["words"], sentence[: said.start()])


def _worded(sentence: str, *, last: bool, alone: bool) -> Found | None:
    """A conclusion without a number: `The range is all real numbers.`, `Thus there are twelve.`"""
    said = _SAID.search(sentence) or _OPTION.search(sentence)
    if said is None and alone:
        said = _ALONE.fullmatch(sentence.strip())
    if said is None and last and (alone or _CONCLUDES.match(sentence.lstrip(" *_>"))):
        said = _NAME.search(sentence) or _COUNT.search(sentence)
    return Found(said["words"], sentence[: said.start()]) if said else None


def _sentences(text: str, spans: Sequence[Span]) -> list[tuple[int, int]]:
    """Sentences and lines that hold something; a break within a formula is none."""
    found: list[tuple[int, int]] = []
    start, index = 0, 0
    for mark in _SENTENCE_END.finditer(text):
        while index < len(spans) and spans[index].end <= mark.start():
            index += 1
        if index < len(spans) and spans[index].start < mark.start() < spans[index].end:
            continue
        if text[start : mark.start()].strip():
            found.append((start, mark.start()))
        start = mark.end()
    if text[start:].strip():
        found.append((start, len(text)))
    return found


# --- All together -------------------------------------------------------------------------------------------


def find(text: str | None) -> Found | None:
    """The final answer of a response with the words before it; None without one."""
    if not isinstance(text, str):
        return None
    text = text.rpartition("</think>")[2] or text
    text = text[: _next_problem(text)]
    found = boxes(text)
    if found and (answer := tidy(boxed(text) or "")):
        return Found(answer, _sentence_before(text, found[0].start))
    spans = formulas(text)
    marks = sorted(
        (mark for pattern in (_MARK, _IS_THE_ANSWER, _BOLD_LINE) for mark in pattern.finditer(text)),
        key=lambda mark: mark.end(),
    )
    for mark in reversed(marks[-MAX_MARKS:]):
        announced = _announced(text, mark, spans)
        if announced is not None and len(announced.answer) <= MAX_LENGTH:
            return announced
    return _concluded(text, spans)


def _announced(text: str, mark: re.Match[str], spans: Sequence[Span]) -> Found | None:
    """The answer that a mark announces: before it, in it, or behind it."""
    if mark.re is _IS_THE_ANSWER:
        start = max(
            (end.end() for end in _SENTENCE_END.finditer(text, max(mark.start() - 400, 0), mark.start())),
            default=0,
        )
        sentence = text[start : mark.start()]
        return value_of(sentence, formulas(sentence))
    if mark.re is _BOLD_LINE:
        return value_of(mark["value"], formulas(mark["value"])) if not _LABEL.match(mark["value"]) else None
    stated = _stated(text, mark.end(), spans)
    return Found(stated, _sentence_before(text, mark.start()) + mark[0]) if stated else None


def _next_problem(text: str) -> int:
    """Where a response that has answered goes on with another problem."""
    answered = [mark.start() for pattern in (_MARK, BOX) if (mark := pattern.search(text)) is not None]
    following = _NEXT.search(text, min(answered)) if answered else None
    return following.start() if following is not None else len(text)


def _sentence_before(text: str, start: int) -> str:
    return re.split(r"(?<=[.!?])\s|\n\s*\n", text[max(start - 160, 0) : start])[-1]


def extract_answer(text: str | None) -> str | None:
    r"""The final answer of a response or solution, as it is written, without the `$` around it; None without one.

    The module's docstring tells which part counts. Text that is not a string (a missing value) has no answer.

    >>> extract_answer(r"So $x = 3$, and the area is \boxed{\frac{9}{2}\pi}.")
    '\\frac{9}{2}\\pi'
    >>> [extract_answer(t) for t in [r"The answer is $\{1, 2\}$.", "Hence the sum is $1 + 4 = 5$", "no idea"]]
    ['\\{1, 2\\}', '5', None]
    >>> extract_answer("Savings = $324 - $288 = **$36**"), extract_answer(r"\boxed{1} and \boxed{2}")
    ('$36', '1, 2')
    """
    found = find(text)
    return found.answer.strip() or None if found else None
