"""Hedges on a virtual clock: when a second call is made, who wins, within which budget, and what they learn."""

from __future__ import annotations

import asyncio
import contextvars
import random
from typing import TYPE_CHECKING, Any

import pytest

import virtual_time
from hedges import Provider, asked, learned, run
from sparecall.errors import InvalidArgument
from sparecall.flow import Breaker, Hedge, Hedged, RateLimit, Retry, calm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.mark.parametrize("way", ["run", "stream"])
def test_a_late_call_is_made_again_and_the_first_answer_wins(way: str) -> None:
    async def main() -> None:
        told: list[Hedged] = []
        hedge, provider = learned(on_event=told.append), Provider(30.0, 0.5)
        answer = await asked(hedge, provider, way, tokens=700)
        assert answer == ("answer 2" if way == "run" else ["answer 2.0", "answer 2.1"])
        assert provider.calls == [0.0, pytest.approx(1.0, rel=0.03)]
        assert (provider.open, sorted(provider.ended)) == (0, ["answered", "cancelled"])
        assert [(hedged.winner, hedged.tokens) for hedged in told] == [("second", 700)]
        assert told[0].seconds == pytest.approx(1.5, rel=0.03)
        assert hedge.stats[1:] == (1, 1, 700)

    run(main())


@pytest.mark.parametrize("way", ["run", "stream"])
def test_a_first_call_that_answers_after_all_wins(way: str) -> None:
    async def main() -> None:
        told: list[Hedged] = []
        hedge, provider = learned(on_event=told.append), Provider(1.5, 60.0)
        answer = await asked(hedge, provider, way, tokens=5)
        assert answer[0].startswith("a" if way == "run" else "answer 1")
        assert (len(provider.calls), provider.open) == (2, 0)
        assert sorted(provider.ended) == ["answered", "cancelled"]
        assert [(hedged.winner, hedged.tokens) for hedged in told] == [("first", 5)]
        assert hedge.stats[1:] == (1, 0, 5)

    run(main())


def test_an_error_before_the_second_call_is_passed_on_at_once_and_after_it_the_other_is_waited_for() -> None:
    async def main() -> None:
        hedge, early = learned(), Provider((0.5, ConnectionError()))
        with pytest.raises(ConnectionError):
            await asked(hedge, early)
        assert early.calls == [0.0]

        late_error, early_error = (2.0, ConnectionError()), (0.5, ConnectionError())
        for provider, answer in (
            (Provider(late_error, 5.0), "answer 2"),
            (Provider(5.0, early_error), "answer 1"),
        ):
            assert await asked(hedge, provider) == answer
            assert (len(provider.calls), provider.open) == (2, 0)

        told: list[Hedged] = []
        hedge, both = learned(on_event=told.append), Provider((2.0, ConnectionError("one")), (3.0, TimeoutError("two")))
        with pytest.raises(ConnectionError, match="one"):
            await asked(hedge, both)
        assert [hedged.winner for hedged in told] == ["none"]

    run(main())


def test_what_is_not_idempotent_is_called_once() -> None:
    async def main() -> None:
        hedge, provider = learned(), Provider(30.0)
        assert await asked(hedge, provider, idempotent=False) == "answer 1"
        assert await asked(hedge, provider, "stream", idempotent=False) == ["answer 2.0", "answer 2.1"]
        assert provider.calls == [0.0, 30.0]
        with pytest.raises(TypeError, match="idempotent"):
            await hedge.run(provider)  # type: ignore[call-arg]

    run(main())


def test_there_is_none_before_enough_is_known_and_then_at_the_quantile_of_the_route() -> None:
    async def main() -> None:
        hedge, provider = Hedge(clock=virtual_time.clock, minimum_calls=20), Provider()
        assert hedge.delay("a") is None
        for seconds in range(1, 21):
            provider.plan = [float(seconds)]
            await asked(hedge, provider, route="a")
        assert len(provider.calls) == 20
        assert hedge.delay("a") == pytest.approx(20, rel=0.03)
        assert hedge.delay("b") is None
        provider.plan = [60.0, 1.0]  # the twenty calls before made room for one
        assert await asked(hedge, provider, route="a") == "answer 22"
        assert repr(hedge) == "<Hedge at the quantile 0.95: 1 of 21 calls made twice, 1 won>"

    run(main())


