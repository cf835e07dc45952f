"""embed: `StaticEmbedder` from Python, and how well its cosines tell paraphrases where the evaluation data is beside the checkout."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from sparecall.embed import StaticEmbedder

from .common import Benchmark

QUESTION = "How can I change the address that my new card was sent to last week?"
BANKING = Path(__file__).resolve().parents[2] / "shared" / "data" / "banking77" / "train.csv"


class Embed(Benchmark):
    def setup(self) -> None:
        super().setup()
        self.embedder = StaticEmbedder()
        self.questions = [f"{QUESTION} {number}" for number in range(64)]
        self.document = QUESTION * 1000

    def time_question_of_15_words(self) -> None:
        self.embedder.embed(QUESTION)

    def time_64_questions_in_one_call(self) -> None:
        self.embedder.embed(self.questions)

    def time_text_of_70_kb(self) -> None:
        self.embedder.embed(self.document)


class Quality(Benchmark):
    def setup(self) -> None:
        super().setup()
        if not BANKING.exists():
            raise NotImplementedError("the evaluation data is not beside this checkout")
        with BANKING.open(newline="") as file:
            rows = list(csv.DictReader(file))[::5]
        self.texts = [row["text"].strip() for row in rows]
        self.intents = np.array([row["category"] for row in rows])

    def track_average_precision_of_held_out_intents(self) -> float:
        vectors = StaticEmbedder().embed(self.texts)
        first, second = np.triu_indices(len(vectors), 1)
        same = self.intents[first] == self.intents[second]
        ranked = same[np.argsort(-(vectors @ vectors.T)[first, second], kind="stable")]
        return float((np.cumsum(ranked) / np.arange(1, len(ranked) + 1))[ranked].mean())
