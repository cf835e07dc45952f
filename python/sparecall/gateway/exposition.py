"""Prometheus texts as `Registry.render` writes them, added up sample by sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Limits are no amounts: of several workers the worst counts.
_WORST = frozenset({"sparecall_rate_limit_spent", "sparecall_semantic_error_upper"})
# The two lines above a family, and its samples by name and labels.
_Family = tuple[list[str], dict[str, float]]


def merged(texts: Iterable[str]) -> str:
    """One text with the sums of all: of counters, gauges and histograms alike; of limits, the largest. The texts' families have the same shapes."""
    families: dict[str, _Family] = {}
    for text in texts:
        for name, (head, samples) in _families(text):
            sums = families.setdefault(name, (head, {}))[1]
            for sample, value in samples.items():
                before = sums.get(sample, 0.0)
                sums[sample] = max(before, value) if name in _WORST else before + value
    lines: list[str] = []
    for _, (head, samples) in sorted(families.items()):
        lines += head
        lines += [f"{sample} {_number(value)}" for sample, value in samples.items()]
    return "".join([line + "\n" for line in lines])


def lasting(text: str) -> str:
    """The text without its gauges: what stays true of a process that has ended."""
    lines: list[str] = []
    for _, (head, samples) in _families(text):
        if not head[-1].endswith(" gauge"):
            lines += head
            lines += [f"{sample} {_number(value)}" for sample, value in samples.items()]
    return "".join([line + "\n" for line in lines])


def _families(text: str) -> Iterator[tuple[str, _Family]]:
    family: _Family = ([], {})
    name = ""
    for line in text.split("\n"):  # not splitlines: a label may hold what that takes for a line end
        if line.startswith("# HELP "):
            if name:
                yield name, family
            name, family = line.split(" ", 3)[2], ([line], {})
        elif line.startswith("# "):
            family[0].append(line)
        elif line:
            sample, _, value = line.rpartition(" ")
            family[1][sample] = float(value)
    if name:
        yield name, family


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)
