"""Composes everyday questions and requests from `phrases.toml` and the word classes. Deterministic for a seed."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

from words import Weighted, gerund, weighted

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator
    from pathlib import Path

_SLOT = re.compile(r"\{(\w+)\}")


class Composer:
    """Draws a frame, then fills each `{slot}` from the list, the word class or the rule of that name."""

    def __init__(self, classes: dict[str, Weighted], phrases: Path, rng: random.Random) -> None:
        tables = tomllib.loads(phrases.read_text())
        self._rng = rng
        self._lists = {name: _entries(text) for name, text in tables["lists"].items()}
        self._classes = classes
        self._frames = {
            name: weighted([_weight(entry) for entry in _entries(text)]) for name, text in tables["frames"].items()
        }
        self._rules: dict[str, Callable[[], str]] = {"vp": self._doing, "ving": self._gerund, "thing": self._thing}

    def compose(self, kind: str, count: int) -> Iterator[str]:
        frames = self._frames[kind]
        for _ in range(count):
            yield self._vary(self._fill(frames.draw(self._rng)))

    def _fill(self, frame: str) -> str:
        return _SLOT.sub(lambda match: self._slot(match[1]), frame)

    def _slot(self, name: str) -> str:
        if rule := self._rules.get(name):
            return rule()
        if name in self._classes:
            return self._classes[name].draw(self._rng)
        return self._fill(self._rng.choice(self._lists[name]))

    def _choose(self, *frames: tuple[int, str]) -> str:
        return self._fill(self._rng.choices([f for _, f in frames], [w for w, _ in frames])[0])

    def _doing(self) -> str:
        return self._choose(
            (50, "{doing}"), (8, "{verb} {thing}"), (6, "{verb} a {noun}"), (5, "{verb} the {noun}"), (5, "{verb} {plural}"),
            (5, "{verb} my {noun}"), (4, "{phrasal}"), (3, "{phrasal} {thing}"), (3, "{verb}"), (3, "{verb} {noun} {noun}"),
            (2, "{doing} with {thing}"), (2, "{doing} and {doing}"), (2, "{doing} without {ving}"), (2, "{doing} {when}"),
        )  # fmt: skip

    def _gerund(self) -> str:
        return gerund(self._doing())

    def _thing(self) -> str:
        return self._choose(
            (34, "{topic}"), (10, "{noun}"), (6, "a {noun}"), (4, "the {noun}"), (8, "{plural}"), (6, "{adj} {noun}"), (4, "{adj} {plural}"),
            (6, "{noun} {noun}"), (9, "{phrase}"), (6, "{name}"), (2, "{name} {name}"), (4, "{place}"), (2, "{ving}"), (2, "{subject}"),
            (2, "{company}"), (1, "{device}"), (1, "{code}"), (2, "{topic} in {place}"), (1, "{noun} of {noun}"),
        )  # fmt: skip

    def _vary(self, text: str) -> str:
        """What people do to a question: a contraction, no mark at the end, something said before it."""
        roll = self._rng.random()
        if roll < 0.06:
            return (
                text.replace("What is", "What's")
                .replace("do not", "don't")
                .replace("I am", "I'm")
                .replace("How is", "How's")
            )
        if roll < 0.10:
            return text.rstrip("?.")
        if roll < 0.13:
            return f"{self._fill(self._rng.choice(_OPENINGS))} {text}"
        return text[:1].upper() + text[1:]


_OPENINGS = (
    "I am a {number} year old {job}.", "I have {number} years of experience in {subject}.", "I live in {place}.", "Hi,",
    "I want to {vp}.", "I have {thing}.", "Please tell me:", "I love my {relation}.", "I am from {place} and I {verb} {plural}.",
    "My {relation} is {adj}.", "I'm new to {thing}.", "My {device} is {adj}.", "Can you tell me,", "Quick question:",
)  # fmt: skip


def _entries(text: str) -> list[str]:
    return [entry.strip() for entry in text.replace("\n", "").split("|")]


def _weight(entry: str) -> tuple[str, float]:
    number, _, frame = entry.partition(" ")
    return frame, float(number)
