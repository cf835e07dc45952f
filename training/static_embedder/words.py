"""Word classes for the composed sentences: WordNet says what a word is, its place in MiniLM's vocabulary how common it is.

Reads the WordNet 3.0 database files and `vocab.txt`; writes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from pathlib import Path

_CLASSES = {"noun": "n", "verb": "v", "adj": "a"}
_FUNCTION_WORDS = frozenset(
    "a about above after again all also am an and any are as at be been before being below but by can could did do does "
    "doing done down during each few for from had has have having he her here him his how i if in into is it its just "
    "like may me might more most must my no nor not now of off on one or other our out over own s same shall she should "
    "so some such t than that the their them then there these they this those through to too two under until up us very "
    "was we were what when where which while who whom why will with would you your".split()
)


@dataclass(frozen=True, slots=True)
class Weighted:
    """A list to draw from in proportion to weights."""

    items: list[str]
    cumulative: list[float]

    def draw(self, rng: random.Random) -> str:
        return rng.choices(self.items, cum_weights=self.cumulative)[0]


def weighted(pairs: list[tuple[str, float]]) -> Weighted:
    return Weighted([item for item, _ in pairs], list(accumulate(weight for _, weight in pairs)))


def plural(noun: str) -> str:
    if noun.endswith(("s", "x", "z", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


def gerund(phrase: str) -> str:
    """`lose weight` -> `losing weight`: the first word takes the ending."""
    verb, _, rest = phrase.partition(" ")
    if verb.endswith("ie"):
        verb = verb[:-2] + "ying"
    elif verb.endswith("e") and not verb.endswith(("ee", "ye", "oe")) and verb != "be":
        verb = verb[:-1] + "ing"
    elif verb in _DOUBLING:
        verb += verb[-1] + "ing"
    else:
        verb += "ing"
    return f"{verb} {rest}" if rest else verb


_DOUBLING = frozenset(
    "get run swim stop quit cut put sit set win begin forget plan chat shop jog hit let bet ship".split()
)


def word_classes(wordnet: Path, vocabulary: list[str]) -> dict[str, Weighted]:
    """`noun`, `plural`, `verb`, `adj`, `phrase` (nouns of several words), `phrasal` (verbs of several) and `name`."""
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for line in (wordnet / "cntlist.rev").read_text().splitlines():
        key, _, count = line.split(" ")
        lemma, _, rest = key.partition("%")
        counts[lemma]["nvaar"[int(rest[0]) - 1]] += int(count)
    lemmas = {name: _lemmas(wordnet / f"index.{name}") for name in _CLASSES}
    known = set().union(*lemmas.values(), _lemmas(wordnet / "index.adv"))
    rank = {word: place for place, word in enumerate(vocabulary)}
    classes: dict[str, Weighted] = {}
    for name, code in _CLASSES.items():
        pairs = []
        for lemma in sorted(lemmas[name]):
            seen = counts.get(lemma, {})
            usual = seen.get(code, 0) * 3 >= max(seen.values(), default=0)
            if lemma in _FUNCTION_WORDS or len(lemma) < 3 or not lemma.isalpha() or not usual:
                continue
            place = rank.get(lemma)
            if place is not None:
                pairs.append((lemma, 1 / (place + 500) ** 0.6))
            elif seen:
                pairs.append((lemma, 1 / 60_000**0.6))
        classes[name] = weighted(pairs)
    nouns = classes["noun"]
    steps = zip(nouns.items, nouns.cumulative, [0.0, *nouns.cumulative], strict=False)
    classes["plural"] = weighted([(plural(noun), upto - below) for noun, upto, below in steps])
    for name, source in (("phrase", "noun"), ("phrasal", "verb")):
        parts = {lemma: lemma.split("_") for lemma in sorted(lemmas[source]) if "_" in lemma}
        classes[name] = weighted(
            [(" ".join(p), 1.0) for p in parts.values() if all(part in rank for part in p) and not p[0].isdigit()]
        )
    classes["name"] = weighted(
        [
            (word, 1 / (place + 500) ** 0.6)
            for word, place in rank.items()
            if len(word) > 2 and word.isascii() and word.isalpha() and not _bases(word) & known
        ]
    )
    return classes


def _lemmas(index: Path) -> set[str]:
    return {line.split(" ", 1)[0] for line in index.read_text().splitlines() if not line.startswith(" ")}


def _bases(word: str) -> set[str]:
    """What the word may be an inflection of, itself included."""
    found = {word, *([word] if word in _FUNCTION_WORDS else [])}
    for ending, replacements in (
        ("ies", ["y"]),
        ("es", ["", "e"]),
        ("s", [""]),
        ("ied", ["y"]),
        ("ed", ["", "e"]),
        ("ing", ["", "e"]),
        ("er", ["", "e"]),
        ("est", ["", "e"]),
        ("ly", ["", "le"]),
    ):
        if word.endswith(ending):
            stem = word[: -len(ending)]
            found |= {stem + r for r in replacements}
            if len(stem) > 2 and stem[-1:] == stem[-2:-1]:
                found.add(stem[:-1])
    return found
