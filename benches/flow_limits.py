"""Concurrency limits before a provider whose capacity they do not see, on a virtual clock: the adaptive limit of `sparecall.flow`, AIMD, Vegas, Gradient2, a fixed one.

    python -m benches.flow_limits [--seeds 5]

The rivals are written from their descriptions: AIMD and Vegas as in Netflix' concurrency-limits (its default parameters; Vegas after Brakmo and
Peterson, 1995), Gradient2 as there. Each is told of every call: how long it took, how many were in flight, whether it was dropped.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
import statistics
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from sparecall.flow import AdaptiveLimit, AdaptivePermit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

FIRST, TOKEN = 0.3, 0.02  # seconds until the first token, and each of a call's tokens, of an idle provider
GIVE_UP = 60.0  # seconds after which a caller does
EVERY = 1.0  # seconds between two looks at the limit


class Policy(Protocol):
    """A limit of calls at once, told of every call."""

    limit: float

    def began(self, call: Call, now: float) -> None: ...
    def answered(self, call: Call, now: float) -> None: ...
    def ended(self, call: Call, now: float) -> None: ...
    def dropped(self, call: Call, now: float, error: Exception) -> None: ...


class Ours:
    """`AdaptiveLimit` itself, without its queue."""

    def __init__(self) -> None:
        self.now = 0.0
        self.adaptive = AdaptiveLimit(clock=lambda: self.now)
        self.permits: dict[Call, AdaptivePermit] = {}

    @property
    def limit(self) -> float:
        return self.adaptive.limit

    def began(self, call: Call, now: float) -> None:
        self.now = now
        permit = self.adaptive.try_acquire(prompt_tokens=call.prompt)
        assert permit is not None
        self.permits[call] = permit

    def answered(self, call: Call, now: float) -> None:
        self.now = now
        self.permits[call].answered()

    def ended(self, call: Call, now: float) -> None:
        self.now = now
        permit = self.permits.pop(call)
        permit.settle(call.tokens)
        permit.release()

    def dropped(self, call: Call, now: float, error: Exception) -> None:
        self.now = now
        permit = self.permits.pop(call)
        if isinstance(error, Refused):
            permit.report(429)
        permit.release(error)


class Refused(Exception):
    """The provider has no room."""


class Rival:
    """Told of whole calls only: their mean over at least a second and ten calls, and the most that were in flight."""

    limit = 20.0
    begun, calls, seconds, most, any_dropped = 0.0, 0, 0.0, 0, False

    def began(self, call: Call, now: float) -> None:
        pass

    def answered(self, call: Call, now: float) -> None:
        pass

    def ended(self, call: Call, now: float) -> None:
        self.window(call, now, dropped=False)

    def dropped(self, call: Call, now: float, error: Exception) -> None:
        if not isinstance(error, ConnectionError):
            self.window(call, now, dropped=True)

    def window(self, call: Call, now: float, *, dropped: bool) -> None:
        self.calls += 1
        self.seconds += now - call.began
        self.most = max(self.most, call.in_flight)
        self.any_dropped |= dropped
        if now - self.begun >= 1.0 and self.calls >= 10:
            self.update(self.most, self.seconds / self.calls, dropped=self.any_dropped)
            self.begun, self.calls, self.seconds, self.most, self.any_dropped = now, 0, 0.0, 0, False

    def update(self, in_flight: int, seconds: float, *, dropped: bool) -> None:
        raise NotImplementedError


class Fixed(Rival):
    limit = 50.0

    def update(self, in_flight: int, seconds: float, *, dropped: bool) -> None:
        pass


class Aimd(Rival):
    """One more where the limit is in use, a tenth fewer at a drop; a call longer than 5 s is one."""

    def update(self, in_flight: int, seconds: float, *, dropped: bool) -> None:
        if dropped or seconds > 5.0:
            self.limit = max(1.0, min(self.limit - 1, self.limit * 0.9))
        elif in_flight * 2 >= self.limit:
            self.limit = min(self.limit + 1, 1000.0)


class Vegas(Rival):
    """The queue by the shortest call seen, forgotten after 30 times as many calls as the limit; alpha and beta 3 and 6 times its logarithm."""

    def __init__(self) -> None:
        self.shortest = 0.0
        self.count = 0
        self.dice = random.Random(1)
        self.jitter = self.dice.uniform(0.5, 1)

    def update(self, in_flight: int, seconds: float, *, dropped: bool) -> None:
        self.count += 1
        if self.count >= self.jitter * 30 * self.limit:
            self.count, self.jitter, self.shortest = 0, self.dice.uniform(0.5, 1), seconds
            return
        if not self.shortest or seconds < self.shortest:
            self.shortest = seconds
            return
        queue = math.ceil(self.limit * (1 - self.shortest / seconds))
        log = max(1.0, math.floor(math.log10(self.limit)))
        if dropped:
            self.limit -= log
        elif in_flight * 2 < self.limit:
            return
        elif queue <= log:
            self.limit += 6 * log
        elif queue < 3 * log:
            self.limit += log
        elif queue > 6 * log:
            self.limit -= log
        self.limit = min(max(self.limit, 1.0), 1000.0)


class Gradient2(Rival):
    """The long mean over the last call's time, at least a half, plus 4; smoothed by a fifth; between 20 and 200."""

    def __init__(self) -> None:
        self.long, self.warm = 0.0, 0

    def update(self, in_flight: int, seconds: float, *, dropped: bool) -> None:
        if self.warm < 10:
            self.warm += 1
            self.long += (seconds - self.long) / self.warm
        else:
            self.long += (seconds - self.long) * 2 / 601
        if self.long / seconds > 2:
            self.long *= 0.9
        if in_flight < self.limit / 2:
            return
        gradient = max(0.5, min(1.0, self.long / seconds))
        self.limit = min(max(0.8 * self.limit + 0.2 * (self.limit * gradient + 4), 20.0), 200.0)


