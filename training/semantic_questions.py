"""Questions asked in another frame, about another aspect, about a sibling of a word, or narrowed: pairs for the prior.

What people ask next to a question that is stored is mostly one of these. The frames were written for this project; siblings come
from WordNet 3.0. Deterministic for a seed.
"""

from __future__ import annotations

import random
import string
from collections import defaultdict
from pathlib import Path

from semantic_pairs import Pair

QUALIFIERS = """in India|in the US|in Germany|in London|for free|at home|online|for beginners|for kids|for students|without experience
without a degree|in one month|in two weeks|after 40|in 2015|in 2018|as a teenager|on a low budget|for women|for men|on a Mac|on Android
on an iPhone|using Python|in Excel|in college|before an interview|at night|in the morning|on weekends|with diabetes|during pregnancy
without going to the gym|with a friend|without internet|by phone|for a small company|for seniors|while travelling|abroad
from another country|at work|in winter|for my parents|with a bad credit score|without a credit card|on a business account|for a wedding
under 500 dollars|without losing data|in a small apartment|as a foreigner|for the first time|twice a day|if I am under 18|every day
for a large family|with one hand|in Spanish|on Sundays|as an engineer""".replace("\n", "|").split("|")
HOW = """How do I|How can I|How should I|How do you|How could I|What is the best way to|What's the best way to|How does one|How to
What should I do to|What are some ways to|Could you tell me how to|Is there a way to""".replace("\n", "|").split("|")
INSTEAD_OF_HOW = """Why should I|When should I|Where can I|Should I|How much does it cost to|How long does it take to|Is it legal to
What happens if I|Why can't I|Who can|How often should I|Is it safe to|What do I need to know before I
Why do people""".replace("\n", "|").split("|")
# How a question may begin: the same asked in other words, and another question about the same thing.
FRAMES = {
    "What is": ("What's|What exactly is|Can you explain what is|Tell me what is|Could you tell me what is", "Why is|Where is|How is|When is|Who made|What was before"),
    "What are": ("Which are|What're|Can you tell me what are|Could you list", "Why are|Where are|Who makes|How many are"),
    "Can I": ("Is it possible to|Am I able to|May I|Could I", "Why can't I|When can I|Must I|Where can I"),
    "Why is": ("What is the reason that|How come|Can you explain why is", "Where is|When is|What is|How is"),
    "Why do": ("What is the reason that|For what reason do", "When do|Where do|How do"),
    "Where can I": ("Where do I|Which place lets me|Where could I", "Why should I|When can I|How can I"),
    "Is it": ("Would you say it is|Do you think it is", ""),
    "I want to": ("I would like to|I need to|I'd like to", "I do not want to|Why would I want to|I forgot to"),
    "How long does it take to": ("How much time does it take to|How many days does it take to", ""),
    "How much does": ("What does", ""),
    "Who is": ("Who's|Do you know who is", "Where is|Why is|How old is"),
}  # fmt: skip


def begun(text: str, draw: random.Random) -> tuple[str | None, str | None]:
    """The question in another frame, and another question about the same thing."""

    def begins(head: str) -> bool:
        return text.lower().startswith(head.lower() + " ")

    for head in HOW:
        if begins(head):
            rest = text[len(head) :]
            return draw.choice([other for other in HOW if other != head]) + rest, draw.choice(INSTEAD_OF_HOW) + rest
    for head, (same, another) in FRAMES.items():
        if begins(head):
            rest = text[len(head) :]
            return draw.choice(same.split("|")) + rest, draw.choice(another.split("|")) + rest if another else None
    return None, None


def narrowed(text: str, draw: random.Random) -> str:
    """The question for one case alone."""
    end = "?" if text.rstrip().endswith("?") else ""
    return f"{text.rstrip('?.! ')} {draw.choice(QUALIFIERS)}{end}"


def siblings(folder: Path) -> dict[str, list[str]]:
    """Nouns that WordNet puts under one and the same word: other things of the same kind."""
    names: dict[str, list[str]] = {}
    below: dict[str, list[str]] = defaultdict(list)
    for line in (folder / "data.noun").read_text("latin-1").splitlines():
        if line.startswith("  "):
            continue
        fields = line.partition(" | ")[0].split()
        count = int(fields[3], 16)
        names[fields[0]] = [fields[4 + 2 * i].lower() for i in range(count)]
        at = 4 + 2 * count + 1
        for i in range(int(fields[at - 1])):
            symbol, other = fields[at + 4 * i : at + 4 * i + 2]
            if symbol == "@":
                below[other].append(fields[0])
    found: dict[str, set[str]] = defaultdict(set)
    for kinds in below.values():
        if not 2 <= len(kinds) <= 12:
            continue
        for kind in kinds:
            others = {names[other][0] for other in kinds if other != kind}
            for name in names[kind][:2]:
                if name.isalpha() and len(name) > 3:
                    found[name] |= {other for other in others if other.isalpha() and other not in names[kind]}
    return {name: sorted(others) for name, others in found.items() if 0 < len(others) <= 40}


def replaced(text: str, draw: random.Random, others: dict[str, list[str]]) -> str | None:
    """One word replaced by a sibling."""
    words = text.split()
    found = [at for at, word in enumerate(words) if at > 0 and word.strip(string.punctuation).lower() in others]
    if not found:
        return None
    at = draw.choice(found)
    plain = words[at].strip(string.punctuation)
    words[at] = words[at].replace(plain, draw.choice(others[plain.lower()]))
    return " ".join(words)


def asked(texts: list[str], draw: random.Random, others: dict[str, list[str]]) -> list[Pair]:
    """Each text beside what else may be asked of the same thing."""
    pairs = []
    for text in texts:
        framed, aspect = begun(text, draw)
        ways = {"framed": framed, "aspect": aspect, "sibling": replaced(text, draw, others)}
        if draw.random() < 0.5:
            ways["narrowed"] = narrowed(text, draw)
        for family, other in ways.items():
            if other is not None and other != text:
                both = (text, other) if draw.random() < 0.5 else (other, text)
                pairs.append(Pair(family, *both, same=family == "framed"))
        if draw.random() < 0.3:
            one, other = narrowed(text, draw), narrowed(text, draw)
            if one != other:
                pairs.append(Pair("narrowed", one, other, same=False))
    return pairs
