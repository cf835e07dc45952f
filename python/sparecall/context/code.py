"""A reducer of source code, by its symbols: what a file defines outlasts how it does it. Imports `sparecall.outline`, and of this word `Lines` alone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from sparecall.context.reducers import Lines
from sparecall.errors import InvalidDocument, UnknownName
from sparecall.outline import languages, outline

if TYPE_CHECKING:
    from sparecall.outline import Outline, Symbol

_NUMBER = re.compile(r"^ *\d+(?:[:|\t\u2192]) ?", re.MULTILINE)
"""What a tool that reads files puts before each line."""
_SIGNATURE = 1.0
_DOCSTRING = 0.5
_TRIED = 16 * 1024
"""So many characters are parsed to find out what a text is written in."""
_CANDIDATES = 4
"""In so many languages at most."""
_WHOLE = frozenset({"function", "method"})
"""What is defined inside one of these is part of it."""
_LOOKS: Final = {
    "python": re.compile(
        r"^[ \t]*(?:async )?def \w+\(|^[ \t]*class \w+[(:]|^(?:from [\w.]+ )?import [\w.]+[^;]*$", re.MULTILINE
    ),
    "rust": re.compile(
        r"^[ \t]*(?:pub(?:\([a-z]+\))? )?(?:fn|struct|enum|impl|trait|mod|use)\b|let mut |::\w", re.MULTILINE
    ),
    "go": re.compile(r"^(?:func|package|type \w+ (?:struct|interface)|import)\b|:= ", re.MULTILINE),
    "java": re.compile(
        r"^[ \t]*(?:public|private|protected|package|import) [\w.<>\[\] ]+[;({]|@Override", re.MULTILINE
    ),
    "javascript": re.compile(
        r"\bfunction\b ?\w*\(|=> |^[ \t]*(?:const|let|var|export|import) |\brequire\(", re.MULTILINE
    ),
    "typescript": re.compile(
        r"\bfunction\b ?\w*\(|=> |^[ \t]*(?:const|let|export|import) |: (?:string|number|boolean|void)\b|^(?:export )?interface ",
        re.MULTILINE,
    ),
}
"""What source code in a language is known by, before anything is parsed."""


class CodeReducer:
    """Says which lines of source code matter: those of signatures, and the first of each docstring; and which symbol each line is of. A `sparecall.context.Reducer`.

    ``language``: of all texts; None finds out: of those a text looks like, the one that it parses in without errors, else with most
    symbols. Lines may be numbered, as tools number them. A line belongs to the innermost symbol around it, and all of a function to
    that function. Of text that defines nothing in any language nothing is said. Pure and thread-safe; linear, about 5 MB a second.

    Raises `UnknownName` for a language that is not known.
    """

    __slots__ = ("_language",)

    def __init__(self, *, language: str | None = None) -> None:
        if language is not None and language not in languages():
            outline("", language)  # says which there are
        self._language: Final = language

    def __call__(self, text: str, /) -> Lines | None:
        """What speaks for each line, and the symbol that it is of."""
        source = _NUMBER.sub("", text)
        if source.count("\n") != text.count("\n"):
            return None
        try:
            read = _best(source) if self._language is None else outline(source, self._language)
        except (InvalidDocument, UnknownName):
            return None
        symbols = () if read is None else read.symbols
        if not symbols:
            return None
        number = text.count("\n") + (not text.endswith("\n") and text != "")
        worth, owners, is_whole = [0.0] * number, [""] * number, [False] * number
        for symbol in symbols:
            first, last = symbol.first_line - 1, min(symbol.last_line, number)
            if not is_whole[min(first, number - 1)]:
                owners[first:last] = [symbol.name_path] * (last - first)
                is_whole[first:last] = [symbol.kind in _WHOLE] * (last - first)
            _weigh(symbol, worth)
        return Lines(worth, owners)


def _weigh(symbol: Symbol, worth: list[float]) -> None:
    """Add what speaks for the lines of a symbol's signature and docstring."""
    text, signature, said = symbol.text, symbol.signature, symbol.docstring
    head = text.find(signature) if symbol.kind != "variable" else -1
    if head < 0:
        return
    first = symbol.first_line - 1 + text.count("\n", 0, head)
    for line in range(first, min(first + signature.count("\n") + 1, len(worth))):
        worth[line] = _SIGNATURE
    at = text.find(said) if said else -1
    line = symbol.first_line - 1 + text.count("\n", 0, at)
    if at >= 0 and line < len(worth):
        worth[line] = max(worth[line], _DOCSTRING)


def _best(source: str) -> Outline | None:
    """The text as the language that fits best reads it; None where none reads anything."""
    start = source[:_TRIED]
    votes = {language: len(looks.findall(start)) for language, looks in _LOOKS.items()}
    votes["tsx"] = votes["typescript"] if "/>" in start or "</" in start else 0
    likely = sorted((language for language in votes if votes[language]), key=lambda one: -votes[one])
    best: Outline | None = None
    for language in likely[:_CANDIDATES]:
        read = outline(start, language)
        if len(read) and (best is None or (not read.has_errors, len(read)) > (not best.has_errors, len(best))):
            best = read
        if best is not None and not best.has_errors:
            break
    return best if best is None or len(start) == len(source) else outline(source, best.language)
