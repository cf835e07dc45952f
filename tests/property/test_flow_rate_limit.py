"""Any schedule of calls, settlements and refunds agrees with two plain buckets that are filled as time goes by."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from flow_calls import Clock
from sparecall.flow import Lease, RateLimit

PER, REQUESTS, TOKENS, BURST = 64.0, 64, 512, 0.25  # binary fractions: the model and the virtual clock round nothing


class Bucket:
    def __init__(self, limit: int) -> None:
        self.size = BURST * limit
        self.rate = limit / PER
        self.level = self.size

    def wait(self, seconds: float) -> None:
        self.level = min(self.size, self.level + seconds * self.rate)

    def has(self, amount: float) -> bool:
        return self.level >= min(amount, self.size)

    def give(self, amount: float) -> None:
        self.level = min(self.size, self.level + amount)


class RateLimitMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock(1024.0)
        self.limit = RateLimit(requests=REQUESTS, tokens=TOKENS, per=PER, burst=BURST, clock=self.clock)
        self.requests, self.tokens = Bucket(REQUESTS), Bucket(TOKENS)
        self.leases: list[tuple[Lease, int]] = []

    @rule(tokens=st.integers(0, TOKENS))
    def call(self, tokens: int) -> None:
        lease = self.limit.try_acquire(tokens)
        assert (lease is not None) == (self.requests.has(1) and self.tokens.has(tokens))
        if lease is not None:
            self.requests.level -= 1
            self.tokens.level -= tokens
            self.leases.append((lease, tokens))

    @precondition(lambda self: self.leases)
    @rule(which=st.integers(0, 50), used=st.integers(0, TOKENS))
    def settle(self, which: int, used: int) -> None:
        at = which % len(self.leases)
        lease, reserved = self.leases[at]
        lease.settle(used)
        self.tokens.give(reserved - used)
        self.leases[at] = (lease, used)

    @precondition(lambda self: self.leases)
    @rule(which=st.integers(0, 50))
    def refund(self, which: int) -> None:
        lease, reserved = self.leases.pop(which % len(self.leases))
        lease.refund()
        self.requests.give(1)
        self.tokens.give(reserved)

    @rule(eighths=st.integers(0, 200))
    def wait(self, eighths: int) -> None:
        self.clock.now += eighths / 8
        for bucket in (self.requests, self.tokens):
            bucket.wait(eighths / 8)

    @invariant()
    def nothing_is_kept_of_who_is_gone(self) -> None:
        assert self.limit.waiting == 0


TestRateLimit = RateLimitMachine.TestCase
TestRateLimit.settings = settings(max_examples=100, stateful_step_count=50)
