r"""The number of a text that is its answer: behind the strongest mark, or, without a mark, by its place."""

from __future__ import annotations

import re
from fractions import Fraction

from larpo_ir.tasks.gsm8k.circumstances import Numbers, answering, is_result, says_it_again, without_asides
from larpo_ir.tasks.gsm8k.numerals import NUMBER, NUMBER_AHEAD, OPERATOR, chain, number, resolve
from larpo_ir.tasks.gsm8k.spelling import grouped, plain

_LEAD = (  # what may stand between a mark and its number
    r"(?:[\s*_`\"'“”‘’«„‹(\[{:=≈$\\>|+—]"
    r"|(?:about|around|approximately|roughly|exactly|simply|just|only|thus|therefore|equal to|a total of)\b)*+"
)
_LINE_LEAD = _LEAD.replace(r"\s", r" \t")
_NOT_A_STEP = r"(?![0-9]{1,2}+[.):][ \t]+\S)"  # `#### 1. First, ...` is a heading
_NOT_REASONING = rf"(?!{NUMBER}[ \t)%]*+{OPERATOR}[ \t($]*+[0-9])"  # `Answer: 16 - 3 = 13 eggs, then ...`
_ANSWER = r"(?<!to )\banswer\b[*_\"'`]{0,4}"  # the noun: `To answer this, ...` announces no number

_MARKS = (  # strongest level first; within a level, the last occurrence counts
    (
        rf"(?<!\#)\#{{4,}}+{_LEAD}{_NOT_A_STEP}",  # #### 18
        r"\\f?box(?:ed)?\s{0,5}(?:\{[^}0-9\n]{0,80}?|(?=[0-9]))",  # \boxed{18}, \boxed{x = 5}, \boxed5
        r"(?:\x08|\bb)oxed\s{0,5}\{[^}0-9\n]{0,80}?",  # where the backslash was lost, or read as \b
        rf"<(?:final[ _-]?)?ans(?:wer)?>{_LEAD}",  # <answer>18</answer>
    ),
    (
        # The (final) answer (to the question) is 18
        rf"{_ANSWER}(?:,? (?:to|for|of|in|here|so|should|would|will|must|then|therefore|thus)\b"
        rf"(?:(?!not\b|n't)[^.:=0-9\n]){{0,60}}?)?,? (?:is|are|be|equals)\b{_LEAD}",
        # Answer: 18 | Answer (in dollars): 18
        rf"{_ANSWER} ?(?:\([^()\n]{{0,40}}\)|in [a-z]{{1,20}})?[*_\"'` ]{{0,4}}[:=]{_LINE_LEAD}{_NOT_REASONING}",
        # **Final Answer** as a heading, the number below it
        r"^[^\w\n]{0,10}(?:(?:the|final|correct) ){0,2}answer[^\w\n]{0,10}\n"
        rf"{_LEAD}{_NOT_A_STEP}{_NOT_REASONING}",
        rf"(?:^[^\w\n]{{0,10}}|[.?!]\s{{1,3}})A:{_LINE_LEAD}{_NOT_REASONING}",  # A: 18
    ),
)
_marks = [
    re.compile(f"(?:{'|'.join(level)}){NUMBER_AHEAD}", re.IGNORECASE | re.MULTILINE) for level in _MARKS
]
# `Final answer: It takes Mary 45 minutes.`, `Answer: Tom has 12.` behind reasoning: a sentence that answers
_sentence_announced = re.compile(
    r"^[^\w\n]{0,10}(?:the |correct )?(?P<final>final )?answer[*_]{0,4}"
    r"(?::[*_ \t]{0,6}\n?|[*_ \t]{0,6}\n)\s{0,3}(?=(?P<said>[^\n]+))",
    re.IGNORECASE | re.MULTILINE,
)
_bold = re.compile(
    rf"\*\*(?=\S)[$(\[{{\\ :=≈+_`\"'“‘]{{0,9}}{NUMBER_AHEAD}(?=(?:[^*\n]|\*(?!\*)){{1,60}}\*\*)"
)
# `x - ` of \boxed{x - 3}, `√{` of \boxed{\sqrt{25}}
_left_to_compute = re.compile(r"ox(?:ed)?\s{0,5}\{.*(?:[\w)}\]] ?[-+*/^]|[√±][-({\[]?)\s?\Z")
_list_item = re.compile(r"^[ \t>*#-]{0,8}[0-9]{1,2}[.)][ \t]+(?=[^\W0-9]|[*\"'$\\(])", re.MULTILINE)
_denying = re.compile(
    r"(?:\bnot|n['’]t|\brather than|\binstead of)\s[$(*]{0,3}\Z", re.IGNORECASE
)  # 18, not 20
_words = r"(?:[ \t]*+(?!(?:because|since|as|when|if|where|with|for|and|so|or)\b)[A-Za-z]{1,20}+[ \t]*+){0,4}+"
_step = re.compile(
    r"[^\w\n]{0,6}(?:[0-9]{1,2}[.):] |step\b|first\b|to (?:find|get|solve)\b|let)", re.IGNORECASE
)
_calculation = re.compile(
    rf"{_words}(?:[-+*/] ?[($]{{0,2}}(?:{NUMBER}|[A-Za-z]{{1,20}}+){_words}\)?[ \t]*+){{1,9}}+"
    rf"=[ \t$(*]*{NUMBER_AHEAD}"
)
_sentence_end = re.compile(r"[.!?][)\"'”*]*(?=\s)|\n")
_clause_end = re.compile(r"[.!?;,](?=\s)|\n")
_next_question = re.compile(
    r"^[ \t*#>]{0,8}(?:(?:Q|Question|Human|User)[ \t*]{0,4}:|Instruction\b)"
    r"|(?<!\w)Q:|</s>|\[INST\]|<\|(?:im_start|im_end|eot_id|end|endoftext|user|start_header_id)\|>",
    re.MULTILINE,
)
_next_example = re.compile(  # after an answer that is marked
    r"^[ \t*#>]{0,8}(?:Problem|Example|Exercise|Task)(?: #?[0-9]{1,3})?[ \t*]{0,4}[:.]",
    re.MULTILINE | re.IGNORECASE,
)

