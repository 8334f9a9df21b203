"""Judges: rewards compared, a served model asked over real HTTP in both orders, and recorded verdicts."""

from __future__ import annotations

import json
import math
import os
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
import pytest

from larpo_ir.rewards import PairwiseRewardModel, VerifiableReward
from larpo_ir.rewards.judges import RecordedJudge, RewardJudge, ServedJudge, _vote

os.environ.setdefault("NO_PROXY", "127.0.0.1")

PAIRS = pd.DataFrame(
    {
        "query": ["2+2?", "2+2?", "Name a {colour}."],
        "text": ["four", "4", "red"],
        "reference": ["4", "four", "tan"],
        "gold": ["four", "four", "red"],
    },
    index=[7, 3, 5],
)


# --- Rewards ---------------------------------------------------------------------------------------------------


def test_rewards_are_compared_under_the_frames_index():
    preferences = RewardJudge(VerifiableReward(len))(PAIRS)
    assert preferences.to_dict() == {7: 1.0, 3: 0.0, 5: 0.5}
    warm = RewardJudge(VerifiableReward(len), temperature=2.0)(PAIRS)
    assert warm.tolist() == pytest.approx([1 / (1 + math.exp(-3 / 2)), 1 / (1 + math.exp(3 / 2)), 0.5])


def test_rewards_see_the_frames_own_columns():
    right = VerifiableReward(lambda response, gold: response == gold)
    assert RewardJudge(right)(PAIRS).tolist() == [1.0, 0.0, 1.0]


def test_rewards_that_compare_candidates():
    def longer(queries, firsts, seconds):
        return [np.sign(len(a) - len(b)) / 2 + 0.5 for a, b in zip(firsts, seconds, strict=True)]

    judge = RewardJudge(PairwiseRewardModel(longer))
    assert judge(PAIRS).tolist() == [1.0, 0.0, 0.5]


def test_the_same_text_is_a_tie_and_no_pairs_are_none():
    judge = RewardJudge(VerifiableReward(len))
    assert judge(PAIRS.assign(reference=PAIRS["text"])).tolist() == [0.5] * 3
    assert judge(PAIRS.head(0)).tolist() == []


def test_bad_rewards():
    with pytest.raises(ValueError, match="temperature must be a positive number or None, got 0"):
        RewardJudge(VerifiableReward(len), temperature=0)
    missing = VerifiableReward(lambda text: None if text == "red" else 1.0)
    with pytest.raises(ValueError, match=r"gave no reward for 1 pairs, such as 'Name a \{colour\}\.'"):
        RewardJudge(missing)(PAIRS)
    with pytest.raises(ValueError, match=re.escape("needs the column(s) reference")):
        RewardJudge(missing)(PAIRS.drop(columns="reference"))


# --- A served model ----------------------------------------------------------------------------------------------


@pytest.fixture
def serve():
    """Starts an OpenAI-compatible server that answers a prompt with `script(prompt)`: (text, logprob or None)."""
    servers = []

    def start(script):
        prompts = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                prompts.append(body["messages"][-1]["content"])
                text, logprob = script(prompts[-1])
                message = {"role": "assistant", "content": text}
                choice = {"index": 0, "finish_reason": "stop", "message": message}
                if logprob is not None:
                    choice["logprobs"] = {"content": [{"token": text, "logprob": logprob}]}
                answer = {"id": "1", "choices": [choice], "usage": {"completion_tokens": 1}}
                data = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args):
                pass

        http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(http)
        return f"http://127.0.0.1:{http.server_address[1]}/v1", prompts

    yield start
    for http in servers:
        http.shutdown()
        http.server_close()


def judge_at(url, *, template=None, **options):
    pytest.importorskip("openai", reason="needs the extra serve")
    from larpo_ir.models.served import OpenAIGenerator

    generator = OpenAIGenerator(url, "judge", **{"temperature": 0, "api_key": "k", **options})
    return ServedJudge(generator) if template is None else ServedJudge(generator, template)


def replies(prompt):
    """The first and the second reply of a prompt."""
    return re.findall(r'<reply id="[AB]">\n(.*?)\n</reply>', prompt, re.DOTALL)


def test_both_orders_are_asked(serve):
    url, prompts = serve(lambda prompt: ("A" if len(replies(prompt)[0]) >= 4 else "B", None))
    assert judge_at(url)(PAIRS).to_dict() == {7: 1.0, 3: 0.0, 5: 0.5}  # red against tan: B both times
    assert len(prompts) == 4  # the second pair is the first one turned round: its prompts are the same
    assert sorted(tuple(replies(prompt)) for prompt in prompts if "colour" in prompt) == [
        ("red", "tan"),
        ("tan", "red"),
    ]
    assert all("Name a {colour}." in prompt for prompt in prompts if "colour" in prompt)


def test_a_bias_for_a_place_cancels(serve):
    url, _ = serve(lambda prompt: ("A", None))
    assert judge_at(url)(PAIRS).tolist() == [0.5] * 3


def test_probabilities_of_the_answer_count(serve):
    def script(prompt):
        good = {"four": 0.9, "4": 0.3, "red": 0.6, "tan": 0.6}[replies(prompt)[0]]
        letter = "A" if good >= 0.5 else "B"
        return letter, math.log(max(good, 1 - good))

    url, _ = serve(script)
    # four first: P(A) = 0.9; 4 first: P(A) = 0.3, so four wins with (0.9 + 0.7) / 2
    expected = [0.8, 0.2, 0.5]
    judge = judge_at(url, temperature=1, num_candidates=1, max_new_tokens=1)
    assert judge(PAIRS).tolist() == pytest.approx(expected)


