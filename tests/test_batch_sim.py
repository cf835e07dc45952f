"""The simulator: against closed forms, against value iteration, and against the real Batcher on a virtual clock."""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING

import numpy as np
import pytest

import virtual_time
from sparecall.batch import Batcher, sim
from sparecall.batch.sim.command import main, recommend
from sparecall.errors import InvalidDocument

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RULES: dict[str, Callable[[], sim.Rule]] = {
    "ours": lambda: sim.Ours(max_items=8),
    "when free": lambda: sim.WhenFree(max_items=8),
    "size or timer": lambda: sim.SizeOrTimer(max_items=8),
    "BentoML": lambda: sim.BentoRule(max_items=8),
    "batched": lambda: sim.BatchedRule(max_items=8),
}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("servers", [1, 3])
def test_every_item_is_served_once_and_no_sooner_than_a_batch_takes(name: str, servers: int) -> None:
    service = sim.Service(noise=0.0)
    arrivals = sim.gamma(0.9 * servers * service.capacity(8), 3_000, variation=4, seed=1)
    rule = sim.Ours(max_items=8, servers=servers) if name == "ours" else RULES[name]()
    outcome = sim.simulate(rule, arrivals, service, servers=servers)
    assert np.isfinite(outcome.latencies).all()
    assert outcome.latencies.min() >= service.seconds(1, 1) - 1e-9
    assert outcome.mean_batch <= 8


@pytest.mark.parametrize("load", [0.2, 0.6, 0.95])
def test_four_servers_that_keep_apart_beat_closing_at_once_and_a_timer(load: float) -> None:
    service = sim.Service()
    rate = load * 4 * service.capacity(32)
    rules: dict[str, Callable[[], sim.Rule]] = {
        "ours": lambda: sim.Ours(max_items=32, servers=4),
        "when free": lambda: sim.WhenFree(max_items=32),
        "timer": lambda: sim.SizeOrTimer(max_items=32),
    }
    arrivals = [sim.poisson(rate, 6_000, seed=seed) for seed in range(4)]
    means = {
        name: np.mean([sim.simulate(make(), these, service, servers=4).mean for these in arrivals])
        for name, make in rules.items()
    }
    assert means["ours"] <= 0.99 * means["when free"]
    assert means["ours"] <= (1.06 if load == 0.95 else 0.9) * means["timer"]


def test_batches_of_one_wait_as_the_formula_for_one_server_and_fixed_times_says() -> None:
    service, load = sim.Service(fixed=0.01, per_item=0.0, noise=0.0), 0.7
    exact = 0.01 + load * 0.01 / (2 * (1 - load))
    means = [
        sim.simulate(sim.WhenFree(max_items=1), sim.poisson(load / 0.01, 20_000, seed=seed), service).mean
        for seed in range(8)
    ]
    assert np.mean(means) == pytest.approx(exact, rel=0.03)
    assert sim.solve(load / 0.01, service, 1).mean == pytest.approx(exact, rel=0.01)


@pytest.mark.parametrize("load", [0.2, 0.6, 0.9])
def test_the_optimum_is_what_its_limit_comes_to_and_ours_is_within_a_twentieth_of_it(load: float) -> None:
    service = sim.Service(noise=0.0)
    rate = load * service.capacity(16)
    best = sim.solve(rate, service, 16)
    assert best.mean <= sim.solve(rate, service, 16, limit=1).mean * (1 + 1e-6)
    means: dict[str, list[float]] = {"optimum": [], "ours": []}
    for seed in range(6):
        arrivals = sim.poisson(rate, 8_000, seed=seed)
        means["optimum"].append(sim.simulate(sim.ControlLimit(max_items=16, limit=best.limit), arrivals, service).mean)
        means["ours"].append(sim.simulate(sim.Ours(max_items=16), arrivals, service).mean)
    assert np.mean(means["optimum"]) == pytest.approx(best.mean, rel=0.05)
    assert np.mean(means["ours"]) <= 1.05 * np.mean(means["optimum"])


def test_bursts_are_gathered_and_deadlines_keep_what_is_served_in_time() -> None:
    service = sim.Service()
    arrivals = sim.gamma(0.1 * service.capacity(32), 8_000, variation=4, seed=2)
    plain = sim.simulate(sim.WhenFree(max_items=32), arrivals, service)
    ours = sim.simulate(sim.Ours(max_items=32), arrivals, service)
    assert ours.mean < 0.95 * plain.mean
    crowd = sim.bursty(0.9 * service.capacity(32), 20_000, seed=3)
    late = sim.simulate(sim.Ours(max_items=32, within=0.25), crowd, service)
    timer = sim.simulate(sim.SizeOrTimer(max_items=32), crowd, service)
    assert late.in_time(0.25) > 1.3 * timer.in_time(0.25)
    assert late.percentile(95) < 0.27