class Told(Rival):
    """The optimum: it is told the capacity."""

    def __init__(self, story: Story) -> None:
        self.story, self.now = story, 0.0

    @property
    def limit(self) -> float:  # type: ignore[override]
        return self.story.capacity(self.now)

    def window(self, call: Call, now: float, *, dropped: bool) -> None:
        self.now = now


def nothing(dice: random.Random, now: float) -> int:
    """No prompt worth the name."""
    return 0


def lengths(dice: random.Random, now: float) -> int:
    """Tokens of an answer: 100 in the middle, mostly 50 to 200."""
    return max(1, int(100 * math.exp(dice.gauss(0, 0.5))))


@dataclass
class Story:
    """What a provider does over time."""

    name: str
    seconds: float = 240.0
    capacity: Callable[[float], float] = lambda now: 50
    """Calls it works on at once."""
    slowness: Callable[[float], float] = lambda now: 1.0
    """Times as long as usual for every call, whatever their number."""
    tokens: Callable[[random.Random, float], int] = lengths
    prompt: Callable[[random.Random, float], int] = nothing
    reading: float = 0.0
    """Seconds for a token of a prompt."""
    down: Sequence[tuple[float, float]] = ()
    """From, to: it is being restarted, and drops all it has."""
    wall: bool = False
    """It refuses what is beyond its capacity, instead of letting it wait."""
    demand: Callable[[float], float] = lambda now: math.inf
    """Calls that callers would like to have in flight."""


@dataclass(eq=False)
class Call:
    began: float
    in_flight: int
    tokens: int
    prompt: int
    first: float
    work: float
    alone: float
    answered: float | None = None
    queued: bool = True
    gone: bool = False
    at: float = 0.0


@dataclass
class Record:
    """What came of it."""

    good: list[tuple[float, int]] = field(default_factory=list)
    limits: list[tuple[float, float]] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    made = refused = late = 0

    def goodput(self, begin: float = 0.0, end: float = math.inf) -> float:
        """Tokens of calls that began then and came in time."""
        return sum(tokens for when, tokens in self.good if begin <= when < end)

    def settled(self, begin: float, end: float, least: float, most: float) -> float:
        """Seconds after `begin` from which on the limit stays within these bounds for 10 seconds; inf where it never does."""
        seen = [(when, least <= limit <= most) for when, limit in self.limits if begin <= when < end]
        for at, (when, _) in enumerate(seen[:-10]):
            if all(good for _, good in seen[at : at + 10]):
                return when - begin
        return math.inf

    def limit(self, begin: float, end: float) -> float:
        """Its mean then."""
        return statistics.fmean(limit for when, limit in self.limits if begin <= when < end)