def test_answers_that_say_nothing_are_half_a_vote(serve, caplog):
    caplog.set_level("INFO", logger="larpo_ir")
    url, _ = serve(lambda prompt: ("A" if replies(prompt)[0] == "four" else "I cannot decide.", None))
    assert judge_at(url)(PAIRS).tolist() == [0.75, 0.25, 0.5]
    assert "4 of 6 answers of the judge say neither A nor B" in caplog.text
    url, _ = serve(lambda prompt: ("I cannot decide.", None))
    with pytest.raises(
        ValueError, match=r"no answer of OpenAIGenerator.* says A or B, such as 'I cannot decide.'"
    ):
        judge_at(url)(PAIRS)


def test_cached_answers_are_not_asked_for_again(serve, tmp_path):
    url, prompts = serve(lambda prompt: ("A", None))
    judge = judge_at(url, cache=tmp_path / "answers.jsonl")
    assert judge(PAIRS).tolist() == judge(PAIRS).tolist()
    assert len(prompts) == 4


def test_a_template_of_ones_own(serve):
    url, prompts = serve(lambda prompt: ("B", None))
    judge_at(url, template="{query}: A={first} B={second}?")(PAIRS.head(1))
    assert sorted(prompts) == ["2+2?: A=4 B=four?", "2+2?: A=four B=4?"]
    with pytest.raises(
        ValueError, match=re.escape("must have the fields {query}, {first} and {second}, got ['query']")
    ):
        judge_at(url, template="{query}?")


@pytest.mark.parametrize(
    ("answer", "vote"),
    [
        ("A", 1.0),
        (" **B**.", 0.0),
        ("<think>A seems fine, A wins</think>B", 0.0),
        ("Reply A is better than reply B.", 1.0),
        ("The better reply is B, as A is wrong.", 0.0),
        ("I prefer B", 0.0),
        ("Answer: A", 1.0),
        ("A\n\nB has an error.", 1.0),
        ("Both replies have merit.", None),
        ("A careful reader would like neither.", None),
        ("A and B are equal", None),
        ("", None),
    ],
)
def test_answers_are_read(answer, vote):
    read = _vote(answer, None, None)
    assert np.isnan(read) if vote is None else read == vote


# --- Recorded verdicts -------------------------------------------------------------------------------------------


def test_recorded_verdicts_are_found_by_their_texts(tmp_path):
    row = {
        "instruction": "2+2?",
        "output_1": "4",
        "generator_1": "base",
        "generator_2": "mine",
        "output_2": "four",
    }
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps([{**row, "preference": 1.25}]))
    judge = RecordedJudge(path)
    assert judge(PAIRS.head(1)).tolist() == [0.25]
    with pytest.raises(
        ValueError, match=r"annotations\.json: 2 of 3 pairs were not judged there, such as the responses"
    ):
        judge(PAIRS)


def recorded(*rows):
    """Annotations of (system, text, reference, preference from 0 to 1) to one instruction."""
    return [
        {
            "instruction": "2+2?",
            "output_1": reference,
            "generator_1": "base",
            "output_2": text,
            "generator_2": system,
            "preference": 1 + preference,
        }
        for system, text, reference, preference in rows
    ]


def test_a_recorded_verdict_is_the_system_s_own(tmp_path, caplog):
    caplog.set_level("INFO", logger="larpo_ir")
    path = tmp_path / "annotations.json"
    rows = [("a", "four", "4", 0.0), ("b", "four", "4", 0.5), ("b", "four", "4", 1.0), ("c", "IV", "4", 0.25)]
    path.write_text(json.dumps(recorded(*rows)))
    judge = RecordedJudge(path)
    pairs = pd.DataFrame({"query": "2+2?", "text": ["four", "four", "IV"], "reference": "4"})
    assert judge(pairs.assign(model=["a", "b", "c"])).tolist() == [0.0, 0.75, 0.25]
    assert judge(pairs[2:].assign(model="x")).tolist() == [0.25]  # another's name, but one verdict
    assert caplog.text == ""
    assert judge(pairs.assign(model=["a", "x", "x"])).tolist() == [0.0, 0.5, 0.25]  # (0 + 0.5 + 1) / 3
    assert "1 of 3 pairs are recorded under other systems' names alone, with different" in caplog.text
    assert judge(pairs).tolist() == [0.5, 0.5, 0.25]


def test_real_systems_with_one_text_keep_their_verdicts(shared, tmp_path):
    lines = (shared / "data" / "alpacaeval_pool" / "pool.jsonl").read_text().splitlines()
    row = next(row for row in map(json.loads, lines) if row["id"] == "ae620")
    systems = pd.DataFrame(row["candidates"])
    systems = systems[systems["text"] == systems["text"].mode()[0]]
    assert len(systems) == 4
    assert systems["win_prob"].nunique() > 1
    path = tmp_path / "annotations.json"
    values = systems[["generator", "text", "win_prob"]].itertuples(index=False)
    path.write_text(json.dumps(recorded(*((name, text, "4", prob) for name, text, prob in values))))
    pairs = systems.assign(query="2+2?", reference="4", model=systems["generator"])
    assert RecordedJudge(path)(pairs).tolist() == pytest.approx(systems["win_prob"].tolist())
