"""Makes the labelled pairs that the prior of the semantic decision is fitted on: templates, intents, paraphrases, swaps.

Every source's licence allows it: texts written for this project (`semantic_templates.txt`), banking77 (CC BY 4.0), GPTCache's
mock pairs (MIT), the documentation strings of Python's standard library (PSF-2.0), WordNet 3.0. Deterministic for a seed.
"""

from __future__ import annotations

import ast
import csv
import json
import random
import re
import string
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent


class Pair(NamedTuple):
    """A query, a stored text, and whether the stored answer serves the query."""

    family: str
    query: str
    stored: str
    same: bool


class WordNet:
    """Synonyms, opposites and glosses, from WordNet's `data.*` files."""

    def __init__(self, folder: Path) -> None:
        self.synonyms: dict[str, set[str]] = defaultdict(set)
        self.opposites: set[tuple[str, str]] = set()
        self.glosses: list[str] = []
        words: dict[tuple[str, str], list[str]] = {}
        lines = []
        for kind, file in (("n", "noun"), ("v", "verb"), ("a", "adj"), ("r", "adv")):
            for line in (folder / f"data.{file}").read_text("latin-1").splitlines():
                if not line.startswith("  "):
                    lines.append((kind, line))
        for kind, line in lines:
            head, _, gloss = line.partition(" | ")
            self.glosses.append(gloss)
            fields = head.split()
            count = int(fields[3], 16)
            names = [re.sub(r"\(.*\)", "", fields[4 + 2 * i]).lower().replace("_", " ") for i in range(count)]
            words[kind, fields[0]] = names
            for name in names:
                self.synonyms[name].update(other for other in names if other != name)
        for kind, line in lines:
            fields = line.partition(" | ")[0].split()
            count = int(fields[3], 16)
            at = 4 + 2 * count + 1
            for i in range(int(fields[at - 1])):
                symbol, offset, other, ends = fields[at + 4 * i : at + 4 * i + 4]
                if symbol == "!":
                    target = words[other.replace("s", "a"), offset]
                    mine = words[kind, fields[0]][int(ends[:2], 16) - 1]
                    theirs = target[int(ends[2:], 16) - 1]
                    self.opposites.add((min(mine, theirs), max(mine, theirs)))


def templates(draw: random.Random, count: int) -> list[Pair]:  # noqa: C901 -- one kind of pair after the other
    """Questions from `semantic_templates.txt`: two of a block with one filling are the same; all else is not."""
    slots: dict[str, list[list[str]]] = {}
    topics: list[list[list[str]]] = []
    block: list[str] = []
    for line in [*(HERE / "semantic_templates.txt").read_text("utf-8").splitlines(), ""]:
        if line.startswith("@"):
            name, _, values = line[1:].partition(":")
            slots[name] = [[way.strip() for way in value.split("=")] for value in values.split("|")]
        elif line.startswith("# "):
            topics.append([])
        elif line.strip():
            block.append(line)
        elif block:
            if topics:
                topics[-1].append(block)
            block = []
    topics = [topic for topic in topics if topic]

    def filling() -> dict[str, list[str]]:
        chosen = {name: draw.choice(values) for name, values in slots.items()}
        for name, values in slots.items():
            other = draw.choice(values)
            chosen[f"{name}2"] = other if other is not chosen[name] else values[0]
        return chosen

    def fill(template: str, chosen: dict[str, list[str]]) -> str:
        return re.sub(r"\{(\w+)\}", lambda m: draw.choice(chosen[m[1]]), template)

    def signature(template: str, chosen: dict[str, list[str]]) -> tuple[str, ...]:
        return tuple(chosen[name][0] for name in sorted(set(re.findall(r"\{(\w+)\}", template))))

    pairs = []
    while len(pairs) < count:
        topic = draw.choice(topics)
        block = draw.choice(topic)
        first = draw.choice(block)
        chosen = filling()
        kind = draw.random()
        if kind < 0.45:
            if len(block) < 2:
                continue
            second = draw.choice([way for way in block if way != first])
            pairs.append(Pair("templates", fill(first, chosen), fill(second, chosen), same=True))
        elif kind < 0.7:
            other = filling()
            second = draw.choice(block)
            if signature(first, chosen) != signature(second, other) and "{" in first:
                pairs.append(Pair("templates", fill(first, chosen), fill(second, other), same=False))
        elif kind < 0.97:
            if len(topic) > 1:
                second = draw.choice(draw.choice([other for other in topic if other is not block]))
                pairs.append(Pair("templates", fill(first, chosen), fill(second, chosen), same=False))
        else:
            second = draw.choice(draw.choice(draw.choice(topics)))
            if second not in block:
                pairs.append(Pair("templates", fill(first, chosen), fill(second, filling()), same=False))
    return pairs


