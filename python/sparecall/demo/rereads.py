"""What the day's re-reads would cost if only what changed of a file were sent: by `sparecall.outline`, beside the calls and in none of their figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from sparecall import tokens
from sparecall.outline import SymbolIndex, outline

if TYPE_CHECKING:
    from sparecall.demo.task import Day, Task


class Rereads(msgspec.Struct, frozen=True):
    """Of the files that were read again after an edit. Tokens are exact, of o200k_base."""

    files: int
    symbols: int
    unchanged: int
    """Symbols whose text the edit left as it was."""
    whole_tokens: int
    """Of the files as they are now."""
    changed_tokens: int
    """Of the same files with the bodies of unchanged symbols left out."""


def rereads(day: Day) -> Rereads:
    """Follows each file from the task that read it to the one that reads it again."""
    tasks = {task.number: task for task in day.tasks}
    files = symbols = unchanged = whole = changed = 0
    for task in day.tasks:
        if task.kind != "re-read" or task.earlier is None:
            continue
        index = SymbolIndex()
        index.update(task.path, _source(tasks[task.earlier]))
        after = _source(task)
        diff = index.update(task.path, after)
        new = [*diff.added, *(now for _, now in diff.modified)]
        files += 1
        unchanged += sum(symbol.kind != "module" for symbol in diff.unchanged)
        symbols += len(index.symbols(task.path)) - 1  # the file is one
        whole += tokens.count(after)
        shown = outline(after, path=task.path).skeleton([symbol.name_path for symbol in new if symbol.kind != "module"])
        changed += shown.tokens()
    return Rereads(files, symbols, unchanged, whole, changed)


def _source(task: Task) -> str:
    """The file as it stands in the task's prompt: see `sparecall.demo.questions.shown`."""
    text: str = task.messages[-1]["content"]
    return text.partition("```python\n")[2].rpartition("\n```\n\n")[0]
