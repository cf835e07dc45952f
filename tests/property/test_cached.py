"""The default key of any call of any signature: the same if and only if the function sees the same arguments, types included."""

from __future__ import annotations

import inspect
from inspect import Parameter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dict_cache import DictCache
from sparecall.cached import cached

NAMES = ("a", "b", "c", "d", "e")
VALUES = st.one_of(st.integers(0, 2), st.booleans(), st.just(1.0), st.sampled_from(["", "a"]), st.just((1,)), st.none())


@st.composite
def functions(draw: st.DrawFn) -> Any:
    """A function that returns its arguments by name, of any signature of up to five parameters."""
    kinds = sorted(draw(st.lists(st.sampled_from(list(inspect._ParameterKind)), max_size=5)))
    parameters: list[Parameter] = []
    optional = False
    for name, kind in zip(NAMES, kinds, strict=False):
        default: Any = Parameter.empty
        if kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
            if any(parameter.kind is kind for parameter in parameters):
                continue
        elif (optional and kind is not Parameter.KEYWORD_ONLY) or draw(st.booleans()):
            default, optional = draw(VALUES), True
        parameters.append(Parameter(name, kind, default=default))
    signature = inspect.Signature(parameters)
    shown = ", ".join(f"({parameter.name!r}, {parameter.name})" for parameter in parameters)
    scope: dict[str, Any] = {}
    exec(f"def function{signature}: return [{shown}]", scope)  # noqa: S102
    return scope["function"]


CALLS = st.tuples(st.lists(VALUES, max_size=4), st.dictionaries(st.sampled_from([*NAMES, "x"]), VALUES, max_size=3))


def bound(function: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """What the call means, types included, as the function itself sees it; None if it does not fit."""
    try:
        arguments = function(*args, **kwargs)
    except TypeError:
        return None

    def typed(value: Any) -> Any:
        return (type(value), value)

    meaning: dict[str, Any] = {}
    for name, value in arguments:
        match inspect.signature(function).parameters[name].kind:
            case Parameter.VAR_POSITIONAL:
                meaning[name] = [typed(item) for item in value]
            case Parameter.VAR_KEYWORD:
                meaning[name] = {key: typed(item) for key, item in value.items()}
            case _:
                meaning[name] = typed(value)
    return meaning


@given(functions(), st.lists(CALLS, min_size=2, max_size=6))
def test_keys_are_equal_exactly_where_the_bound_arguments_are(function: Any, calls: list[Any]) -> None:
    wrapper: Any = cached(DictCache())(function)
    keys = []
    for args, kwargs in calls:
        meaning = bound(function, args, kwargs)
        try:
            keys.append((meaning, wrapper.cache_key(*args, **kwargs)))
        except TypeError:
            assert meaning is None
        else:
            assert meaning is not None
    for meaning, key in keys:
        for other_meaning, other_key in keys:
            assert (key == other_key) == (meaning == other_meaning)
            assert key != other_key or hash(key) == hash(other_key)


@given(functions(), st.lists(CALLS, min_size=1, max_size=6))
def test_the_function_gets_the_arguments_of_the_call(function: Any, calls: list[Any]) -> None:
    wrapper: Any = cached(DictCache())(function)
    for args, kwargs in calls:
        if bound(function, args, kwargs) is not None:
            for _ in range(2):
                assert repr(wrapper(*args, **kwargs)) == repr(function(*args, **kwargs))
