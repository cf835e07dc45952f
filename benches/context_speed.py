"""How long an optimizer takes: the first pass over a long conversation, each next turn, and the longest it holds a loop.

    python -m benches.context_speed [--data FOLDER] [--tokens 200000] [--turns 100]

The conversation is cut to half of its tokens. Each turn comes as a server has it, as dicts that were made anew. `step` is the
longest stretch of `optimize_async` on the loop between two places where others may run, in time of the processor, of the
first pass and of the turns: what native work takes in its own thread is not in it. Milliseconds; Python's collector of
garbage, whose pauses are as long as the whole process is large, waits meanwhile, as under `timeit`.

`breakpoints` is the same conversation in Anthropic's form, as its clients send it: with breakpoints of the provider's cache that move on.
With `--data` (`context_data` says what is in FOLDER) another conversation is made of software engineering runs, one after the other.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sparecall.context import ContextOptimizer
from sparecall.context.costs import Costs
from sparecall.context.steps import Ask

from .bench_context import agent_run
from .context_data import plain, runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Messages = list[dict[str, Any]]
_FIRST = 7
_QUERY = "Which file did the user want to change?"


def engineering(data: Path, tokens: int) -> Messages:
    """Runs one after the other; each text says in which run it stands, so that none is the same as another."""
    costs, out, spent = Costs(), [], 0
    found: list[dict[str, Any]] = []
    for run in runs(data)["swe_agent"]:
        found += run
    number = 0
    while spent < tokens:
        for message in found:
            number += 1
            row = plain(message)
            if isinstance(row["content"], str):
                row["content"] += f"\n{number // len(found)}"
            out.append(row)
            spent += costs.message(row)
            if spent >= tokens:
                break
    return out


def anthropic(messages: Messages) -> Messages:
    """The same in Anthropic's form."""
    out: Messages = []
    for message in messages[1:]:  # instructions stand beside
        blocks: list[dict[str, Any]] = [{"type": "text", "text": message["content"]}]
        if message["role"] == "tool":
            blocks = [{"type": "tool_result", "tool_use_id": message["tool_call_id"], "content": message["content"]}]
        for call in message.get("tool_calls", ()):
            made = call["function"]
            blocks.append(
                {"type": "tool_use", "id": call["id"], "name": made["name"], "input": json.loads(made["arguments"])}
            )
        role = "assistant" if message["role"] == "assistant" else "user"
        if out and out[-1]["role"] == role:
            out[-1]["content"] += blocks
        else:
            out.append({"role": role, "content": blocks})
    return out


def as_it_is(messages: Messages) -> Messages:
    """Nothing is done."""
    return messages


def marked(messages: Messages) -> Messages:
    """As clients of Anthropic's send it: the last two messages of the user's have a breakpoint of the provider's cache, which moves on with each turn."""
    for message in [one for one in messages if one["role"] == "user"][-2:]:
        if isinstance(message["content"], str):
            message["content"] = [{"type": "text", "text": message["content"]}]
        message["content"][-1]["cache_control"] = {"type": "ephemeral"}
    return messages


@contextmanager
def undisturbed() -> Iterator[None]:
    """Without the collector."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@undisturbed()
def longest_step(work: Any) -> float:
    """The longest step of an optimizer's work in seconds of the processor, calls for threads left out."""
    longest, answer = 0.0, None
    while True:
        start = time.thread_time()
        try:
            step = work.send(answer)
        except StopIteration:
            return max(longest, time.thread_time() - start)
        longest = max(longest, time.thread_time() - start)
        assert not isinstance(step, Ask)
        answer = None if step is None else step()


@undisturbed()
def timed(call: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measure(name: str, messages: Messages, turns: int, sent: Callable[[Messages], Messages] = as_it_is) -> None:
    """Print the rows of a conversation; `sent`: as a client sends it."""
    tokens = Costs().request(messages)
    written = json.dumps(messages)
    for prefix, query in (("free", None), ("free", _QUERY), ("stable", None)):
        options: dict[str, Any] = {"budget": tokens // 2, "prefix": prefix}
        first = []
        for _ in range(_FIRST):
            fresh = json.loads(written)
            first.append(timed(lambda: ContextOptimizer(**options).optimize(fresh, query=query)))  # noqa: B023
        optimizer = ContextOptimizer(**options)
        steps = [longest_step(optimizer._steps(sent(json.loads(written)), None, query, None, (), "", None, None))]
        history, later = json.loads(written), []
        for turn in range(turns):
            history += [
                {"role": "assistant", "content": f"I do number {turn} now, see file_{turn}.py"},
                {"role": "user", "content": "\n".join(f"{turn * n} a line of item_{turn * n}" for n in range(12))},
            ]
            fresh = sent(json.loads(json.dumps(history)))
            later.append(timed(lambda: optimizer.optimize(fresh, query=query)))  # noqa: B023
        for turn in range(5):
            history.append({"role": "user", "content": f"And now {turn}?"})
            fresh = sent(json.loads(json.dumps(history)))
            steps.append(longest_step(optimizer._steps(fresh, None, query, None, (), "", None, None)))
        p50, p99 = np.percentile(later, [50, 99])
        print(
            f"{name:>12} {len(messages):>5} {tokens:>7} {prefix:>6} {'yes' if query else 'no':>5}"
            f" {1e3 * float(np.median(first)):>8.1f} {1e3 * float(p50):>8.2f} {1e3 * float(p99):>8.2f}"
            f" {1e3 * steps[0]:>8.2f} {1e3 * max(steps[1:]):>8.2f}"
        )


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--tokens", type=int, default=200_000)
    parser.add_argument("--turns", type=int, default=100)
    given = parser.parse_args()
    print("conversation  rows  tokens prefix query    first  next50  next99    step1    stepN")
    measure("synthetic", agent_run(random.Random(1), given.tokens), given.turns)
    measure("breakpoints", anthropic(agent_run(random.Random(1), given.tokens)), given.turns, marked)
    if given.data is not None:
        measure("engineering", engineering(given.data, given.tokens), given.turns)


if __name__ == "__main__":
    main()
