"""The generator behind HTTP: what it asks for and makes of the answers, and that a real server's text is ours."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest

from larpo_ir.alignment.loop import AlignConfig, align, retrieve
from larpo_ir.data.results import docno_of
from larpo_ir.models.generators import RESULT_TYPES, Generator
from larpo_ir.rewards import VerifiableReward
from tests.small_models import CHAT_TEMPLATE, SPECIALS, make_stopping_model, make_tokenizer

pytest.importorskip("openai", reason="needs the extra serve")

from larpo_ir.models.served import OpenAIGenerator

os.environ.setdefault("NO_PROXY", "127.0.0.1")

TOPICS = pd.DataFrame({"qid": ["q1", "q2", "q3"], "query": ["ab", "x", "12 12"], "gold": ["4", None, "é"]})
LETTERS = pd.DataFrame({"qid": list("abcdefgh"), "query": [f"{letter} the 4" for letter in "abcdefgh"]})


class Server:
    """Answers `(path, body)` by `script`, which returns (status, headers, content), and keeps what it was asked."""

    def __init__(self, script):
        self.script, self.asked, self.headers = script, [], []
        self.busy, self.most_busy, self.lock = 0, 0, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(handler):
                body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
                with self.lock:
                    self.asked.append((handler.path, body))
                    self.headers.append(handler.headers)
                    self.busy += 1
                    self.most_busy = max(self.busy, self.most_busy)
                status, headers, content = self.script(handler.path, body)
                with self.lock:
                    self.busy -= 1
                kind = "text/html" if isinstance(content, str) else "application/json"
                data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
                with contextlib.suppress(OSError):  # the client may have gone
                    handler.send_response(status)
                    for name, value in {"Content-Type": kind, **headers, "Content-Length": len(data)}.items():
                        handler.send_header(name, str(value))
                    handler.end_headers()
                    handler.wfile.write(data)

            def log_message(handler, *args):
                pass

        class QuietServer(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64  # otherwise connections that come all at once wait for a second

            def handle_error(self, *args):
                pass

        self.http = QuietServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def serve():
    servers = []

    def start(script):
        servers.append(Server(script))
        return servers[-1]

    yield start
    for server in servers:
        server.http.shutdown()
        server.http.server_close()


def prompt_of(body):
    return body["prompt"] if "prompt" in body else body["messages"][-1]["content"]


def completion(path, text, *, reason="stop", logprobs=None, usage=None, **more):
    """What a server answers at `path`."""
    if path.endswith("/chat/completions"):
        content = None if logprobs is None else {"content": [{"token": "t", "logprob": x} for x in logprobs]}
        choice = {"message": {"role": "assistant", "content": text}, "logprobs": content}
    else:
        choice = {"text": text, "logprobs": None if logprobs is None else {"token_logprobs": logprobs}}
    answer = {"id": "1", "choices": [{"index": 0, "finish_reason": reason, **choice, **more}]}
    return answer if usage is None else {**answer, "usage": {"completion_tokens": usage}}


def echo(path, body):
    """A server whose response tells what it was asked."""
    text = f"{prompt_of(body)}|{body.get('seed')}|{body['temperature']}"
    return 200, {}, completion(path, text, usage=3)


def make_generator(server, **options):
    return OpenAIGenerator(
        server if isinstance(server, str) else server.url,
        "m",
        **{"num_candidates": 3, "api_key": "k", **options},
    )


# What it asks for and returns


def test_rows_and_columns_are_those_of_a_generator(serve):
    server = serve(echo)
    results = make_generator(server, max_new_tokens=9)(TOPICS)
    assert list(results.columns) == ["qid", "query", "gold", *RESULT_TYPES]
    assert results["qid"].tolist() == ["q1"] * 3 + ["q2"] * 3 + ["q3"] * 3
    assert results["rank"].tolist() == [0, 1, 2] * 3
    assert results["score"].tolist() == [0.0, -1.0, -2.0] * 3
    assert not np.signbit(results["score"][0])
    assert results["text"].str.split("|").str[0].tolist() == results["query"].tolist()
    assert results["docno"].tolist() == [docno_of(q, t) for q, t in results[["query", "text"]].to_numpy()]
    kinds = {name: results[name].dtype.kind for name in ("rank", "logprob", "num_tokens", "finished")}
    assert kinds == {"rank": "i", "logprob": "f", "num_tokens": "i", "finished": "b"}
    assert results["num_tokens"].tolist() == [3] * 9
    assert results["finished"].all()
    assert results["logprob"].isna().all()
    assert results["token_ids"].tolist() == [None] * 9
    assert len(server.asked) == 9
    for path, body in server.asked:
        assert path == "/v1/chat/completions"
        assert body.pop("seed") in range(2**31)
        (message,) = body.pop("messages")
        assert message["role"] == "user"
        assert body == {"model": "m", "temperature": 1.0, "top_p": 1.0, "max_tokens": 9, "logprobs": True}
    assert server.headers[0]["Authorization"] == "Bearer k"
    empty = make_generator(server)(TOPICS[:0])
    assert list(empty.columns) == list(results.columns)
    assert len(empty) == 0


def test_prompts_choose_the_endpoint(serve):
    server = serve(echo)
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    chat += [{"role": "user", "content": "c"}]
    prompts = ["plain", chat, np.array(chat, dtype=object)]  # arrays: what Parquet files are read as
    asked_plainly = ("/v1/completions", "plain", None)
    as_user = ("/v1/chat/completions", None, [{"role": "user", "content": "plain"}])
    for options, expected in (({}, as_user), ({"chat": False}, asked_plainly)):
        server.asked.clear()
        results = make_generator(server, num_candidates=1, concurrency=1, **options)(
            TOPICS.assign(prompt=prompts)
        )
        assert [(path, body.get("prompt"), body.get("messages")) for path, body in server.asked] == [
            expected,
            ("/v1/chat/completions", None, chat),
            ("/v1/chat/completions", None, chat),
        ]
        assert results["query"].tolist() == TOPICS["query"].tolist()
    server.asked.clear()
    make_generator(server, num_candidates=1, concurrency=1, chat=False)(TOPICS)
    make_generator(server, num_candidates=1, concurrency=1, system="be brief")(TOPICS[:1])
    assert [body.get("prompt") for _, body in server.asked] == ["ab", "x", "12 12", None]
    assert server.asked[-1][1]["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "ab"},
    ]


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (5, "query q1: prompt is 5, neither a string nor a chat of role and content"),
        ([], "query q1: prompt is [], neither a string nor a chat of role and content"),
        ([{"role": "user"}], "query q1: prompt[0] has no content"),
        (
            [{"role": "assistant", "content": "x"}],
            "the chat of query q1 must end with a user or tool message, not 'assistant'",
        ),
    ],
)
def test_bad_prompts_are_refused_before_anything_is_asked(serve, prompt, message):
    server = serve(echo)
    with pytest.raises(ValueError, match=re.escape(message)):
        make_generator(server)(TOPICS[:1].assign(prompt=[prompt]))
    assert server.asked == []


def test_draws_have_seeds_of_their_own_which_repeat(serve):
    server = serve(echo)
    generator = make_generator(server)
    results = generator(TOPICS.assign(query="same"))
    assert results["text"].nunique() == 9
    again = generator.replace(num_candidates=5)(TOPICS.assign(query="same"))
    pd.testing.assert_frame_equal(again[again["rank"] < 3].reset_index(drop=True), results)
    other = generator.replace(seed=1)(TOPICS.assign(query="same"))
    assert not set(other["text"]) & set(results["text"])


def test_several_temperatures_are_dealt_in_turn(serve):
    server = serve(echo)
    results = make_generator(server, num_candidates=5, temperature=[0.5, 0])(TOPICS)
    assert results["temperature"].tolist() == [0.5, 0.0, 0.5, 0.0, 0.5] * 3
    assert results["text"].str.split("|").str[2].astype(float).tolist() == results["temperature"].tolist()
    assert len(server.asked) == 3 * (3 + 1)  # the greedy response is asked for once
    server.asked.clear()
    greedy = make_generator(server, temperature=0)(TOPICS)
    assert greedy["text"].tolist() == ["ab|None|0.0", "x|None|0.0", "12 12|None|0.0"]
    assert len(server.asked) == 3


def test_answers_may_come_in_any_order(serve):
    def slowest_first(path, body):
        time.sleep({"ab": 0.15, "x": 0.05, "12 12": 0}[prompt_of(body)])
        return echo(path, body)

    fast, slow = serve(echo), serve(slowest_first)
    expected = make_generator(fast)(TOPICS)
    pd.testing.assert_frame_equal(make_generator(slow, concurrency=9)(TOPICS), expected)


def test_no_more_than_so_many_at_a_time(serve):
    def slow(path, body):
        time.sleep(0.03)
        return echo(path, body)

    server = serve(slow)
    make_generator(server, num_candidates=6, concurrency=4)(TOPICS)
    assert server.most_busy == 4
    assert len(server.asked) == 18


def test_further_fields_go_with_every_request(serve):
    def with_ids(path, body):
        return 200, {}, completion(path, "x", token_ids=[5, 6, 1] if body["return_token_ids"] else None)

    server = serve(with_ids)
    options = {"top_k": -1, "return_token_ids": True}
    results = make_generator(server, num_candidates=1, extra_body=options)(TOPICS[:1])
    assert results["token_ids"].tolist() == [[5, 6, 1]]
    assert server.asked[0][1]["top_k"] == -1


# Log-probabilities and counts


@pytest.mark.parametrize("chat", [True, False])
def test_logprobs_are_summed_where_they_are_the_models(serve, chat):
    def script(path, body):
        assert ("logprobs" in body) == (body["temperature"] == 1)
        return 200, {}, completion(path, "a b", reason="length", logprobs=[-0.5, -0.25, -2.0], usage=3)

    results = make_generator(serve(script), temperature=[1, 0.5, 2, 0], num_candidates=4, chat=chat)(
        TOPICS[:1]
    )
    assert results["logprob"].tolist()[0] == -2.75  # -0.5 - 0.25 - 2
    assert results["logprob"].isna().tolist() == [False, True, True, True]
    assert results["num_tokens"].tolist() == [3] * 4
    assert not results["finished"].any()


@pytest.mark.parametrize(
    ("logprobs", "usage"),
    [(None, 3), ([], 3), ([-0.5, None], 2), ([-0.5, -0.5], 3)],  # the last leaves out the end of the response
)
def test_no_logprob_where_tokens_have_none(serve, logprobs, usage):
    server = serve(lambda path, body: (200, {}, completion(path, "x", logprobs=logprobs, usage=usage)))
    results = make_generator(server, chat=False)(TOPICS[:1])
    assert results["logprob"].isna().all()
    assert results["num_tokens"].tolist() == [usage] * 3


def test_counts_that_are_not_given_are_null(serve):
    server = serve(lambda path, body: (200, {}, completion(path, "x", logprobs=[-0.5])))
    results = make_generator(server)(TOPICS[:1])
    assert results["num_tokens"].isna().all()
    assert results["logprob"].tolist() == [-0.5] * 3


def test_a_server_that_refuses_logprobs_is_asked_without(serve):
    def script(path, body):
        if "logprobs" in body:
            return 400, {}, {"error": {"message": "Logprobs are not supported with this model"}}
        return echo(path, body)

    server = serve(script)
    generator = make_generator(server, concurrency=1)
    assert len(generator(TOPICS)) == 9
    assert ["logprobs" in body for _, body in server.asked] == [True] + [False] * 9
    assert len(generator.replace(seed=5)(TOPICS)) == 9
    assert sum("logprobs" in body for _, body in server.asked) == 1  # remembered
    generator.replace(chat=False)(TOPICS)  # an endpoint of its own
    assert sum("logprobs" in body for _, body in server.asked) == 2


# Retries and errors


def failing_first(times, status, headers, content):
    left = [times]

    def script(path, body):
        left[0] -= 1
        return (status, headers, content) if left[0] >= 0 else echo(path, body)

    return script


@pytest.mark.parametrize("status", [429, 500, 503])
def test_transient_failures_are_tried_again(serve, status):
    server = serve(failing_first(1, status, {}, {"error": {"message": "busy"}}))
    results = make_generator(server, num_candidates=1)(TOPICS[:1])
    assert results["text"][0].startswith("ab|")
    assert len(server.asked) == 2
    assert server.asked[0] == server.asked[1]


def test_the_servers_pause_is_kept(serve):
    server = serve(failing_first(1, 429, {"Retry-After": 1.2}, {"error": {"message": "slow down"}}))
    start = time.monotonic()
    assert len(make_generator(server, num_candidates=1)(TOPICS[:1])) == 1
    assert 1.2 <= time.monotonic() - start < 5  # of its own it would wait for half a second at most
    assert len(server.asked) == 2


def test_an_answer_that_takes_too_long_is_asked_for_again(serve):
    waits = iter([0.6])

    def script(path, body):
        time.sleep(next(waits, 0))
        return echo(path, body)

    server = serve(script)
    assert len(make_generator(server, num_candidates=1, timeout=0.3)(TOPICS[:1])) == 1
    assert len(server.asked) == 2
    slow = serve(lambda path, body: time.sleep(0.6) or echo(path, body))
    message = r"query q1: no answer within 0.1 s \(0 retries\); raise timeout or lower concurrency$"
    with pytest.raises(ConnectionError, match=message):
        make_generator(slow, timeout=0.1, retries=0)(TOPICS[:1])


@pytest.mark.parametrize(
    ("status", "content", "message"),
    [
        (400, {"error": {"message": "too\nlong"}}, "status 400: too long; correct the prompt or the option it names"),
        (401, {"error": {"message": "who?"}}, "status 401: who?; give the server's key as api_key or in OPENAI_"),
        (404, {"detail": "Not Found"}, "status 404: Not Found; check base_url and model"),
        (404, "<html>\n<p>nothing here", "status 404: <html> <p>nothing here; check base_url and model"),
        (422, {"error": "bad field"}, "status 422: bad field; correct the prompt"),
    ],
)  # fmt: skip
def test_refusals_are_one_line_and_final(serve, status, content, message):
    server = serve(lambda path, body: (status, {}, content))
    with pytest.raises(ValueError, match=re.escape(f"{server.url}, query q1: {message}")) as error:
        make_generator(server, concurrency=1)(TOPICS)
    assert "\n" not in str(error.value)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("status", "content", "message"),
    [
        (200, "<html>\n<p>welcome", "the answer is no completion: <html> <p>welcome; check that base_url is"),
        (200, {"choices": []}, "the answer is no completion: {'choices': []}; check that base_url is"),
        (200, {"error": "x"}, "the answer is no completion: {'error': 'x'}; check"),
        (200, [1], "the answer is no completion: [1]; check"),
        (
            200,
            completion("/chat/completions", None, reason="tool_calls"),
            "the response has no text (finish_reason 'tool_calls'); raise max_new_tokens, or turn off the server's",
        ),
    ],
)
def test_answers_without_a_text_are_one_line(serve, status, content, message):
    server = serve(lambda path, body: (status, {}, content))
    with pytest.raises(ValueError, match=re.escape(f"{server.url}, query q1: {message}")) as error:
        make_generator(server, concurrency=1)(TOPICS)
    assert "\n" not in str(error.value)
    assert len(server.asked) == 1


def test_malformed_json_is_one_line(serve):
    server = serve(lambda path, body: (200, {"Content-Type": "application/json"}, '{"choices": ['))
    with pytest.raises(
        ValueError,
        match=f"^{re.escape(server.url)}, query q1: malformed JSON, [^\n;]+; check that base_url is [^\n]+$",
    ):
        make_generator(server, concurrency=1)(TOPICS)


def test_an_error_page_that_stays_is_one_line(serve):
    server = serve(lambda path, body: (502, {}, "<html>\nBad Gateway " + "x" * 1000))
    message = (
        rf"^{re.escape(server.url)}, query q1: status 502 \(1 retries\): <html> Bad Gateway x+…; try later"
    )
    with pytest.raises(ConnectionError, match=message) as error:
        make_generator(server, concurrency=1, retries=1)(TOPICS)
    assert len(str(error.value)) < 500
    assert len(server.asked) == 2


def test_a_server_that_is_not_there(serve):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else answers there
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        message = rf"^{url}, query q1: no connection \(.+; 0 retries\); start the server or correct base_url$"
        with pytest.raises(ConnectionError, match=message):
            make_generator(url, retries=0, concurrency=1)(TOPICS)


# Resuming


def test_what_is_cached_is_not_asked_for_again(serve, tmp_path):
    cache = tmp_path / "new" / "responses.jsonl"
    logprobs = iter(range(-100, 0))

    def script(path, body):
        return 200, {}, completion(path, f"{body['seed']} é\n", logprobs=[next(logprobs)], usage=1)

    server = serve(script)
    generator = make_generator(server, cache=cache)
    results = generator(TOPICS)
    assert len(cache.read_text().splitlines()) == len(server.asked) == 9
    pd.testing.assert_frame_equal(generator(TOPICS), results)
    moved = serve(echo)
    pd.testing.assert_frame_equal(generator.replace(base_url=moved.url)(TOPICS), results)
    assert (len(server.asked), len(moved.asked)) == (9, 0)
    more = generator.replace(num_candidates=5)(TOPICS)
    assert len(server.asked) == 9 + 3 * 2
    assert more[more["rank"] < 3]["logprob"].tolist() == results["logprob"].tolist()


@pytest.mark.parametrize(
    "options",
    [
        {"model": "n"},
        {"temperature": 0.5},
        {"max_new_tokens": 3},
        {"seed": 1},
        {"chat": False},
        {"system": "s"},
        {"extra_body": {"top_k": 5}},
    ],
)
def test_other_requests_are_other_entries(serve, tmp_path, options):
    server = serve(echo)
    generator = make_generator(server, cache=tmp_path / "cache.jsonl")
    generator(TOPICS)
    generator.replace(**options)(TOPICS)
    assert len(server.asked) == 18


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_torn_line_is_asked_for_again(serve, tmp_path, cut):
    cache = tmp_path / "cache.jsonl"
    server = serve(echo)
    generator = make_generator(server, cache=cache, concurrency=1)
    results = generator(TOPICS)
    lines = cache.read_bytes().splitlines(keepends=True)
    cache.write_bytes(b"".join(lines[:-2]) + lines[-2][:cut])  # one lost, one torn
    pd.testing.assert_frame_equal(generator(TOPICS), results)
    assert len(server.asked) == 9 + 2
    pd.testing.assert_frame_equal(generator(TOPICS), results)
    assert len(server.asked) == 9 + 2
    cache.write_bytes(cache.read_bytes()[:-1])  # only the line's end is missing: nothing is lost
    generator.replace(num_candidates=4)(TOPICS)
    assert len(server.asked) == 11 + 3
    pd.testing.assert_frame_equal(generator(TOPICS), results)
    assert len(server.asked) == 11 + 3


@pytest.mark.parametrize(
    "content", ["qid,query\n1,2\n", '{"qid": 1}\n', "[1]\n", '{"key": "x", "words": 3}\n']
)
def test_other_files_are_no_cache(serve, tmp_path, content):
    server, path = serve(echo), tmp_path / "topics.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"topics\.csv:1: not a response that a generator has cached; name"):
        make_generator(server, cache=path)(TOPICS)
    assert path.read_text() == content
    assert server.asked == []


def test_failures_keep_what_was_paid_for(serve, tmp_path):
    together = threading.Barrier(3)

    def refuse_one(path, body):
        together.wait(10)  # three are under way; the refusal comes first, the others' answers later
        if prompt_of(body) == "x":
            return 400, {}, {"error": {"message": "no"}}
        time.sleep(0.2)
        return echo(path, body)

    server = serve(refuse_one)
    cache = tmp_path / "cache.jsonl"
    generator = make_generator(server, cache=cache, num_candidates=1, concurrency=3)
    topics = pd.concat([TOPICS, pd.DataFrame({"qid": ["q4"], "query": ["not begun"]})])
    with pytest.raises(ValueError, match="query q2: status 400: no; correct"):
        generator(topics)
    assert len(server.asked) == 3
    assert len(cache.read_text().splitlines()) == 2
    server.asked.clear()
    server.script = echo
    assert len(generator(topics)) == 4
    assert sorted(prompt_of(body) for _, body in server.asked) == ["not begun", "x"]


def test_an_interrupt_keeps_what_was_paid_for_and_does_not_wait(serve, tmp_path):
    release = threading.Event()

    def script(path, body):
        if len(server.asked) == 5:
            timer.start()
        if len(server.asked) >= 5:
            release.wait(20)
        return echo(path, body)

    timer = threading.Timer(0.1, lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGINT))
    server = serve(script)
    cache = tmp_path / "cache.jsonl"
    generator = make_generator(server, cache=cache, concurrency=1)
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        generator(TOPICS)
    assert time.monotonic() - start < 10
    release.set()
    assert len(cache.read_text().splitlines()) == 4
    server.asked.clear()
    server.script = echo
    assert len(generator(TOPICS)) == 9
    assert len(server.asked) == 5


# As a retriever


def test_pipelines(serve):
    server = serve(echo)
    generator = make_generator(server, num_candidates=4, name="served")
    everything = generator(TOPICS)
    two = (generator % 2)(TOPICS)
    pd.testing.assert_frame_equal(two, everything[everything["rank"] < 2].reset_index(drop=True))

    def even(text):
        return int(text.split("|")[1]) % 2 == 0

    best = (generator >> VerifiableReward(even) % 1)(TOPICS)
    assert best["score"].tolist() == [
        float(any(map(even, group["text"]))) for _, group in everything.groupby("qid")
    ]
    assert (
        str(generator % 2 >> VerifiableReward(even)) == "(served >> RankCutoff(2) >> VerifiableReward(even))"
    )
    assert pt.inspect.transformer_inputs(generator) == [["qid", "query"]]
    assert pt.inspect.transformer_outputs(generator, ["qid", "query", "gold"]) == list(everything.columns)
    with pytest.raises(pt.validate.InputValidationError):
        pt.inspect.transformer_outputs(generator >> VerifiableReward(even), ["qid"])
    again = generator(everything)  # results as topics: their candidates are replaced
    pd.testing.assert_frame_equal(again, everything)


def test_what_has_no_model_here_cannot_be_aligned(serve, tmp_path):
    server = serve(echo)
    message = (
        r"^OpenAIGenerator\(m, T=1.0\) has no model here that could be trained; .*align a Generator with"
    )
    for run in (align, retrieve):
        with pytest.raises(ValueError, match=message) as error:
            run(
                make_generator(server),
                VerifiableReward(len),
                ["ab"],
                AlignConfig(output_dir=str(tmp_path / "run")),
            )
        assert "\n" not in str(error.value)
    assert server.asked == []
    assert not (tmp_path / "run").exists()


def test_inside_a_running_event_loop(serve):
    generator = make_generator(serve(echo))

    async def cell():
        return generator(TOPICS)

    pd.testing.assert_frame_equal(asyncio.run(cell()), generator(TOPICS))


# Options


def test_options_can_be_replaced():
    generator = OpenAIGenerator("http://h/v1", "m")
    assert repr(generator) == "OpenAIGenerator(m, T=1.0)"
    assert repr(generator.replace(temperature=0)) == "OpenAIGenerator(m, T=0)"
    assert repr(generator.replace(model="n", name="mine")) == "mine"
    other = generator.replace(seed=8, cache="x.jsonl")
    assert (other.seed, other.cache, generator.seed, generator.cache) == (8, "x.jsonl", 0, None)
    with pytest.raises(
        ValueError, match="a generator has no option 'temprature'; it has base_url, model, concurrency, "
    ):
        generator.replace(temprature=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_candidates": 0}, "num_candidates must be at least 1, got 0"),
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1, got 0"),
        ({"concurrency": 0}, "concurrency must be at least 1, got 0"),
        ({"retries": -1}, "retries must be at least 0, got -1"),
        ({"timeout": 0}, "timeout must be a positive number of seconds, got 0"),
        ({"temperature": -0.5}, "temperature must be one or several numbers of at least 0, got -0.5"),
        (
            {"temperature": [1, math.nan]},
            "temperature must be one or several numbers of at least 0, got [1, nan]",
        ),
        ({"model": " "}, "model must be the server's name for a model, got ' '"),
        (
            {"base_url": "localhost:8000"},
            "base_url must be like http://localhost:8000/v1, got 'localhost:8000'",
        ),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        OpenAIGenerator(**{"base_url": "http://h/v1", "model": "m", **options})
    with pytest.raises(ValueError, match=re.escape(message)):
        OpenAIGenerator("http://h/v1", "m").replace(**options)


def test_the_path_of_the_api_may_be_left_out(serve):
    server = serve(echo)
    root = server.url.removesuffix("/v1")
    for url in (root, f"{root}/", f"{root}/v1/", f"{root}/other/v1"):
        make_generator(url, num_candidates=1)(TOPICS[:1])
    assert [path for path, _ in server.asked] == ["/v1/chat/completions"] * 3 + ["/other/v1/chat/completions"]


def test_keys(serve, monkeypatch):
    server = serve(echo)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    make_generator(server, num_candidates=1, api_key=None)(TOPICS[:1])
    monkeypatch.setenv("OPENAI_API_KEY", "from the environment\n")
    make_generator(server, num_candidates=1, api_key=None)(TOPICS[:1])
    assert [sent["Authorization"] for sent in server.headers] == [
        "Bearer none",
        "Bearer from the environment",
    ]


def test_the_package_to_install_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ImportError, match=re.escape("pip install 'larpo_ir[serve]'")):
        OpenAIGenerator("http://h/v1", "m")


# A real server


@pytest.fixture(scope="module")
def transformers_server(tmp_path_factory):
    """(URL of `transformers serve`, its model's path)"""
    if any(importlib.util.find_spec(package) is None for package in ("fastapi", "uvicorn")):
        pytest.skip("needs transformers[serving]")
    folder = tmp_path_factory.mktemp("model")
    model = make_stopping_model()
    model.generation_config.do_sample = True  # without it this server decodes greedily at every temperature
    model.save_pretrained(folder)
    make_tokenizer(bos=True, chat_template=CHAT_TEMPLATE).save_pretrained(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serving = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(folder)]
    log = folder / "log.txt"
    with log.open("w") as output:
        process = subprocess.Popen(
            [*serving, "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process, log)
        yield f"http://127.0.0.1:{port}/v1", str(folder)
    finally:
        process.kill()
        process.wait()


def _wait_for(url, process, log):
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.1)
    pytest.fail(f"the server did not start:\n{log.read_text()[-2000:]}")


def readable(text):
    """`Generator` keeps special tokens in its texts, servers leave them out."""
    for token in SPECIALS:
        text = text.replace(token, "")
    return text


@pytest.mark.parametrize("chat", [True, False])
def test_greedy_text_is_that_of_the_generator(transformers_server, chat):
    url, model = transformers_server
    options = {"temperature": 0, "max_new_tokens": 6, "chat": chat}
    served = OpenAIGenerator(url, model, **options)(LETTERS)
    ours = Generator(model, **options)(LETTERS)
    assert served["text"].tolist() == [readable(text) for text in ours["text"]]
    assert served["text"].nunique() > 5
    assert served["num_tokens"].tolist() == ours["num_tokens"].tolist()
    clear = ours["num_tokens"] < 6  # where EOS is the last token that fits, this server says "length"
    assert served["finished"][clear].tolist() == ours["finished"][clear].tolist()
    assert 0 < clear.sum() < len(LETTERS)


def test_draws_differ_and_repeat(transformers_server):
    url, model = transformers_server
    # This server seeds one generator for all requests, so that only one at a time is repeatable.
    generator = OpenAIGenerator(url, model, num_candidates=4, max_new_tokens=8, concurrency=1)
    results = generator(LETTERS)
    assert (results.groupby("qid")["text"].nunique() > 1).all()
    pd.testing.assert_frame_equal(generator(LETTERS), results)
    assert generator.replace(seed=1)(LETTERS)["text"].tolist() != results["text"].tolist()
    assert results["logprob"].isna().all()  # it gives none


def test_an_unknown_model_is_one_line(transformers_server):
    url, _ = transformers_server
    with pytest.raises(ValueError, match=f"^{url}, query a: status 400: [^\n]+$"):
        OpenAIGenerator(url, "nobody/nothing", concurrency=1)(LETTERS)
