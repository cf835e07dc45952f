"""A conversation turn by turn: what was sent before, what is new, and when all of it is cut anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparecall.context.electing import Ledger
from sparecall.context.engine import first_user
from sparecall.context.grammar import Conversation, read, read_in_steps
from sparecall.context.outcome import Outcome
from sparecall.context.stable import Fold, Folds, links
from sparecall.context.toolset import name_of
from sparecall.errors import CannotFit

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sparecall.context.engine import Engine
    from sparecall.context.outcome import Request
    from sparecall.context.reading import Reading
    from sparecall.context.report import Optimized
    from sparecall.context.steps import Steps

# Conversations whose folds are remembered.
_FOLDS = 256


class Turns:
    """Conversations that grow, by an engine's options. Thread-safe."""

    __slots__ = ("_engine", "_folds")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._folds = Folds(_FOLDS)

    def next(self, request: Request) -> Steps[Optimized]:
        """What was sent before, and what is new."""
        engine, folds = self._engine, self._folds
        conversation, costs = request.conversation, engine.costs
        messages, atoms = conversation.messages, conversation.atoms
        still = request.pins | conversation.fixed
        if engine.keep_first_user:
            still |= {first_user(conversation)}
        of = yield from request.reading.key(costs)
        keys = [[of[index] for index in atom] for atom in atoms]
        names = () if engine.keep_tools is None else tuple(map(name_of, request.tools or ()))
        seed = (request.scope, request.beside, names, request.summarise is not None)
        chain = links((seed, still - conversation.fixed, conversation.form), keys)
        first = next((number for number, atom in enumerate(atoms) if messages[atom[0]]["role"] == "user"), 0)
        known, why = folds.sent(chain, first)
        fold = folds.take(chain)
        if fold is None:
            fold = Fold(costs, engine.texts, engine.encoding, Ledger(engine.rates), has_data=engine.has_data)
        else:
            known, why = fold.atoms, "extended"
        fold.place(conversation, request.reading.breakpoints)
        sent = fold.mark(why)
        is_settled = not conversation.open_calls
        yield from fold.read(conversation, still=still)
        while fold.atoms < len(atoms):
            atom = atoms[fold.atoms]
            yield from fold.add(conversation, still=still)
            is_asked = messages[atom[-1]]["role"] != "assistant"
            if fold.spent + request.beside > engine.budget:
                if is_asked or fold.atoms == len(atoms):
                    # Whoever comes here later with more would not cut at what nobody asks.
                    is_settled = is_settled and is_asked
                    fold = yield from self._epoch(request, fold, atom[-1] + 1, still)
            elif is_asked and engine.elects:
                fold = yield from self._elect(request, fold, atom[-1] + 1, still)
            if fold.atoms == known:
                sent = fold.mark(why)
        gone = fold.tools - request.chosen
        beside = request.beside - engine.spared(request, gone)
        done = yield from engine.done(
            request,
            request.beside + fold.raw,
            Outcome(
                fold.sent(messages),
                fold.spent + beside,
                dict(fold.changes),
                dict(fold.dropped),
                gone,
                fold.epochs,
                fold.prefix(sent, request.beside),
            ),
        )
        if is_settled and chain:
            folds.put(chain, first, fold)
        return done

    def _elect(self, request: Request, fold: Fold, end: int, still: Collection[int]) -> Steps[Fold]:
        """All up to message `end` cut anew if that pays, else as it is."""
        engine, ledger = self._engine, fold.ledger
        if ledger.is_due():
            prefix, sizes = yield from _until(request.reading, end)
            budget = request.beside + int(fold.spent * engine.epoch_share)
            try:
                new = yield from self._anew(request, fold, prefix, sizes, still, budget)
            except CannotFit:
                pass
            else:
                turns, gain = engine.expected_turns, engine.min_gain
                if ledger.pays(
                    *self._sizes(request, fold), *self._kept(request, fold, new), turns=turns, min_gain=gain
                ):
                    ledger.turn(*self._sizes(request, new), self._kept(request, fold, new)[0])
                    return new
        ledger.turn(*self._sizes(request, fold))
        return fold

    def _epoch(self, request: Request, fold: Fold, end: int, still: Collection[int]) -> Steps[Fold]:
        """All up to message `end` cut anew."""
        engine = self._engine
        prefix, sizes = yield from _until(request.reading, end)
        budget = int(engine.budget * engine.epoch_share)
        while True:
            try:
                new = yield from self._anew(request, fold, prefix, sizes, still, budget)
                break
            except CannotFit as error:
                if budget >= engine.budget:
                    raise
                # As far down as what must stay allows, and half of the way back: else the next turn is the next epoch.
                half = (error.least + engine.budget) // 2
                budget = half if budget < half < engine.budget else engine.budget
        if engine.elects:
            fold.ledger.turn(*self._sizes(request, new), self._kept(request, fold, new)[0])
        return new

    def _anew(
        self,
        request: Request,
        fold: Fold,
        prefix: Conversation,
        sizes: Mapping[int, int],
        still: Collection[int],
        budget: int,
    ) -> Steps[Fold]:
        """An epoch of what is left of `prefix` within a budget. Raises `CannotFit`."""
        done, changes = yield from self._engine.cut(request, prefix, sizes, budget, request.beside)
        left = read(done.out, prefix.form, orphans="keep")
        yield None
        return (
            yield from fold.anew(
                left,
                changes,
                done.dropped,
                still={at for at, index in enumerate(done.origin) if index in still or index < 0},
                origin=done.origin,
                tools=self._engine.unneeded(request, prefix, None),
            )
        )

    def _sizes(self, request: Request, fold: Fold) -> tuple[int, int]:
        """The tokens of a request as it is sent, and as it came."""
        return fold.spent + request.beside - self._engine.spared(request, fold.tools), fold.raw + request.beside

    def _kept(self, request: Request, fold: Fold, new: Fold) -> tuple[int, int]:
        """The tokens of an epoch that stand as before, and all of its tokens. Tools stand at the very beginning."""
        after, _ = self._sizes(request, new)
        if new.tools != fold.tools:
            return 0, after
        return after - new.spent + new.tokens(new.out[: new.shared(fold.out)]), after


def _until(reading: Reading, end: int) -> Steps[tuple[Conversation, dict[int, int]]]:
    """The messages before `end`, and their tokens by ``id``."""
    whole = prefix = reading.conversation
    if end < len(whole.messages):
        prefix, _ = yield from read_in_steps(whole.messages[:end], whole.form, orphans="keep", before=whole, same=end)
    return prefix, dict(zip(map(id, prefix.messages), reading.sizes, strict=False))
