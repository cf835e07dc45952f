"""`sparecall demo`: small days end to end, their report, and what is left behind: nothing."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import io
import itertools
import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from sparecall import cli, simulate
from sparecall.demo import figures, report
from sparecall.demo.outage import calls_of, outage
from sparecall.demo.progress import Progress
from sparecall.demo.run import Run, run
from sparecall.demo.session import BUDGET, Session, script, session
from sparecall.demo.task import Day
from sparecall.demo.workday import SHARES, TEAM, amounts, plan

CALLS = 48
INSTANT = simulate.Latency(first_token=0, per_token=0, jitter=0)
SLOW = simulate.Latency(first_token=0.4, per_token=0, jitter=0)


@pytest.fixture(scope="module")
def day() -> Day:
    return plan(calls=CALLS, agents=4, seed=3)


@pytest.fixture(scope="module")
def runs(day: Day) -> tuple[Run, Run]:
    """The same day with the cache off and on."""

    async def both() -> tuple[Run, Run]:
        off = await run(day, cache=False, latency=INSTANT, on_call=lambda: None)
        return off, await run(day, cache=True, latency=INSTANT, on_call=lambda: None)

    return asyncio.run(both())


def demo(*options: str) -> int:
    return cli.main(["demo", "--calls", str(CALLS), "--agents", "4", "--speed", "1000000", "--outage", "0", *options])


def open_sockets() -> set[str]:
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("this system does not list a process's open files")
    gc.collect()
    links = (os.readlink(path) for path in folder.iterdir() if path.is_symlink())
    return {link for link in links if link.startswith("socket:")}


def test_each_call_is_answered_once_and_every_answer_is_that_of_a_run_without_a_cache(
    day: Day, runs: tuple[Run, Run]
) -> None:
    off, on = runs
    for without, having in zip(off.outcomes, on.outcomes, strict=True):
        assert (having.task.number, having.step) == (without.task.number, without.step)
        assert having.hit == "semantic" or having.answer == without.answer
    texts = {o.task.number: o.answer.content for o in on.outcomes}
    assert all(o.answer.content == texts[o.task.earlier or 0] for o in on.outcomes if o.hit == "semantic")
    assert len({(o.task.number, o.step) for o in on.outcomes}) == len(on.outcomes) == day.calls == CALLS
    assert all(o.answer.id and o.answer.finish_reason in {"stop", "tool_calls"} for o in on.outcomes)


def test_the_functions_that_were_asked_about_are_embedded_each_once_and_the_same(
    day: Day, runs: tuple[Run, Run]
) -> None:
    off, on = runs
    texts = {task.messages[-1]["content"] for task in day.tasks if task.kind == "ask"}
    assert len(texts) == len(off.vectors) == off.vector_calls >= on.vector_calls > 0
    assert off.vectors == on.vectors
    assert len({tuple(vector) for vector in on.vectors}) == len(texts)


def test_of_many_embeddings_most_go_together() -> None:
    whole = plan(calls=200, agents=4, seed=3)
    day = Day(whole.seed, ((tuple(task for task in whole.tasks if task.kind == "ask"),),))
    on = asyncio.run(
        run(day, cache=True, latency=simulate.Latency(first_token=0.02, per_token=0), on_call=lambda: None)
    )
    assert len(on.vectors) == len(day.tasks) > 30
    assert on.vector_calls <= len(on.vectors) * 2 / 3


def test_without_a_cache_every_call_reaches_the_provider(runs: tuple[Run, Run]) -> None:
    off, _ = runs
    assert off.provider_calls == CALLS
    assert {o.hit for o in off.outcomes} == {"miss", "bypass"}


def test_only_repeats_and_simultaneous_starts_are_hits(runs: tuple[Run, Run]) -> None:
    _, on = runs
    hits = Counter((o.task.kind, o.hit) for o in on.outcomes)
    due = amounts(CALLS)
    assert hits["repeat", "exact"] == due["repeat"]
    assert hits["together", "miss"] == 2 * due["together"], "one call for each of the two steps of a team's task"
    assert hits["together", "exact"] + hits["together", "coalesced"] == 2 * (TEAM - 1) * due["together"]
    assert hits["brainstorm", "bypass"] == due["brainstorm"]
    assert hits["retype", "semantic"] == due["retype"]
    others = set(SHARES) - {"repeat", "retype", "together", "brainstorm"}
    assert {hit for kind, hit in hits if kind in others} == {"miss"}
    assert on.provider_calls == sum(o.hit in {"miss", "bypass"} for o in on.outcomes) < CALLS


def test_agents_that_begin_a_task_at_once_share_one_call(day: Day) -> None:
    starts = tuple(tuple(task for task in tasks if task.kind == "together") for tasks in day.hours[0])
    on = asyncio.run(run(Day(day.seed, (starts,)), cache=True, latency=SLOW, on_call=lambda: None))
    first_steps = [o for o in on.outcomes if o.step == 0]
    assert Counter(o.hit for o in first_steps) == {"miss": 1, "coalesced": TEAM - 1}
    assert len({o.answer.tool_calls for o in first_steps}) == 1
    assert first_steps[0].answer.tool_calls
    assert on.provider_calls == 2


@pytest.mark.anyio
async def test_a_run_leaves_no_task_and_no_socket_on_either_loop(day: Day) -> None:
    before = open_sockets()
    tasks = asyncio.all_tasks()
    counted: list[int] = []
    await run(day, cache=True, latency=INSTANT, on_call=lambda: counted.append(1))
    await asyncio.sleep(0.05)  # transports close a turn of the loop after they are told to
    assert asyncio.all_tasks() == tasks
    assert open_sockets() == before
    assert len(counted) == CALLS


def test_the_report_says_that_the_provider_was_simulated_and_adds_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "figures.json"
    assert demo("--json", str(path)) == 0
    out, err = capsys.readouterr()
    assert "The provider was SIMULATED" in out
    same = CALLS - amounts(CALLS)["retype"]
    assert f"ok   {same} of {same} answers equal to those without a cache\n" in out
    assert "FAIL" not in out
    assert "rephrased questions count as misses" in out
    assert "15% of calls repeat an earlier one" in " ".join(out.split())
    assert err.splitlines()[-1] == f"cache on: {CALLS} of {CALLS} calls"
    found = json.loads(path.read_bytes())
    *kinds, total = found["work"]
    for column in ("calls", *figures.HITS):
        assert total[column] == sum(kind[column] for kind in kinds)
    assert total["calls"] == CALLS == sum(total[hit] for hit in figures.HITS)
    assert found["cache_off"]["calls"] == CALLS
    assert found["cache_on"]["calls"] == total["miss"] + total["bypass"]
    assert 0 < found["cache_on"]["dollars"] < found["cache_off"]["dollars"]
    assert found["simulated"] is True
    again = found["rereads"]
    assert again["files"] == amounts(CALLS)["re-read"]
    assert 0 < again["unchanged"] <= again["symbols"]
    assert 0 < again["changed_tokens"] < again["whole_tokens"]
    assert f"{again['changed_tokens']:,} tokens instead of {again['whole_tokens']:,}" in " ".join(out.split())
    assert re.search(rf"^all +{CALLS} ", out, re.MULTILINE)


def test_json_on_standard_output_is_nothing_but_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo("--json", "-", "--seed", "5") == 0
    assert json.loads(capsys.readouterr().out)["seed"] == 5


def test_the_same_seed_gives_the_same_figures_but_for_the_clock(capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for _ in range(2):
        assert demo("--json", "-") == 0
        one = json.loads(capsys.readouterr().out)
        found.append(
            (
                one["checks"],
                *({n: v for n, v in one[run].items() if n != "seconds"} for run in ("cache_off", "cache_on")),
            )
        )
    assert found[0] == found[1]


def test_another_answer_with_the_cache_on_fails_the_demo(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seeds = itertools.count(1)
    provider = simulate.Provider
    monkeypatch.setattr(simulate, "Provider", lambda **options: provider(**{**options, "seed": next(seeds)}))
    assert demo() == 1
    assert re.search(r"^FAIL \d+ of \d+ answers equal", capsys.readouterr().out, re.MULTILINE)


def test_an_old_answer_for_an_edited_file_fails_a_check(runs: tuple[Run, Run]) -> None:
    off, on = runs
    answers = {(o.task.number, o.step): o.answer for o in on.outcomes}
    stale = [
        dataclasses.replace(o, answer=answers[o.task.earlier, 0]) if o.task.kind == "re-read" and o.task.earlier else o
        for o in on.outcomes
    ]
    holds = {check.claim: check.holds for check in figures.checks(off, dataclasses.replace(on, outcomes=stale))}
    assert not holds["re-reads of an edited file got an answer of their own"]
    assert not holds["answers equal to those without a cache"]
    assert all(check.holds for check in figures.checks(off, on))


def test_a_call_too_many_at_the_provider_fails_a_check(runs: tuple[Run, Run]) -> None:
    off, on = runs
    more = dataclasses.replace(on, provider_calls=on.provider_calls + 1)
    assert [check.holds for check in figures.checks(off, more)].count(False) == 1


def test_callers_get_their_answers_while_providers_hang_refuse_and_fail(day: Day, runs: tuple[Run, Run]) -> None:
    told: list[int] = []
    found = asyncio.run(outage(seconds=2.5, seed=0, on_call=lambda: told.append(1)))
    assert found.answered == found.calls == len(told) == calls_of(2.5) == 100
    assert sum(phase.by_a + phase.by_b for phase in found.phases) == 100
    assert sum(phase.passed for phase in found.phases) > 0 < found.faults["server_error"]
    assert found.provider_calls > 100
    long = asyncio.run(session(day, latency=INSTANT))
    made = figures.figures(day, *runs, long, latency=INSTANT, speed=1.0, outage=found)
    assert made.hold
    text = report.report(made)
    assert "b says 429" in text
    assert "ok   100 of 100 calls got their answer while providers hung" in text
    lost = msgspec.structs.replace(found.phases[0], answered=19)
    made = figures.figures(
        day,
        *runs,
        long,
        latency=INSTANT,
        speed=1.0,
        outage=msgspec.structs.replace(found, phases=[lost, *found.phases[1:]]),
    )
    assert not made.hold


def test_percentiles_are_nearest_ranks_and_none_of_nothing() -> None:
    found = figures.quantiles("x", [float(n) for n in range(1, 101)])
    assert (found.count, found.p50, found.p95, found.p99) == (100, 50.0, 95.0, 99.0)
    assert figures.quantiles("x", [7.0]).p99 == 7.0
    assert figures.quantiles("x", []).count == 0


def test_a_table_is_aligned_to_its_widest_cells() -> None:
    assert report.table(["a", "calls"], [["longer", "1"], ["b", "1,000,000"]]).splitlines() == [
        "a           calls",
        "------  ---------",
        "longer          1",
        "b       1,000,000",
    ]


@pytest.mark.parametrize("package", ["openai", "tqdm"])
def test_a_missing_extra_is_one_line_that_says_what_to_install(
    package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert demo() == 2
    assert (
        capsys.readouterr().err == f"sparecall demo: {package} is not installed; run: pip install 'sparecall[demo]'\n"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--calls", "29"], "--calls is 29; a day has 30 or more"),
        (["--agents", "2"], "--agents is 2; a team has 3 or more"),
        (["--speed", "nan"], "--speed is nan"),
        (["--speed", "0"], "--speed is 0"),
        (["--outage", "0.5"], "--outage is 0.5"),
        (["--calls", "1000000000"], "too few modules"),
    ],
)
def test_a_day_that_cannot_be_is_refused(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo(*options) == 2
    assert message in capsys.readouterr().err


def test_figures_that_cannot_be_written_are_an_error_after_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo("--calls", "30", "--json", str(tmp_path / "no" / "where")) == 2
    out, err = capsys.readouterr()
    assert "What to make of it" in out
    assert "cannot be written: No such file or directory" in err


def test_an_interrupt_ends_it_quietly_with_status_130() -> None:
    code = (
        "import signal, sys; from sparecall import cli\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a suite in the background passes on that it is ignored
        "sys.exit(cli.main(['demo', '--calls', '200', '--speed', '20']))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "cache off: 50 of 200 calls\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err


def test_on_a_terminal_one_bar_counts_both_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with Progress(calls=2, runs=2) as progress:
        for name in ("cache off", "cache on"):
            progress.begin(name)
            progress.step()
            progress.step()
    shown = terminal.getvalue()
    assert "0/4" in shown
    assert "cache on" in shown
    assert "of 2 calls" not in shown


def test_a_long_session_costs_less_and_every_request_of_it_is_valid(day: Day) -> None:
    long = asyncio.run(session(dataclasses.replace(day, hours=day.hours * 10), latency=INSTANT))
    assert long.steps == long.valid == long.within == 10 * CALLS // 15
    assert long.epochs >= 1
    assert 0 < long.lossy < long.steps
    assert long.tokens <= long.steps * BUDGET < long.tokens_raw
    assert 0 < long.dollars < long.dollars_raw
    steps = script(Random(0), 7)
    assert [len(step) for step in steps] == [4, 6, 8, 10, 12, 14, 16]
    assert all(later[: len(step)] == step for step, later in itertools.pairwise(steps))


def test_a_request_that_broke_the_grammar_or_the_budget_fails_a_check(day: Day, runs: tuple[Run, Run]) -> None:
    good = Session(
        steps=6, budget=5, tokens_raw=9, tokens=8, dollars_raw=2.0, dollars=1.0, epochs=0, lossy=0, valid=6, within=6
    )
    for field, failed in (("steps", []), ("valid", ["grammar"]), ("within", ["within"])):
        bad = msgspec.structs.replace(good, **{field: 6 if field == "steps" else 5})
        found = figures.figures(day, *runs, bad, latency=INSTANT, speed=1.0)
        assert [one.claim for one in found.checks if not one.holds] == [
            one.claim for one in found.checks if any(word in one.claim for word in failed)
        ]
        assert found.hold is not bool(failed)


def test_an_unknown_price_is_unknown_and_not_nothing(day: Day, runs: tuple[Run, Run]) -> None:
    off, on = runs
    renamed = [dataclasses.replace(o, answer=dataclasses.replace(o.answer, model="secret-model")) for o in on.outcomes]
    long = asyncio.run(session(day, latency=INSTANT))
    made: Any = figures.figures(day, off, dataclasses.replace(on, outcomes=renamed), long, latency=INSTANT, speed=1.0)
    assert made.cache_on.dollars is None
    assert re.search(r"^dollars, list prices of \S+ +unknown +unknown", report.report(made), re.MULTILINE)
