"""What `context_quality` measures beside sparecall: recency, ranking by words or vectors, and what agents' frameworks do.

A method prepares for a conversation and then answers any budget and query, as `Prepared`; None is "cannot fit". One that
replays a run is given the whole history at each turn, as a stateless client would.
"""

from __future__ import annotations

import functools
import math
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sparecall import tokens
from sparecall.context.costs import Costs
from sparecall.context.grammar import faults, read

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Messages = list[dict[str, Any]]
Prepared = Callable[[int, str | None], Messages | None]
Method = Callable[[Messages], Prepared]
Turn = Callable[[Messages], Messages | None]
Embed = Callable[[list[str]], Any]

COSTS = Costs()
CLEARED = "[Old tool result content cleared]"
_WORD = re.compile(r"[A-Za-z]+|\d+")
_STOP = frozenset(
    [
        "a",
        "an",
        "the",
        "of",
        "to",
        "in",
        "on",
        "at",
        "for",
        "and",
        "or",
        "is",
        "are",
        "was",
        "were",
        "be",
        "been",
        "do",
        "does",
        "did",
        "has",
        "have",
        "had",
        "i",
        "you",
        "he",
        "she",
        "it",
        "we",
        "they",
        "me",
        "him",
        "her",
        "them",
        "my",
        "your",
        "his",
        "its",
        "our",
        "their",
        "what",
        "which",
        "who",
        "whom",
        "when",
        "where",
        "why",
        "how",
        "that",
        "this",
        "these",
        "those",
        "with",
        "from",
        "by",
        "as",
        "not",
        "no",
        "so",
        "if",
        "than",
        "then",
        "there",
        "would",
        "could",
        "should",
        "will",
        "can",
        "about",
        "into",
        "s",
        "t",
        "d",
        "ll",
        "m",
        "re",
        "ve",
    ]
)


@dataclass
class Row:
    """What is measured of one method."""

    name: str
    method: Method | None = None
    replay: Callable[[Messages], Turn] | None = None
    is_blind: bool = False
    """Whether it takes no notice of the query."""
    figures: dict[str, float] = field(default_factory=dict)
    times: list[float] = field(default_factory=list)
    refused: int = 0

    def cut(self, prepared: Any, messages: Messages, budget: int, query: str | None) -> Messages | None:
        """One call, timed and checked."""
        started = time.perf_counter()
        out = prepared(budget, query)
        self.times.append(time.perf_counter() - started)
        if out is not None:
            assert total(out) <= budget, f"{self.name}: {total(out)} tokens of {budget}"
            self.check(messages, out)
        return out

    def check(self, messages: Messages, out: Messages) -> None:
        """Counts what the provider would refuse, where it would take the input."""
        form = "openai"
        if any(faults(out, form=form)) and not any(faults(messages, form=form)):
            self.refused += 1


def split(messages: Messages) -> tuple[Messages, list[Messages]]:
    """Instructions, and the groups that stay or go together."""
    conversation = read(messages, orphans="keep")
    groups = [[messages[i] for i in atom] for atom in conversation.atoms if conversation.fixed.isdisjoint(atom)]
    return [messages[i] for i in sorted(conversation.fixed)], groups


def total(messages: Iterable[dict[str, Any]]) -> int:
    return sum(map(COSTS.message, messages))


def recency(messages: Messages) -> Prepared:
    """The newest that fit."""
    fixed, groups = split(messages)

    def answer(budget: int, _query: str | None) -> Messages | None:
        left, kept = budget - total(fixed), Messages()
        for group in reversed(groups):
            left -= total(group)
            if left < 0:
                break
            kept = group + kept
        return None if budget < total(fixed) else fixed + kept

    return answer


def _filled(messages: Messages, scorer: Callable[[list[str]], Callable[[str], Any]]) -> Prepared:
    """The best that fit, one by one; without a query the last two messages are it."""
    fixed, groups = split(messages)
    costs = [total(group) for group in groups]
    score = scorer([" ".join(map(_said, group)) for group in groups])

    def answer(budget: int, query: str | None) -> Messages | None:
        left, kept = budget - total(fixed), set()
        if left < 0:
            return None
        asked = query if query is not None else " ".join(map(_said, messages[-2:]))
        for n in np.argsort(-score(asked), kind="stable"):
            if costs[n] <= left:
                left -= costs[n]
                kept.add(int(n))
        return fixed + [message for n in sorted(kept) for message in groups[n]]

    return answer


def _said(message: dict[str, Any]) -> str:
    calls = " ".join(call["function"]["arguments"] for call in message.get("tool_calls") or [])
    return f"{message.get('content') or ''} {calls}"


def _stem(word: str) -> str:
    word = word.lower()
    for suffix in ("ingly", "edly", "ing", "ies", "ied", "ed", "es", "ly", "s"):
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            word = word[: -len(suffix)] + ("y" if suffix in {"ies", "ied"} else "")
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiou":
        word = word[:-1]
    return word[:-1] if len(word) > 3 and word.endswith("e") else word


