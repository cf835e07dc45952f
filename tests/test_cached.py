"""@cached: keys, options, refusals and attributes, the same for functions and coroutine functions."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import sys
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from dict_cache import DictCache
from sparecall import errors
from sparecall.cache import BytesCache
from sparecall.cached import cached

if TYPE_CHECKING:
    from collections.abc import Callable


def called(function: Any, *args: Any, **kwargs: Any) -> Any:
    """The result of a function, or of a coroutine function on a loop of its own."""
    result = function(*args, **kwargs)
    return asyncio.run(result) if inspect.iscoroutine(result) else result


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Leaves a function as it is, or makes a coroutine function with the same signature of it."""

    def coroutine_function(function: Callable[..., Any]) -> Callable[..., Any]:
        async def run(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        run.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
        return functools.update_wrapper(run, function)

    return coroutine_function if request.param == "async" else lambda function: function


class Calls:
    """A function of anything that counts its calls."""

    def __init__(self, result: Any = "result") -> None:
        self.result, self.count = result, 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.count += 1
        return self.result


def test_a_result_is_computed_once_and_comes_from_the_cache_afterwards(kind: Any) -> None:
    calls = Calls(object())
    function = cached(DictCache())(kind(lambda x: calls(x)))
    assert [called(function, 1) for _ in range(3)] == [calls.result] * 3
    assert calls.count == 1
    called(function, 2)
    assert calls.count == 2


def test_none_is_a_result_like_any_other(kind: Any) -> None:
    calls = Calls(None)
    function = cached(DictCache())(kind(lambda: calls()))
    assert [called(function), called(function), calls.count] == [None, None, 1]


def test_an_exception_is_raised_and_not_kept(kind: Any) -> None:
    raised = 0

    def fails() -> None:
        nonlocal raised
        raised += 1
        raise LookupError

    cache = DictCache()
    function = cached(cache)(kind(fails))
    for _ in range(2):
        with pytest.raises(LookupError):
            called(function)
    assert (raised, cache.entries) == (2, {})


def test_a_bytes_cache_is_used_by_a_key_of_its_kind(kind: Any) -> None:
    calls = Calls(b"value")
    cache = BytesCache(10_000)
    function = cached(cache, key=lambda name, size: f"{name}/{size}")(kind(lambda name, size=1: calls()))
    assert [called(function, "a"), called(function, "a", 1), called(function, name="a", size=1)] == [b"value"] * 3
    assert (calls.count, cache.get("a/1")) == (1, b"value")
    assert cache.stats().misses == 1, "a miss is one look"


def test_the_ways_to_write_one_call_have_one_key() -> None:
    @cached(DictCache())
    def function(a: Any, /, b: Any = 2, *args: Any, c: Any = 3, **kwargs: Any) -> Any: ...

    key = function.cache_key
    assert key(1) == key(1, 2) == key(1, b=2) == key(1, c=3, b=2) == key(1, 2, c=3)
    assert key(1, x=1, y=2) == key(1, y=2, x=1)
    different = [key(1), key(2), key(1, 3), key(1, 2, 3), key(1, 2, 3, 3), key(1, c=4), key(1, x=3), key(1, y=3)]
    different += [key(1, a=2), key(1, x=3, y=4), key(1, x=(3, "y", 4)), key((1, 2)), key(1, 2, (3, 3)), key("1")]
    assert len(set(different)) == len(different)


def test_equal_arguments_of_different_types_are_different_calls_unless_told_otherwise() -> None:
    def function(x: Any, *args: Any, **kwargs: Any) -> Any: ...

    typed, untyped = cached(DictCache())(function).cache_key, cached(DictCache(), typed=False)(function).cache_key
    for one, other in [((1,), (1.0,)), ((1,), (True,)), ((0, 1), (0, True)), (("a", 0), ("a", False))]:
        assert typed(*one) != typed(*other)
        assert untyped(*one) == untyped(*other)
    assert typed(0, x1=1) != typed(0, x1=1.0)
    assert untyped(0, x1=1) == untyped(0, x1=1.0)


def test_two_functions_never_share_a_key_even_if_they_share_a_name() -> None:
    def adder(summand: int) -> Callable[[int], int]:
        @cached(cache)
        def add(x: int) -> int:
            return x + summand

        return add

    cache = DictCache()
    assert [adder(1)(1), adder(2)(1)] == [2, 3]


def test_a_decorated_function_is_freed_when_it_is_let_go_whatever_the_cache_holds() -> None:
    cache = DictCache()

    def function() -> int:
        return 1

    one = cached(cache)(function)
    one()
    gone = [weakref.ref(function), weakref.ref(one)]
    gc.disable()
    try:
        del one, function
        assert [reference() for reference in gone] == [None, None], "without the garbage collector"
    finally:
        gc.enable()
    assert "function" in repr(list(cache.entries))


@pytest.mark.parametrize(
    ("args", "kwargs", "name"),
    [
        (([],), {}, "'a'"),
        ((1, {}), {}, "'b'"),
        ((1, 2, []), {}, r"'\*args'"),
        ((1,), {"c": []}, "'c'"),
        ((1,), {"d": []}, "'d'"),
    ],
)
def test_an_unhashable_argument_is_named_and_never_shown(kind: Any, args: Any, kwargs: Any, name: str) -> None:
    def function(a: Any, b: Any = 1, *args: Any, c: Any = 1, **kwargs: Any) -> None: ...

    with pytest.raises(TypeError, match=f"argument {name} of .*function is an unhashable .*key=") as caught:
        called(cached(DictCache())(kind(function)), *args, **kwargs)
    assert "[]" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_an_unhashable_key_is_laid_to_the_key_function(kind: Any) -> None:
    function = cached(DictCache(), key=lambda x: [x])(kind(lambda x: x))
    with pytest.raises(TypeError, match=r"key= of .* returned an unhashable list"):
        called(function, 1)


def test_another_type_error_of_the_cache_is_its_own(kind: Any) -> None:
    with pytest.raises(TypeError, match="str"):
        called(cached(BytesCache(1000), key=lambda x: x)(kind(lambda x: x)), 1)

    class Odd:
        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            raise TypeError("cannot be compared")

    function = cached(DictCache())(kind(lambda x: x))
    called(function, Odd())
    with pytest.raises(TypeError, match="cannot be compared"):
        called(function, Odd())


def test_a_call_that_does_not_fit_the_signature_raises_as_the_function_would(kind: Any) -> None:
    function = cached(DictCache())(kind(lambda x, *, y=1: x))
    for args, kwargs in [((), {}), ((1, 2), {}), ((1,), {"z": 1})]:
        with pytest.raises(TypeError, match="<lambda>"):
            called(function, *args, **kwargs)


def test_options_are_passed_on_only_when_given(kind: Any) -> None:
    cache = DictCache()
    called(cached(cache)(kind(lambda: "ab")))
    called(cached(cache, ttl=5, tags=iter(["t"]), cost=0.5)(kind(lambda: "ab")))
    called(
        cached(cache, ttl=len, tags=lambda value: list(value), cost=lambda value: len(value) / 2)(kind(lambda: "ab"))
    )
    called(cached(cache, ttl=lambda value: None)(kind(lambda: "ab")))
    assert cache.options == [
        {},
        {"ttl": 5, "tags": ("t",), "cost": 0.5},
        {"ttl": 2, "tags": ["a", "b"], "cost": 1.0},
        {"ttl": None},
    ]


def test_a_result_is_kept_only_when_wanted(kind: Any) -> None:
    cache = DictCache()
    function = cached(cache, when=lambda value: value > 1)(kind(lambda x: x))
    assert [called(function, x) for x in (1, 2)] == [1, 2]
    assert list(cache.entries.values()) == [2]


def test_time_to_live_is_that_of_the_cache(kind: Any) -> None:
    now, calls = 0.0, Calls(b"")
    cache = BytesCache(1000, clock=lambda: now)
    function = cached(cache, key=lambda: "key", ttl=10)(kind(lambda: calls()))
    for now, count in [(0.0, 1), (9.0, 1), (11.0, 2)]:  # noqa: B007  # the cache's clock reads it
        called(function)
        assert calls.count == count


def test_an_option_that_raises_is_the_caller_s_error(kind: Any) -> None:
    function = cached(DictCache(), ttl=lambda value: 1 / value)(kind(lambda x: x))
    with pytest.raises(ZeroDivisionError):
        called(function, 0)
    with pytest.raises(TypeError, match="bytes"):
        called(cached(BytesCache(1000), key=str)(kind(lambda x: x)), 1)


def test_self_is_part_of_a_method_s_key_unless_the_key_leaves_it_out() -> None:
    class Client:
        def __init__(self) -> None:
            self.runs = 0

        @cached(DictCache())
        def own(self, x: int) -> int:
            self.runs += 1
            return x

        @cached(DictCache(), key=lambda self, x: x)
        def common(self, x: int) -> int:
            self.runs += 1
            return x

        @classmethod
        @cached(DictCache())
        def of_class(cls, x: int) -> int:
            return x

        @staticmethod
        @cached(DictCache())
        def of_nobody(x: int) -> int:
            return x

    one, other = Client(), Client()
    for client in (one, other, one):
        assert [client.own(1), client.common(1), client.of_class(1), client.of_nobody(1)] == [1] * 4
    assert (one.runs, other.runs) == (2, 1)


def test_the_wrapper_says_what_it_wraps_and_shows_its_cache_and_its_keys(kind: Any) -> None:
    def function(x: int, y: int = 2) -> int:
        """Adds."""
        return x + y

    cache = DictCache()
    plain = kind(function)
    wrapper: Any = cached(cache)(plain)
    assert wrapper.__wrapped__ is plain
    assert (wrapper.__name__, wrapper.__doc__, wrapper.__module__) == ("function", "Adds.", __name__)
    assert inspect.signature(wrapper) == inspect.signature(function)
    assert inspect.iscoroutinefunction(wrapper) == inspect.iscoroutinefunction(plain)
    assert wrapper.cache is cache
    assert (called(wrapper, 1), list(cache.entries)) == (3, [wrapper.cache_key(1, y=2)])


def test_one_call_s_entry_can_be_deleted(kind: Any) -> None:
    calls = Calls()
    function: Any = cached(DictCache())(kind(lambda x: calls()))
    called(function, 1)
    called(function, 2)
    assert [function.cache_delete(x=1), function.cache_delete(1)] == [True, False]
    called(function, 1)
    called(function, 2)
    assert calls.count == 3


def test_a_delete_that_comes_while_the_result_is_being_stored_wins(kind: Any) -> None:
    class Slow(DictCache):
        def set(self, key: Any, value: Any, **options: Any) -> bool:
            function.cache_delete()
            return super().set(key, value, **options)

    function: Any = cached(Slow())(kind(lambda: "old"))
    assert called(function) == "old"
    assert function.cache.entries == {}


def test_parameters_may_have_any_name() -> None:
    names = [
        "value",
        "get",
        "key",
        "type",
        "missing",
        "_",
        "__",
        "wrapper",
        "cache_key",
        "___missed",
        "tuple",
        "default0",
    ]
    scope: dict[str, Any] = {}
    exec(f"def function({', '.join(names)}, *, ended=5, **kwargs): return value, ended, kwargs", scope)  # noqa: S102
    function: Any = cached(DictCache())(scope["function"])
    for _ in range(2):
        assert function(*range(len(names)), pair=7) == (0, 5, {"pair": 7})


def test_a_default_is_the_very_object_that_the_function_declares() -> None:
    default = object()

    @cached(DictCache())
    def function(x: object = default, *, y: object = default) -> bool:
        return x is default is y

    assert function()


def test_what_is_called_like_a_function_can_be_decorated() -> None:
    assert cached(DictCache())(Calls("object"))(1) == "object"
    assert cached(DictCache())(functools.partial(divmod, 7))(2) == (3, 1)
    maximum: Any = cached(DictCache())(max)  # has no signature
    assert [maximum(1, 2), maximum((1, -3), key=abs)] == [2, -3]
    assert cached(DictCache())("a,b".split)(",") == ["a", "b"]


async def coroutine_function(x: int = 1) -> int:
    return x


class AwaitableObject:
    async def __call__(self, x: int) -> int:
        return x


@pytest.mark.parametrize(
    "function",
    [
        functools.partial(coroutine_function, 1),
        functools.partial(functools.partial(coroutine_function), x=1),
        functools.partial(AwaitableObject(), 1),
        AwaitableObject().__call__,
        cached(DictCache())(coroutine_function),
    ],
)
def test_a_coroutine_function_is_seen_behind_what_hides_it(function: Any) -> None:
    arguments = (1,) if getattr(function, "__name__", "") == "__call__" else ()
    wrapper: Any = cached(DictCache())(function)
    assert inspect.iscoroutinefunction(wrapper)
    assert [called(wrapper, *arguments) for _ in range(2)] == [1, 1]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.12 brought the mark")
def test_a_function_marked_as_a_coroutine_function_is_one() -> None:
    marked = inspect.markcoroutinefunction(lambda: coroutine_function(2))  # type: ignore[attr-defined, unused-ignore]
    wrapper: Any = cached(DictCache())(marked)
    assert [called(wrapper) for _ in range(2)] == [2, 2]


async def generates_async() -> Any:
    yield 1


def generates() -> Any:
    yield 1


class GeneratingObject:
    def __call__(self) -> Any:
        yield 1


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (generates, "generator function generates"),
        (generates_async, "generator function generates_async"),
        (functools.partial(generates), "generator function generates"),
        (GeneratingObject(), "generator function GeneratingObject"),
        (DictCache, "class DictCache"),
        (functools.partial(DictCache), "class DictCache"),
        (classmethod(coroutine_function), "classmethod"),
        (property(generates), "property"),
        (None, "NoneType"),
    ],
)
def test_what_cannot_be_cached_is_refused_at_decoration(function: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        cached(DictCache())(function)


@pytest.mark.parametrize("result", [lambda: coroutine_function(), lambda: generates(), lambda: generates_async()])
def test_a_result_that_can_be_used_only_once_is_refused(result: Any) -> None:
    cache = DictCache()
    with pytest.raises(TypeError, match="only once"):
        cached(cache)(result)()
    assert cache.entries == {}


@pytest.mark.parametrize("cache", [{}, None, lambda: 1])
def test_what_is_no_cache_is_refused(cache: Any) -> None:
    with pytest.raises(TypeError, match="needs a cache with get, set and delete"):
        cached(cache)


def test_options_are_looked_at_when_given() -> None:
    for ttl in (-1, float("nan")):
        with pytest.raises(errors.InvalidArgument, match="ttl"):
            cached(DictCache(), ttl=ttl)
    with pytest.raises(TypeError, match="tags"):
        cached(DictCache(), tags="tag")
    with pytest.raises(TypeError, match="key="):
        cached(BytesCache(1000))
