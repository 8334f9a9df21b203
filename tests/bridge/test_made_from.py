"""What every command of retrieval-bridge leaves is what it was made from: made again from the same it is kept, made
from anything else it is refused in one line that names the difference, and nothing is written over."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer

from larpo_ir.provenance.identity import identity
from retrieval_bridge.cli import main
from retrieval_bridge.retrieval.encoders import Encoder, tokens_of
from retrieval_bridge.retrieval.reranker import CrossEncoderReranker
from retrieval_bridge.training.iterate import align_retriever
from tests.bridge.small import SmallCollection, make_encoder, make_static, write_beir
from tests.bridge.test_iterate import settings
from tests.bridge.test_rerank import make_model

TRAINING = {"use_cpu": True, "disable_tqdm": True, "num_train_epochs": 1}
LISTS = [
    {"id": colour, "prompt": f"what is {colour}", "completions": [f"the {fruit} is {colour}", "the sky"]}
    for fruit, colour in (("apple", "red"), ("pear", "green"))
]


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A collection, an encoder, a cross-encoder, training lists, a run."""
    write_beir(tmp_path / "c")
    make_static(seed=4).save_pretrained(str(tmp_path / "encoder"))
    make_model(tmp_path / "cross")
    write_lists(tmp_path)
    (tmp_path / "given.trec").write_text("q0 Q0 p0 0 2 t\nq0 Q0 p1 1 1 t\nq1 Q0 p1 0 1 t\n")
    return tmp_path


def write_lists(world: Path, scores: tuple[float, float] = (1, 0)) -> None:
    rows = [json.dumps({**row, "relevance": list(scores)}) for row in LISTS]
    (world / "lists.jsonl").write_text("\n".join(rows))


def replaced(path: Path, old: str, new: str) -> None:
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new))


# Changes of what something is made from; none of them changes a name.
CHANGES: dict[str, Callable[[Path], Any]] = {
    "documents": lambda world: replaced(world / "c" / "corpus.jsonl", "grass is green", "grass is blue"),
    "topics": lambda world: replaced(world / "c" / "queries.jsonl", "blue sky", "blue sea"),
    "qrels": lambda world: replaced(world / "c" / "qrels" / "train.tsv", "q2\tp3\t1", "q2\tp4\t1"),
    "held-out qrels": lambda world: replaced(world / "c" / "qrels" / "dev.tsv", "q2\tp3\t1", "q2\tp4\t1"),
    "encoder": lambda world: make_static(seed=5).save_pretrained(str(world / "encoder")),
    "cross-encoder": lambda world: turned(world / "cross"),
    "lists": lambda world: write_lists(world, (0, 1)),
    "run": lambda world: replaced(world / "given.trec", "q1 Q0 p1", "q1 Q0 p2"),
}


def turned(folder: Path) -> None:
    """Another cross-encoder in the same folder."""
    from transformers import BertForSequenceClassification

    model = BertForSequenceClassification.from_pretrained(folder)
    model.classifier.weight.data.neg_()
    model.save_pretrained(folder)


def command(name: str, world: Path, **options: Any) -> list[str]:
    """A command line; what it makes is in world/made."""
    made, index = world / "made", world / "index"
    training = json.dumps(TRAINING)
    lines: dict[str, dict[str, Any]] = {
        "index": {"index": made, "systems": f'["bm25", "{world / "encoder"}"]'},
        "search": {"output": made / "run.trec", "system_name": world / "encoder", "split": "dev", "index": index},
        "rerank": {"output": made / "run.trec", "results": world / "given.trec", "model": world / "cross",
                   "split": "dev"},
        "mine": {"output": made / "n.tsv", "training_lists": made / "lists.jsonl", "index": index,
                 "lists.sources": f'["{world / "encoder"}", "random"]', "lists.num_negatives": 2, "lists.depth": 4},
        "train": {"output": made / "encoder", "encoder": world / "encoder", "training": training, "index": index,
                  "training_lists": world / "lists.jsonl"},
        "train, mined": {"output": made / "encoder", "encoder": world / "encoder", "training": training,
                         "index": index, "lists.num_negatives": 2},
        "train-reranker": {"output": made / "cross", "model": world / "cross", "training": training, "index": index,
                           "training_lists": world / "lists.jsonl"},
        "align": {"retriever.output_dir": made, "encoder": world / "encoder", "retriever.iterations": 1,
                  "retriever.depth": 3, "retriever.measures": '["RR@10"]', "retriever.training": training},
        "evaluate": {"output": made, "split": "dev", "measures": '["RR@10"]', "index": index},
        "compare": {"output": made, "encoder": world / "encoder", "losses": '["pairwise"]', "seeds": 1,
                    "training": training, "measures": '["RR@10"]', "index": index, "lists.num_negatives": 2},
    }  # fmt: skip
    given = {"collection": world / "c", **lines[name], **options}
    return [
        name.partition(",")[0],
        *(word for key, value in given.items() for word in (f"--{key}", str(value))),
    ]


