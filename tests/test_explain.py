"""`sparecall explain`: why two request bodies do or do not share a key."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from sparecall import cli

if TYPE_CHECKING:
    from pathlib import Path

BODY: dict[str, Any] = {
    "model": "gpt-4o",
    "messages": [{"role": "system", "content": "You help. It is 10:01."}, {"role": "user", "content": "Hello"}],
}


def written(folder: Path, name: str, body: Any) -> str:
    path = folder / name
    path.write_text(body if isinstance(body, str) else json.dumps(body), "utf-8")
    return str(path)


def explain(folder: Path, a: Any, b: Any, *options: str) -> int:
    return cli.main(["explain", *options, written(folder, "a.json", a), written(folder, "b.json", b)])


def test_the_same_meaning_is_a_hit_however_it_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = json.dumps({**dict(reversed(BODY.items())), "stream": True, "user": "someone"}, indent=4)
    assert explain(tmp_path, BODY, other) == 0
    out = capsys.readouterr().out
    assert out.startswith("same digest ")
    assert out.endswith("the second of these calls is a hit\n")


def test_bodies_of_another_wire_are_read_as_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = ({"model": "gpt-4o", "input": "Hello", "user": user, "store": True} for user in ("a", "b"))
    assert explain(tmp_path, a, b, "--wire", "responses") == 0
    assert "is a hit" in capsys.readouterr().out
    assert explain(tmp_path, a, {**b, "store": False}, "--wire", "responses") == 1
    assert "\n  store\n" in capsys.readouterr().out


def test_the_first_field_that_differs_is_shown_with_both_values(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    later = json.loads(json.dumps(BODY).replace("10:01", "10:02"))
    assert explain(tmp_path, BODY, later) == 1
    out = capsys.readouterr().out
    assert "different digests" in out
    assert "messages[0].content" in out
    assert 'a: "You help. It is 10:01."' in out
    assert 'b: "You help. It is 10:02."' in out


def test_a_field_that_one_of_them_lacks_is_absent_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(tmp_path, BODY, {**BODY, "temperature": 0}) == 1
    out = capsys.readouterr().out
    assert "temperature\n    a: absent\n    b: number 0\n" in out


def test_no_hit_is_promised_for_a_request_that_bypasses_the_cache(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    varied = {**BODY, "temperature": 1.5}
    assert explain(tmp_path, varied, varied) == 0
    out = capsys.readouterr().out
    assert "a.json: not cacheable: temperature\n" in out
    assert "no hit: temperature bypasses the cache" in out
    assert "is a hit" not in out


@pytest.mark.parametrize(
    ("body", "reason"),
    [("{", "byte"), ('{"a": NaN}', "byte"), ('{"secret prompt": 1, "secret prompt": 2}', "a key that")],
)
def test_a_file_that_is_no_json_is_named_with_the_place_and_never_quoted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], body: str, reason: str
) -> None:
    assert explain(tmp_path, BODY, body) == 2
    err = capsys.readouterr().err
    assert "b.json" in err
    assert reason in err
    assert "secret" not in err


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there = written(tmp_path, "a.json", BODY)
    assert cli.main(["explain", there, str(tmp_path / "nowhere.json")]) == 2
    assert "nowhere.json: No such file or directory" in capsys.readouterr().err


def test_one_body_may_come_from_standard_input_but_not_both(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps(BODY).encode())))
    assert cli.main(["explain", "-", written(tmp_path, "b.json", BODY)]) == 0
    assert cli.main(["explain", "-", "-"]) == 2
    assert "give a file for one of them" in capsys.readouterr().err
