"""Made-up questions for benches of semantic lookups: the same for the same count."""

from __future__ import annotations

import random

VERBS = [
    "reset",
    "find",
    "change",
    "cancel",
    "order",
    "return",
    "update",
    "close",
    "open",
    "check",
    "move",
    "print",
    "sell",
    "paint",
    "lock",
]
THINGS = [
    "router",
    "card",
    "limit",
    "transfer",
    "light",
    "door",
    "password",
    "account",
    "invoice",
    "ticket",
    "order",
    "parcel",
    "phone",
    "screen",
    "bill",
]
PLACES = [
    "at home",
    "in the office",
    "on the train",
    "for my team",
    "with a new device",
    "before the weekend",
    "after the update",
]


def questions(count: int) -> list[str]:
    """So many questions, all different."""
    draw = random.Random(0)
    return [
        f"How do I {draw.choice(VERBS)} the {draw.choice(THINGS)} {draw.choice(PLACES)} without {draw.choice(THINGS)} {number}?"
        for number in range(count)
    ]
