"""The code reducer: signatures outlast bodies, whatever the language and however lines are numbered."""

from __future__ import annotations

import pytest

from sparecall.context import ContextOptimizer, Lines, reduce
from sparecall.context.code import CodeReducer
from sparecall.errors import InvalidArgument, UnknownName

PYTHON = "import os\n\n\nclass A:\n    '''What it is.'''\n\n    def m(\n        self,\n    ):\n        x = 1\n        return x\n"
SOURCES = {
    "python": (PYTHON, [4, 5, 7, 8, 9]),
    "rust": ("struct S {\n    a: u8,\n}\n\nfn f() -> u8 {\n    1\n}\n", [5]),
    "go": ("package p\n\nfunc F() int {\n\treturn 1\n}\n", [3]),
}


@pytest.mark.parametrize("language", SOURCES)
@pytest.mark.parametrize("numbered", [False, True])
@pytest.mark.parametrize("known", [False, True])
def test_signatures_matter(language: str, *, numbered: bool, known: bool) -> None:
    text, expected = SOURCES[language]
    if numbered:
        text = "".join(f"{at:>4}\t{line}" for at, line in enumerate(text.splitlines(keepends=True), 1))
    lines = CodeReducer(language=language if known else None)(text)
    assert lines is not None
    worth = lines.worth
    assert len(worth) == len(lines.owners) == text.count("\n")
    assert {at for at, each in enumerate(worth, 1) if each} >= set(expected)
    assert worth[-1] == 0 or language == "rust"


def test_of_text_that_is_no_code_nothing_is_said() -> None:
    for text in ("", "\n", "just words", "\0", "x = (\n", "a\rb\n", "  \n  ", "import what you like\nfrom me"):
        assert CodeReducer()(text) is None
        assert CodeReducer(language="python")(text) is None or "x" in text
    with pytest.raises(UnknownName):
        CodeReducer(language="cobol")


def test_what_is_left_of_a_file_is_what_it_defines() -> None:
    body = "".join(f"        total_{at} = total_{at - 1} + {at} * weight\n" for at in range(1, 40))
    text = "".join(f"def step_{name}(weight):\n    if weight:\n{body}    return weight\n\n\n" for name in "abcdef")
    reduced = reduce(text, budget=300, kind="code", reducer=CodeReducer())
    assert reduced.after <= 300
    assert all(f"def step_{name}(weight):" in reduced.text for name in "abcdef")
    optimizer = ContextOptimizer(
        budget=420, keep_last=0, keep_first_user=False, embedder=None, reducers={"code": CodeReducer()}
    )
    short = optimizer.optimize([{"role": "user", "content": text}], query="step").messages[0]["content"]
    assert all(f"def step_{name}(weight):" in short for name in "abcdef")


BODY = "".join(f"        total = (total * {at} + weight) // 3\n" for at in range(30))
FILE = "".join(f"class {one}:\n    def check(self, weight, total):\n{BODY}        return total\n\n" for one in ("Alpha", "Beta", "Gamma"))  # fmt: skip


def whole(text: str) -> list[str]:
    """The classes whose method is there with its body."""
    return [
        one
        for one in ("Alpha", "Beta", "Gamma")
        if f"class {one}:\n    def check(self, weight, total):\n{BODY}" in text
    ]


@pytest.mark.parametrize("one", ["Alpha", "Beta", "Gamma"])
@pytest.mark.parametrize("by", ["user", "call", "output", "query", "nobody", "code"])
def test_what_is_named_later_keeps_its_body(one: str, by: str) -> None:
    path = "nothing_there" if by == "nobody" else f"{one}.check"
    call = {"id": "c", "type": "function", "function": {"name": "run", "arguments": f'{{"what": "{path}"}}'}}
    outputs = {
        "output": f"FAILED at {path}",
        "code": "".join(f"def use_{at}(a):\n    return {path}(a)\n" for at in range(6)),
    }
    messages = [
        {"role": "user", "content": "Read it."},
        {"role": "assistant", "content": FILE},
        {"role": "user", "content": f"So {path} it is." if by in {"user", "nobody"} else "Go on."},
        {"role": "assistant", "content": None, "tool_calls": [call if by == "call" else {**call, "function": {"name": "run", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": outputs.get(by, "done")},
        {"role": "assistant", "content": "I see."},
    ]  # fmt: skip
    optimizer = ContextOptimizer(budget=720, keep_last=4, embedder=None, reducers={"code": CodeReducer()})
    done = optimizer.optimize(messages, query=f"about {path}" if by == "query" else None)
    kept = done.messages[1]["content"]
    assert isinstance(kept, str)
    assert all(f"class {other}:\n    def check(self, weight, total):" in kept for other in ("Alpha", "Beta", "Gamma"))
    assert whole(kept) == ["Gamma" if by in {"nobody", "code"} else one]  # of what weighs the same the later stays
    assert done.report.after <= 720
    assert optimizer.optimize(messages, query=f"about {path}" if by == "query" else None) == done


def test_a_reducer_of_ones_own_says_what_lines_belong_to() -> None:
    text = "".join(f"{letter} line {at} of what there is\n" for letter in "abc" for at in range(40))

    def mine(text: str) -> Lines:
        lines = text.splitlines()
        return Lines([0.0] * len(lines), [f"part_{line[0]}" for line in lines])

    short = reduce(text, budget=430, kind="data", reducer=mine, query="and part_b?").text
    assert short.count("b line") == 40 > 2 * short.count("a line")
    with pytest.raises(InvalidArgument, match="owners"):
        reduce(text, budget=430, kind="data", reducer=lambda _: Lines([0.0] * 120, ["x"]))
    with pytest.raises(InvalidArgument, match="worth"):
        reduce(text, budget=430, kind="data", reducer=lambda _: Lines([], ["x"] * 120))
