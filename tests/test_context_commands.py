"""What an agent is told it can do: lines that speak of it outlast others, wherever its instructions stand."""

from __future__ import annotations

from typing import Any

import pytest

from sparecall.context import ContextOptimizer

_LISTED = "You are an agent.\n\nCommands:\nopen <path> - opens a file\nsubmit - ends the session\n"
_PROSE = "You are an agent. You open files, and submit what you have made of them."
_TASK = [
    "Please mend the roof of the house.",
    *(
        f"It has been leaking for {n} days in the {room}."
        for n, room in enumerate(("kitchen", "hall", "cellar", "attic"))
    ),
    "When all of it is dry, you can submit that.",
    *(f"The {room} has been painted after that." for room in ("garage", "bathroom", "bedroom", "stairway")),
]


def _system(text: str, where: str) -> tuple[list[dict[str, Any]], Any]:
    block = [{"type": "text", "text": text}]
    return {
        "text": ([{"role": "system", "content": text}], None),
        "blocks": ([{"role": "developer", "content": block}], None),
        "beside": ([], text),
        "blocks beside": ([], block),
    }[where]


@pytest.mark.parametrize("where", ["text", "blocks", "beside", "blocks beside"])
def test_lines_that_speak_of_a_command_stay(where: str) -> None:
    form = "anthropic" if "beside" in where else "openai"

    def left(text: str) -> str:
        instructions, system = _system(text, where)
        talk = [{"role": "user", "content": "\n".join(_TASK)}, {"role": "assistant", "content": "I have seen it."}]
        messages = [*instructions, *talk, {"role": "user", "content": "Go on."}]
        whole = ContextOptimizer(budget=10_000, form=form, embedder=None).optimize(messages, system=system)
        budget = whole.report.before - 65
        optimizer = ContextOptimizer(budget=budget, keep_last=1, keep_first_user=False, form=form, embedder=None)
        # Warm as cold.
        done = [optimizer.optimize(messages, system=system).messages for _ in range(2)]
        assert done[0] == done[1]
        return str(done[0][len(instructions)]["content"])

    assert "you can submit that" in left(_LISTED)
    assert "you can submit that" not in left(_PROSE)
