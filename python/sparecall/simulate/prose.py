"""English that reads like an answer: sentences from templates, about words of the question."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_OPENINGS = (
    "Here is what stands out about {topic}.",
    "In short, {topic} comes down to {noun} and {noun}.",
    "Let me go through {topic} step by step.",
    "The answer turns on how {topic} treats {noun}.",
    "There are a few things to know about {topic}.",
)
_SENTENCES = (
    "The {adjective} part is the {noun}, which {verb} the {noun} before anything else happens.",
    "It {verb} each {noun} once, so the {noun} stays {adjective}.",
    "If {topic} is {adjective}, the {noun} can be left as it is.",
    "Most of the work lies in the {noun}: it {verb} a {noun} and keeps the {noun} {adjective}.",
    "When the {noun} changes, {topic} {verb} the {noun} again.",
    "One {adjective} {noun} is enough here, because nothing else {verb} it.",
    "That is why {topic} and the {noun} should be read together.",
    "In practice the {noun} is {adjective} and the {noun} rarely matters.",
    "Note that {topic} {verb} its {noun} only after the {noun} is {adjective}.",
    "You could also replace the {noun} with some {adjective} {noun}, at some cost.",
)
_CLOSINGS = (
    "Overall, {topic} is {adjective} once the {noun} is in place.",
    "I would start with the {noun} and check {topic} afterwards.",
    "Let me know if you want the {noun} in more detail.",
)
_FILLERS = {
    "noun": _words("""
        buffer cache caller default error function handler index interface key limit list lock loop module name parser
        path queue record request result scheduler schema signature state stream test token value
    """),
    "verb": _words("builds checks copies counts drops holds keeps merges reads returns sorts stores updates"),
    "adjective": _words("bounded cheap correct empty explicit fresh large local optional safe shared stable"),
}
_COMMON = frozenset(
    _words("""
        about after again also because before could describe does each explain find from give have into just like look
        make more need please read search should show some summarize tell than that their them then there these they
        this those very want what when where which while will with would write your
    """)
)
_BLANK = re.compile(r"\{(\w+)\}")


def prose(draw: Random, about: str) -> str:
    """Return 2 to 14 sentences, in paragraphs, that mention words of ``about``."""
    topics = _topics(about)

    def fill(template: str) -> str:
        return _BLANK.sub(lambda blank: draw.choice(_FILLERS.get(blank[1], topics)), template)

    middle = [("\n\n" if draw.random() < 0.12 else " ") + draw.choice(_SENTENCES) for _ in range(draw.randrange(13))]
    return fill("".join([draw.choice(_OPENINGS), *middle, " ", draw.choice(_CLOSINGS)]))


def word(draw: Random) -> str:
    """Return one plausible word."""
    return draw.choice(_FILLERS["noun"])


def _topics(about: str) -> tuple[str, ...]:
    said = re.findall(r"[^\W\d_][\w.]{3,30}", about[:4000])
    topics = dict.fromkeys(topic.rstrip(".") for topic in said)
    return tuple(topic for topic in topics if topic.lower() not in _COMMON)[:8] or ("this",)
