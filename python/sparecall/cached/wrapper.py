"""Writes a function's wrapper: the same parameters, a key made of them, one look into the cache.

The wrapper is Python source with the function's own parameters, as `dataclasses` and `namedtuple` write theirs: the interpreter
binds a call's arguments to names, defaults included, several times faster than `inspect.Signature.bind` or `*args` would.
"""

from __future__ import annotations

import inspect
from inspect import Parameter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping

_STARS: dict[Any, str] = {Parameter.VAR_POSITIONAL: "*", Parameter.VAR_KEYWORD: "**"}
_ANY = (Parameter("args", Parameter.VAR_POSITIONAL), Parameter("kwargs", Parameter.VAR_KEYWORD))

# `@` stands for a prefix that none of the parameters begins with.
_LOOK = """
    {key}
    try:
        @value = @get(@key, @missing)
    except TypeError:
        @reason = @explain(@key, {arguments})
        if @reason is None:
            raise
        raise @reason from None
    if @value is @missing:"""
SYNC = f"""
def wrapper({{parameters}}):
    @ended = @flight.ended{_LOOK}
        return @missed(@key, @ended, {{call}})
    return @value
"""
ASYNC = f"""
async def wrapper({{parameters}}):{_LOOK}
        return await @missed(@key, {{call}})
    return @value
"""
_KEY = """
def cache_key({parameters}):
    {key}
    return @key
"""


class Identity:
    """Stands for one decorated function in its default keys; keeps nothing of it alive and equals nothing else."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"<{self._name}>"


def parameters_of(function: Callable[..., Any]) -> tuple[Parameter, ...]:
    """The parameters as the function itself declares them; `*args, **kwargs` where they cannot be known."""
    try:
        # Not those of what it wraps: a decorator in between may add arguments or take some away.
        parameters = tuple(inspect.signature(function, follow_wrapped=False).parameters.values())
    except ValueError:
        return _ANY
    return parameters if all(parameter.name.isidentifier() for parameter in parameters) else _ANY


def write(
    template: str,
    function: Callable[..., Any],
    *,
    name: str,
    key: Callable[..., Hashable] | None,
    typed: bool,
    names: Mapping[str, Any],
) -> tuple[Callable[..., Any], Callable[..., Hashable]]:
    """The wrapper by `template`, and the function that returns a call's key. `names`: what the template calls by `@`."""
    parameters = parameters_of(function)
    prefix = "_" * (1 + max((len(parameter.name) for parameter in parameters), default=0))
    scope = {prefix + word: value for word, value in names.items()}
    scope |= {prefix + "type": type, prefix + "sorted": sorted, prefix + "tuple": tuple, prefix + "map": map}
    scope |= {prefix + "identity": Identity(name), prefix + "keyof": key}
    scope[prefix + "explain"] = _explain(name, own_key=key is None)
    scope |= {f"{prefix}default{place}": parameter.default for place, parameter in enumerate(parameters)}
    call = ", ".join(map(_passed, parameters))
    parts = {
        "parameters": _declared(parameters),
        "call": call,
        "arguments": "{" + ", ".join(map(_shown, parameters)) + "}",
        "key": f"@key = {_default_key(parameters, typed=typed) if key is None else f'@keyof({call})'}",
    }
    source = (template + _KEY).format_map(parts)
    code = compile(source.replace("@", prefix), f"<cached {name}>", "exec")
    exec(code, scope)  # noqa: S102  # made of nothing but the templates and the parameters' names
    # Taken out, or they would keep themselves alive through the scope, which is their module of globals.
    return scope.pop("wrapper"), scope.pop("cache_key")


def _declared(parameters: Iterable[Parameter]) -> str:
    """`a, /, b=@default1, *, c`: the parameters as a `def` has them."""
    words: list[str] = []
    kind = None
    starred = False
    for place, parameter in enumerate(parameters):
        if kind is Parameter.POSITIONAL_ONLY and parameter.kind is not kind:
            words.append("/")
        kind = parameter.kind
        if kind is Parameter.KEYWORD_ONLY and not starred:
            words.append("*")
        starred = starred or kind in (Parameter.KEYWORD_ONLY, Parameter.VAR_POSITIONAL)
        default = "" if parameter.default is Parameter.empty else f"=@default{place}"
        words.append(f"{_STARS.get(parameter.kind, '')}{parameter.name}{default}")
    if kind is Parameter.POSITIONAL_ONLY:
        words.append("/")
    return ", ".join(words)


def _passed(parameter: Parameter) -> str:
    """The parameter as an argument of a call to the function."""
    if parameter.kind is Parameter.KEYWORD_ONLY:
        return f"{parameter.name}={parameter.name}"
    return _STARS.get(parameter.kind, "") + parameter.name


def _shown(parameter: Parameter) -> str:
    """The parameter as an entry of a dict of arguments by name."""
    name = _STARS.get(parameter.kind, "") + parameter.name
    return name if parameter.kind is Parameter.VAR_KEYWORD else f"{name!r}: {parameter.name}"


def _default_key(parameters: Iterable[Parameter], *, typed: bool) -> str:
    """A tuple of the function's identity and every argument in its declared place, each followed by its type if `typed`."""
    words = ["@identity"]
    for parameter in parameters:
        name = parameter.name
        match parameter.kind:
            case Parameter.VAR_POSITIONAL:
                words += [name, f"@tuple(@map(@type, {name}))"] if typed else [name]
            case Parameter.VAR_KEYWORD:
                # Sorted by name, and names are never equal: no value is compared.
                words.append(f"@tuple(@sorted({name}.items()))")
                if typed:
                    words.append(f"@tuple([@type(@pair[1]) for @pair in @sorted({name}.items())])")
            case _:
                words += [name, f"@type({name})"] if typed else [name]
    return f"({', '.join(words)},)"


def _explain(name: str, *, own_key: bool) -> Callable[[Hashable, dict[str, Any]], TypeError | None]:
    """What a wrapper asks when its cache raised TypeError: the error that names what cannot be hashed, None if all can."""

    def explain(key: Hashable, arguments: dict[str, Any]) -> TypeError | None:
        if not own_key:
            if _hashable(key):
                return None
            return TypeError(
                f"key= of {name} returned an unhashable {type(key).__name__}: let it return a hashable key"
            )
        for argument, value in arguments.items():
            if not _hashable(value):
                return TypeError(
                    f"argument {argument!r} of {name} is an unhashable {type(value).__name__}: "
                    "pass a hashable one, or give cached() a key= that makes a key of it"
                )
        return None

    return explain


def _hashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True
