"""What a semantic cache learns from: the decisions, the judge, and the verdicts of answers that were served lately."""

from __future__ import annotations

import collections
import inspect
from typing import TYPE_CHECKING, Any, NamedTuple

from sparecall.errors import InvalidArgument, UnknownName

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sparecall.semantic.judging import Judged, Judging

    Judgement = bool | tuple[bool, float] | None
    Judge = Callable[[Any, Any], Judgement | Awaitable[Judgement]]

# Served answers whose verdicts are remembered, so that feedback can teach.
_REMEMBERED = 10_000


class _Served(NamedTuple):
    judged: Judged
    scope: str


class Learning:
    """Learns from audits and feedback. Not for several threads at once."""

    __slots__ = ("_judge", "_judging", "_served")

    def __init__(self, judging: Judging, judge: Judge) -> None:
        self._judging = judging
        self._judge = judge
        self._served: collections.OrderedDict[int, _Served] = collections.OrderedDict()

    def served(self, number: int, judged: Judged, scope: str) -> None:
        """Remember upon which verdict an entry was served last."""
        self._served[number] = _Served(judged, scope)
        self._served.move_to_end(number)
        if len(self._served) > _REMEMBERED:
            self._served.popitem(last=False)

    async def compare(self, about: Judged, stored: Any, fresh: Any, *, scope: str) -> bool | None:
        """Let the judge compare, and learn what it says: whether the stored answer is right; None where it does not know."""
        judged: Any = self._judge(stored, fresh)
        if inspect.isawaitable(judged):
            judged = await judged
        if judged is None:
            return None
        correct, weight = judged if isinstance(judged, tuple) and len(judged) == 2 else (judged, 1.0)
        if not isinstance(correct, bool) or isinstance(weight, bool) or not isinstance(weight, (int, float)):
            raise InvalidArgument(
                f"the judge returned {type(judged).__name__}; a judge returns a bool, a bool and a weight, or None"
            )
        self._judging.learn(about, scope=scope, correct=correct, weight=weight)
        return correct

    def feedback(self, number: int, *, correct: bool, held: bool, scope: str | None) -> None:
        """Learn whether the answer that was served last from that entry was right. Raises `UnknownName`."""
        before = self._served.get(number)
        if before is not None and scope is not None and before.scope != scope:
            before = None
        if before is None and not held:
            where = "" if scope is None else " in that scope"
            raise UnknownName(
                f"no entry {number} is held{where}, nor was one served lately; give Match.id of an answer"
            )
        if before is not None:
            del self._served[number]
            self._judging.learn(before.judged, scope=before.scope, correct=correct)

    def forget(self) -> None:
        """Forget what was served: the entries are others now."""
        self._served.clear()
