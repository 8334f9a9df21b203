"""MixEval: items as topics; what responses are read as, by rules and by a model behind a (real, local) server."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from larpo_ir.data.records import read_records
from larpo_ir.tasks.mixeval import (
    FREE_FORM,
    MULTIPLE_CHOICE,
    answers_with,
    chosen_option,
    load,
    read_responses,
    score,
)

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "mixeval"

CAPITAL = {
    "problem_type": FREE_FORM,
    "context": None,
    "prompt": "What is the capital of Peru?",
    "target": ["Lima", "Lima, Peru"],
    "benchmark_name": "TriviaQA",
}
PLANET = {
    "problem_type": MULTIPLE_CHOICE,
    "context": "There are eight planets.",
    "prompt": "Which is the largest?",
    "options": ["Mars", "Jupiter", "Venus"],
    "target": [1],
    "benchmark_name": "MMLU",
}


def write(path: Path, items: object) -> Path:
    path.write_text(items if isinstance(items, str) else json.dumps(items))
    return path


def topics_of(tmp_path: Path, **items: dict) -> pd.DataFrame:
    return load(write(tmp_path / "items.json", items))


# Items


def test_items_become_topics(tmp_path):
    write(tmp_path / "free-form.json", {"0": CAPITAL})
    write(tmp_path / "multiple-choice.json", {"0": PLANET})
    free, choice = load(tmp_path).to_dict("records")
    assert (free["qid"], free["gold"], free["targets"]) == ("free-form-0", "Lima", ["Lima", "Lima, Peru"])
    assert free["query"].startswith("What is the capital of Peru?\n\n")
    assert (choice["qid"], choice["gold"], choice["benchmark"]) == ("multiple-choice-0", "B", "MMLU")
    expected = "There are eight planets.\n\nWhich is the largest?\n\nA. Mars\nB. Jupiter\nC. Venus\n\n"
    assert choice["query"].startswith(expected)


def test_options_with_letters_of_their_own_are_put_in_order(tmp_path):
    item = {**PLANET, "options": ["(A)Mars", "(C)Venus", "(B)Jupiter"]}
    topic = topics_of(tmp_path, x=item).iloc[0]
    assert topic["options"] == ["Mars", "Jupiter", "Venus"]
    assert topic["gold"] == "B"


BAD = {
    "no prompt": ({**CAPITAL, "prompt": None}, "item 'x' has no text under `prompt`"),
    "no target": ({**CAPITAL, "target": []}, "item 'x' has no list of answers under `target`"),
    "no options": ({**PLANET, "options": None}, "item 'x' has no list of 2 to 26 `options`"),
    "no such option": ({**PLANET, "target": [3]}, r"the target \[3\] is not the number, from 0, of one of 3"),
    "no such type": (
        {**PLANET, "problem_type": "essay"},
        "problem_type 'essay'; choose one of free-form, mul",
    ),
    "no object": ("Lima", "item 'x' is no object"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_items_are_named(tmp_path, case):
    item, message = BAD[case]
    with pytest.raises(ValueError, match=rf"items\.json: .*{message}"):
        topics_of(tmp_path, x=item)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"items\.json:1: malformed JSON"),
        ('{"0": \n{]', r"items\.json:2: malformed JSON"),
        ("[]", r"items\.json: expected one object"),
        ("{}", r"items\.json: no items there"),
    ],
)
def test_bad_files(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        load(write(tmp_path / "items.json", content))


def test_a_folder_without_items(tmp_path):
    with pytest.raises(ValueError, match="no items there"):
        load(tmp_path)


# Which option was chosen

OPTIONS = ["30", "40", "33", "52"]
CHOICES = [
    ("B", "B"),
    ("b.", "B"),
    ("(B)", "B"),
    ("**B**", "B"),
    ("B.\n\nIt is 40, as A is too small.", "B"),
    ("**D. 52**", "D"),
    ("C) 33", "C"),
    ("B\n\n**Explanation:**\nFrom M to N there are 3 choices.", "B"),
    ("The answer is C", "C"),
    ("Answer: (D) 52", "D"),
    ("**Answer:** B", "B"),
    ("The correct option is:\n\n**B. 40**", "B"),
    ("The best answer is B, though A is close.", "B"),
    ("Is the answer is A? No: the answer is D.", "D"),
    ("Let us see. A is wrong. B is wrong. So the correct answer is **C**.", "C"),
    ("Option A is wrong; option C is right.", "C"),
    (r"So $\boxed{C}$", "C"),
    (r"\boxed{\text{B}}", "B"),
    ('{"answer": "B"}', "B"),
    ("<think>It may be A.</think>D", "D"),
    ("A) 30\nB) 40\nThe correct one: B", "B"),
    ("Some reasoning first.\n\nC", "C"),
    ("33", "C"),
    ("He was 33 years old.", "C"),
    ("I think it's option B because he was young.", "B"),
    # nothing is guessed
    ("It is either (A) or (B).", None),
    ("Between 30 and 40.", None),
    ("A man walked by.", None),
    ("The answer is a matter of taste.", None),
    ("I do not know.", None),
    ("E", None),
    ("", None),
    (None, None),
]


@pytest.mark.parametrize(("response", "letter"), CHOICES)
def test_the_option_that_was_chosen(response, letter):
    assert chosen_option(response, OPTIONS) == letter


@pytest.mark.parametrize(
    ("response", "letter"),
    [("Yes, they do.", "B"), ("no", "A"), ("No. Yes would be wrong.", "A"), ("B. Yes", "B")],
)
def test_options_that_are_words(response, letter):
    assert chosen_option(response, ["No", "Yes"]) == letter


def test_of_options_within_others_the_longer_one_counts():
    options = ["prevail, because of x.", "not prevail, because of x."]
    assert chosen_option("The plaintiff will not prevail, because of x.", options) == "B"
    assert chosen_option("The plaintiff will prevail, because of x.", options) == "A"


# Whether a free-form answer is right

RIGHT = [
    ("Obesity-related cancer is the smallest.", "obesity related cancer", ""),
    ("The answer is **LexisNexis**.\n\nIt is a company.", "Lexisnexis", ""),
    ("It is José Bandera.", "Jose Bandera", ""),
    ('"Tomorrow is another day."', "Tomorrow is another day", ""),
    ("The second line was drawn on July 18 and approved on July 26, so it took 8 days.", "8", ""),
    ("He was born in 1965, and she in 2006. Therefore, 41 years passed.", "41", ""),
    ("The share is 100% - 6.6% = **93.4%**.", "93.4", ""),
    ("It ended in 1865. Lee surrendered on April 9.", "1865", ""),
    ("There are 1,200 of them.", "1200", ""),
    ("Six states.", "6", ""),
    ("**Lord Bath**, the heir to the Marquis of Bath.", "Lord Bath", "Who is heir to the Marquis of Bath?"),
    ("A and B differ. The answer is required", "required", "Which of brought and required?"),
    (r"It is $\boxed{\dfrac{2}{4}}$.", r"\frac{1}{2}", ""),
]
WRONG = [
    ("The payback period is 8.33 years.", "8", ""),
    ("She has 2 boxes at $90 each, so each pair costs **$4**.", "2", ""),
    ("According to research, viewers saw 105 TV ads.", "43", "25; 43; 105 or 207?"),
    ("Goatfish are fish.", "goat", ""),
    ('The participle in "the required documents" is "brought".', "required", 'In "the required documents"?'),
    ("I cannot answer this.", "Nurdin", ""),
    ("W. is short for something.", "W", ""),
    ("", "x", ""),
    (None, "x", ""),
]


@pytest.mark.parametrize(("response", "target", "question"), RIGHT)
def test_right_answers(response, target, question):
    assert answers_with(response, target, question)


@pytest.mark.parametrize(("response", "target", "question"), WRONG)
def test_wrong_answers(response, target, question):
    assert not answers_with(response, target, question)


# Scores

RESPONSES = {
    "free-form-a": "It is Lima.",
    "free-form-b": "Cusco, I think.",
    "multiple-choice-c": "**B**",
    "multiple-choice-d": "The large one.",
    "multiple-choice-e": None,
}


@pytest.fixture
def items(tmp_path) -> pd.DataFrame:
    topics = topics_of(tmp_path, a=CAPITAL, b=CAPITAL, c=PLANET, d=PLANET, e=PLANET)
    return topics.assign(text=[RESPONSES[qid] for qid in topics["qid"]])


def test_scores_by_rules(items):
    scored = score(items)
    assert scored["score"].tolist() == [1.0, 0.0, 1.0, 0.0, 0.0]
    assert scored["answer"].astype(object).where(scored["answer"].notna(), None).tolist() == [
        "Lima",
        None,
        "B",
        None,
        None,
    ]
    assert scored["read_by"].tolist()[:4] == ["rules"] * 4


@pytest.fixture
def parser():
    """A reader behind HTTP, whose replies are given by what the response that it is shown contains."""
    pytest.importorskip("openai", reason="needs the extra serve")
    from larpo_ir.models.served import OpenAIGenerator
    from tests.models.test_served import Server, completion, prompt_of

    replies: dict[str, str] = {}

    def script(path, body):
        prompt = prompt_of(body)
        return 200, {}, completion(path, next(reply for part, reply in replies.items() if part in prompt))

    server = Server(script)
    generator = OpenAIGenerator(server.url, "m", api_key="k", num_candidates=4)
    yield generator, replies, server
    server.http.shutdown()
    server.http.server_close()


def test_scores_by_a_parser(items, parser):
    generator, replies, server = parser
    replies |= {
        "It is Lima.": "Score: 0.75",
        "Cusco, I think.": "I cannot tell.",
        "**B**": "Choice: NONE",
        "The large one.": "Choice: (B)",
    }
    scored = score(items, generator)
    assert scored["score"].tolist() == [0.75, 0.0, 0.0, 1.0, 0.0]
    assert scored["read_by"].tolist()[:4] == ["parser", "rules", "parser", "parser"]
    assert len(server.asked) == 4  # once for each response, and none for the item without one
    assert {body["temperature"] for _, body in server.asked} == {0}
    asked = {body["messages"][-1]["content"] for _, body in server.asked}
    assert any("- Lima, Peru" in prompt and "Cusco, I think." in prompt for prompt in asked)
    assert any("A. Mars\nB. Jupiter\nC. Venus" in prompt and "The large one." in prompt for prompt in asked)


def read(items, parser, qid, reply):
    """The score of a response and who read it, where the parser gives this reply."""
    generator, replies, _ = parser
    replies[RESPONSES[qid]] = reply
    scored = score(items[items["qid"] == qid], generator).iloc[0]
    return scored["score"], scored["read_by"]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("Score: 1", 1.0),
        ("Score: 1.", 1.0),
        ("**Score:** 0.5", 0.5),
        ("0.25", 0.25),
        ("<think>Score: 0</think>Score: 1.0", 1.0),
        ("Score: 7/10", None),
        ("Score: 1/10", None),
        ("Score: 10", None),
        ("Score: 1.5", None),
        ("", None),
    ],
)
def test_scores_that_a_parser_says(items, parser, reply, expected):
    by_parser = (expected, "parser")
    assert read(items, parser, "free-form-b", reply) == ((0.0, "rules") if expected is None else by_parser)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("Choice: B", "B"),
        ("B", "B"),
        ("**Choice:** B", "B"),
        ("Choice: b", None),
        ("Choice: A good question", None),
        ("Choice: Z", None),
        ("", None),
    ],
)
def test_choices_that_a_parser_says(items, parser, reply, expected):
    reader = "rules" if expected is None else "parser"
    assert read(items, parser, "multiple-choice-d", reply) == (float(expected == "B"), reader)


# Recorded responses


def records(*rows: dict) -> list[tuple[str, dict]]:
    return [(f"r.jsonl:{number}", row) for number, row in enumerate(rows, start=1)]


def test_recorded_responses_are_matched_by_content(tmp_path, caplog):
    caplog.set_level("INFO", logger="larpo_ir")
    topics = topics_of(
        tmp_path, a=CAPITAL, b=CAPITAL, c={**PLANET, "context": "Once there were nine."}, d=PLANET
    )
    recorded = records(
        {**CAPITAL, "id": "a", "response": "Lima"},
        {**PLANET, "id": "d", "response": "B"},
        {**PLANET, "prompt": "Which is red?", "id": "99", "response": "A"},
    )
    found = read_responses(recorded, topics)
    assert dict(zip(found["qid"], found["text"], strict=True)) == {
        "free-form-a": "Lima",
        "free-form-b": "Lima",
        "multiple-choice-d": "B",
    }
    assert caplog.messages == [
        "1 recorded responses are to items that are not among these, and left out: multiple-choice-99"
    ]


def test_recorded_responses_without_their_items_are_matched_by_id(tmp_path):
    topics = topics_of(tmp_path, a=CAPITAL, b=CAPITAL)
    found = read_responses(records({"id": "b", "response": "Lima"}), topics)
    assert found.to_dict("records") == [{"qid": "free-form-b", "text": "Lima", "rank": 0}]


def test_bad_recorded_responses(tmp_path):
    topics = topics_of(tmp_path, a=CAPITAL)
    with pytest.raises(ValueError, match=r"r\.jsonl:2: no `id` or no `response`"):
        read_responses(records({"id": "a", "response": "x"}, {"id": "a"}), topics)
    with pytest.raises(ValueError, match="none of the recorded responses is to one of these items"):
        read_responses(records({"id": "z", "response": "x"}), topics)


# What one system's real responses are read as; by hand.
REAL_FREE_FORM_RIGHT = [1, 19, 22, 24, 29, 33, 37, 46, 53]
# "-": no response to this item was recorded.
REAL_CHOICES = "BADEBCDBBC AADCAECBDA -DA-DCBABB BBDBDBBAC- CDA-BEABB- CDCDDBADBB".replace(" ", "")


@pytest.mark.skipif(not DATA.exists(), reason="needs the shared data")
def test_real_free_form_responses():
    topics = load(DATA / "free-form.json")
    responses = read_responses(read_records(DATA / "responses_free-form.jsonl"), topics)
    scored = score(topics.merge(responses, on="qid", how="left"))
    right = [int(qid.rpartition("-")[2]) for qid in scored.loc[scored["score"] > 0, "qid"]]
    assert right == REAL_FREE_FORM_RIGHT


@pytest.mark.skipif(not DATA.exists(), reason="needs the shared data")
def test_real_choices():
    topics = load(DATA / "multiple-choice.json")
    responses = read_responses(read_records(DATA / "responses_multiple-choice.jsonl"), topics)
    scored = score(topics.merge(responses, on="qid", how="left"))
    assert "".join(scored["answer"].fillna("-")) == REAL_CHOICES
