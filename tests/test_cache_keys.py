"""`Cache`: keys of every kind, those too whose comparisons raise, lie or change the cache."""

from __future__ import annotations

import decimal
import enum
import fractions
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from caches import BIG, POLICIES, balance
from sparecall.cache import Cache

if TYPE_CHECKING:
    from collections.abc import Callable

NAN = float("nan")


@dataclass(frozen=True)
class Point:
    x: float
    name: str


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Mood(enum.StrEnum):
    CALM = "calm"


class Text(str):
    __slots__ = ()


@dataclass
class Colliding:
    """Every one has the same hash; `log` counts comparisons."""

    name: object
    log: list[object] = field(default_factory=list, compare=False)

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        self.log.append(other)
        return isinstance(other, Colliding) and self.name == other.name


KEYS: list[tuple[object, object]] = [
    ("text", "".join(["te", "xt"])),
    (b"any length", bytes(bytearray(b"any length"))),
    (0, 0),
    (-1, -1),
    (2**62, int(str(2**62))),
    (2**64 + 1, int(str(2**64 + 1))),
    (-(2**64) - 1, int(str(-(2**64) - 1))),
    (10**400, int(str(10**400))),
    (1, 1.0),
    (1, True),
    (0.0, -0.0),
    (2**53, float(2**53)),
    (2.5, fractions.Fraction(5, 2)),
    (1, decimal.Decimal(1)),
    (1, 1 + 0j),
    (None, None),
    ((), tuple(iter([]))),
    ((1, "a", None, b"x"), (1.0, "".join(["a"]), None, bytes(bytearray(b"x")))),
    ((1, (2, (3, (4, (5, (6, (7, 8))))))), (True, (2, (3, (4.0, (5, (6, (7, 8)))))))),
    (Point(1.0, "p"), Point(1, "".join(["p"]))),
    (("tuple", Point(1.0, "p")), ("tuple", Point(1, "p"))),
    (Color.RED, Color(1)),
    (Mood.CALM, "calm"),
    ("calm", Mood.CALM),
    (Text("a"), "a"),
    ("a", Text("a")),
    (frozenset([1, 2]), frozenset([2, 1])),
    (range(3), range(3)),
    (int, int),
    ("\ud800", "\ud800x"[:1]),
    ("é" * 50, "é" * 50 + ""),
    ("😀", "😀!"[:1]),
]


@pytest.mark.parametrize(("key", "equal"), KEYS)
def test_an_equal_key_finds_replaces_and_deletes(key: object, equal: object) -> None:
    cache: Cache[object, object] = Cache(BIG)
    cache[key] = 1
    assert (cache[equal], equal in cache, cache.get_many([equal])) == (1, True, [1])
    cache[equal] = 2
    assert (len(cache), cache[key]) == (1, 2)
    assert cache.delete(equal)
    assert len(cache) == 0


def test_different_keys_are_kept_apart_as_in_a_dict() -> None:
    wanted: dict[object, object] = {}
    cache: Cache[object, object] = Cache(BIG)
    others: list[object] = [
        b"text", -2, 2**64 + 2, -(2**64), 2**61 - 1, 2**61, 10**400 + 1, NAN, 1.5, "1", "b", (1,), (1, 2), ((1,), 2),
        ("1",), (NAN,), Color.BLUE, Point(2.0, "p"), "\ud801", float("inf"), -1 << 61, hash(NAN), hash("text"), (None,),
        float(2**64), 2**64, "cal", b"",
    ]  # fmt: skip
    for number, key in enumerate([key for pair in KEYS for key in pair] + others):
        wanted[key] = number
        cache[key] = number
    assert len(cache) == len(wanted)
    assert cache.get_many(wanted) == list(wanted.values())


def test_a_nan_is_found_by_itself_alone_as_in_a_dict() -> None:
    cache: Cache[object, str] = Cache(BIG)
    one, other = NAN, float("nan")
    cache[one] = "one"
    cache[other] = "other"
    cache[(one,)] = "in a tuple"
    assert (cache[one], cache[other], cache[(one,)]) == ("one", "other", "in a tuple")
    assert float("nan") not in cache
    assert (other,) not in cache


@pytest.mark.filterwarnings("error::BytesWarning")
@pytest.mark.parametrize("key", [[], {}, set(), bytearray(), ([],), (1, {})])
def test_a_key_that_is_not_hashable_is_refused_by_every_method(key: Any) -> None:
    cache: Cache[Any, int] = Cache(BIG)
    calls: list[Callable[[], object]] = [
        lambda: cache.get(key),
        lambda: cache[key],
        lambda: key in cache,
        lambda: cache.set(key, 1),
        lambda: cache.__setitem__(key, 1),
        lambda: cache.delete(key),
        lambda: cache.__delitem__(key),
        lambda: cache.get_many([key]),
        lambda: cache.set_many([(key, 1)]),
        lambda: cache.delete_many([key]),
    ]
    for call in calls:
        with pytest.raises(TypeError, match="unhashable type"):
            call()
    assert len(cache) == 0


