"""One text by itself, and what of it a conversation keeps: fits, loses nothing unnamed, and can be asked for."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparecall import _core, tokens
from sparecall.context import ContextOptimizer, Handles, reduce
from sparecall.errors import InvalidArgument, UnknownName

BYTES = base64.b64encode(random.Random(5).randbytes(3_000)).decode()
LOG = "".join(
    f"10:{n // 60:02}:{n % 60:02} {'ERROR disk gone' if n == 70 else 'INFO job done'} in {n * 7 % 90} ms\n"
    for n in range(200)
)


def run_of(*results: str) -> list[dict[str, Any]]:
    """A conversation in which a tool gave these."""
    out: list[dict[str, Any]] = [{"role": "user", "content": "Go on."}]
    for n, result in enumerate(results):
        call = {"id": f"c{n}", "type": "function", "function": {"name": "look", "arguments": json.dumps({"page": n})}}
        out.append({"role": "assistant", "content": None, "tool_calls": [call]})
        out.append({"role": "tool", "tool_call_id": f"c{n}", "content": result})
    return out


TEXTS = st.lists(
    st.sampled_from(LOG.splitlines()[:90])
    | st.text(max_size=40)
    | st.sampled_from([BYTES[:300], "[… 3 lines]", "@@ -1 +1 @@", "+x", "t PASSED", '{"a": 1}', "\ud800"]),
    max_size=60,
).map("\n".join)


@given(TEXTS, st.integers(1, 300), st.sampled_from(["plain", "handles"]), st.none() | st.text(max_size=20))
def test_a_text_fits_and_what_is_missing_is_named(text: str, budget: int, markers: Any, query: str | None) -> None:
    kept = Handles()
    done = reduce(text, budget=budget, markers=markers, query=query, handles=kept)
    assert done == reduce(text, budget=budget, markers=markers, query=query)
    assert done.after == tokens.count(done.text) <= min(budget, done.before)
    assert done.lossless == (not done.removed)
    if done.change == "none":
        assert done.text == text
    else:
        assert kept.get(done.handle) == text
    if markers == "handles" and done.removed and done.text:
        assert done.handle in done.text
    if done.change == "none" or done.text == "":
        return
    again = reduce(done.text, budget=budget, markers=markers)
    assert again.text == done.text, "twice is once"


def test_a_log_keeps_its_errors_and_says_how_many_the_others_were() -> None:
    done = reduce(LOG, budget=90)
    assert (done.kind, done.change) == ("log", "cut")
    assert "10:01:10 ERROR disk gone in 40 ms\n" in done.text
    assert "10:00:00 INFO job done in 0 ms [\u00d7199]\n" in done.text
    assert done.text.endswith(LOG.splitlines()[-1] + "\n")
    assert "".join(done.removed) == "".join(line for line in LOG.splitlines(keepends=True) if line not in done.text and "00:00" not in line)  # fmt: skip


def test_bytes_say_what_they_are() -> None:
    text = json.dumps({"name": "a.png", "data": f"data:image/png;base64,{BYTES}", "id": "R-7"})
    done = reduce(text, budget=60)
    assert "[base64 image/png, 3000 bytes, blake3 " in done.text
    assert "a.png" in done.text
    assert "R-7" in done.text


def test_what_later_words_speak_of_stays() -> None:
    rows = [{"flight": f"HAT{n:03}", "price": n % 5} for n in range(90)]
    assert "HAT043|3" in reduce(json.dumps(rows), budget=80, query="Book HAT043.").text


def test_a_row_that_a_later_call_speaks_of_stays_in_a_conversation() -> None:
    rows = [{"flight": f"HAT{n:03}", "price": 7 * n % 500, "gate": f"g{n}"} for n in range(60)]
    messages = [*run_of(json.dumps(rows), "Nothing."), {"role": "user", "content": "HAT021 then, please."}]
    done = ContextOptimizer(budget=150, keep_last=1).optimize(messages)
    assert "HAT021|147|g21" in done.messages[2]["content"]


def test_marks_have_the_handles_that_the_report_names() -> None:
    messages = run_of(LOG, "seen", LOG.replace("job", "task"), "done")
    plain = ContextOptimizer(budget=300, keep_last=1, markers="plain").optimize(messages)
    mine = ContextOptimizer(budget=300, keep_last=1, markers="handles")
    done = mine.optimize(messages)
    assert done.report.after <= 300
    assert done == ContextOptimizer(budget=300, keep_last=1, markers="handles").optimize(messages)
    cut = [one for one in done.report.removed if one.change == "cut"]
    text = json.dumps(done.messages, ensure_ascii=False)
    assert cut
    for one in cut:
        assert text.count(one.handle) == 1
        assert mine.fetch(one.handle) == messages[one.index]["content"]
        assert one.handle not in json.dumps(plain.messages)


def test_bytes_give_way_when_a_result_first_comes() -> None:
    messages = run_of(f"screen: {BYTES}\n", "seen")
    messages.insert(1, {"role": "user", "content": f"Decode {BYTES}"})
    mine = ContextOptimizer(budget=100_000, prefix="stable")
    done = mine.optimize(messages)
    (one,) = done.report.removed
    assert (one.change, done.report.lossless) == ("data", False)
    assert done.messages[3]["content"].startswith("screen: [base64, 3000 bytes, blake3 ")
    assert done.messages[1] is messages[1]
    assert mine.fetch(one.handle) == messages[3]["content"]
    still = ContextOptimizer(budget=100_000, prefix="stable", birth="lossless").optimize(messages)
    assert still.messages == messages


def test_of_a_file_read_twice_the_newer_stays_and_the_older_says_so() -> None:
    older = "\n".join(f"    value_{n} = compute(name_{n % 17}, {n})" for n in range(60))
    messages = run_of(older, "seen", older)
    whole = tokens.count(older)
    done = ContextOptimizer(budget=int(whole * 1.3), keep_last=1).optimize(messages)
    assert done.messages[-1] is messages[-1]
    assert " as below]" in done.messages[2]["content"]


def test_who_says_which_lines_of_code_matter_is_heard() -> None:
    code = "".join(f"def f{n}(x):\n    return x + {n}\n\n" for n in range(60))
    seen: list[str] = []

    def outline(text: str) -> list[float]:
        seen.append(text)
        return [9.0 if "x + 41" in line else 0.0 for line in text.split("\n")[:-1]]

    assert "x + 41" in reduce(code, budget=30, reducer=outline).text
    messages = run_of(code, "seen")
    mine = ContextOptimizer(budget=120, keep_last=1, reducers={"code": outline})
    assert "x + 41" in mine.optimize(messages).messages[2]["content"]
    assert mine.optimize(messages) == mine.optimize(messages)
    assert seen == [code, code]  # once for each who asked
    with pytest.raises(InvalidArgument, match="one for each of the"):
        reduce(code, budget=30, reducer=lambda _: [1.0])


def test_many_texts_are_read_as_each_by_itself() -> None:
    """By as many threads as there are processors, where they are this long; and what comes after the items of the last choice is
    chosen as all of them are.
    """
    kinds = [
        LOG,
        BYTES,
        json.dumps([{"id": n, "name": f"user_{n}"} for n in range(40)]),
        "def f(x):\n    return x\n" * 30,
        "",
        "é\ud800",
    ]
    wanted = [(f"{text}{n}" if n % 3 else text, n % 2 == 0, None) for n in range(20) for text in kinds]
    many = _core.context_documents(wanted, "o200k_base")
    assert sum(len(text) for text, _, _ in wanted) > 128 * 1024
    for (text, compact, _), document in zip(wanted, many, strict=True):
        alone = _core.ContextDocument(text, "o200k_base", compact=compact)
        assert (repr(document), document.text, document.size) == (repr(alone), alone.text, alone.size)
    items = [(document, at // 2, at % 5 == 0, 1.0) for at, document in enumerate(many)]
    board = _core.ContextBoard()
    same = 0
    for count, kept in ((20, 12), (80, 80), (120, 9), (40, 0)):
        options: dict[str, Any] = {"budget": 2_000, "query": "Who is user_7?", "relevance": 5.0 if count == 80 else 0.2}
        costs = [4] * (count // 2)
        chosen = _core.context_select(items[same:count], costs, board=board, same=same, **options)
        assert chosen == _core.context_select(items[:count], costs, **options)
        same = kept
    with pytest.raises(InvalidArgument, match="same"):
        _core.context_select([], [4], budget=5, board=board, same=41)
    with pytest.raises(InvalidArgument, match="items"):
        _core.context_select([], [4], budget=5, board=board, same=40)


@pytest.mark.parametrize(
    "options", [{"budget": 0}, {"budget": 5, "kind": "poem"}, {"budget": 5, "markers": "none"}, {"budget": 5, "encoding": "x"}]
)  # fmt: skip
def test_what_cannot_be_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises((InvalidArgument, UnknownName)):
        reduce("some text that is long enough to be cut", **options)
    with pytest.raises(InvalidArgument):
        ContextOptimizer(budget=5, birth="no")  # type: ignore[arg-type]