class Provider:
    """Works on `capacity` calls at once; further ones wait in line (`shared`: all share what there is). Runs a policy's calls through it."""

    def __init__(self, story: Story, policy: Policy, *, shared: bool, streamed: bool, seed: int) -> None:
        self.story, self.policy, self.shared, self.streamed = story, policy, shared, streamed
        self.dice = random.Random(seed)
        self.now = 0.0
        self.events: list[tuple[float, int, str, Any]] = []  # by the clock
        self.shares: list[tuple[float, int, str, Call]] = []  # by work done, where it is shared
        self.done = 0.0  # work each has had, where it is shared
        self.number = 0
        self.line: deque[Call] = deque()
        self.working: set[Call] = set()
        self.in_flight = 0
        self.record = Record()
        self.trip = 0.0

    def push(self, when: float, what: str, call: Any = None) -> None:
        self.number += 1
        heapq.heappush(self.events, (when, self.number, what, call))

    def play(self) -> Record:
        story = self.story
        second = 0.0
        while second < story.seconds:
            self.push(second, "look")
            second += EVERY
        for begin, _end in story.down:
            self.push(begin, "restart")
        self.fill()
        while True:
            when = self.events[0][0] if self.events else math.inf
            rate = self.rate()
            shared = self.now + (self.shares[0][0] - self.done) / rate if self.shares and rate else math.inf
            if min(when, shared) >= story.seconds:
                return self.record
            if shared < when:
                self.done = self.shares[0][0]
                self.now = shared
                _, _, what, call = heapq.heappop(self.shares)
            else:
                self.done += (when - self.now) * rate
                self.now, _, what, call = heapq.heappop(self.events)
            getattr(self, what)(call)
            if what != "answer":
                self.fill()

    def rate(self) -> float:
        if not self.shared or not self.working:
            return 0.0
        return min(1.0, self.story.capacity(self.now) / len(self.working)) / self.story.slowness(self.now)

    @property
    def inside(self) -> int:
        return len(self.working) + sum(not call.gone for call in self.line)

    def is_down(self) -> bool:
        return any(begin <= self.now < end for begin, end in self.story.down)

    def fill(self) -> None:
        while self.in_flight < min(int(self.policy.limit), int(min(self.story.demand(self.now), 10_000))):
            tokens = self.story.tokens(self.dice, self.now)
            prompt = self.story.prompt(self.dice, self.now)
            noise = math.exp(self.dice.gauss(0, 0.25) - 0.03)
            first = FIRST + self.story.reading * prompt
            alone = first + TOKEN * tokens
            self.in_flight += 1
            call = Call(self.now, self.in_flight, tokens, prompt, first * noise, alone * noise, alone)
            self.record.made += 1
            self.policy.began(call, self.now)
            refused = self.story.wall and self.inside >= int(self.story.capacity(self.now))
            if refused or self.is_down():
                self.push(self.now + 0.05, "refuse", call)
                continue
            self.push(self.now + GIVE_UP, "give_up", call)
            if self.shared:
                self.working.add(call)
                self.number += 1
                heapq.heappush(self.shares, (self.done + call.first, self.number, "answer", call))
                heapq.heappush(self.shares, (self.done + call.work, -self.number, "end", call))
            else:
                self.line.append(call)
        if not self.shared and not self.is_down():
            while self.line and len(self.working) < int(self.story.capacity(self.now)):
                call = self.line.popleft()
                if call.gone:
                    continue
                self.working.add(call)
                slowness = self.story.slowness(self.now)
                self.push(self.now + call.first * slowness, "answer", call)
                self.push(self.now + call.work * slowness, "end", call)

    def look(self, _: None) -> None:
        self.record.limits.append((self.now, self.policy.limit))

    def restart(self, _: None) -> None:
        for call in list(self.working) + [call for call in self.line if not call.gone]:
            call.gone = True
            self.in_flight -= 1
            self.policy.dropped(call, self.now, ConnectionError())
        self.working.clear()
        self.shares.clear()
        self.line.clear()

    def answer(self, call: Call) -> None:
        if not call.gone:
            call.answered = self.now
            if self.streamed:
                self.policy.answered(call, self.now)

    def end(self, call: Call) -> None:
        if call.gone:
            return
        call.gone = True
        self.in_flight -= 1
        self.working.discard(call)
        took = self.now - call.began
        self.record.waits.append(took - call.work * self.story.slowness(self.now))
        if took - call.work * self.story.slowness(self.now) <= max(2.0, call.alone * self.story.slowness(self.now)):
            self.record.good.append((self.now, call.tokens))
        else:
            self.record.late += 1
        self.policy.ended(call, self.now)

    def give_up(self, call: Call) -> None:
        if call.gone:
            return
        call.gone = True
        self.in_flight -= 1
        self.working.discard(call)
        self.record.late += 1
        self.policy.dropped(call, self.now, TimeoutError())

    def refuse(self, call: Call) -> None:
        self.in_flight -= 1
        self.record.refused += 1
        self.policy.dropped(call, self.now, Refused() if self.story.wall else ConnectionError())


def steps(*values: tuple[float, float]) -> Callable[[float], float]:
    """The value since the last of these times."""
    return lambda now: [value for since, value in values if since <= now][-1]


def bimodal(dice: random.Random, now: float) -> int:
    return lengths(dice, now) // 4 if dice.random() < 0.7 else lengths(dice, now) * 4


def longer(dice: random.Random, now: float) -> int:
    """Five times as many tokens in the middle of the story."""
    return lengths(dice, now) * (5 if 200 <= now < 500 else 1)


def prompts(dice: random.Random, now: float) -> int:
    """1,000 tokens in the middle, mostly 300 to 3,000; five times as many in the middle of the story."""
    return int(1000 * math.exp(dice.gauss(0, 1.0))) * (5 if 200 <= now < 500 else 1)