_offer = re.compile(  # "Let me know if you want any of the 3 steps explained!"
    r"^[ \t*_]{0,4}(?:let me know|feel free|(?:I )?hope (?:this|that) helps"
    r"|if you(?:'d| have| need| want| would| like)|(?:would|do) you (?:like|want|need)|is there anything)\b"
    r"|^[ \t(*_]{0,4}(?:note|remark)[*_]{0,3}:[^\n]{0,400}\s*\Z",
    re.IGNORECASE | re.MULTILINE,
)


def _own_answer(text: str) -> str:
    """The text up to where it turns to another question, or offers more help, after it has answered this one."""
    mark = min((mark.end() for level in _marks if (mark := level.search(text))), default=len(text))
    example = _next_example.search(text, mark)
    text = text[: example.start()] if example else text
    question = _next_question.search(text)
    if question and not number.search(text, 0, question.start()):  # it restates its own question first
        question = _next_question.search(text, mark)
    text = text[: question.start()] if question else text
    offer = _last(_offer, text)
    return text[: offer.start()] if offer and number.search(text, 0, offer.start()) else text


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    match = None
    for match in pattern.finditer(text):  # noqa: B007
        pass
    return match


def read(text: str) -> Fraction | None:
    """The final answer of a text as an exact number; None when it has none."""
    text = plain(text)
    reasoning, _, rest = text.rpartition("</think>")
    text = _own_answer(rest if reasoning and number.search(rest) else text)
    for level in _marks:
        if mark := _last(level, text):
            return None if _left_to_compute.search(mark[0]) else _announced(*grouped(text, mark.end()))
    if said := _last(_sentence_announced, text):
        concludes = said["final"] or number.search(text, 0, said.start())
        if concludes and number.search(said["said"]) and not _step.match(said["said"]):
            return _unmarked(said["said"])
    without_items = _list_item.sub("", text)
    return _unmarked(without_items if number.search(without_items) else text)


def _announced(text: str, start: int) -> Fraction | None:
    """The number at a place, or the result of what begins there: `250 small cups + 120 large cups = 370 cups`."""
    found = chain.match(text, start)
    if found and "=" not in found[0] and (rest := _calculation.match(text, found.end())):
        return resolve(chain.match(text, rest.end()))
    return resolve(found)


def _denied(text: str, start: int) -> bool:
    return _denying.search(text, max(start - 20, 0), start) is not None


def _unmarked(text: str) -> Fraction | None:
    """The last number of a text, save that a bold number of its line or an equation of its clause comes first."""
    chains = _chains(text)
    if chains and (said := without_asides(text, chains[0].end())) != text:
        text, chains = said, _chains(said)
    if not chains:
        return None
    chains = [found for found in chains if not _denied(text, found.start())] or chains
    if bold := _last(_bold, _line_of(text, chains[-1])):
        return resolve(chain.match(bold.string, bold.end()))
    sentence = _from_boundary(_sentence_end, text, chains, chains[-1])
    last = answering(text, sentence)
    if says_it_again(text, last):
        return resolve(last)
    clause = _from_boundary(_clause_end, text, sentence, last)
    equations = [found for found in clause if found.end() <= last.end() and is_result(text, found)]
    return next((v for found in reversed(equations) if (v := resolve(found)) is not None), resolve(last))


def _line_of(text: str, found: re.Match[str]) -> str:
    end = text.find("\n", found.end())
    return text[text.rfind("\n", 0, found.start()) + 1 : end if end >= 0 else len(text)]


def _from_boundary(
    boundary: re.Pattern[str], text: str, chains: Numbers, last: re.Match[str]
) -> list[re.Match[str]]:
    """Those that begin behind the last boundary before `last`."""
    begun = _last(boundary, text[: last.start()])
    return [found for found in chains if begun is None or found.start() >= begun.end()]


def _chains(text: str) -> list[re.Match[str]]:
    """The numbers and equations of a text, up to the last that has a value."""
    chains = list(chain.finditer(text))
    while chains and resolve(chains[-1]) is None:
        chains.pop()
    return chains
