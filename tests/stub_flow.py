"""Flow's callables of the stub, as in `stub_cases.py`: calls that they take and calls that are type errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparecall import _core
from sparecall.flow import AdaptiveLimit, Breaker, RateLimit

if TYPE_CHECKING:
    from collections.abc import Callable

    Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def gcra() -> _core.Gcra:
    return _core.Gcra(100, per=60, burst=0.5, now=1000)


def place() -> _core.AdaptivePermit:
    return AdaptiveLimit().acquire()


def gate() -> _core.RateGate:
    made = _core.RateGate()
    made._open(gcra(), gcra(), clock=None, learning=False, whole=1.0)
    return made


def window() -> _core.Window:
    return _core.Window(10)


def permit() -> _core.Permit:
    return Breaker().call()


def lease() -> _core.Lease:
    made = RateLimit(requests=100).try_acquire(5)
    assert made is not None
    return made


GOOD: list[tuple[str, Callable[..., object], list[Arguments]]] = [
    ("Done", _core.Done, [((None,), {}), (("value",), {})]),
    ("Gcra", _core.Gcra, [((5,), {"per": 60, "burst": 0.5, "now": 1.5}), ((None,), {"per": 1.0, "burst": 1, "now": 0}), ((1.5,), {"per": None, "burst": 1, "now": 0})]),
    ("Gcra.ready_at", lambda *a: gcra().ready_at(*a), [((1, 1000.5), {})]),
    ("Gcra.take", lambda *a: gcra().take(*a), [((1, 1000.5), {})]),
    ("Gcra.give_back", lambda *a: gcra().give_back(*a), [((1, 2.5, 3.5), {}), ((1, 2, 3), {})]),
    ("Gcra.refused", lambda *a: gcra().refused(*a), [((1000,), {})]),
    ("Gcra.learned", lambda *a, **k: gcra().learned(*a, **k), [((50,), {"per": 60, "used": 1, "now": 1000.5})]),
    ("Gcra.lower", lambda *a: gcra().lower(*a), [((0.5,), {}), ((1,), {})]),
    ("Gcra.hold", lambda *a: gcra().hold(*a), [((1000,), {})]),
    (
        "Gcra.told",
        lambda **k: gcra().told(**k),
        [((), {"limit": 5, "remaining": None, "reset": 1.5, "rounded": 1, "sent": 2.5, "mark": 0, "now": 1000})],
    ),
    ("Gcra.spent", lambda *a: gcra().spent(*a), [((1000,), {})]),
    ("LimitGate", _core.LimitGate, [((), {}), ((1,), {"initial": 5})]),
    (
        "LimitGate.try_acquire",
        lambda *a, **k: AdaptiveLimit().try_acquire(*a, **k),
        [((), {}), (("light",), {}), ((), {"kind": "heavy", "prompt_tokens": 5})],
    ),
    (
        "LimitGate.acquire",
        lambda *a, **k: AdaptiveLimit().acquire(*a, **k),
        [((), {}), (("light",), {}), ((), {"kind": "heavy", "max_wait": 1, "prompt_tokens": 5})],
    ),
    ("AdaptivePermit.release", lambda *a: place().release(*a), [((), {}), ((OSError(),), {}), ((None,), {})]),
    ("AdaptivePermit.answered", lambda *a: place().answered(*a), [((), {})]),
    ("AdaptivePermit.settle", lambda *a, **k: place().settle(*a, **k), [((5,), {}), ((), {"tokens": 0}), ((5,), {"prompt_tokens": 7})]),
    ("AdaptivePermit.report", lambda *a: place().report(*a), [((503,), {}), (("failure",), {})]),
    ("RateGate", _core.RateGate, [((), {}), ((1,), {"tokens": 5})]),
    ("RateGate.try_acquire", lambda *a, **k: gate().try_acquire(*a, **k), [((), {}), ((5,), {}), ((), {"tokens": 5, "background": True})]),
    (
        "RateGate.acquire",
        lambda *a, **k: gate().acquire(*a, **k),
        [((), {}), ((5,), {}), ((), {"tokens": 5, "route": None, "max_tokens": None, "max_wait": 1.5})],
    ),
    ("Lease.settle", lambda *a, **k: lease().settle(*a, **k), [((3,), {}), ((300,), {"final": False})]),
    ("Lease.sync", lambda *a, **k: lease().sync(*a, **k), [(({},), {}), (({"retry-after": "1"},), {"status": 429})]),
    ("Lease.refund", lambda *a: lease().refund(*a), [((), {})]),
    ("Expected", _core.Expected, [((), {})]),
    ("Expected.learn", lambda *a: _core.Expected().learn(*a), [((5, 0, 1.5), {})]),
    ("Expected.seconds", lambda *a: _core.Expected().seconds(*a), [((5, 7.5), {})]),
    ("Window", _core.Window, [((10,), {}), ((1.5,), {})]),
    ("Window.clear", lambda *a: window().clear(*a), [((), {})]),
    ("Window.pass_to", lambda *a: window().pass_to(*a), [((1000,), {})]),
    ("Window.add", lambda *a, **k: window().add(*a, **k), [((1000.5,), {"calls": 1, "failed": True, "slow": False})]),
    ("BreakerGate", _core.BreakerGate, [((), {}), ((1,), {"window": 5})]),
    ("BreakerGate.call", lambda *a: Breaker().call(*a), [((), {})]),
    ("Permit.report", lambda *a: permit().report(*a), [((503,), {}), (("failure",), {})]),
    ("Permit.answered", lambda *a: permit().answered(*a), [((), {})]),
]  # fmt: skip

BAD: dict[str, list[Arguments]] = {
    "Done": [((), {}), ((1, 2), {})],
    "Gcra": [((5,), {}), (("5",), {"per": 60, "burst": 0.5, "now": 1}), ((5, 60, 0.5, 1), {})],
    "Gcra.ready_at": [((1,), {}), (("1", 1), {})],
    "Gcra.take": [((1,), {}), ((1, None), {})],
    "Gcra.give_back": [((1,), {}), ((None, 1), {})],
    "Gcra.refused": [((), {}), (("1000",), {})],
    "Gcra.learned": [((50, 60), {}), ((50,), {"per": "60", "used": 1, "now": 1000})],
    "Gcra.lower": [((), {}), (("0.5",), {})],
    "Gcra.hold": [((), {}), (("1",), {})],
    "Gcra.told": [
        ((), {}),
        ((), {"limit": "5", "remaining": None, "reset": None, "rounded": 1, "sent": 2.5, "mark": 0, "now": 0}),
    ],
    "Gcra.spent": [((), {}), (("1",), {})],
    "LimitGate": [],  # as its
    "LimitGate.try_acquire": [(("light", 5), {}), ((), {"prompt_tokens": 1.5}), ((), {"max_wait": 1})],
    "LimitGate.acquire": [(("light", 1), {}), ((), {"prompt_tokens": True}), ((), {"max_wait": "1"})],
    "AdaptivePermit.release": [((None, None), {})],
    "AdaptivePermit.answered": [((1,), {})],
    "AdaptivePermit.settle": [((), {}), ((1.5,), {}), ((True,), {}), ((1, 2), {})],
    "AdaptivePermit.report": [((), {})],
    "RateGate": [],  # its arguments are its Python part's
    "RateGate.try_acquire": [
        ((1.5,), {}),
        ((True,), {}),
        (("5",), {}),
        ((5, 6), {}),
        ((5,), {"route": b"x"}),
        ((5,), {"background": 1}),
    ],
    "RateGate.acquire": [((1.5,), {}), ((None, 1), {}), (("5",), {}), ((5,), {"max_wait": "1"})],
    "Lease.settle": [((), {}), ((1.5,), {}), (("5",), {}), ((5,), {"final": 1})],
    "Lease.sync": [((), {}), (({},), {"status": "429"})],
    "Lease.refund": [((1,), {})],
    "Expected": [((1,), {})],
    "Expected.learn": [((), {}), ((1, 2), {}), (("1", 2, 3), {})],
    "Expected.seconds": [((), {}), ((1,), {}), ((1, "2"), {})],
    "Window": [((), {}), (("10",), {})],
    "Window.clear": [((1,), {})],
    "Window.pass_to": [((), {}), (("1",), {})],
    "Window.add": [
        ((1,), {}),
        ((1,), {"calls": 1.5, "failed": True, "slow": False}),
        ((1,), {"calls": 1, "failed": 1, "slow": 0}),
    ],
    "BreakerGate": [],
    "BreakerGate.call": [((1,), {})],
    "Permit.report": [((), {})],
    "Permit.answered": [((1,), {})],
}
