"""digest: the Python face, its errors, the processor's levels, and a public collection of JSON files."""

from __future__ import annotations

import json
import tarfile
import threading
from typing import TYPE_CHECKING, Any

import pytest

from sparecall import digest, errors

if TYPE_CHECKING:
    from pathlib import Path

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}


def inspect(body: object, **options: Any) -> digest.Inspection:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return digest.inspect(data, **{"scope": "team", **options})


def test_an_inspection_holds_what_a_gateway_needs() -> None:
    found = inspect(
        {**CHAT, "stream": True, "stream_options": {"include_usage": True}, "temperature": 0.5, "tools": [{}], "n": 1}
    )
    assert isinstance(found.digest, bytes)
    assert len(found.digest) == 32
    assert (found.model, found.stream, found.include_usage) == ("gpt-4o", True, True)
    assert (found.cacheable, found.why, found.messages) == (True, "", 1)
    assert (found.temperature, found.n, found.has_tools) == (0.5, 1, True)


def test_the_fields_of_an_inspection_are_made_once_and_cannot_be_set() -> None:
    found = inspect(CHAT)
    assert found.digest is found.digest
    assert found.model is found.model
    with pytest.raises(AttributeError):
        found.model = "other"  # type: ignore[misc]


def test_an_odd_body_is_not_cacheable_and_says_why() -> None:
    assert inspect([]).why == "not_chat"
    assert inspect({**CHAT, "stream": 1}).why == "stream_type"
    hot = inspect({**CHAT, "temperature": 1.5})
    assert (hot.cacheable, hot.why, hot.temperature) == (False, "temperature", 1.5)
    assert inspect({**CHAT, "temperature": 1.5}, max_temperature=2).cacheable
    assert inspect({**CHAT, "n": 3}).why == "n"
    assert inspect({**CHAT, "n": 3}, max_n=3).cacheable


def test_each_wire_has_its_own_question_its_own_reasons_and_its_own_digests() -> None:
    response = {"model": "gpt-4o", "input": "hello"}
    assert inspect(response).why == "not_chat"
    found = inspect({**response, "stream": True}, wire="responses")
    assert (found.cacheable, found.messages, found.stream, found.include_usage) == (True, 1, True, True)
    assert inspect(CHAT, wire="responses").why == "not_responses"
    assert inspect(response, wire="messages").why == "not_messages"
    assert inspect({**response, "previous_response_id": "resp_1"}, wire="responses").why == "state"
    assert inspect({**CHAT, "tools": [{"type": "web_search_20250305"}]}, wire="messages").why == "hosted_tool"
    assert inspect(CHAT, wire="messages").digest != inspect(CHAT).digest
    with pytest.raises(errors.InvalidArgument, match="it must be one of chat, responses, messages"):
        inspect(CHAT, wire="telex")
    bodies = [json.dumps({**response, "store": store}).encode() for store in (True, False)]
    difference = digest.compare(*bodies, wire="responses")
    assert difference is not None
    assert difference.path == "store"
    assert digest.compare(*bodies) is None


def test_scope_version_and_salt_change_the_digest_and_limits_do_not() -> None:
    keys: list[dict[str, Any]] = [{}, {"scope": "other"}, {"version": 1}, {"version": 2**64 - 1}, {"salt": b"router"}]
    assert len({inspect(CHAT, **key).digest for key in keys}) == len(keys)
    assert inspect(CHAT).digest == inspect(CHAT, version=0, salt=b"", max_temperature=0, max_n=9).digest


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_every_buffer_of_bytes_is_accepted(kind: type) -> None:
    body = json.dumps(CHAT).encode()
    assert digest.inspect(kind(body), scope="team").digest == inspect(body).digest
    assert digest.compare(kind(body), body) is None


def test_what_is_no_buffer_is_a_type_error() -> None:
    for body in ("{}", None, 7, [1]):
        with pytest.raises(TypeError):
            digest.inspect(body, scope="team")  # type: ignore[arg-type]


def test_an_invalid_body_is_refused_with_its_offset_and_never_quoted() -> None:
    with pytest.raises(errors.InvalidDocument) as caught:
        inspect(b'{"secret": "hunter2", "secret": 1}')
    assert caught.value.offset == 22
    assert str(caught.value) == "a key that its object already has at byte 22"
    with pytest.raises(errors.InvalidDocument, match="at byte 0"):
        digest.compare(b"{}", b"")
    with pytest.raises(errors.InvalidArgument, match="max_temperature is NaN"):
        inspect(CHAT, max_temperature=float("nan"))
    with pytest.raises(OverflowError):
        inspect(CHAT, version=-1)