def test_first_calls_that_lost_do_not_make_the_quantile_forget_how_slow_calls_can_be() -> None:
    async def main() -> None:
        dice = random.Random(5)
        hedge = Hedge(clock=virtual_time.clock, budget=0.5)
        for _ in range(3000):
            provider = Provider(dice.expovariate(1.0), dice.expovariate(1.0))
            await asked(hedge, provider)
        assert hedge.delay() == pytest.approx(3.0, rel=0.2)  # ln 20
        assert hedge.stats.hedges / 3000 == pytest.approx(0.05, abs=0.02)

    run(main())


def test_the_budget_holds_at_every_moment_when_each_call_is_slower_than_those_before() -> None:
    async def main() -> None:
        hedge = Hedge(clock=virtual_time.clock, budget=0.05)

        async def call(seconds: float) -> None:
            await hedge.run(lambda: asyncio.sleep(seconds), idempotent=True)
            assert hedge.stats.hedges <= 0.05 * hedge.stats.calls

        async with asyncio.TaskGroup() as group:
            for number in range(2000):
                group.create_task(call(0.5 * 1.003**number))
                await asyncio.sleep(0.05)
        assert hedge.stats.hedges > 90

    run(main())


def test_there_is_none_while_a_breaker_or_a_limit_is_not_calm() -> None:
    async def main() -> None:
        breaker = Breaker(minimum_calls=1, clock=virtual_time.clock)
        limit = RateLimit(requests=100, clock=virtual_time.clock)
        hedge = learned(allowed=calm(breaker, limit))
        assert await asked(hedge, Provider(30.0, 0.0)) == "answer 2"
        for _ in range(10):
            limit.try_acquire()
        assert await asked(hedge, Provider(30.0, 0.0)) == "answer 2"
        busy = RateLimit(requests=10, burst=1.0, clock=virtual_time.clock)
        for _ in range(8):
            assert busy.try_acquire()
        assert await asked(learned(allowed=calm(busy)), Provider(30.0, 0.0)) == "answer 1"
        with pytest.raises(TimeoutError):
            async with breaker.call():
                raise TimeoutError
        assert await asked(hedge, Provider(29.0, 0.0)) == "answer 1"
        with pytest.raises(TypeError, match="admits"):
            calm(object())  # type: ignore[arg-type]

    run(main())


def test_code_that_is_not_ours_costs_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("hook")

    async def main() -> None:
        assert await asked(learned(allowed=broken), Provider(30.0, 0.0)) == "answer 1"
        assert await asked(learned(on_event=broken), Provider(30.0, 0.0)) == "answer 2"

    run(main())
    assert [record.getMessage().partition(" failed")[0] for record in caplog.records] == [
        "allowed() of a hedge",
        "on_event of a hedge",
    ]


def test_a_loser_that_does_not_mind_being_cancelled_is_waited_for_and_its_answer_closed() -> None:
    class Answer:
        closed = 0

        async def aclose(self) -> None:
            Answer.closed += 1
            raise ConnectionError("a loser's")

    async def main() -> None:
        async def stubborn() -> Answer:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                await asyncio.sleep(1)
            return Answer()

        async def quick() -> str:
            return "quick"

        async def later() -> str:
            await asyncio.sleep(1.5)
            return "later"

        hedge = learned()
        assert await hedge.run(later, second=stubborn, idempotent=True) == "later"
        assert (virtual_time.clock(), Answer.closed) == (1002.5, 1)
        first: Any = await hedge.run(stubborn, second=quick, idempotent=True)
        assert isinstance(first, Answer)  # it came, and so it is the answer
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    run(main())


