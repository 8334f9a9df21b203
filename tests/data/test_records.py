"""Rows of files: what is read one value at a time, and what is refused with file and line."""

from __future__ import annotations

import gzip
import itertools
import json
import random
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset

from larpo_ir.data.json_text import CHUNK
from larpo_ir.data.records import id_text, read_records, read_table

KINDS = ("rows.jsonl", "array.json", "lines.json", "whole.json", "array.json.gz")


def written(folder: Path, name: str, row: str) -> Path:
    """A file of one good row and `row`, which is on line 3."""
    good = '{"a": 0}'
    content = {
        "rows": f"{good}\n\n{row}\n",
        "array": f"[{good},\n\n{row}]",
        "lines": f"{good}\n\n{row}\n",
        "whole": f'{{"instances":\n\n[{good}, {row}]}}',
    }[name.partition(".")[0]].encode()
    (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return folder / name


BAD_VALUES = {
    "deep lists": ("[" * 3000 + "]" * 3000, "brackets are nested more than 100 levels deep"),
    "deep objects": ('{"a":' * 3000 + "1" + "}" * 3000, "brackets are nested more than 100 levels deep"),
    "101 levels": ("[" * 101 + "]" * 101, "brackets are nested more than 100 levels deep"),
    "half a pair": ('{"a": "x\\ud83d"}', "text holds half a surrogate pair"),
    "half a pair in a key": ('{"\\uDE00": 1}', "text holds half a surrogate pair"),
    "half a pair inside": ('{"a": [{"b": ["\\udc00"]}]}', "text holds half a surrogate pair"),
    "a large integer": ('{"a": 9223372036854775808}', "9223372036854775808 is beyond 64-bit integers"),
    "a small integer": ('{"a": [-9223372036854775809]}', "-9223372036854775809 is beyond 64-bit integers"),
    "more digits than Python converts": (
        '{"a": ' + "9" * 5000 + "}",
        "a number of thousands of digits is beyond 64-bit integers",
    ),
    "overflow": ('{"a": 1e400}', "1e400 is beyond what a float can hold"),
    "negative overflow": ('{"a": {"b": -1E+999}}', r"-1E\+999 is beyond what a float can hold"),
    "a key twice": ('{"a": 1, "b": {"c": 2, "c": 2}}', "the key 'c' occurs twice in one object"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", BAD_VALUES)
def test_what_no_column_can_hold_is_one_line_with_file_and_line(name: str, kind: str, tmp_path: Path) -> None:
    row, message = BAD_VALUES[name]
    path = written(tmp_path, kind, row)
    with pytest.raises(ValueError, match=message) as caught:
        list(read_records(path))
    line = 1 if kind == "whole.json" else 3  # of the value that is read at once
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("kind", KINDS)
def test_what_looks_like_it_is_read(kind: str, tmp_path: Path) -> None:
    row = {
        "deep": json.loads("[" * 96 + "]" * 96),
        "wide": [[number] for number in range(200)],
        "pair": "\U0001f600 \\ud83d",
        "integers": [2**63 - 1, -(2**63), 0],
        "floats": [1e308, -1e-400, 0.1, 5e-324],
        "keys": {"a": {"a": 1}},
    }
    read = list(read_records(written(tmp_path, kind, json.dumps(row))))
    assert [value for _, value in read] == [{"a": 0}, row]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('{"a": oops}', r"Expecting value at column \d+"),
        ('{"a": 1', "Expecting ',' delimiter"),
        ('{"a" 1}', r"Expecting ':' delimiter at column \d+"),
        ('{"a": "b}', r"Unterminated string starting at at column \d+|Invalid control character at"),
        ('{"a": "\\x"}', "Invalid .escape"),
        ('{"a": 1} {"a": 2}', "Extra data|Expecting ',' delimiter"),
        ('{"a": 01}', "Expecting ',' delimiter"),
    ],
)
def test_malformed_json_names_line_and_column(row: str, reason: str, kind: str, tmp_path: Path) -> None:
    path = written(tmp_path, kind, row)
    with pytest.raises(ValueError, match=rf"{path}:[345]: malformed JSON, ({reason})") as caught:
        list(read_records(path))
    assert "\n" not in str(caught.value)


def test_an_array_is_the_same_wherever_a_read_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(0)
    texts = ["é", "\U0001f600", '"', "\\", "\n", "true", "1", "]", ""]
    values = [lambda: "".join(rng.choices(texts, k=5)), lambda: rng.choice([0, -12, 10**18, None, True, False]),
              lambda: rng.choice([0.5, -1e-7, 1.5e300])]  # fmt: skip
    rows = [{"a": rng.choice(values)(), "b": [rng.choice(values)(), {}, []]} for _ in range(60)]
    path = tmp_path / "array.json"
    for indent, plain in itertools.product((None, 1), (True, False)):
        path.write_text(
            "\ufeff" + json.dumps(rows, indent=indent, ensure_ascii=plain) + "\n", encoding="utf-8"
        )
        for size in (1, 2, 3, 7, 64):
            monkeypatch.setattr("larpo_ir.data.json_text.CHUNK", size)
            assert [row for _, row in read_records(path)] == rows
    path.write_text(json.dumps(rows, indent=1)[:-1] + ",\n   oops]")
    for size in (1, 5, CHUNK):
        monkeypatch.setattr("larpo_ir.data.json_text.CHUNK", size)
        line = path.read_text().count("\n") + 1
        with pytest.raises(
            ValueError, match=rf"array\.json:{line}: malformed JSON, Expecting value at column 4$"
        ):
            list(read_records(path))


def test_an_array_larger_than_what_is_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "array.json"
    path.write_text(json.dumps([{"number": number, "text": "é" * 1000} for number in range(3000)]))
    tracemalloc.start()
    number = sum(1 for _ in read_records(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert number == 3000
    assert peak < 2e6  # the file has 18 MB


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1, 2]", r"record 0: expected an object with columns, found int"),
        ("5", r"expected an array of objects, found int"),
        ('"text"', r"expected an array of objects, found str"),
        ("[{}] []", r":1: malformed JSON, Extra data at column 6"),
        ("[{},]", r":1: malformed JSON, Expecting value at column 5"),
        ("[", r":1: malformed JSON, Expecting value at column 2"),
        ("[{}\n", r":2: malformed JSON, Expecting ',' delimiter at column 1"),
        ('{"a": 1\n} x', r":2: malformed JSON, Extra data at column 3"),
        ('{"instances": 5}', r"expected an array of objects, found int"),
    ],
)
def test_what_is_no_array_of_objects(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ValueError, match=rf"a\.json:? ?{message}"):
        list(read_records(tmp_path / "a.json"))


