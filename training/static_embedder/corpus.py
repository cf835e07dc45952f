"""The text the student is fitted on: one JSON array of sentences per source, each source's licence in `SOURCES`.

    python corpus.py --wordnet DIR --python-docs DIR --postgresql-docs DIR --sqlite-docs DIR --banking77 CSV --vocabulary TXT --out DIR

Every fifth sentence of banking77, by its place in the file, is left out: the development set. Nothing is fetched.
"""

from __future__ import annotations

import argparse
import csv
import html
import json
import random
import re
from pathlib import Path
from typing import TYPE_CHECKING

from questions import Composer
from words import word_classes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SEED = 7
COMPOSED = {"questions": 320_000, "requests": 50_000}  # drawn; about a fifth are repeats and fall away
AT_MOST = {"wordnet": 100_000, "python": 20_000, "postgresql": 12_000, "sqlite": 12_000}  # of the rest, a seeded sample
SOURCES = {
    "questions": "composed from phrases.toml (this project) and WordNet",
    "requests": "composed from phrases.toml (this project) and WordNet",
    "words": "the whole words of MiniLM's vocabulary (Apache-2.0)",
    "wordnet": "glosses and example sentences of WordNet 3.0 (WordNet licence)",
    "python": "the documentation of Python 3.11 (PSF licence)",
    "postgresql": "the documentation of PostgreSQL 15 (PostgreSQL licence)",
    "sqlite": "the documentation of SQLite 3.40 (public domain)",
    "banking77": "banking77 (CC BY 4.0), four fifths of its training questions",
}
_BLOCK = re.compile(r"(?is)<(script|style|pre|table|svg|head)\b.*?</\1>")
_BREAK = re.compile(r"(?i)</?(p|div|li|ul|ol|dl|dd|dt|h[1-6]|section|br|hr|tr|td|body|nav)\b[^>]*>")
_TAG = re.compile(r"<[^>]*>")
_END = re.compile(r"(?<=[.?!])\s+(?=[A-Z])")


def sentences(folder: Path) -> Iterator[str]:
    """The sentences of 4 to 32 words in a folder's HTML pages."""
    for page in sorted(folder.rglob("*.html")):
        if {"whatsnew", "releaselog", "c-api", "c3ref"} & set(page.parts) or page.name.startswith(
            ("genindex", "release-", "search")
        ):
            continue
        text = _TAG.sub("", _BREAK.sub("\n", _BLOCK.sub("\n", page.read_text(errors="replace"))))
        for block in html.unescape(re.sub(r"(?<=[^\n])\n(?=[^\n])", " ", text)).split("\n"):
            for sentence in _END.split(" ".join(block.replace("¶", " ").split())):
                if 4 <= len(sentence.split()) <= 32 and "→" not in sentence and "html#" not in sentence:
                    yield sentence


def wordnet_text(folder: Path) -> Iterator[str]:
    """Each gloss without its examples, and each example."""
    for name in ("noun", "verb", "adj", "adv"):
        for line in (folder / f"data.{name}").read_text().splitlines():
            if line.startswith(" "):
                continue
            head, _, gloss = line.partition(" | ")
            yield from re.findall(r'"([^"]*)"', gloss)
            definition = gloss.partition('; "')[0].strip()
            yield f"{head.split(' ')[4].replace('_', ' ')}: {definition}" if len(gloss) % 2 else definition


def distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(text for text in texts if text.strip()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("wordnet", "python-docs", "postgresql-docs", "sqlite-docs", "banking77", "vocabulary", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    given = parser.parse_args()
    vocabulary = given.vocabulary.read_text().splitlines()
    classes = word_classes(given.wordnet, vocabulary)
    composer = Composer(classes, Path(__file__).with_name("phrases.toml"), random.Random(SEED))
    with given.banking77.open(newline="") as file:
        banking = [row["text"].strip() for row in csv.DictReader(file)]
    corpus = {
        **{kind: composer.compose(kind, count) for kind, count in COMPOSED.items()},
        "words": (word for word in vocabulary if not word.startswith(("##", "["))),
        "wordnet": wordnet_text(given.wordnet),
        "python": sentences(given.python_docs),
        "postgresql": sentences(given.postgresql_docs),
        "sqlite": sentences(given.sqlite_docs),
        "banking77": (text for place, text in enumerate(banking) if place % 5),
    }
    given.out.mkdir(parents=True, exist_ok=True)
    for name, texts in corpus.items():
        kept = distinct(texts)
        if len(kept) > AT_MOST.get(name, len(kept)):
            kept = random.Random(SEED).sample(kept, AT_MOST[name])
        (given.out / f"{name}.json").write_text(json.dumps(kept, ensure_ascii=False))
        print(f"{name:12} {len(kept):8,} sentences: {SOURCES[name]}")


if __name__ == "__main__":
    main()
