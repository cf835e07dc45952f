"""One upstream among several: the stages before it, the models it serves, and how many calls it has under way."""

from __future__ import annotations

import asyncio
import fnmatch
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Literal

import msgspec

from sparecall.errors import InvalidArgument
from sparecall.flow import AdaptiveLimit, Gate, Outcome, RateLimit, calm, room
from sparecall.flow import Endpoint as Loaded
from sparecall.flow.load import Load
from sparecall.pipeline.outcome import REFUSED, FailedReply, at_end, begun, outcome_of_reply, passes
from sparecall.pipeline.request import Asking

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from sparecall.pipeline.reply import Reply
    from sparecall.pipeline.request import Request, WireName
    from sparecall.pipeline.stage import Next, Stage


_MODELS = 256  # whose calls' times are remembered; the one longest unused is forgotten
_DECAY = 20.0  # seconds over which a slow call is forgotten


class Call(msgspec.Struct, frozen=True):
    """One call to an upstream: what `on_call` is called with, once its answer begins or there is none."""

    upstream: str
    outcome: Outcome | Literal["refused"]
    """``refused``: it was not sent, since a limit or a breaker of ours stood before it."""
    waited: float
    """Seconds in which it waited for its turn."""
    seconds: float
    """From then on to the answer, of a stream to its first event."""


class _Model(msgspec.Struct):
    model: str = ""


def model_of(request: Request) -> str:
    """The model that the client asks for; empty where it names none."""
    if request.inspection is not None:
        return request.inspection.model
    try:
        return msgspec.json.decode(request.body, type=_Model).model
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


def asking_of(request: Request) -> Asking:
    """What is asked for by the request as it stands: a new one, where no stage has said."""
    if request.asking is not None:
        return request.asking
    model = model_of(request)
    return Asking(model, model, passed=[])


class Endpoint:
    """An upstream by its name. Of `stages` the last makes the call, and its `wires` are those of the endpoint.

    A stage may have a `gate`, a limit or a breaker of `sparecall.flow`: by those it is known how much room there is (`calm`: whether for calls that
    could be done without).

    `models`: names of those it serves, with ``*`` and ``?``; none means all. `aliases`: its own names of models, by those they are asked
    for by. Endpoints of a lower `priority` are asked first, those of one priority in proportion to `weight`.
    """

    __slots__ = (
        "_aliases", "_clock", "_loads", "_models", "_on_call", "_room", "_run", "calm", "name", "priority", "running", "stages", "weight", "wires",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        stages: Sequence[Stage],
        *,
        models: Sequence[str] = (),
        aliases: Mapping[str, str] | None = None,
        priority: int = 0,
        weight: float = 1.0,
        on_call: Callable[[Call], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not stages:
            raise InvalidArgument(f"endpoint {name!r} has no stages; the last must be an Upstream")
        if not weight > 0:
            raise InvalidArgument(f"weight is {weight}; it must be above 0")
        self.name, self.stages, self.priority, self.weight = name, tuple(stages), priority, weight
        wires: frozenset[WireName] = getattr(self.stages[-1], "wires", frozenset({"chat", "responses", "embeddings"}))
        self.wires = wires
        self._models, self._aliases = tuple(models), dict(aliases or {})
        self._on_call, self._clock = on_call, clock
        self._loads: OrderedDict[str, Load] = OrderedDict()
        found = [getattr(stage, "gate", None) for stage in self.stages]
        gates = [gate for gate in found if isinstance(gate, AdaptiveLimit | Gate | RateLimit)]
        self._room, self.calm = room(*gates), calm(*gates)
        self.running = 0
        """Calls under way: waiting, sent, and with an answer that has not ended."""
        run: Next = _nobody
        for stage in reversed(self.stages):
            run = _composed(stage, run)
        self._run = run

    def __repr__(self) -> str:
        return f"<Endpoint {self.name}, {self.running} calls under way>"

    def load(self, model: str) -> Load:
        """What its calls for a model take, and how many are under way."""
        load = self._loads.get(model)
        if load is None:
            if len(self._loads) >= _MODELS:
                self._loads.popitem(last=False)
            made = Loaded(name=self.name, weight=self.weight, room=self._room)
            load = self._loads[model] = Load(made, decay=_DECAY)
        else:
            self._loads.move_to_end(model)
        return load

    def serves(self, model: str) -> bool:
        """Whether it has the model, under that name or an alias."""
        if not self._models or model in self._aliases:
            return True
        return any(fnmatch.fnmatchcase(model, pattern) for pattern in self._models)

    async def __call__(self, request: Request) -> Reply:
        """Makes the call and returns its reply once it begins. Raises `FailedReply` for one that another upstream may mend."""
        assert request.asking is not None  # noqa: S101 - for mypy; the route has set it
        own = self._aliases.get(request.asking.model, request.asking.model)
        if own != request.asking.asked:
            request = msgspec.structs.replace(request, body=renamed(request.body, own))
        since = self._clock()
        self.running += 1
        try:
            reply = await begun(self._run(request))
        except BaseException as error:
            self.running -= 1
            self._tell(request, since, "refused" if isinstance(error, REFUSED) else passes(error))
            raise
        at_end(reply, self._ended)
        outcome = outcome_of_reply(reply)
        self._tell(request, since, outcome)
        if outcome in ("failure", "limited"):
            raise FailedReply(reply)
        return reply

    def _ended(self, _summary: object, _error: object) -> None:
        self.running -= 1

    def _tell(self, request: Request, since: float, outcome: Outcome | Literal["refused"]) -> None:
        if self._on_call is None or request.asking is None:
            return
        waited = request.asking.waited
        try:
            self._on_call(Call(self.name, outcome, waited, max(0.0, self._clock() - since - waited)))
        except Exception as error:  # noqa: BLE001 - who watches must not cost anybody an answer
            context = {"message": "on_call raised; the call goes on", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)


def renamed(body: bytes, model: str) -> bytes:
    """The same request of another model; every other value keeps its spelling. Linear in the body."""
    try:
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body  # an odd body, which is the provider's to judge
    fields["model"] = msgspec.Raw(msgspec.json.encode(model))
    return msgspec.json.encode(fields)


def _composed(stage: Stage, below: Next) -> Next:
    name = getattr(stage, "__name__", type(stage).__name__).lower()

    def run(request: Request) -> Awaitable[Reply]:
        request.trace.setdefault(name, time.perf_counter_ns())
        return stage(request, below)

    return run


async def _nobody(_request: Request) -> Reply:
    raise RuntimeError("the last stage of an endpoint passed the request on; end it with Upstream")