def test_python_s_json_may_hold_nan_and_infinity(tmp_path: Path) -> None:
    for kind in KINDS:
        (_, _), (_, row) = read_records(written(tmp_path, kind, '{"a": NaN, "b": [-Infinity]}'))
        assert row["a"] != row["a"]
        assert row["b"] == [float("-inf")]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.jsonl.gz"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 1}'.encode("utf-16"), r":1: not UTF-8 text but UTF-16 text; save it as UTF-8"),
        (
            gzip.compress(b'{"a": 1}', mtime=0),
            r":1: not UTF-8 text but compressed; give it a name that ends in \.gz",
        ),
        (b'{"a":\n "\xff"}', r":[12]: "),
    ],
)
def test_text_that_is_not_utf_8(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    with pytest.raises(ValueError, match=rf"{name}{message}") as caught:
        list(read_records(tmp_path / name))
    assert "\n" not in str(caught.value)


# Columns


def test_damaged_parquet_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": ["x"] * 100}), path)
    whole = path.read_bytes()
    for content in (b"", b"PAR1", b"not parquet", whole[:-9], whole[:20] + whole[40:], whole[9:]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.parquet: not a (readable )?Parquet file \(.+\)") as caught:
            list(read_records(path))
        assert "\n" not in str(caught.value)


def test_parquet_text_that_is_not_utf_8_and_columns_that_occur_twice(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    text = pa.array([b"\xff"]).view(pa.string())
    pq.write_table(pa.table({"a": text}), path)
    with pytest.raises(ValueError, match=r"a\.parquet: not a readable Parquet file \(.*codec can't decode"):
        list(read_records(path))
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"]), path)
    with pytest.raises(ValueError, match=r"a\.parquet: the column 'a' occurs twice; keep one of them"):
        list(read_records(path))


def test_a_damaged_folder_of_datasets_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    Dataset.from_dict({"a": [1, 2]}).save_to_disk(str(folder))
    assert [row for _, row in read_records(folder)] == [{"a": 1}, {"a": 2}]
    files = {file: file.read_bytes() for file in folder.iterdir()}
    for file, content in files.items():
        for damage in (b"", content[:30], b"\xff" * 40, b"[]"):
            file.write_bytes(damage)
            with pytest.raises(
                ValueError, match="saved: not a folder that datasets' save_to_disk wrote"
            ) as caught:
                list(read_records(folder))
            assert "\n" not in str(caught.value)
        file.write_bytes(content)


def test_a_table_that_names_a_column_twice(tmp_path: Path) -> None:
    path = tmp_path / "table.tsv"
    path.write_text("id\ttext\ttext\n1\ta\tb\n")
    with pytest.raises(ValueError, match=r"table\.tsv:1: the column 'text' occurs twice"):
        list(read_table(path))


@pytest.mark.parametrize("value", [None, True, "", 1.0, ["q"], {"q": 1}])
def test_what_is_no_id(value: object) -> None:
    with pytest.raises(
        ValueError, match=r"^topics\.jsonl:3: qid is .*; an id is a string or a whole number$"
    ):
        id_text(value, "qid", "topics.jsonl:3")


def test_ids() -> None:
    assert [id_text(value, "qid", "here") for value in ("q", "007", 0, -5)] == ["q", "007", "0", "-5"]
