"""A conversation turn by turn: what was sent before, what is new, and when all of it is cut anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparecall.context.costs import message_key
from sparecall.context.electing import Ledger
from sparecall.context.engine import first_user
from sparecall.context.grammar import Conversation, read
from sparecall.context.outcome import Outcome
from sparecall.context.parts import by_message
from sparecall.context.stable import Fold, Folds, links
from sparecall.context.toolset import name_of
from sparecall.errors import CannotFit

if TYPE_CHECKING:
    from collections.abc import Collection

    from sparecall.context.engine import Engine
    from sparecall.context.outcome import Request
    from sparecall.context.report import Changes, Optimized
    from sparecall.context.steps import Steps
    from sparecall.context.summaries import Shortened

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
        parts = by_message(conversation.parts)
        keys = []
        for atom in atoms:
            keys.append([message_key(messages[index]) for index in atom])
            yield None
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
        sent = fold.mark(why)
        is_settled = not conversation.open_calls
        while fold.atoms < len(atoms):
            atom = atoms[fold.atoms]
            yield from fold.add(conversation, parts, still=still)
            is_asked = messages[atom[-1]]["role"] != "assistant"
            if fold.spent + request.beside > engine.budget:
                if is_asked or fold.atoms == len(atoms):
                    # Whoever comes here later with more would not cut at what nobody asks.
                    is_settled = is_settled and is_asked
                    yield from self._epoch(request, fold, atom[-1] + 1, still)
            elif is_asked and engine.elects:
                yield from self._elect(request, fold, atom[-1] + 1, still)
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

    def _elect(self, request: Request, fold: Fold, end: int, still: Collection[int]) -> Steps[None]:
        """Cut all up to message `end` anew if that pays."""
        engine = self._engine
        ledger = fold.ledger
        if not ledger.is_due():
            ledger.turn(fold.spent, fold.raw)
            return
        prefix = _until(request.conversation, end)
        sizes = {id(row): engine.costs.message(row) for row in prefix.messages}
        try:
            done, changes = yield from engine.cut(
                request, prefix, sizes, request.beside + int(fold.spent * engine.epoch_share), request.beside
            )
        except CannotFit:
            ledger.turn(fold.spent, fold.raw)
            return
        same = fold.tokens(done.out[: fold.shared(done.out, fold.out)])
        after = done.tokens - request.beside
        if not ledger.pays(fold.spent, fold.raw, same, after, turns=engine.expected_turns, min_gain=engine.min_gain):
            ledger.turn(fold.spent, fold.raw)
            return
        yield from self._anew(request, fold, prefix, done, changes, still)
        ledger.turn(fold.spent, fold.raw, same)

    def _epoch(self, request: Request, fold: Fold, end: int, still: Collection[int]) -> Steps[None]:
        """Cut all up to message `end` anew."""
        engine = self._engine
        prefix = _until(request.conversation, end)
        sizes = {id(row): engine.costs.message(row) for row in prefix.messages}
        budget = int(engine.budget * engine.epoch_share)
        while True:
            try:
                done, changes = yield from engine.cut(request, prefix, sizes, budget, request.beside)
                break
            except CannotFit as error:
                if budget >= engine.budget:
                    raise
                # As far down as what must stay allows, and half of the way back: else the next turn is the next epoch.
                half = (error.least + engine.budget) // 2
                budget = half if budget < half < engine.budget else engine.budget
        before = list(fold.out)
        yield from self._anew(request, fold, prefix, done, changes, still)
        if engine.elects:
            fold.ledger.turn(fold.spent, fold.raw, fold.tokens(fold.out[: fold.shared(before, fold.out)]))

    def _anew(
        self,
        request: Request,
        fold: Fold,
        prefix: Conversation,
        done: Shortened,
        changes: Changes,
        still: Collection[int],
    ) -> Steps[None]:
        """Begin an epoch with what a cut has left."""
        fold.tools = self._engine.unneeded(request, prefix, None)
        yield from fold.cut(
            read(done.out, prefix.form, orphans="keep"),
            changes,
            done.dropped,
            still={at for at, index in enumerate(done.origin) if index in still or index < 0},
            origin=done.origin,
        )


def _until(whole: Conversation, end: int) -> Conversation:
    """The messages before `end`."""
    return whole if end == len(whole.messages) else read(whole.messages[:end], whole.form, orphans="keep")