def test_a_second_stream_lives_in_one_task_and_ends_with_its_reader() -> None:
    async def main() -> None:
        tasks: set[Any] = set()
        closed = []

        async def first() -> AsyncIterator[int | None]:
            await asyncio.sleep(60)
            yield 0

        async def second() -> AsyncIterator[int | None]:
            try:
                async with asyncio.timeout(5):  # it belongs to the task that entered it
                    for number in (1, None, 3):
                        tasks.add(asyncio.current_task())
                        yield number
                    await asyncio.sleep(60)
            finally:
                tasks.add(asyncio.current_task())
                closed.append(virtual_time.clock())

        items: list[int | None] = []

        async def read() -> None:
            async for item in learned().stream(first, second=second, idempotent=True):
                items.append(item)
                await asyncio.sleep(0.5)

        with pytest.raises(TimeoutError):
            await read()
        assert items == [1, None, 3]
        assert len(tasks) == 1
        stream = learned().stream(first, second=second, idempotent=True)
        assert await anext(stream) == 1
        await stream.aclose()
        assert len(closed) == 2
        assert [item async for item in learned().stream(Provider(60.0, 0.0, items=0).stream, idempotent=True)] == []

    run(main())


def test_a_second_call_runs_in_the_context_of_its_own_caller() -> None:
    tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant")

    async def main() -> None:
        hedge = learned(reserve=100)
        hedge._credit = 100.0
        seen: dict[str, list[str]] = {}

        async def call(name: str) -> None:
            tenant.set(name)

            async def ask() -> None:
                seen.setdefault(name, []).append(tenant.get())
                await asyncio.sleep(60 if len(seen[name]) == 1 else 1)

            async def pieces() -> AsyncIterator[int]:
                await ask()
                yield 1

            if name < "5":
                await hedge.run(ask, idempotent=True)
            else:
                async for _ in hedge.stream(pieces, idempotent=True):
                    pass

        async with asyncio.TaskGroup() as group:
            for number in range(10):
                group.create_task(call(str(number)))
                await asyncio.sleep(0.01)
        assert seen == {str(number): [str(number)] * 2 for number in range(10)}

    run(main())


def test_it_serves_one_loop_after_another() -> None:
    hedge = Hedge(minimum_calls=1, least=0.01)
    hedge._credit = 5.0
    for _ in range(2):
        run(hedge.run(lambda: asyncio.sleep(0.001), idempotent=True))

    async def main() -> None:
        assert await hedge.run(Provider(5.0, 0.0), idempotent=True) == "answer 2"

    run(main())


def test_it_stands_inside_and_around_retries() -> None:
    async def main() -> None:
        hedge = learned()
        retry = Retry(base=0.0, clock=virtual_time.clock)
        provider = Provider((2.0, ConnectionError()), (2.0, ConnectionError()), 0.5)
        assert await retry.run(lambda: hedge.run(provider, idempotent=True)) == "answer 3"
        provider = Provider((0.5, ConnectionError()), 30.0, 0.0)
        assert await hedge.run(lambda: retry.run(provider), idempotent=True) == "answer 3"
        assert provider.open == 0

    run(main())


def test_it_decorates_coroutine_functions() -> None:
    hedge = Hedge()

    @hedge
    async def ask(question: str) -> str:
        return question.upper()

    assert run(ask("a")) == "A"
    assert next(iter(hedge._lanes)).endswith("ask")
    with pytest.raises(TypeError, match=r"hedge\.stream"):
        hedge(lambda: None)  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize(
    "options", [{"quantile": 0}, {"budget": 1.5}, {"budget": float("nan")}, {"reserve": 0}, {"least": -1}, {"minimum_calls": 0}]
)  # fmt: skip
def test_bad_options_are_named(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=next(iter(options))):
        Hedge(**options)
    with pytest.raises(InvalidArgument, match="tokens"):
        Hedge().run(Provider(), idempotent=True, tokens=-1).close()


def test_a_clock_that_goes_back_costs_no_answer() -> None:
    async def main() -> None:
        seconds = iter(range(10_000, 0, -1))
        told: list[Hedged] = []
        hedge = Hedge(minimum_calls=1, clock=lambda: float(next(seconds)), on_event=told.append)
        hedge._credit = 1.0
        for _ in range(100):
            assert await asked(hedge, Provider()) == "answer 1"
        assert await asked(hedge, Provider(60.0, 0.0)) == "answer 2"
        assert [(hedged.winner, hedged.seconds) for hedged in told] == [("second", 0.0)]

    run(main())


def test_routes_are_bounded() -> None:
    async def main() -> None:
        hedge = Hedge()
        for number in range(1030):
            await asked(hedge, Provider(), route=str(number))
        assert len(hedge._lanes) == 1024
        assert "5" not in hedge._lanes

    run(main())