def banking(path: Path) -> list[tuple[str, str]]:
    """Questions to a bank, and their intents."""
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["text"].strip(), row["category"]) for row in csv.DictReader(file)]


def mock(path: Path, half: int | None) -> list[tuple[str, str]]:
    """Statements and their paraphrases: those of one half (0 even rows, 1 odd rows), or all."""
    rows = json.loads(path.read_text("utf-8"))
    return [(row["origin"], row["similar"]) for i, row in enumerate(rows) if half is None or i % 2 == half]


def docstrings(count: int) -> list[str]:
    """First sentences of the standard library's documentation strings."""
    found: dict[str, None] = {}
    folder = Path(ast.__file__).parent
    for path in sorted(folder.glob("*.py")) + sorted(folder.glob("*/*.py")):
        if "site-packages" in path.parts or "test" in path.parts[-2] or path.name.startswith("test"):
            continue
        try:
            tree = ast.parse(path.read_text("utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
                text = (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ").strip()
                sentence = re.split(r"(?<=[.!?])\s", text)[0]
                if 4 <= len(sentence.split()) <= 25:
                    found[sentence] = None
    return list(found)[:count]


# --- changes that keep the meaning -----------------------------------------------------------------

CONTRACTIONS = [
    ("what is", "what's"), ("how is", "how's"), ("do not", "don't"), ("does not", "doesn't"), ("can not", "can't"),
    ("cannot", "can't"), ("i am", "i'm"), ("it is", "it's"), ("is not", "isn't"), ("i have", "i've"), ("did not", "didn't"),
    ("has not", "hasn't"), ("are not", "aren't"), ("will not", "won't"), ("there is", "there's"), ("who is", "who's"),
]  # fmt: skip


def respell(text: str, draw: random.Random) -> str:
    """Another case, spacing, punctuation, or contraction."""
    for _ in range(draw.randint(1, 3)):
        kind = draw.randrange(7)
        if kind == 0:
            text = draw.choice([str.lower, str.upper, str.title, str.capitalize])(text)
        elif kind == 1:
            text = "  ".join(text.split(" ")) if draw.random() < 0.5 else f" {text}\n"
        elif kind == 2:
            text = text.rstrip("?.! ") + draw.choice(["", "?", "??", ".", "!", " ?"])
        elif kind == 3:
            text = text.replace(",", "").replace("'", draw.choice(["\u2019", "'"]))
        else:
            for long, short in CONTRACTIONS:
                if draw.random() < 0.8:
                    one, other = (long, short) if draw.random() < 0.5 else (short, long)
                    text = re.sub(rf"\b{one}\b", other, text, count=1, flags=re.IGNORECASE)
    return text


def polite(text: str, draw: random.Random) -> str:
    """The same, said with courtesy."""
    low = text[0].lower() + text[1:] if not text.startswith("I ") else text
    return draw.choice(
        [
            "Please tell me: {}",
            "Hi, {}",
            "Hello! {}",
            "{} Thanks!",
            "{} Please help.",
            "Could you tell me: {}",
            "{} Thank you.",
        ]
    ).format(low)


def typo(text: str, draw: random.Random) -> str:
    """Two letters of a long word change places, or one is lost."""
    words = text.split()
    long = [i for i, word in enumerate(words) if len(word) > 5 and word.isalpha()]
    if not long:
        return text
    i = draw.choice(long)
    at = draw.randrange(1, len(words[i]) - 2)
    word = words[i]
    words[i] = (
        word[:at] + word[at + 1] + word[at] + word[at + 2 :] if draw.random() < 0.5 else word[:at] + word[at + 1 :]
    )
    return " ".join(words)


def synonym(text: str, draw: random.Random, net: WordNet) -> str | None:
    """One word replaced by a word of the same synset."""
    words = text.split()
    draw_from = [
        i
        for i, word in enumerate(words)
        if len(word) > 3 and word.isalpha() and word.islower() and net.synonyms.get(word)
    ]
    if not draw_from:
        return None
    i = draw.choice(draw_from)
    choices = sorted(word for word in net.synonyms[words[i]] if word.isalpha() and len(word) > 3)
    if not choices or len(choices) > 6:
        return None
    words[i] = draw.choice(choices)
    return " ".join(words)


# --- changes that change the meaning ---------------------------------------------------------------


def other_number(text: str, draw: random.Random) -> str | None:
    """One number replaced by another."""
    found = list(re.finditer(r"\d+", text))
    if not found:
        return None
    at = draw.choice(found)
    value = int(at[0][:9])
    other = draw.choice(
        [
            value + 1,
            value * 2 + 1,
            max(0, value - 1) if value > 1 else value + 3,
            value * 10,
            value + draw.randint(2, 40),
        ]
    )
    return text[: at.start()] + str(other) + text[at.end() :]


AUXILIARY = re.compile(
    r"\b(is|are|was|were|can|could|will|would|should|does|do|did|has|have|must|may)\b", re.IGNORECASE
)


def negated(text: str, draw: random.Random) -> str | None:
    """A negation put in or taken out."""
    if re.search(r"\bnot\b|n't\b|\bwithout\b", text):
        out = re.sub(r"\bnot |n't\b", "", text, count=1)
        return re.sub(r"\bwithout\b", "with", out, count=1) if out == text else out
    found = AUXILIARY.search(text)
    if found is None:
        return re.sub(r"\bwith\b", "without", text, count=1) if re.search(r"\bwith\b", text) else None
    if draw.random() < 0.5 and re.match(
        r"^(can|could|will|would|should|do|did|is|are|was|does)\b", text, re.IGNORECASE
    ):
        return text[: found.end()] + " not" + text[found.end() :]
    end = found.end()
    rest = text[end:]
    subject = re.match(r" (I|you|we|they|he|she|it|my \w+|the \w+|a \w+)\b", rest)
    end += subject.end() if subject else 0
    return text[:end] + " not" + text[end:]


def opposed(text: str, draw: random.Random, opposites: dict[str, list[str]]) -> str | None:
    """One word replaced by its opposite."""
    words = text.split()
    found = [i for i, word in enumerate(words) if word.strip(string.punctuation).lower() in opposites]
    if not found:
        return None
    i = draw.choice(found)
    plain = words[i].strip(string.punctuation)
    words[i] = words[i].replace(plain, draw.choice(opposites[plain.lower()]))
    return " ".join(words)


def exchanged(text: str) -> str | None:
    """`from A to B` becomes `from B to A`; likewise before, after, than, versus into."""
    found = re.search(r"\b(from|of) (\w+) (to|into) (\w+)\b", text) or re.search(
        r"()\b(\w{3,}) (before|after|than|into|to) (\w{3,})\b", text
    )
    if found is None or found[2].lower() == found[4].lower():
        return None
    lead = f"{found[1]} " if found[1] else ""
    return text[: found.start()] + f"{lead}{found[4]} {found[3]} {found[2]}" + text[found.end() :]


def other_word(text: str, draw: random.Random, pool: list[str]) -> str | None:
    """One content word replaced by an unrelated one of the same kind."""
    words = text.split()
    found = [i for i, word in enumerate(words) if len(word) > 3 and word.isalpha() and i > 1]
    if not found:
        return None
    i = draw.choice(found)
    words[i] = draw.choice(pool)
    return " ".join(words)


def opposites_of(lexicon: Path, net: WordNet) -> dict[str, list[str]]:
    """Opposites listed in the core's lexicon and in WordNet, by word."""
    listed = re.search(r'OPPOSITES: &str = "(.*?)";', lexicon.read_text("utf-8"), re.DOTALL)
    if listed is None:
        raise ValueError(f"{lexicon.name} lists no opposites")
    pairs = [
        tuple(both.split("/")) for both in listed[1].replace("\\\n", " ").split("an/aus")[0].split() if both.isascii()
    ]
    found: dict[str, list[str]] = defaultdict(list)
    for one, other in [*pairs, *sorted(net.opposites)]:
        if one.isalpha() and other.isalpha():
            found[one].append(other)
            found[other].append(one)
    return dict(found)


def changed(texts: list[str], draw: random.Random, net: WordNet, opposites: dict[str, list[str]]) -> list[Pair]:
    """Each text with one change that keeps its meaning and one that does not."""
    pool = sorted(
        {word for text in texts for word in text.split() if word.isalpha() and len(word) > 4 and word.islower()}
    )
    pairs = []
    for text in texts:
        kind = draw.random()
        if kind < 0.35:
            pairs.append(Pair("respelt", respell(text, draw), text, same=True))
        elif kind < 0.5:
            pairs.append(Pair("polite", polite(text, draw), text, same=True))
        elif kind < 0.65:
            pairs.append(Pair("typo", typo(text, draw), text, same=True))
        elif (near := synonym(text, draw, net)) is not None:
            pairs.append(Pair("synonym", near, text, same=True))
        ways = {
            "number": other_number(text, draw), "negated": negated(text, draw), "opposed": opposed(text, draw, opposites),
            "exchanged": exchanged(text), "other_word": other_word(text, draw, pool),
        }  # fmt: skip
        possible = sorted(name for name, other in ways.items() if other is not None and other.lower() != text.lower())
        for name in draw.sample(possible, min(2, len(possible))):
            other = ways[name]
            if other is None:
                continue
            both = (text, other) if draw.random() < 0.5 else (other, text)
            pairs.append(
                Pair(name, *(respell(side, draw) if draw.random() < 0.2 else side for side in both), same=False)
            )
    return pairs
