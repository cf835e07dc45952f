"""Embeddings of several requests in one call, by the stage alone: who goes with whom, what each gets, and who pays for what."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparecall import tokens
from sparecall.cache import BytesCache
from sparecall.config import Embeddings as EmbeddingsConfig
from sparecall.errors import UpstreamError
from sparecall.pipeline import Digest, Embeddings, Pipeline, Reply, Request, Scope, vectors
from virtual_time import run

MODEL, ENCODING = "text-embedding-3-small", "cl100k_base"


def vector_of(given: Any) -> list[float]:
    return [float(len(given)), float(sum(map(ord, given)) if isinstance(given, str) else sum(given))]


class Provider:
    """Takes `seconds` a call, refuses inputs that are `bad`, and remembers what it was asked."""

    def __init__(self, seconds: float = 1.0) -> None:
        self.seconds = seconds
        self.requests: list[Request] = []
        self.bad: set[Any] = set()
        self.status = 200
        self.error: Exception | None = None
        self.lists = True
        self.running = self.most = self.cancelled = self.charged = 0

    @property
    def asked(self) -> list[Any]:
        return [msgspec.json.decode(request.body)["input"] for request in self.requests]

    async def __call__(self, request: Request, next: Any) -> Reply:  # noqa: A002
        self.requests.append(request)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        if self.error is not None:
            raise self.error
        body = msgspec.json.decode(request.body)
        inputs = [body["input"]] if isinstance(body["input"], str) else body["input"]
        if self.status != 200:
            return self.refusal(self.status, "busy")
        if bad := [each for each in inputs if isinstance(each, str) and each in self.bad]:
            return self.refusal(400, f"bad input {bad[0]}")
        if not self.lists and len(inputs) > 1:
            inputs = inputs[:1]
        used = sum(tokens.count(each, ENCODING) if isinstance(each, str) else len(each) for each in inputs)
        self.charged += used
        data = [{"index": index, "embedding": vector_of(each)} for index, each in enumerate(inputs)]
        content = msgspec.json.encode({"data": data, "model": body["model"], "usage": {"prompt_tokens": used}})
        return Reply(status=200, hit="miss", body=content, summary=vectors.summarise(content), served_by="p")

    @staticmethod
    def refusal(status: int, message: str) -> Reply:
        content = msgspec.json.encode({"error": {"message": message}})
        return Reply(status=status, hit="miss", body=content, headers={"retry-after": "7"}, served_by="p")


class Site:
    """The stages around a provider, and its clients."""

    def __init__(self, provider: Provider, **options: Any) -> None:
        self.provider = provider
        self.events: list[Any] = []
        config = EmbeddingsConfig(**{"max_concurrent": 1, "max_wait": 1000.0, **options})
        self.stage = Embeddings(BytesCache(100_000_000), batch=config, on_batch=self.events.append)
        self.pipeline = Pipeline([Scope(), Digest(), self.stage, provider])

    def ask(self, given: Any, *, key: str = "sk-a", headers: dict[str, str] | None = None, **fields: Any) -> Any:
        own = {name: fields.pop(name) for name in ("scope", "cache_control") if name in fields}
        body = {"model": MODEL, "input": given, **fields}
        return asyncio.ensure_future(
            self.pipeline(Request.of(body, wire="embeddings", key=key, headers=headers or {}, **own))
        )

    async def busy(self) -> asyncio.Task[Reply]:
        """One call that runs, so that whoever comes now has to wait."""
        task = self.ask("the first")
        await asyncio.sleep(0.1)
        return task


def answer(reply: Reply) -> tuple[list[list[float]], int]:
    """The vectors of a reply, and the tokens it states."""
    body = msgspec.json.decode(reply.body or b"")
    return [item["embedding"] for item in body["data"]], body["usage"]["prompt_tokens"]


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
    ],
    ids=str,
)
def test_what_the_provider_could_tell_apart_never_shares_a_call(other: dict[str, Any]) -> None:
    async def main() -> None:
        from sparecall.pipeline import CacheControl

        site = Site(provider := Provider())
        first = await site.busy()
        given = other.pop("given", "other")
        if "cache_control" in other:
            other["cache_control"] = CacheControl(**{other["cache_control"]: True})
        asking = [site.ask("one"), site.ask(given, **other), site.ask("three")]
        await asyncio.gather(first, *asking)
        assert sorted(map(str, provider.asked)) == sorted(map(str, ["the first", given, ["one", "three"]]))

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


def test_who_leaves_leaves_alone() -> None:
    async def main() -> None:
        site = Site(provider := Provider())
        await site.busy()
        asking = [site.ask(f"text {number}") for number in range(5)]
        await asyncio.sleep(0.1)
        asking[0].cancel()  # waits
        await asyncio.sleep(1.0)
        assert provider.asked[1:] == [[f"text {number}" for number in range(1, 5)]]
        asking[1].cancel()  # its call runs
        replies = await asyncio.gather(*asking, return_exceptions=True)
        assert [isinstance(each, asyncio.CancelledError) for each in replies] == [True, True, False, False, False]
        assert provider.cancelled == 0
        assert (await site.ask("text 1")).hit == "exact"  # paid for, and kept

        asking = [site.ask(f"again {number}") for number in range(2)]
        await asyncio.sleep(0.1)
        for each in asking:
            each.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        await asyncio.sleep(0)
        assert provider.cancelled == 1  # nobody waits for it any more
        assert (await site.ask("again 0")).status == 200
        assert len(site.stage) == 0

    run(main())


def test_who_has_waited_long_enough_goes_alone() -> None:
    async def main() -> None:
        site = Site(provider := Provider(seconds=100.0), max_wait=0.5)
        loop = asyncio.get_running_loop()
        first = await site.busy()
        provider.seconds = 1.0
        start = loop.time()
        late = [site.ask(f"text {number}") for number in range(3)]
        await asyncio.gather(*late)
        assert loop.time() - start == pytest.approx(1.5)
        assert sorted(provider.asked[1:]) == [f"text {number}" for number in range(3)]
        assert site.stage.batches is not None
        assert site.stage.batches.alone == 3
        leaving = site.ask("leaves")
        await asyncio.sleep(0.4999)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert len(provider.requests) == 4
        first.cancel()

    run(main())


def test_closing_tells_those_who_wait() -> None:
    async def main() -> None:
        site = Site(provider := Provider())
        async with site.pipeline:
            asking = [await site.busy(), site.ask("one"), site.ask("two")]
            await asyncio.sleep(0.1)
        outcomes = await asyncio.gather(*asking, return_exceptions=True)
        assert [type(each) for each in outcomes] == [UpstreamError] * 3
        assert provider.running == 0
        with pytest.raises(UpstreamError, match="closed"):
            await site.ask("three")

    run(main())


def test_cancelled_anywhere_nothing_is_lost_and_nothing_stays() -> None:
    """One client of three leaves after every number of loop turns in which anything happens."""

    async def main(turns: int) -> bool:
        site = Site(provider := Provider(seconds=0.0), max_inputs=4)
        asking = [site.ask([f"{name} {number}" for number in range(6)]) for name in "abc"]
        for _ in range(turns):
            await asyncio.sleep(0)
        done = asking[1].done()
        asking[1].cancel()
        replies = await asyncio.gather(*asking, return_exceptions=True)
        for name, reply in zip("abc", replies, strict=True):
            if isinstance(reply, BaseException):
                assert name == "b"
            else:
                assert answer(reply)[0] == [vector_of(f"{name} {number}") for number in range(6)]
        await asyncio.sleep(1)
        assert (len(site.stage), provider.running) == (0, 0)
        assert site.stage.batches is not None
        assert not any(each.busy for each in site.stage.batches._batchers.values())
        return done

    for turns in range(200):
        if run(main(turns)):
            break
    else:
        raise AssertionError("never ended")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(0, 3),  # when
            st.lists(st.integers(0, 40), min_size=1, max_size=6),  # which texts
            st.sampled_from(["sk-a", "sk-a", "sk-b"]),
            st.one_of(st.none(), st.none(), st.floats(0, 2)),  # after how long it leaves
        ),
        max_size=25,
    ),
    st.integers(1, 3),
    st.sampled_from([2, 8, 2048]),
    st.sets(st.integers(0, 40), max_size=3),
    st.sampled_from([0.2, 1000.0]),
)
def test_any_clients_are_answered_rightly_or_told(
    clients: list[Any], permits: int, most: int, bad: set[int], patience: float
) -> None:
    async def one(site: Site, when: float, texts: list[str], key: str, leaves: float | None) -> None:
        await asyncio.sleep(when)
        task = site.ask(texts, key=key)
        if leaves is not None:
            await asyncio.wait({task}, timeout=leaves)
            if not task.done():
                task.cancel()
                return
        reply = await task
        if reply.status == 200:
            assert answer(reply)[0] == [vector_of(text) for text in texts]
        else:
            assert reply.status == 400
            word = msgspec.json.decode(reply.body or b"")["error"]["message"].removeprefix("bad input ")
            assert word in texts

    async def main() -> None:
        site = Site(provider := Provider(), max_concurrent=permits, max_inputs=most, max_wait=patience)
        provider.bad = {f"text {number}" for number in bad}
        await asyncio.gather(
            *(one(site, when, [f"text {number}" for number in texts], key, leaves)
              for when, texts, key, leaves in clients)
        )  # fmt: skip
        await asyncio.sleep(1000)
        assert (provider.running, len(site.stage)) == (0, 0)
        assert all(len(each) <= most for each in provider.asked if isinstance(each, list))

    run(main())
