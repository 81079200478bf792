"""Reading and writing contracts: exact types, unknown keys refused, files written whole or not at all."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from ireeperf import document
from ireeperf.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    schema_version: ClassVar[int] = 3
    count: int
    ratio: float
    kind: Literal["a", "b"]
    parts: tuple[Part, ...]
    pair: tuple[int, str]
    table: dict[str, tuple[int, ...]]
    note: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ConfigError(f"count is {self.count}; at least 0")


SHEET = Sheet(count=1, ratio=0.5, kind="b", parts=(Part(name="x"), Part(name="y")), pair=(3, "z"), table={"t": (1, 2)})
VALUES = document.to_dict(SHEET)


def test_round_trip(tmp_path):
    path = tmp_path / "new" / "folder" / "sheet.json"
    document.write(SHEET, path)
    assert document.read(Sheet, path) == SHEET
    assert json.loads(path.read_text())["schema_version"] == 3


def test_toml(tmp_path):
    path = tmp_path / "part.toml"
    path.write_text('name = "x"\n')
    assert document.read(Part, path) == Part(name="x")


@pytest.mark.parametrize("change, message", [
    ({"count": "1"}, "count is '1'; expected int"),
    ({"count": True}, "count is True; expected int"),
    ({"count": 1.0}, "count is 1.0; expected int"),
    ({"ratio": "0.5"}, "ratio is '0.5'; expected float"),
    ({"kind": "c"}, "kind is 'c'; one of 'a', 'b'"),
    ({"parts": {"name": "x"}}, "parts is"),
    ({"parts": [{"name": "x", "nane": 1}]}, r"parts\[0\]: unknown key 'nane'; Part has name"),
    ({"parts": [{}]}, r"parts\[0\]: key 'name' is missing"),
    ({"pair": [1]}, "pair has 1 items, expected 2"),
    ({"pair": ["z", 3]}, r"pair\[0\] is 'z'; expected int"),
    ({"table": {"t": [1, "2"]}}, r"table.t\[1\] is '2'; expected int"),
    ({"note": 5}, "note is 5; expected str"),
    ({"count": -1}, "count is -1; at least 0"),
    ({"schema_version": 2}, "schema_version 2, this release reads 3"),
    ({"cuont": 1}, "unknown key 'cuont'; Sheet has count, ratio"),
])
def test_what_is_wrong_is_named(tmp_path, change, message):
    path = tmp_path / "sheet.json"
    path.write_text(json.dumps(VALUES | change))
    with pytest.raises(ConfigError, match=message) as caught:
        document.read(Sheet, path)
    assert str(caught.value).startswith(str(path)), "the message opens with the file"


def test_missing_key(tmp_path):
    path = tmp_path / "sheet.json"
    path.write_text(json.dumps({key: value for key, value in VALUES.items() if key != "ratio"}))
    with pytest.raises(ConfigError, match="key 'ratio' is missing"):
        document.read(Sheet, path)


def test_an_int_is_a_float_and_nothing_else_is_coerced():
    assert document.from_dict(Sheet, VALUES | {"ratio": 2}, where="x").ratio == 2.0


@pytest.mark.parametrize("content, message", [(b"{", "not valid JSON"), (b"[1]", "expected an object with the keys of Sheet"),
                                              (b"\xff\xfe", "not UTF-8")])
def test_malformed_file(tmp_path, content, message):
    path = tmp_path / "sheet.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        document.read(Sheet, path)


def test_absent_file(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*absent.json: No such file"):
        document.read(Sheet, tmp_path / "absent.json")
    with pytest.raises(ConfigError, match="No such file"):
        document.digest(tmp_path / "absent.json")


def test_digest(tmp_path):
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert document.digest(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2's example


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "sheet.json"
    document.write(SHEET, path)
    before = path.read_text()

    def full(source, destination):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ConfigError, match="cannot write .*sheet.json: No space left on device; free the disk"):
        document.write_text(path, "half")
    assert path.read_text() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["sheet.json"], "no temporary file stays behind"


def test_unwritable_place(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ConfigError, match="cannot write"):
        document.write_text(tmp_path / "file" / "sheet.json", "x")


def test_paths_and_tuples_become_json():
    assert document.to_dict({"p": Path("a/b"), "t": (1, (2,))}) == {"p": "a/b", "t": [1, [2]]}
