"""Embeddings of several requests in one call, by the stage alone: who goes with whom, what each gets, and who pays for what."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import msgspec
import pytest

from embeddings import ENCODING, MODEL, Provider, Site, answer, vector_of
from sparecall import tokens
from sparecall.errors import DeadlineExceeded, UpstreamError
from sparecall.pipeline import CacheControl, Reply, Request, vectors
from virtual_time import run


def test_while_calls_are_free_every_request_goes_at_once_as_it_came() -> None:
    async def main() -> None:
        site = Site(provider := Provider(), max_concurrent=4)
        loop = asyncio.get_running_loop()
        start = loop.time()
        asking = []
        for number in range(4):
            asking.append(site.ask(f"text {number}", user=f"user {number}", headers={"traceparent": "00-1"}))
            await asyncio.sleep(0.01)
        assert [request.body for request in provider.requests] == [
            msgspec.json.encode({"model": MODEL, "input": f"text {number}", "user": f"user {number}"})
            for number in range(4)
        ]
        assert provider.requests[0].headers == {"traceparent": "00-1"}
        await asyncio.gather(*asking)
        assert loop.time() - start == pytest.approx(1.03)

    run(main())


def test_what_comes_while_calls_run_goes_together_and_each_gets_and_pays_its_own() -> None:
    async def main() -> None:
        site = Site(provider := Provider())
        first = await site.busy()
        given = ["one text", ["two of", "two of them, more words"], "one text", ["a b c d", "one text"]]
        asking = [site.ask(each) for each in given]
        replies = await asyncio.gather(*asking)
        assert provider.asked == ["the first", ["one text", "two of", "two of them, more words", "a b c d"]]
        for each, reply in zip(given, replies, strict=True):
            inputs = [each] if isinstance(each, str) else each
            assert answer(reply) == ([vector_of(text) for text in inputs], sum(tokens.count_many(inputs, ENCODING)))
        # What is counted as spent is what the provider charged.
        spent = [await first, *(reply for reply in replies if reply.hit == "miss")]
        assert sum(reply.summary.prompt_tokens for reply in spent if reply.summary) == provider.charged
        assert [(event.reason, event.items) for event in site.events] == [("permit", 1), ("permit", 3)]

    run(main())


@pytest.mark.parametrize("total", [0, 1, 7, 100])
def test_the_shares_of_a_call_add_up_to_the_provider_s_total_whatever_that_is(total: int) -> None:
    class Odd(Provider):
        async def __call__(self, request: Request, next: Any) -> Reply:  # noqa: A002
            reply = await super().__call__(request, next)
            body = msgspec.json.decode(reply.body or b"")
            body["usage"]["prompt_tokens"] = total
            content = msgspec.json.encode(body)
            return msgspec.structs.replace(reply, body=content, summary=vectors.summarise(content))

    async def main() -> None:
        site = Site(provider := Odd())
        await site.busy()
        replies = await asyncio.gather(*(site.ask(f"{'word ' * number}end") for number in range(1, 8)))
        assert len(provider.requests) == 2
        assert sum(answer(reply)[1] for reply in replies) == total

    run(main())


@pytest.mark.parametrize(
    "other",
    [
        {"key": "sk-b"},
        {"scope": "thread/2"},
        {"model": "text-embedding-3-large"},
        {"dimensions": 2},
        {"encoding_format": "base64"},
        {"user": "ada"},
        {"extension": [1]},
        {"headers": {"OpenAI-Project": "p"}},
        {"headers": {"openai-organization": "o"}},
        {"headers": {"idempotency-key": "1"}},
        {"given": [[1, 2]]},
        {"given": ["text", [3]]},
        {"cache_control": "no_cache"},
        {"cache_control": "no_store"},
        {"priority": "low"},
    ],
    ids=str,
)
def test_what_the_provider_could_tell_apart_never_shares_a_call(other: dict[str, Any]) -> None:
    async def main() -> None:
        site = Site(provider := Provider())
        first = await site.busy()
        given = other.pop("given", "other")
        if "cache_control" in other:
            other["cache_control"] = CacheControl(**{other["cache_control"]: True})
        asking = [site.ask("one"), site.ask(given, **other), site.ask("three")]
        await asyncio.gather(first, *asking)
        assert sorted(map(str, provider.asked)) == sorted(map(str, ["the first", given, ["one", "three"]]))

    run(main())


def test_a_deadline_is_its_own_request_s_and_no_shared_call_s(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setattr("time.monotonic", asyncio.get_running_loop().time)
        site = Site(provider := Provider())
        first = await site.busy()
        hurried = site.ask("one", deadline=asyncio.get_running_loop().time() + 1.2)
        patient = site.ask("two")
        await asyncio.gather(first, patient)
        assert provider.asked == ["the first", ["one", "two"]]
        assert provider.requests[1].deadline is None
        with pytest.raises(DeadlineExceeded):
            await hurried

    run(main())


def test_labels_of_a_call_keep_nobody_apart_and_are_left_out_of_a_shared_one() -> None:
    async def main() -> None:
        site = Site(provider := Provider())
        first = site.ask("the first", headers={"openai-beta": "b", "Traceparent": "00-9"})
        await asyncio.sleep(0.1)
        labels = [{"Traceparent": f"00-{number}", "X-Client-Request-Id": str(number)} for number in range(3)]
        asking = [
            site.ask(f"text {number}", headers={"openai-beta": "b", **each}) for number, each in enumerate(labels)
        ]
        asking.append(site.ask("text 3", headers={"openai-beta": "b", "x-unknown": "not sent on"}))
        await asyncio.gather(first, *asking)
        assert provider.asked == ["the first", ["text 0", "text 1", "text 2", "text 3"]]
        assert dict(provider.requests[1].headers) == {"openai-beta": "b"}

    run(main())


def test_companies_do_not_wait_for_each_other() -> None:
    async def main() -> None:
        site = Site(provider := Provider(seconds=1000.0))
        slow = await site.busy()
        waiting = site.ask("waits")
        provider.seconds = 0.1
        start = asyncio.get_running_loop().time()
        await asyncio.gather(*(site.ask("theirs", key=f"sk-{number}") for number in range(300)))
        assert asyncio.get_running_loop().time() - start == pytest.approx(0.1)
        assert site.stage.batches is not None
        await site.ask("one more", key="sk-last")
        assert len(site.stage.batches) == 256  # idle ones are forgotten
        await asyncio.gather(slow, waiting)

    run(main())


def test_a_call_takes_no_more_than_the_limits_and_more_goes_in_several() -> None:
    async def main() -> None:
        site = Site(provider := Provider(), max_inputs=100, max_tokens=10_000, max_concurrent=2)
        texts = [f"text {number}" for number in range(250)]
        (whole,) = await asyncio.gather(site.ask(texts))
        assert answer(whole) == ([vector_of(text) for text in texts], provider.charged)
        assert [len(each) for each in provider.asked] == [100, 100, 50]
        assert provider.most == 2
        provider.requests.clear()
        # By tokens, counted exactly: 250 words have four times as many bytes.
        long = [f"{number} " + "words " * 2_000 for number in range(12)]
        await asyncio.gather(site.ask(long), *(site.ask(f"also {number}") for number in range(30)))
        used = [sum(tokens.count_many([each] if isinstance(each, str) else each, ENCODING)) for each in provider.asked]
        assert max(used) <= 10_000
        assert max(used) > 8_000
        assert sum(used) == sum(tokens.count_many(long, ENCODING)) + sum(
            tokens.count(f"also {number}", ENCODING) for number in range(30)
        )

    run(main())


def test_an_input_longer_than_any_provider_takes_goes_alone() -> None:
    async def main() -> None:
        site = Site(provider := Provider())
        first = await site.busy()
        long = "words " * 9_000
        await asyncio.gather(first, site.ask(["short", long]), site.ask("one"), site.ask("two"))
        assert sorted(map(str, provider.asked)) == sorted(map(str, ["the first", ["short", long], ["one", "two"]]))

    run(main())


@pytest.mark.parametrize("bad", [1, 3, 12])
def test_a_bad_input_costs_its_own_request_alone(bad: int) -> None:
    async def main() -> None:
        site = Site(provider := Provider())
        await site.busy()
        provider.bad = {f"text {number}" for number in range(bad)}
        replies = await asyncio.gather(*(site.ask([f"text {number}", f"more {number}"]) for number in range(12)))
        for number, reply in enumerate(replies):
            if number < bad:
                assert reply.status == 400
                assert msgspec.json.decode(reply.body or b"")["error"]["message"] == f"bad input text {number}"
            else:
                assert answer(reply)[0] == [vector_of(f"text {number}"), vector_of(f"more {number}")]
        assert len(provider.requests) <= 2 + 4 * 4 + (12 if bad == 12 else 0)
        assert provider.most == 1 or bad == 12

    run(main())


@pytest.mark.parametrize("status", [401, 404, 429, 500, 503])
def test_an_error_that_is_no_input_s_reaches_all_as_the_provider_gave_it(status: int) -> None:
    async def main() -> None:
        site = Site(provider := Provider())
        await site.busy()
        provider.status = status
        replies = await asyncio.gather(*(site.ask(f"text {number}") for number in range(5)))
        assert len(provider.requests) == 2
        expected = provider.refusal(status, "busy")
        for reply in replies[1:]:
            assert (reply.status, reply.body, reply.headers) == (status, expected.body, {"retry-after": "7"})
        provider.status = 200
        assert (await site.ask("text 4")).status == 200  # nothing of it is kept

    run(main())


def test_a_provider_that_cannot_be_reached_fails_all_of_the_call() -> None:
    async def main() -> None:
        site = Site(provider := Provider())
        first = await site.busy()
        provider.error = UpstreamError("p cannot be reached", code="unreachable")
        asking = [first, *(site.ask(f"text {number}") for number in range(5))]
        outcomes = await asyncio.gather(*asking, return_exceptions=True)
        assert [type(each) for each in outcomes] == [UpstreamError] * 6
        assert len(provider.requests) == 2

    run(main())


def test_a_provider_that_takes_one_input_a_call_answers_all_the_same() -> None:
    async def main() -> None:
        site = Site(provider := Provider())
        await site.busy()
        provider.lists = False
        replies = await asyncio.gather(*(site.ask(f"text {number}") for number in range(9)))
        assert [answer(reply)[0] for reply in replies] == [[vector_of(f"text {number}")] for number in range(9)]

    run(main())


def test_such_a_provider_is_soon_asked_for_one_request_at_a_time_and_tried_again_later() -> None:
    async def main() -> None:
        site = Site(provider := Provider(0.1), max_concurrent=2)
        provider.lists = False
        for several in range(5):
            await asyncio.gather(*(site.ask(f"text {several} {number}") for number in range(20)))
        wasted = len(provider.requests) - 100
        assert wasted <= 30, "what was learnt of the first holds for the others"
        assert provider.most == 20
        await asyncio.sleep(601)
        provider.lists = True
        provider.requests.clear()
        for several in range(5):
            await asyncio.gather(*(site.ask(f"later {several} {number}") for number in range(20)))
        assert len(provider.requests) <= 10

    run(main())


def test_one_bad_input_among_many_keeps_nobody_apart() -> None:
    async def main() -> None:
        site = Site(provider := Provider(0.1))
        for several in range(10):
            provider.bad = {f"text {several} 7"}
            replies = await asyncio.gather(*(site.ask(f"text {several} {number}") for number in range(16)))
            assert [reply.status for reply in replies].count(400) == 1
        assert site.stage.batches is not None
        assert [each.apart_until for each in site.stage.batches._companies.values()] == [float("-inf")]

    run(main())


def test_a_call_of_one_request_sees_its_caller_s_context_and_a_shared_one_nobody_s() -> None:
    who: ContextVar[str] = ContextVar("who", default="nobody")
    seen: list[tuple[int, str]] = []

    class Seeing(Provider):
        async def __call__(self, request: Request, next: Any) -> Reply:  # noqa: A002
            reply = await super().__call__(request, next)
            seen.append((len(self.asked[-1]), who.get()))
            return reply

    async def main() -> None:
        site = Site(provider := Seeing())
        asking = []
        for name in ("ada", "bob", "eve"):
            who.set(name)
            asking.append(site.ask([name]))
            await asyncio.sleep(0.1)
        await asyncio.gather(*asking)
        assert [len(each) for each in provider.asked] == [1, 2]

    run(main())
    assert seen == [(1, "ada"), (2, "nobody")]
