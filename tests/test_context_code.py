"""The code reducer: signatures outlast bodies, whatever the language and however lines are numbered."""

from __future__ import annotations

import pytest

from sparecall.context import ContextOptimizer, reduce
from sparecall.context.code import CodeReducer
from sparecall.errors import UnknownName

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
    worth = CodeReducer(language=language if known else None)(text)
    assert len(worth) == text.count("\n")
    assert {at for at, each in enumerate(worth, 1) if each} >= set(expected)
    assert worth[-1] == 0 or language == "rust"


def test_text_that_is_no_code_matters_evenly() -> None:
    for text in ("", "\n", "just words", "\0", "x = (\n", "a\rb\n", "  \n  "):
        worth = CodeReducer()(text)
        assert len(worth) == text.count("\n") + (not text.endswith("\n") and text != "")
        assert all(each >= 0 for each in worth)
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