def _terms(text: str) -> list[str]:
    return [_stem(word) for word in _WORD.findall(text) if word.lower() not in _STOP]


def bm25(messages: Messages, k1: float = 1.2, b: float = 0.75) -> Prepared:
    """Okapi BM25 (Robertson and others, 1994) over stemmed words without stop words."""

    def scorer(texts: list[str]) -> Callable[[str], Any]:
        documents = [Counter(_terms(text)) for text in texts]
        lengths = np.array([document.total() for document in documents]) if documents else np.zeros(0)
        mean = max(lengths.mean(), 1) if documents else 1
        postings: dict[str, list[tuple[int, float]]] = {}
        for i, document in enumerate(documents):
            for term, times in document.items():
                weight = times * (k1 + 1) / (times + k1 * (1 - b + b * lengths[i] / mean))
                postings.setdefault(term, []).append((i, weight))

        def score(query: str) -> Any:
            found = np.zeros(len(documents))
            for term in _terms(query):
                rows = postings.get(term, ())
                rarity = math.log(1 + (len(documents) - len(rows) + 0.5) / (len(rows) + 0.5))
                for i, weight in rows:
                    found[i] += rarity * weight
            return found

        return score

    return _filled(messages, scorer)


def by_vectors(embed: Embed) -> Method:
    """The nearest by cosine of an embedder's vectors."""
    known = functools.lru_cache(maxsize=100_000)(lambda text: embed([text])[0])

    def scorer(texts: list[str]) -> Callable[[str], Any]:
        matrix = embed(texts) if texts else np.zeros((0, 1))
        return lambda query: matrix @ known(query) if texts else np.zeros(0)

    return lambda messages: _filled(messages, scorer)


def langchain(start_on: str | None) -> Method | None:
    """LangChain's `trim_messages`: the last that fit, from a human's message on where its guide is followed; None without it."""
    try:
        from langchain_core.messages import convert_to_messages, convert_to_openai_messages, trim_messages
    except ImportError:
        return None

    def prepare(messages: Messages) -> Prepared:
        rows = convert_to_messages([_spoken(message) for message in messages])
        costs = {id(row): COSTS.message(message) for row, message in zip(rows, messages, strict=True)}
        originals = {id(row): message for row, message in zip(rows, messages, strict=True)}
        # Copies that it makes are counted by what they say.
        cost = lambda row: costs.get(id(row)) or COSTS.message(convert_to_openai_messages(row))  # noqa: E731
        count = lambda some: sum(map(cost, some))  # noqa: E731

        def answer(budget: int, _query: str | None) -> Messages | None:
            kept = trim_messages(
                rows, max_tokens=budget, token_counter=count, strategy="last", include_system=True, start_on=start_on
            )
            back = [originals.get(id(row)) or convert_to_openai_messages(row) for row in kept]
            return back or None

        return answer

    return prepare


def _spoken(message: dict[str, Any]) -> dict[str, Any]:
    return message if message.get("content") is not None else {**message, "content": ""}


# --- of a run, turn by turn ------------------------------------------------------------------------


def raw(_run: Messages) -> Turn:
    """Nothing is left out."""
    return lambda history: history


def observations(history: Sequence[dict[str, Any]]) -> list[int]:
    """The numbers of what the tools gave; in runs whose tools speak as the user, what follows the model's words."""
    if any(message["role"] == "tool" for message in history):
        return [i for i, message in enumerate(history) if message["role"] == "tool"]
    if any(message.get("tool_calls") for message in history):
        return []
    return [i for i in range(1, len(history)) if history[i]["role"] == "user" and history[i - 1]["role"] == "assistant"]


def _without(history: Messages, gone: Iterable[int]) -> Messages:
    out = list(history)
    for i in gone:
        if tokens.count(out[i].get("content") or "") > tokens.count(CLEARED):
            out[i] = {**out[i], "content": CLEARED}
    return out


def masking(newest: int = 10) -> Callable[[Messages], Turn]:
    """Observations before the newest are replaced by a placeholder, at every turn (arXiv 2508.21433)."""
    return lambda _run: lambda history: _without(history, observations(history)[:-newest])


def clearing(trigger: float = 0.5, keep: int = 3) -> Callable[[Messages], Turn]:
    """Old results are cleared but for the last `keep` once a request is over the trigger, a share of the whole run."""

    def begin(run: Messages) -> Turn:
        limit = trigger * total(run)
        return lambda history: _without(history, observations(history)[:-keep]) if total(history) > limit else history

    return begin


def trimming(method: Method, share: float = 0.5) -> Callable[[Messages], Turn]:
    """A method that keeps to a budget, at every turn: the instructions and a share of the rest of the whole run."""

    def begin(run: Messages) -> Turn:
        fixed = total(message for message in run if message["role"] == "system")
        budget = fixed + int(share * (total(run) - fixed))
        return lambda history: history if total(history) <= budget else method(history)(budget, None)

    return begin
