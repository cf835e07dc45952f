"""The real conversations that `context_quality` measures on, and what of them is gold. No data is in the project: FOLDER has it.

locomo/locomo_first5.json.gz: long conversations with questions and the turns that answer them. tau_bench/*.json.gz and
swe_agent/*.gz: runs of agents with their tools.
"""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Messages = list[dict[str, Any]]
SHORTEST = 4
_PATHS = re.compile(r"[\w./-]*[/.][\w./-]+|[A-Za-z_]\w{3,}")
_QUOTED = re.compile(r"\"([^\"]{4,})\"|'([^']{4,})'")


@dataclass(frozen=True)
class Talk:
    """A long conversation, and questions with the numbers of the turns that answer them."""

    messages: Messages
    questions: list[tuple[str, list[int]]]


def _read(path: Path) -> Any:
    with gzip.open(path) as file:
        return json.load(file)


def talks(data: Path) -> list[Talk]:
    """LoCoMo: a turn is a message `speaker: text caption`, user and assistant by turns; questions of categories 1 to 4."""
    found = []
    for record in _read(data / "locomo" / "locomo_first5.json.gz"):
        sessions, turns, place = record["conversation"], [], {}
        number = 1
        while f"session_{number}" in sessions:
            for turn in sessions[f"session_{number}"]:
                place[turn["dia_id"]] = len(turns)
                turns.append(f"{turn['speaker']}: {turn.get('text', '')} {turn.get('blip_caption') or ''}".strip())
            number += 1
        messages = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(turns)]
        questions = []
        for one in record["qa"]:
            evidence = [place[turn] for turn in one["evidence"] if turn in place]
            if one["category"] in {1, 2, 3, 4} and evidence:
                questions.append((one["question"], evidence))
        found.append(Talk(messages, questions))
    return found


def runs(data: Path) -> dict[str, list[Messages]]:
    """Runs of agents by where they are from; of each message what a provider takes, and the `action` of those without calls."""
    tau = [run["traj"] for run in _read(next((data / "tau_bench").glob("*.json.gz")))]
    swe = [_read(path)["history"] for path in sorted((data / "swe_agent").glob("*.gz"))]
    return {"tau_bench": tau, "swe_agent": swe}


def plain(message: dict[str, Any]) -> dict[str, Any]:
    """The message as a provider takes it."""
    kept = {name: message[name] for name in ("role", "content", "tool_calls", "name") if message.get(name) is not None}
    kept.setdefault("content", None)
    if message["role"] == "tool":
        kept["tool_call_id"] = message.get("tool_call_id") or (message.get("tool_call_ids") or ["?"])[0]
    return kept


def steps(run: Messages) -> Iterator[tuple[int, list[str]]]:
    """The number of each assistant's message, and the values of its call which stand in what came before it: the gold."""
    has_calls = any(message.get("tool_calls") for message in run)
    for i, message in enumerate(run):
        if message["role"] != "assistant":
            continue
        values = list(_arguments(message)) if has_calls else _words(message.get("action") or "")
        text = shown([plain(one) for one in run[:i]])
        gold = [value for value in dict.fromkeys(values) if value in text]
        yield i, gold


def shown(messages: Messages) -> str:
    """The JSON of messages without instructions: where the gold stands, and has to stand for the strict figure."""
    return json.dumps([one for one in messages if one["role"] != "system"], ensure_ascii=False)


def _arguments(message: dict[str, Any]) -> Iterator[str]:
    for call in message.get("tool_calls") or []:
        try:
            yield from _values(json.loads(call["function"]["arguments"]))
        except ValueError:
            continue


def _values(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _values(one)
    elif not isinstance(value, bool) and value is not None and len(str(value)) >= SHORTEST:
        yield str(value)


def _words(action: str) -> list[str]:
    quoted = [one or other for one, other in _QUOTED.findall(action)]
    return quoted + [word for word in _PATHS.findall(action) if len(word) >= SHORTEST]