def exponential(dice: random.Random, now: float) -> int:
    return max(1, int(dice.expovariate(1 / 100)))


STORIES = (
    Story("capacity 50 -> 20 -> 80", 540, capacity=steps((0, 50), (180, 20), (360, 80))),
    Story("the same, answers short or long", 540, capacity=steps((0, 50), (180, 20), (360, 80)), tokens=bimodal),
    Story("capacity drifts between 30 and 70", 600, capacity=lambda now: 50 + 20 * math.sin(now / 60)),
    Story("latency drifts by half", 600, slowness=lambda now: 1.25 - 0.25 * math.cos(now / 60)),
    Story("answers 5 times as long for a while", 800, tokens=longer),
    Story("restarts", 240, down=((60, 65), (120, 130), (180, 182))),
    Story("refuses above its capacity", 240, capacity=steps((0, 50), (80, 20), (160, 80)), wall=True),
    Story("little demand, then all", 240, demand=steps((0, 10), (120, math.inf))),
    Story(
        "capacity 120 -> 30 -> 60, lengths exponential",
        540,
        capacity=steps((0, 120), (180, 30), (360, 60)),
        tokens=exponential,
    ),
    Story("capacity 10 -> 5 -> 16, beginning with 20", 540, capacity=steps((0, 10), (180, 5), (360, 16))),
    Story("prompts 5 times as long for a while, read slowly", 800, prompt=prompts, reading=TOKEN / 20),
    Story("the same, read quickly", 800, prompt=prompts, reading=TOKEN / 400),
)
POLICIES: dict[str, Callable[[], Policy]] = {
    "sparecall": Ours,
    "AIMD": Aimd,
    "Vegas": Vegas,
    "Gradient2": Gradient2,
    "fixed, 50": Fixed,
}


KINDS = ((False, False), (True, False), (False, True), (True, True))  # shared, streamed


def played(story: Story, policy: Policy, *, shared: bool = False, streamed: bool = False, seed: int = 1) -> Record:
    return Provider(story, policy, shared=shared, streamed=streamed, seed=seed).play()


def optimum(story: Story, *, shared: bool = False, seed: int = 1) -> Record:
    return played(story, Told(story), shared=shared, seed=seed)


def rows(seeds: int) -> Iterator[str]:
    yield "| provider | " + " | ".join(POLICIES) + " |"
    yield "|---" * (len(POLICIES) + 1) + "|"
    for story in STORIES:
        for shared, streamed in KINDS:
            if story.wall and shared:
                continue
            best = [optimum(story, shared=shared, seed=seed).goodput(10) for seed in range(seeds)]
            cells = []
            for make in POLICIES.values():
                shares = [
                    played(story, make(), shared=shared, streamed=streamed, seed=seed).goodput(10) / best[seed]
                    for seed in range(seeds)
                ]
                cells.append(f"{statistics.median(shares):.3f}")
            yield f"| {story.name}; {kind_of(shared, streamed)} | " + " | ".join(cells) + " |"


def settling(seeds: int) -> Iterator[str]:
    """Round trips until the limit has found a new capacity, and how much it moves where only the answers' lengths do, and where nothing does."""
    trip = FIRST + TOKEN * 113
    yield "| provider | round trips down, 50 -> 20 | up, 20 -> 80 | limit while answers are 5 times as long | while nothing changes |"
    yield "|---|---|---|---|---|"
    still = Story("nothing changes", 500)
    for shared, streamed in KINDS:
        down, up = [], []
        moved: list[list[float]] = [[], []]
        for seed in range(seeds):
            record = played(STORIES[0], Ours(), shared=shared, streamed=streamed, seed=seed)
            down.append(record.settled(180, 360, 0, 1.4 * 20) / trip)
            up.append(record.settled(360, 540, 0.9 * 80, math.inf) / trip)
            for story, moves in zip((STORIES[4], still), moved, strict=True):
                record = played(story, Ours(), shared=shared, streamed=streamed, seed=seed)
                moves.append(record.limit(250, 500) / record.limit(100, 200) - 1)
        cells = [f"{statistics.median(each):.1f} (at most {max(each):.1f})" for each in (down, up)]
        cells += [f"{statistics.median(each):+.1%}" for each in moved]
        yield f"| {kind_of(shared, streamed)} | {' | '.join(cells)} |"


def kind_of(shared: bool, streamed: bool) -> str:
    return f"{'shared' if shared else 'in line'}, {'streams' if streamed else 'whole'}"


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--seeds", type=int, default=5)
    options = arguments.parse_args()
    for row in (*rows(options.seeds), "", *settling(options.seeds)):
        print(row, flush=True)


if __name__ == "__main__":
    main()