def on_disk(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def fails(capsys: pytest.CaptureFixture[str], line: list[str]) -> str:
    with pytest.raises(SystemExit) as stop:
        main(line)
    assert stop.value.code == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


CASES = {
    "index": ("documents",),
    "search": ("documents", "topics", "encoder"),
    "rerank": ("documents", "topics", "cross-encoder", "run"),
    "mine": ("documents", "topics", "qrels", "encoder"),
    "train": ("encoder", "lists"),
    "train, mined": ("documents", "topics", "qrels", "encoder"),
    "train-reranker": ("cross-encoder", "lists"),
    "align": ("documents", "topics", "qrels", "held-out qrels", "encoder"),
    "evaluate": ("documents", "topics", "held-out qrels"),
    "compare": ("documents", "topics", "qrels", "held-out qrels", "encoder"),
}
NAMED = {
    "documents": "passages|'p5' differs in its text", "topics": "topics|collection", "qrels": "topics|collection",
    "held-out qrels": "topics|collection", "encoder": "encoder", "cross-encoder": "model", "lists": "lists",
    "run": "results",
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_was_made_from_something_else_is_refused(
    name: str, world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = command(name, world)
    main(line)
    made = on_disk(world / "made")
    main(line)  # from the same
    same = on_disk(world / "made")
    results = ("trec", "tsv", "jsonl", "npy", "faiss", "safetensors", "arrow", "parquet")
    assert same.keys() == made.keys()
    assert {key: same[key] for key in same if key.endswith(results)} == {
        key: made[key] for key in made if key.endswith(results)
    }
    kept = world.with_name(f"{world.name}-kept")
    shutil.copytree(world, kept, ignore=shutil.ignore_patterns("made", "index"))
    for change in CASES[name]:
        shutil.rmtree(world / "index", ignore_errors=True)
        CHANGES[change](world)
        message = fails(capsys, line)
        assert any(part in message for part in NAMED[change].split("|")), f"{change}: {message}"
        assert "choose another" in message, message
        assert on_disk(world / "made") == same, f"{change}: something was written"
        shutil.copytree(kept, world, dirs_exist_ok=True)
    main(line)
    assert {
        key: content for key, (_, content) in on_disk(world / "made").items() if key.endswith(results)
    } == {key: content for key, (_, content) in made.items() if key.endswith(results)}


OPTIONS = [
    ("search", {"depth": 2}, "depth is 100 there and 2 here"),
    ("rerank", {"depth": 1}, "depth is 100 there and 1 here|results"),
    ("mine", {"lists.num_negatives": 1}, "lists.num_negatives is 2 there and 1 here"),
    ("mine", {"lists.hardest": "true"}, "lists.hardest is False there and True here"),
    ("mine", {"seed": 1}, "seed is 0 there and 1 here"),
    ("train", {"loss": "listmle"}, "loss"),
    ("train", {"temperature": 0.1}, "temperature is 0.05 there and 0.1 here"),
    ("train", {"reference": "start"}, "reference is None there and 'start' here"),
    ("train", {"beta": 0.5}, "beta is 1.0 there and 0.5 here"),
    ("train", {"in_batch": "true"}, "in_batch is False there and True here"),
    ("train", {"training": '{"use_cpu": true, "num_train_epochs": 2}'}, "training"),
    ("train, mined", {"lists.num_negatives": 1}, "lists.lists.num_negatives is 2 there and 1 here"),
    ("train-reranker", {"loss": "pairwise"}, "loss"),
    ("align", {"retriever.loss": "listmle"}, "loss is 'lambdarank' there and 'listmle' here"),
    ("align", {"retriever.depth": 4}, "depth is 3 there and 4 here"),
    ("align", {"lists.without_answers": "true"}, "judges is"),
    ("evaluate", {"measures": '["R@1"]'}, "measures is"),
    ("compare", {"temperature": 0.1}, "temperature is 0.05 there and 0.1 here"),
    ("compare", {"lists.num_negatives": 1}, "num_negatives is 2 there and 1 here"),
    ("compare", {"reference": "start"}, "reference is None there and 'start' here"),
]


@pytest.mark.parametrize("name", dict.fromkeys(name for name, _, _ in OPTIONS))
def test_what_was_made_with_other_settings_is_refused(
    name: str, world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(command(name, world))
    made = on_disk(world / "made")
    for options, difference in (
        (options, difference) for whose, options, difference in OPTIONS if whose == name
    ):
        message = fails(capsys, command(name, world, **options))
        assert any(part in message for part in difference.split("|")), message
        assert on_disk(world / "made") == made


def test_an_output_of_which_nothing_is_known_is_kept(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("search", "rerank", "mine", "train", "train-reranker"):
        line = command(name, world)
        output = Path(line[line.index("--output") + 1])
        output.parent.mkdir(exist_ok=True)
        output.write_text("mine")
        assert "says what it was made from; choose another output" in fails(capsys, line)
        assert output.read_text() == "mine"
        output.unlink()


def test_a_missing_half_of_what_was_mined_is_made_from_the_same(world: Path) -> None:
    line = command("mine", world)
    main(line)
    made = on_disk(world / "made")
    (world / "made" / "lists.jsonl").unlink()
    main(line)
    again = on_disk(world / "made")
    assert again["lists.jsonl"][1] == made["lists.jsonl"][1]
    assert again["n.tsv"] == made["n.tsv"]


def test_a_reference_with_other_weights_is_another_run(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(world / "encoder", world / "reference")
    for name in ("train", "compare"):
        line = command(name, world, reference=world / "reference")
        main(line)
        make_static(seed=6).save_pretrained(str(world / "reference"))
        assert "reference_weights is" in fails(capsys, line)
        shutil.rmtree(world / "made")
        make_static(seed=4).save_pretrained(str(world / "reference"))


def test_judges_are_their_weights(tmp_path: Path) -> None:
    def go() -> None:
        config = settings(tmp_path / "run", iterations=1)
        judge = CrossEncoderReranker(str(tmp_path / "cross"))
        align_retriever(make_encoder(), SmallCollection(), config, evaluate="train", judges=[judge])

    make_model(tmp_path / "cross")
    go()
    go()
    turned(tmp_path / "cross")
    with pytest.raises(ValueError, match="holds a different run: judges is"):
        go()


def test_a_tokenizer_is_part_of_an_encoder_and_of_a_cross_encoder(tmp_path: Path) -> None:
    one, other = make_static(), make_static()
    assert Encoder(one).fingerprint == Encoder(other).fingerprint
    tokenizer = Tokenizer.from_str(
        other.tokenizer.to_str().replace('"red"', '"RED"').replace('"green"', '"red"')
    )
    other[0].tokenizer = tokenizer
    assert Encoder(one).fingerprint != Encoder(other).fingerprint
    tokenizer.enable_truncation(5)  # of the last call
    assert tokens_of(other) == tokens_of(SentenceTransformer(modules=[other[0]]))
    reranker = CrossEncoderReranker(make_model(tmp_path / "cross"))
    assert identity(reranker) == identity(
        CrossEncoderReranker(str(tmp_path / "cross"), batch_size=2, name="x")
    )
    assert identity(reranker) != identity(CrossEncoderReranker(str(tmp_path / "cross"), max_length=8))
