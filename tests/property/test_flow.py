"""Any schedule of calls that end, fail, hang, leave or are lost agrees with a small model of the breaker, and it always comes back."""

from __future__ import annotations

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from flow_calls import Clock, enter, leave
from sparecall.errors import BreakerOpen
from sparecall.flow import Breaker, Permit

WINDOW, MINIMUM, RATE, OPEN_FOR, PROBES, LEASE = 10.0, 4, 0.5, 5.0, 2, 8.0


class BreakerMachine(RuleBasedStateMachine):
    """The model keeps every outcome in a list and counts it again each time; a pause is exact, as the dice are fixed."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock(100.0)
        self.held: list[tuple[Permit, int]] = []  # with the era in which it was let through
        self.era = 0
        self.outcomes: deque[tuple[int, bool]] = deque()
        self.state = "closed"
        self.pause = OPEN_FOR
        self.until = 0.0
        self.probes: list[bool] = []
        self.ramped = 0.0
        self.leases: dict[Permit, float] = {}

    @initialize()
    def make(self) -> None:
        self.breaker = Breaker(
            failure_rate=RATE,
            window=WINDOW,
            minimum_calls=MINIMUM,
            open_for=OPEN_FOR,
            probes=PROBES,
            ramp=(0.5,),
            ramp_for=4.0,
            lease_for=LEASE,
            clock=self.clock,
            random=lambda: 0.5,
        )

    def become(self, state: str) -> None:
        self.state = state
        self.era += 1
        self.leases.clear()

    def open(self) -> None:
        self.pause = OPEN_FOR if self.state == "closed" else min(2 * self.pause, 10 * OPEN_FOR)
        self.until = self.clock.now + self.pause
        self.become("open")

    def count(self, *, failed: bool) -> None:
        if self.state == "half_open":
            self.probes.append(failed)
            if sum(self.probes) >= RATE * PROBES:
                self.open()
            elif len(self.probes) >= PROBES:
                self.ramped = self.clock.now
                self.outcomes.clear()
                self.become("ramping")
            return
        self.outcomes.append((int(self.clock.now), failed))
        recent = [bad for second, bad in self.outcomes if second > int(self.clock.now) - WINDOW]
        least = MINIMUM if self.state == "closed" else min(MINIMUM, PROBES)
        if len(recent) >= least and sum(recent) >= RATE * len(recent):
            self.open()
            self.outcomes.clear()

    def advance(self) -> None:
        for permit, started in list(self.leases.items()):
            if permit in self.leases and self.clock.now - started > LEASE:
                del self.leases[permit]
                self.held = [(other, -1 if other is permit else era) for other, era in self.held]
                self.count(failed=True)
        if self.state == "open" and self.clock.now >= self.until:
            self.probes = []
            self.become("half_open")
        elif self.state == "ramping" and self.clock.now >= self.ramped + 4.0:
            self.state = "closed"
            self.leases.clear()

    @rule()
    def call(self) -> None:
        self.advance()
        permit = self.breaker.call()
        try:
            enter(permit)
        except BreakerOpen:
            assert self.state != "closed"
            if self.state == "half_open":
                assert len(self.leases) + len(self.probes) >= PROBES
            elif self.state == "ramping":
                assert len(self.leases) >= PROBES
            return
        assert self.state != "open"
        if self.state == "half_open":
            assert len(self.leases) + len(self.probes) < PROBES
        if self.state != "closed":
            self.leases[permit] = self.clock.now
        self.held.append((permit, self.era))

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 50), how=st.sampled_from(["well", "badly", "cancelled", "limited"]))
    def end(self, which: int, how: str) -> None:
        permit, era = self.held.pop(which % len(self.held))
        self.advance()
        if how == "limited":
            permit.report("limited")
        leave(permit, {"badly": TimeoutError(), "cancelled": GeneratorExit()}.get(how))
        if era == self.era and not (self.state != "closed" and permit not in self.leases):
            self.leases.pop(permit, None)
            if how in ("well", "badly"):
                self.count(failed=how == "badly")

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 50))
    def lose(self, which: int) -> None:
        self.held.pop(which % len(self.held))

    @rule(seconds=st.sampled_from([0.25, 1.0, 4.5, 11.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds
        self.advance()

    @invariant()
    def agrees(self) -> None:
        if hasattr(self, "breaker"):
            self.advance()
            assert (self.breaker.state, self.breaker.leases) == (self.state, len(self.leases))

    def teardown(self) -> None:
        if not hasattr(self, "breaker"):
            return
        for _ in range(60):  # a healthy endpoint is always found again, whatever was lost before
            self.clock.now += 5
            try:
                leave(enter(self.breaker.call()))
            except BreakerOpen:
                continue
        assert self.breaker.state == "closed"


TestBreaker = BreakerMachine.TestCase
TestBreaker.settings = settings(max_examples=100, stateful_step_count=60)
