"""Whose memory a request may see: narrowed by paths, derived from keys, never shared by two identities."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparecall.errors import InvalidArgument
from sparecall.pipeline import Pipeline, Reply, Request, Scope
from sparecall.pipeline.request import MAX_SCOPE, checked_scope
from stages import Provider, asking, usual

pytestmark = pytest.mark.anyio


async def scope_of(
    *, configured: str | None = None, key: str | None = None, scope: str | None = None
) -> tuple[str | None, str]:
    """The scope that the next stage sees, and the reason for a bypass."""
    seen: list[Request] = []

    async def last(request: Request, next: Any) -> Reply:  # noqa: A002
        seen.append(request)
        return Reply(status=200, hit="miss")

    await Pipeline([Scope(scope=configured), last])(Request(body=b"{}", key=key, scope=scope))
    return seen[0].scope, seen[0].bypass


async def test_a_configured_scope_holds_for_everybody_and_may_be_narrowed() -> None:
    assert await scope_of(configured="team") == ("team", "")
    assert await scope_of(configured="team", key="sk-a") == ("team", "")
    assert await scope_of(configured="team", key="sk-a", scope="user/thread") == ("team/user/thread", "")


async def test_a_key_is_an_identity_and_does_not_show_in_its_scope() -> None:
    scope, bypass = await scope_of(key="sk-secret")
    assert bypass == ""
    assert scope is not None
    assert scope.startswith("key/")
    assert "secret" not in scope
    assert scope == (await scope_of(key="sk-secret"))[0] != (await scope_of(key="sk-other"))[0]
    assert await scope_of(key="sk-secret", scope="thread") == (f"{scope}/thread", "")


async def test_a_scope_of_its_own_is_enough_for_a_caller_in_process() -> None:
    assert await scope_of(scope="team/user") == ("team/user", "")


async def test_without_an_identity_nothing_is_cached_and_the_reply_says_so() -> None:
    assert await scope_of() == (None, "no_scope")
    pipeline = usual(provider := Provider())
    for _ in range(2):
        reply = await pipeline(asking(key=None))
        assert (reply.hit, reply.reason) == ("bypass", "no_scope")
    assert len(provider.calls) == 2


REFUSED = [
    "",
    "/",
    "a/",
    "/a",
    "a//b",
    "a b",
    "a|b",
    "a\nb",
    "a\x00",
    "é",
    "a\\b",
    "a?b",
    "a#b",
    "a,b",
    "x" * (MAX_SCOPE + 1),
    "\ud800",
]


@pytest.mark.parametrize("scope", REFUSED, ids=ascii)
async def test_a_scope_that_could_be_mistaken_for_another_is_refused(scope: str) -> None:
    with pytest.raises(InvalidArgument, match="scope is"):
        await scope_of(key="sk-a", scope=scope)
    with pytest.raises(InvalidArgument, match="scope is"):
        Scope(scope=scope)
    with pytest.raises(InvalidArgument) as caught:
        checked_scope(scope)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("scope", ["key", "key/0123", "key/x/y"])
async def test_nobody_without_a_key_may_pass_for_a_key(scope: str) -> None:
    with pytest.raises(InvalidArgument, match="kept for clients' keys"):
        await scope_of(scope=scope)
    assert (await scope_of(configured="team", scope=scope)) == (f"team/{scope}", "")
    assert (await scope_of(scope="keys/x"))[0] == "keys/x"


@pytest.mark.parametrize("key", ["", "\udcff"])
async def test_a_key_that_is_no_text_is_refused_without_repeating_it(key: str) -> None:
    with pytest.raises(InvalidArgument, match="key") as caught:
        await scope_of(key=key)
    assert "\udcff" not in str(caught.value)


PART = st.text("ab", min_size=1, max_size=2)
SCOPES = st.none() | st.lists(PART, min_size=1, max_size=3).map("/".join)
IDENTITIES = st.tuples(st.none() | st.sampled_from(["sk-a", "sk-b", "a", "b"]), SCOPES)


@given(SCOPES, IDENTITIES, IDENTITIES)
async def test_two_identities_share_a_scope_only_where_the_configuration_or_they_themselves_say_so(
    configured: str | None, first: tuple[str | None, str | None], second: tuple[str | None, str | None]
) -> None:
    one, _ = await scope_of(configured=configured, key=first[0], scope=first[1])
    other, _ = await scope_of(configured=configured, key=second[0], scope=second[1])
    if one is not None and one == other:
        assert first[1] == second[1]
        assert configured is not None or first[0] == second[0]
    for scope in (one, other):
        if configured is not None:
            assert scope is not None
            assert scope == configured or scope.startswith(configured + "/")