@pytest.mark.parametrize("key", [("a", 1), None, (), KeyError("other"), ((),)])
def test_a_missing_key_of_any_class_is_in_its_error_whole(key: object) -> None:
    cache: Cache[object, int] = Cache(BIG)
    with pytest.raises(KeyError) as caught:
        cache[key]
    assert caught.value.args == (key,)
    with pytest.raises(KeyError) as caught:
        del cache[key]
    assert caught.value.args == (key,)


@pytest.mark.parametrize("policy", POLICIES)
def test_thousands_of_colliding_keys_are_kept_apart(policy: str) -> None:
    cache: Cache[object, int] = Cache(BIG, policy=policy)
    log: list[object] = []
    for number in range(1500):
        cache[Colliding(number, log)] = number
    assert len(cache) == 1500
    assert len(log) <= 1500 * 1500, "each was asked about every other once at most"
    assert cache[Colliding(700)] == 700
    assert cache.get(Colliding(-1)) is None
    assert cache.get(1) is None, "the same hash, another class"


def test_the_held_key_stays_when_an_equal_one_comes() -> None:
    cache: Cache[object, int] = Cache(BIG)
    first, second = Colliding("a"), Colliding("a")
    cache[first] = 1
    cache[second] = 2
    second.log.clear()
    assert cache[first] == 2
    assert second.log == [], "the very object needs no question"


class Raising:
    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError


class Hashless:
    def __hash__(self) -> int:
        raise ZeroDivisionError


def test_what_a_key_raises_comes_out_and_changes_nothing() -> None:
    cache: Cache[object, int] = Cache(BIG)
    held = Raising()
    cache[held] = 1
    before = repr(cache.stats())
    other = Raising()
    calls: list[Callable[[], object]] = [
        lambda: cache.get(other),
        lambda: cache[other],
        lambda: other in cache,
        lambda: cache.set(other, 1),
        lambda: cache.delete(other),
        lambda: cache.get(Hashless()),
        lambda: cache.set(Hashless(), 1),
        lambda: cache.delete_many([Hashless()]),
    ]
    for call in calls:
        with pytest.raises(ZeroDivisionError):
            call()
    assert repr(cache.stats()) == before
    assert cache[held] == 1


def test_an_answer_of_another_class_counts_by_its_truth() -> None:
    class Odd(Raising):
        answer: object = []

        def __eq__(self, other: object) -> Any:
            return self.answer

        __hash__ = Raising.__hash__

    cache: Cache[object, int] = Cache(BIG)
    cache[Odd()] = 1
    assert Odd() not in cache
    Odd.answer = "yes"
    assert cache[Odd()] == 1


class Mutating:
    """Does something to the cache whenever it is compared, then answers."""

    def __init__(self, name: str, act: Callable[[Mutating], object]) -> None:
        self.name = name
        self.act = act

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        act, self.act = self.act, lambda _: None
        act(self)
        self.act = act
        return isinstance(other, Mutating) and self.name == other.name


def nothing(_: Mutating) -> None:
    pass


@pytest.mark.parametrize("policy", POLICIES)
def test_a_comparison_that_changes_the_cache_gets_an_answer_for_what_is_there_then(policy: str) -> None:
    cache: Cache[object, object] = Cache(3, policy=policy)
    acts: list[Callable[[Mutating], object]] = [
        lambda held: cache.delete(held),
        lambda _: cache.clear(),
        lambda held: cache.set(held, "again"),
        lambda held: cache.get(held),
        lambda held: (cache.delete(held), cache.set(held, "anew")),
        lambda _: cache.set_many((number, number) for number in range(10)),
        lambda held: (cache.delete(held), cache.set(Mutating("a", nothing), "twin")),
        lambda _: cache.stats(),
    ]
    for act in acts:
        for use in (cache.get, cache.delete, cache.__contains__, lambda key: cache.set(key, "new")):
            cache.clear()
            held = [Mutating(name, act) for name in "ba"]
            cache.set_many((key, key.name) for key in held)
            use(Mutating("a", nothing))
            for key in held:
                key.act = nothing
            balance(cache.stats())
            assert len(cache) <= 3
            if use not in (cache.get, cache.delete, cache.__contains__):
                assert cache[Mutating("a", nothing)] == "new"
    cache.clear()
    cache[1] = 1
    assert cache[1] == 1


class Breeding:
    """Adds a new one whenever it is compared."""

    def __init__(self, cache: Cache[object, int]) -> None:
        self.cache = cache

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        cache, self.cache = self.cache, Cache(0)
        cache.clear()
        cache[Breeding(cache)] = 1
        return False


def test_keys_that_come_as_fast_as_they_are_asked_end_in_an_error() -> None:
    cache: Cache[object, int] = Cache(BIG)
    cache[Breeding(cache)] = 1
    with pytest.raises(RuntimeError, match="never ended: its __eq__ changes the cache"):
        cache.get(1 - 0j)
    cache["other"] = 1
    assert cache["other"] == 1
