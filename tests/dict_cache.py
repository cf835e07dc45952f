"""A cache over a dict, with the options that `Cache` takes, that remembers what it was told."""

from __future__ import annotations

from typing import Any


class DictCache:
    """Holds everything for ever; `options` are those of each `set`, `asked` counts the looks."""

    def __init__(self) -> None:
        self.entries: dict[Any, Any] = {}
        self.options: list[dict[str, Any]] = []
        self.asked = 0

    def get(self, key: Any, default: Any = None) -> Any:
        self.asked += 1
        return self.entries.get(key, default)

    def set(self, key: Any, value: Any, **options: Any) -> bool:
        self.entries[key] = value
        self.options.append(options)
        return True

    def delete(self, key: Any) -> bool:
        return self.entries.pop(key, self) is not self
