"""A file's outline and skeleton; one line edited in an index; a result derived that still holds."""

from __future__ import annotations

from sparecall.outline import SymbolIndex, outline

from .common import Benchmark


def source(lines: int) -> str:
    """A file of about so many lines: functions of seven."""
    function = (
        'def function_{0}(first, second=None):\n    """Does {0}."""\n    value = first + {0}\n'
        "    for each in second or ():\n        value += each.size * {0}\n    return value\n\n"
    )
    return "".join(function.format(i) for i in range(lines // 7))


class Outlines(Benchmark):
    params = (200, 2000, 20_000)
    param_names = ("lines",)

    def setup(self, lines: int) -> None:
        super().setup(lines)
        self.source = source(lines)
        self.found = outline(self.source, "python")

    def time_outline(self, _lines: int) -> None:
        outline(self.source, "python")

    def time_skeleton(self, _lines: int) -> None:
        self.found.skeleton()


class Updates(Benchmark):
    params = (200, 2000, 20_000)
    param_names = ("lines",)

    def setup(self, lines: int) -> None:
        super().setup(lines)
        text = source(lines)
        middle = lines // 14
        self.edits = [text.replace(f"first + {middle}\n", f"first + {middle} + {i}\n") for i in (1, 2)]
        self.index = SymbolIndex()
        self.index.update("a.py", text)
        self.derived = self.index.derived("length", lambda subject: len(subject.text))
        self.symbol = self.index.symbols("a.py")[1]
        self.derived.get(self.symbol)

    def time_one_line(self, _lines: int) -> None:
        for edit in self.edits:
            self.index.update("a.py", edit)

    def time_derived_that_holds(self, _lines: int) -> None:
        self.derived.get(self.symbol)