def test_the_batcher_on_a_virtual_clock_makes_the_batches_that_are_simulated() -> None:
    service = sim.Service(noise=0.0)
    arrivals = sim.gamma(0.7 * service.capacity(8), 1_500, variation=3, seed=4)

    async def real() -> list[list[int]]:
        batches: list[list[int]] = []

        async def serve(items: list[int]) -> list[int]:
            batches.append(items)
            await asyncio.sleep(service.seconds(len(items), len(items)))
            return items

        loop = asyncio.get_running_loop()
        batcher = Batcher(serve, max_items=8, clock=loop.time)
        futures = []
        for index, time in enumerate(arrivals.times):
            if time > loop.time():
                await asyncio.sleep(time - loop.time())
            futures.append(batcher.submit(index))
        await asyncio.gather(*futures)
        await batcher.close()
        return batches

    simulated: list[list[int]] = []

    class Told(sim.Ours):
        def decide(self, now: float) -> list[int] | float:
            decision = super().decide(now)
            if isinstance(decision, list):
                simulated.append(decision)
            return decision

    sim.simulate(Told(max_items=8), arrivals, service)
    made = virtual_time.run(real(), start=0.0)
    same = sum(a == b for a, b in zip(made, simulated, strict=False))
    # The last of them closes by a flush; rounding of sums of times may move an item between two others.
    assert same >= 0.97 * len(simulated), (same, len(simulated))


def test_a_seed_is_a_run_and_arrivals_have_the_rate_asked_for() -> None:
    made: list[Callable[[int], sim.Arrivals]] = [
        lambda seed: sim.poisson(50, 20_000, seed=seed),
        lambda seed: sim.gamma(50, 20_000, variation=2, seed=seed),
        lambda seed: sim.bursty(50, 20_000, seed=seed),
    ]
    for make in made:
        assert make(1) == make(1) != make(2)
        assert make(1).rate == pytest.approx(50, rel=0.15)
        assert make(1).at_rate(10).rate == pytest.approx(10)
    first, again = (
        sim.simulate(sim.Ours(max_items=8), sim.poisson(50, 2_000, seed=1), sim.Service(), seed=9) for _ in range(2)
    )
    assert first.latencies.tolist() == again.latencies.tolist()


def test_traces_are_read_in_the_forms_people_have(tmp_path: Path) -> None:
    dated = tmp_path / "dated.csv"
    dated.write_text("TIMESTAMP,ContextTokens\n2023-11-16 18:17:04.0000000,7\n\n2023-11-16 18:17:03.9799600,5\n")
    arrivals = sim.read_trace(dated)
    assert arrivals.tokens == [5, 7]
    assert arrivals.times == pytest.approx([0.0, 0.02004], abs=1e-6)
    packed = tmp_path / "plain.csv.gz"
    packed.write_bytes(gzip.compress(b"time\n1.5\n2.5\n"))
    assert sim.read_trace(packed) == sim.Arrivals([0.0, 1.0], [1, 1])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "names no time"),
        ("when\n1\n2\n", "names no time"),
        ("time\n1\n", "fewer than two"),
        ("time\n1\nsecret\n", "line 3"),
        ("time,tokens\n1\n2\n", "line 2"),
        ("time\n1\nnan\n", "not finite"),
        ("time\n1\n1\n", "all the same"),
    ],
)
def test_other_files_are_refused_without_being_quoted(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(text)
    with pytest.raises(InvalidDocument, match=words) as caught:
        sim.read_trace(path)
    assert "secret" not in str(caught.value)


def test_the_command_replays_and_recommends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace.csv"
    arrivals = sim.poisson(200, 3_000, seed=5)
    path.write_text("time,tokens\n" + "".join(f"{time},3\n" for time in arrivals.times))
    assert main([str(path), "--max-items", "32", "--servers", "2"]) == 0
    printed = capsys.readouterr().out
    for words in ("3000 arrivals", "size or timer", "BentoML", "Batcher(fn, max_items="):
        assert words in printed
    assert main([str(tmp_path / "none.csv")]) == 2
    assert "none.csv" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([str(path), "--max-items", "0"])


def test_no_larger_batches_are_recommended_than_pay() -> None:
    service = sim.Service(fixed=0.0, per_item=0.01, noise=0.0)  # nothing is saved by batches
    found = recommend(sim.poisson(50, 2_000, seed=6), service, servers=1, most=64, max_tokens=None)
    assert found.max_items == 1
    dear = sim.Service(fixed=0.1, per_item=0.001, noise=0.0)
    assert recommend(sim.poisson(50, 2_000, seed=6), dear, servers=1, most=64, max_tokens=None).max_items >= 8
