"""Files are there whole or not at all."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from masg_sam.errors import LayoutError, OutputError, WriteError
from masg_sam.files import (
    append_text,
    folder_moved_into_place,
    moved_into_place,
    must_be_folder,
    read_json,
    write_text,
)


def test_text_is_written_with_its_folder_and_the_usual_permissions(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "a.txt", "one\ntwo\n")
    (tmp_path / "plain").touch()
    assert (tmp_path / "new" / "a.txt").read_bytes() == b"one\ntwo\n"
    assert (tmp_path / "new" / "a.txt").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert os.listdir(tmp_path / "new") == ["a.txt"]


def test_a_failed_writer_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(RuntimeError), moved_into_place(tmp_path / "a.txt") as place:
        assert place.name == "a.txt"
        place.write_text("half")
        raise RuntimeError
    assert (tmp_path / "a.txt").read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_place_that_cannot_be_written_is_a_typed_error(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "x")
    with pytest.raises(OutputError, match=r"file/below\.txt"):
        write_text(tmp_path / "file" / "below.txt", "y")


def test_weights_that_cannot_be_written_are_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"), moved_into_place(tmp_path / "a.safetensors") as place:
        save_file({"a": torch.zeros(2)}, place.parent / "nowhere" / "a.safetensors")
    assert os.listdir(tmp_path) == []


def test_json_is_read_with_or_without_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"liver": 1}')
    assert read_json(tmp_path / "a.json") == {"liver": 1}


@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b'"x"', b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_object_is_an_error_of_the_kind_asked_for(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(text)
    with pytest.raises(LayoutError, match=r"a\.json") as caught:
        read_json(tmp_path / "a.json", LayoutError, "train again")
    assert caught.value.mend == "train again"


def test_json_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"a\.json"):
        read_json(tmp_path / "a.json", LayoutError)


@pytest.mark.parametrize("before", ["nothing", "empty"])
def test_a_folder_is_moved_into_place_whole(before: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if before == "empty":
        out.mkdir()
    with folder_moved_into_place(out) as place:
        (place / "a.txt").write_text("a")
        assert not (out / "a.txt").exists()
    assert os.listdir(tmp_path) == ["out"] and os.listdir(out) == ["a.txt"]
    assert os.access(out, os.X_OK)


def test_an_empty_folder_is_filled_where_it_is(tmp_path: Path) -> None:
    """It may be a mount, which nothing can be moved onto, or a link."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    number = (tmp_path / "real").stat().st_ino
    with folder_moved_into_place(tmp_path / "link") as place:
        write_text(place / "a" / "b.txt", "b")
        (place / "c.txt").write_text("c")
        assert place.is_relative_to(tmp_path / "real")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").stat().st_ino == number
    assert sorted(os.listdir(tmp_path / "real")) == ["a", "c.txt"] and sorted(os.listdir(tmp_path)) == ["link", "real"]


def test_what_a_kill_left_does_not_count(tmp_path: Path) -> None:
    write_text(tmp_path / "out" / ".writing-x" / "out" / "half.txt", "half")
    with folder_moved_into_place(tmp_path / "out") as place:
        (place / "a.txt").write_text("a")
    assert (tmp_path / "out" / "a.txt").read_text() == "a"


def test_an_empty_folder_stays_empty_when_filling_fails(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(RuntimeError), folder_moved_into_place(tmp_path / "out") as place:
        (place / "a.txt").write_text("half")
        raise RuntimeError
    assert os.listdir(tmp_path / "out") == []


def test_a_folder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), folder_moved_into_place(tmp_path / "out") as place:
        (place / "a.txt").write_text("half")
        raise RuntimeError
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["full", "full/a.txt", "full/a.txt/below"])
def test_a_folder_that_holds_something_is_refused(name: str, tmp_path: Path) -> None:
    write_text(tmp_path / "full" / "a.txt", "mine")
    with pytest.raises(OutputError, match=name), folder_moved_into_place(tmp_path / name):
        pytest.fail("not reached")
    assert (tmp_path / "full" / "a.txt").read_text() == "mine" and os.listdir(tmp_path) == ["full"]


def test_text_is_added_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lines"
    append_text(path, "one\n")
    append_text(path, "zwölf\n")
    assert path.read_text(encoding="utf-8") == "one\nzwölf\n"

    class Short(io.FileIO):
        def write(self, data: bytes) -> int:  # type: ignore[override]
            return super().write(data[:2])

    monkeypatch.setattr("builtins.open", lambda path, mode, **_: Short(path, mode.replace("b", "")))
    with pytest.raises(WriteError, match="No space left"):
        append_text(path, "three\n")
    monkeypatch.undo()
    assert path.read_text(encoding="utf-8") == "one\nzwölf\n"
    with pytest.raises(WriteError):
        append_text(tmp_path / "nowhere" / "lines", "one\n")


def test_where_a_folder_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "broken").symlink_to("nowhere")
    for place in ("", "new", "new/deeper"):
        must_be_folder(tmp_path / place)
    for place in ("file", "file/new/deeper", "broken"):
        with pytest.raises(OutputError, match="not a folder"):
            must_be_folder(tmp_path / place)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(WriteError, match="Permission denied"):
        must_be_folder(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_what_is_no_text_is_written_as_json_escapes_it(tmp_path: Path) -> None:
    name = os.fsdecode(b"f\xfcr")
    write_text(tmp_path / "a.json", json.dumps({"name": name}, ensure_ascii=False))
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"name": name}
