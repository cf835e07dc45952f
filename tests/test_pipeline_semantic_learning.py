"""The stage `semantic`: that tenants are apart, in answers and in what is learnt, and that answers are compared and teach."""

from __future__ import annotations

import asyncio

import pytest

from loop_steps import settled
from meaning import ASKED, CALL, RESPELT, REWORDED, ask, by_meaning, cached, echo
from sparecall.errors import UnknownName
from sparecall.pipeline import (
    Semantic,
)
from sparecall.pipeline import semantic as stage_module
from sparecall.pipeline.scope import tenant_of
from stages import Provider, completion
from stages import text_of as text_of_reply

pytestmark = pytest.mark.anyio

# --- tenants -------------------------------------------------------------------------------------


async def test_two_tenants_never_see_each_other() -> None:
    pipeline = by_meaning(provider := Provider(echo))
    texts = (ASKED, REWORDED, RESPELT)
    for text in texts:
        await ask(pipeline, text, key="sk-a")
    before = len(provider.calls)
    first = await ask(pipeline, REWORDED, key="sk-b")
    assert (first.hit, len(provider.calls)) == ("miss", before + 1)
    assert await text_of_reply(first) == f"The answer to: {REWORDED}"
    narrowed = await ask(pipeline, RESPELT, key="sk-a", scope="thread")
    assert narrowed.hit == "miss"


async def test_who_writes_in_another_scope_changes_nothing() -> None:
    """The same questions with and without a poisoner who stores lies in scopes of its own: every answer is the same."""

    async def answers(poisoned: bool) -> list[tuple[str, str]]:
        pipeline = by_meaning(provider := Provider(echo), cached(max_error=0.5, pool=tenant_of))
        found = []
        for text in (ASKED, RESPELT, REWORDED, "How do I enable 2FA?", "how do I enable 2FA", "How do I disable 2FA?"):
            if poisoned:
                provider.answer = completion("LIES")
                for scope in ("a", "b/c", "key-x"):
                    for spelling in (text, text.upper(), f"{text} please"):
                        await ask(pipeline, spelling, key="sk-evil", scope=scope)
                stage = pipeline.stage(Semantic)
                for number in range(1, 60):
                    with pytest.raises(UnknownName):
                        stage.feedback(f"{stage.instance}-{number}", correct=False, scope="key/none")
                provider.answer = echo
            reply = await ask(pipeline, text)
            found.append((reply.hit, await text_of_reply(reply)))
        return found

    clean = await answers(poisoned=False)
    assert await answers(poisoned=True) == clean
    assert clean[1][0] == "semantic"


@pytest.mark.parametrize("apart", [True, False])
async def test_what_one_tenant_teaches_opens_nothing_for_another(apart: bool) -> None:
    """A tenant whose questions all have one answer teaches the cache that numbers do not matter: its own, and no other's."""
    pipeline = by_meaning(
        provider := Provider(completion("OK")), cached(max_error=0.1, pool=tenant_of if apart else None)
    )

    async def served(key: str, count: int) -> int:
        texts = [f"How do I reset the {i}th {chr(97 + i % 26)} thing of account {i * 7}?" for i in range(count)]
        return [(await ask(pipeline, text, key=key)).hit for text in texts].count("semantic")

    assert await served("sk-evil", 500) > 0
    provider.answer = echo
    wrong = await served("sk-b", 60)
    assert wrong == 0 if apart else wrong > 0


def test_a_tenant_is_a_key_or_the_first_part_of_a_scope() -> None:
    scopes = ("key/a", "key/a/b/c", "team", "team/a/b", "keys/a")
    assert [tenant_of(scope) for scope in scopes] == ["key/a", "key/a", "team", "team", "keys"]


async def test_several_must_agree_before_others_are_answered() -> None:
    pipeline = by_meaning(Provider(), cached(promote_after=2), scope="team")
    first = await ask(pipeline, ASKED, key="sk-a")
    assert first.hit == "miss"
    assert (await ask(pipeline, REWORDED, key="sk-a")).hit == "semantic"  # its own
    held = await ask(pipeline, RESPELT, key="sk-b")
    assert held.semantic is not None
    assert (held.hit, held.semantic.why) == ("miss", "unproven")
    assert (await ask(pipeline, REWORDED, key="sk-c")).hit == "semantic"


async def test_a_client_over_its_quota_stores_no_more() -> None:
    pipeline = by_meaning(Provider(), cached(write_quota=1), scope="team")
    for text in (ASKED, "What is the capital of France?"):
        await ask(pipeline, text)
    assert (await ask(pipeline, RESPELT)).hit == "semantic"
    assert (await ask(pipeline, "what is the capital of france")).hit == "miss"


