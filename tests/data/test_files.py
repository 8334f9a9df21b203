"""Files and folders are written whole or not at all."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from larpo_ir.data.digests import digest_files
from larpo_ir.data.files import whole_file, whole_folder, write_atomically


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def stop_halfway(path: Path) -> None:
    path.write_text("half")
    raise RuntimeError


@pytest.mark.parametrize(("content", "written"), [("Zürich", "Zürich".encode()), (b"\x00\xff", b"\x00\xff")])
def test_text_is_written_as_utf8_and_bytes_as_they_are(tmp_path, content, written):
    path = write_atomically(tmp_path / "new" / "folder" / "a.txt", content)
    assert path.read_bytes() == written
    assert names_in(path.parent) == ["a.txt"]


def test_what_cannot_be_written_leaves_the_file_as_it_was(tmp_path):
    path = write_atomically(tmp_path / "a.txt", "before")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "half a pair: \ud800")
    assert path.read_text() == "before"
    assert names_in(tmp_path) == ["a.txt"]


def test_a_file_takes_its_place_when_it_is_complete(tmp_path):
    path = write_atomically(tmp_path / "a.json", "before")
    with whole_file(path) as writing:
        assert writing.suffix == ".json"
        writing.write_text("after")
        assert path.read_text() == "before"
    assert path.read_text() == "after"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert names_in(tmp_path) == ["a.json"]


def test_an_error_leaves_the_file_as_it_was(tmp_path):
    path = write_atomically(tmp_path / "a.json", "before")
    with pytest.raises(RuntimeError), whole_file(path) as writing:
        stop_halfway(writing)
    assert path.read_text() == "before"
    assert names_in(tmp_path) == ["a.json"]


def test_a_folder_takes_its_place_when_it_is_full(tmp_path):
    folder = tmp_path / "above" / "model"
    for name in ("first", "second"):
        with whole_folder(folder) as filling:
            (filling / name).touch()
        assert names_in(folder) == [name]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert names_in(folder.parent) == ["model"]


def test_an_error_leaves_the_folder_as_it_was(tmp_path):
    folder = tmp_path / "model"
    with whole_folder(folder) as filling:
        (filling / "first").touch()
    with pytest.raises(RuntimeError), whole_folder(folder) as filling:
        stop_halfway(filling / "second")
    assert names_in(folder) == ["first"]
    assert names_in(tmp_path) == ["model"]


def test_a_long_name_is_no_hindrance(tmp_path):
    name = "n" * 250
    write_atomically(tmp_path / name, "content")
    with whole_folder(tmp_path / "above" / name):
        pass
    assert names_in(tmp_path) == ["above", name]


def test_a_digest_of_files_is_of_their_content_and_of_their_names_in_a_folder(tmp_path):
    write_atomically(tmp_path / "a.txt", "same")
    write_atomically(tmp_path / "b.txt", "same")
    assert digest_files(tmp_path / "a.txt") == digest_files(tmp_path / "b.txt")
    write_atomically(tmp_path / "one" / "in" / "a.txt", "same")
    write_atomically(tmp_path / "other" / "in" / "a.txt", "same")
    assert digest_files(tmp_path / "one") == digest_files(tmp_path / "other")
    (tmp_path / "other" / "in" / "a.txt").rename(tmp_path / "other" / "in" / "c.txt")
    assert digest_files(tmp_path / "one") != digest_files(tmp_path / "other")
    write_atomically(tmp_path / "b.txt", "changed")
    assert digest_files(tmp_path / "a.txt") != digest_files(tmp_path / "b.txt")
