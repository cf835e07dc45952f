"""sparecall's own rows of `context_quality`: the optimizer under a budget, and turn by turn under prefix-cache prices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparecall.context import ContextOptimizer
from sparecall.embed import StaticEmbedder
from sparecall.errors import CannotFit

from .context_baselines import Row

if TYPE_CHECKING:
    from collections.abc import Callable

    from .context_baselines import Messages, Prepared, Turn


_BUDGETS = 5


def under_budget(embedder: Any) -> Callable[[Messages], Prepared]:
    """Nothing is kept by position, as the figures are defined."""
    known: dict[int, ContextOptimizer] = {}
    shared = StaticEmbedder() if embedder == "static" else embedder

    def prepare(messages: Messages) -> Prepared:
        def answer(budget: int, query: str | None) -> Messages | None:
            if budget not in known:
                if len(known) >= _BUDGETS:
                    known.clear()
                known[budget] = ContextOptimizer(
                    budget=budget, keep_last=0, keep_first_user=False, form="openai", embedder=shared
                )
            try:
                return known[budget].optimize(messages, query=query).messages
            except CannotFit:
                return None

        return answer

    return prepare


def turn_by_turn(budget: int, **options: Any) -> Callable[[Messages], Turn]:
    """One optimizer for all runs, which sees the whole history at each turn; its defaults but for the stable prefix and `options`."""
    optimizer = ContextOptimizer(budget=budget, prefix="stable", **options)

    def begin(_run: Messages) -> Turn:
        def turn(history: Messages) -> Messages | None:
            try:
                return optimizer.optimize(history).messages
            except CannotFit:
                return None

        return turn

    return begin


def ours(minilm: Any) -> list[Row]:
    """The rows; `minilm` is an embedder, or None."""
    rows = [Row("sparecall", under_budget("static"), turn_by_turn(100_000))]
    rows.append(Row("sparecall, epochs elected", replay=turn_by_turn(100_000, expected_turns="as_before")))
    rows.append(Row("sparecall, words alone", under_budget(None)))
    if minilm is not None:
        rows.append(Row("sparecall, MiniLM", under_budget(minilm)))
    return rows