# --- learning ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fresh", "wrong"), [("The answer.", 0), ("Nothing alike: 42 bananas", 1)])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_an_audit_goes_upstream_and_its_answer_is_compared(fresh: str, wrong: int, stream: bool) -> None:
    pipeline = by_meaning(provider := Provider(completion("The answer.")), cached(max_error=0.9, audit_share=1.0))
    await ask(pipeline)
    provider.answer = completion(fresh)
    audit = await ask(pipeline, RESPELT, stream=stream)
    assert audit.semantic is not None
    assert (audit.hit, audit.semantic.why, audit.semantic.id) == ("miss", "audit", "")
    report = pipeline.stage(Semantic).cache.report()
    assert (report.audits, report.decision.audits, report.decision.wrong) == (1, 1, wrong)
    assert report.audit_cost == pytest.approx(0.0035)  # 1,000 tokens in, 100 out


async def test_a_respelling_that_is_audited_is_compared_with_the_old_answer_not_with_its_own() -> None:
    pipeline = by_meaning(provider := Provider(completion("The answer.")), cached(max_error=0.9, audit_share=1.0))
    await ask(pipeline)
    provider.answer = completion("Nothing alike: 42 bananas")
    await ask(pipeline, RESPELT)
    assert pipeline.stage(Semantic).cache.report().decision.wrong == 1
    assert len(pipeline.stage(Semantic).cache) == 1


async def test_an_answer_that_calls_a_tool_is_not_what_the_stored_text_says() -> None:
    pipeline = by_meaning(provider := Provider(completion("The answer.")), cached(max_error=0.9, audit_share=1.0))
    await ask(pipeline)
    provider.answer = completion(choices=[{"index": 0, "finish_reason": "tool_calls", "message": CALL}])
    await ask(pipeline, RESPELT)
    assert pipeline.stage(Semantic).cache.report().decision.wrong == 1


async def test_misses_are_compared_for_nothing_until_the_bound_is_met() -> None:
    pipeline = by_meaning(Provider(completion("The answer.")), cached(max_error=0.2))
    kinds = []
    for number in range(40):
        word = f"word{number}"
        await ask(pipeline, f"How do I reset my {word} password?")
        kinds.append((await ask(pipeline, f"How can I reset my {word} password?")).hit)
    assert kinds[0] == "miss"
    assert "semantic" in kinds
    report = pipeline.stage(Semantic).cache.report()
    assert (report.audits, report.audit_cost) == (0, 0.0)
    assert report.decision.verdicts > 0


async def test_a_judge_of_one_s_own_gets_texts_and_may_fail() -> None:
    seen, told = [], []

    async def judge(stored: str, fresh: str) -> bool:
        seen.append((stored, fresh))
        raise RuntimeError("the judge is ill")

    pipeline = by_meaning(provider := Provider(echo), cached(max_error=0.9, audit_share=1.0, judge=judge))
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    await ask(pipeline)
    assert (await ask(pipeline, REWORDED)).hit == "miss"
    assert seen == [(f"The answer to: {ASKED}", f"The answer to: {REWORDED}")]
    assert len(provider.calls) == 2
    await settled()
    assert [str(context["exception"]) for context in told] == ["the judge is ill"]


async def test_long_answers_are_compared_in_a_thread() -> None:
    judged = stage_module.judge("a" * 5_000, "a" * 5_000)
    assert asyncio.iscoroutine(judged)
    assert await judged == (True, 1.0)
    assert stage_module.judge("a", "a") == (True, 1.0)


async def test_feedback_evicts_in_the_scope_of_the_answer_alone() -> None:
    pipeline = by_meaning(Provider(), scope="team")
    stage = pipeline.stage(Semantic)
    await ask(pipeline)
    hit = await ask(pipeline, REWORDED)
    assert hit.semantic is not None
    number = hit.semantic.id.partition("-")[2]
    for id_, scope in [(hit.semantic.id, "other"), (f"0-{number}", "team"), (number, "team"), ("", "team"), (f"{stage.instance}-99", "team"), (f"{stage.instance}-{'9' * 99}", "team")]:  # fmt: skip
        with pytest.raises(UnknownName):
            stage.feedback(id_, correct=False, scope=scope)
    stage.feedback(hit.semantic.id, correct=True, scope="team")
    assert (await ask(pipeline, REWORDED)).hit == "semantic"
    stage.feedback(hit.semantic.id, correct=False, scope="team")
    assert (await ask(pipeline, REWORDED)).hit == "miss"
