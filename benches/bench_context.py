"""A conversation cut to half of its tokens: the first time, and the next turn; with what is left of the values it held."""

from __future__ import annotations

import json
from typing import Any

from sparecall.context import ContextOptimizer, Till
from sparecall.context.costs import Costs

from .common import Benchmark

SIZES = (20_000, 200_000)


def agent_run(random: Any, tokens: int) -> list[dict[str, Any]]:
    """An agent's run of about so many tokens: searches, files read again after an edit, logs, and what is said about them."""
    costs = Costs()
    messages: list[dict[str, Any]] = [{"role": "system", "content": "You keep the fleet in the air."}]
    lines = [f"    value_{n} = compute(name_{n % 17}, {n})" for n in range(120)]
    spent = turn = 0
    while spent < tokens:
        turn += 1
        kind = turn % 3
        if kind == 0:
            rows = [
                {
                    "flight": f"HAT{random.randrange(1000):03}",
                    "seats": {"eco": random.randrange(20)},
                    "status": "available",
                }
                for _ in range(25)
            ]
            result = json.dumps(rows)
        elif kind == 1:
            lines[random.randrange(len(lines))] = f"    edited_{turn} = {turn}"
            result = "\n".join(f"{n}:{line}" for n, line in enumerate(lines, 1))
        else:
            levels = random.choices(("INFO", "WARN", "ERROR"), (20, 2, 1), k=40)
            result = "\n".join(
                f"2026-11-21 10:{n:02}:00 {level} job {random.randrange(99)}" for n, level in enumerate(levels)
            )
        arguments = json.dumps({"path": f"src/module_{turn}.py"})
        call = {"id": f"c{turn}", "type": "function", "function": {"name": "look", "arguments": arguments}}
        new: list[dict[str, Any]] = [
            {"role": "assistant", "content": f"Step {turn}: I look at module_{turn}.", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"c{turn}", "content": result},
            {"role": "user", "content": f"Go on with ticket T-{random.randrange(10_000)}."},
        ]
        messages += new
        spent += sum(map(costs.message, new))
    return messages


class Optimize(Benchmark):
    """`optimize`, to half of the tokens."""

    params = (SIZES, ("free", "stable"))
    param_names = ("tokens", "prefix")

    def setup(self, tokens: int, prefix: Any) -> None:
        super().setup(tokens, prefix)
        self.messages = agent_run(self.random, tokens)
        self.options: dict[str, Any] = {"budget": tokens // 2, "prefix": prefix}
        self.warm = ContextOptimizer(**self.options)
        self.warm.optimize(self.messages)
        self.step = 0

    def time_first(self, _tokens: int, _prefix: str) -> None:
        ContextOptimizer(**self.options).optimize(self.messages)

    def time_next_turn(self, _tokens: int, _prefix: str) -> None:
        self.step += 1
        turn = [*map(dict, self.messages), {"role": "user", "content": f"And then, number {self.step}?"}]
        self.warm.optimize(turn)

    def track_kept_tickets(self, _tokens: int, _prefix: str) -> float:
        """The share of what the user named that is still there."""
        said = [row["content"].split()[-1] for row in self.messages if row["role"] == "user"]
        left = json.dumps(self.warm.optimize(self.messages).messages)
        return sum(ticket in left for ticket in said) / len(said)


class Bill(Benchmark):
    """A run of 20,000 tokens, turn by turn under a prefix cache, over what it costs as it came."""

    def setup(self) -> None:
        super().setup()
        self.messages = agent_run(self.random, 20_000)

    def track_bill(self) -> float:
        optimizer, costs = ContextOptimizer(budget=100_000, prefix="stable"), Costs()
        raw, ours = Till(costs), Till(costs)
        for turn in range(2, len(self.messages), 3):
            raw.charge(self.messages[:turn])
            ours.charge(optimizer.optimize(self.messages[:turn]).messages)
        return ours.total / raw.total