def test_an_error_leaves_the_reader_usable() -> None:
    before = inspect(CHAT).digest
    with pytest.raises(errors.InvalidDocument):
        inspect(b'{"a": ["\\u0041", 1.50, {"b": ')
    assert inspect(CHAT).digest == before


def test_reprs_do_not_quote_the_body() -> None:
    found = inspect({"model": "m", "messages": [{"content": "my secret"}]})
    start = f"Inspection(digest={found.digest.hex()[:8]}…"
    assert repr(found) == f"{start}, model='m', messages=1, stream=False, cacheable=True, why='')"
    assert "secret" not in repr(found)
    difference = digest.compare(b'{"a": "my secret"}', b'{"a": "my other secret"}')
    assert repr(difference) == "Difference(path='a', offset=3)"


def test_compare_names_the_field_that_keeps_two_requests_apart() -> None:
    def body(time: str, **more: object) -> bytes:
        return json.dumps({"messages": [{"role": "system", "content": f"You help. It is {time}."}], **more}).encode()

    difference = digest.compare(body("10:01"), body("10:02"))
    assert difference is not None
    assert (difference.path, difference.offset) == ("messages[0].content", 20)
    assert (difference.left, difference.right) == ('"You help. It is 10:01."', '"You help. It is 10:02."')
    assert difference == digest.compare(body("10:01"), body("10:02"))
    missing = digest.compare(body("10:01", seed=7), body("10:01"))
    assert missing is not None
    assert (missing.path, missing.left, missing.right, missing.offset) == ("seed", "number 7", "absent", None)
    assert digest.compare(body("10:01", user="a"), body("10:01", stream=True)) is None


def test_a_scope_of_a_key_hides_the_key() -> None:
    scope = digest.scope_of_key("sk-secret")
    assert len(scope) == 32
    assert int(scope, 16) >= 0
    assert scope == digest.scope_of_key("sk-secret") != digest.scope_of_key("sk-secret2")
    with pytest.raises(errors.InvalidArgument, match="key is empty"):
        digest.scope_of_key("")


def test_every_level_finds_the_same_at_every_alignment_and_length(cpu_level: str) -> None:
    # The reader looks for the ends of plain runs in vectors; an escaped spelling makes it look elsewhere.
    del cpu_level
    for before in range(0, 70, 3):
        for length in range(140):
            text = "é" + "x" * before + "\n" + "y" * length
            plain = json.dumps(["x" * before, "y" * length])
            escaped = plain.replace("x", "\\u0078").replace("y", "\\u0079")
            assert inspect(plain.encode()).digest == inspect(escaped.encode()).digest
            tight, loose = json.dumps(text, ensure_ascii=False), json.dumps(text) + " " * 40
            assert inspect(tight.encode()).digest == inspect(loose.encode()).digest


def test_every_level_sees_a_control_byte_wherever_it_stands(cpu_level: str) -> None:
    del cpu_level
    for length in range(100):
        for place in range(length):
            for control in (b"\x00", b"\x1f"):
                body = b'"' + b"z" * place + control + b"z" * (length - place) + b'"'
                with pytest.raises(errors.InvalidDocument) as caught:
                    inspect(body)
                assert caught.value.offset == 1 + place


def test_a_large_body_is_read_by_many_threads_at_once() -> None:
    body = json.dumps({**CHAT, "messages": [{"role": "user", "content": "line\n" * 200_000}]}).encode()
    expected, found = inspect(body).digest, []
    threads = [threading.Thread(target=lambda: found.append(inspect(body).digest)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4


def test_the_public_collection_of_json_files_is_accepted_and_refused_as_it_says(shared_data: Path) -> None:
    # Python's reader keeps the last of two equal keys; here they are refused.
    twice = {"y_object_duplicated_key.json", "y_object_duplicated_key_and_value.json"}
    seen = {"y": 0, "n": 0, "i": 0}
    with tarfile.open(shared_data / "json" / "json_test_suite.tar.gz") as archive:
        for member in archive:
            name, content = member.name.rsplit("/", 1)[-1], archive.extractfile(member)
            if content is None or not name.endswith(".json"):
                continue
            try:
                inspect(content.read())
                accepted = True
            except errors.InvalidDocument:
                accepted = False
            seen[name[0]] += 1
            if name[0] != "i":
                assert accepted == (name[0] == "y" and name not in twice), name
    assert seen["y"] > 90
    assert seen["n"] > 180
