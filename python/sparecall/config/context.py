"""The section of `sparecall.toml` that says what of a conversation goes to the provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from sparecall.config.checks import Rules, at_least, is_share, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MIB = 1024 * 1024


class Context(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[context]`: what of a conversation goes to the provider. Without a budget, all of it."""

    budget: int | None = None
    """Tokens that a request may have, tools included; None for no such limit."""
    share: float | None = None
    """The share of the model's window that it may take, where that is known; of the two the smaller counts."""
    models: dict[str, int] = {}
    """Budgets by names of models, with `*` and `?`, in place of the two."""
    keep_last: int = 4
    """So many messages at the end are never cut."""
    prefix: Literal["stable", "free"] = "stable"
    """Whether what was sent before stays as it was sent, for the provider's prefix cache, or each request is cut for itself."""
    epoch_share: float = 0.6
    """What a stable prefix is cut to once the budget is passed, as a share of it."""
    birth: Literal["lossless", "data"] = "lossless"
    """Whether a new result loses nothing before the budget asks for it, or long encoded bytes give way at once to their length and digest."""
    code: bool = True
    """Whether source code is read by what it defines: signatures outlast bodies, and what is named later keeps its own."""
    expected_turns: float | Literal["as_before"] | None = None
    """Requests of a conversation in all, or ``"as_before"``: then a stable prefix is cut sooner where that pays; None: only where it must be."""
    keep_tools: bool | tuple[str, ...] = True
    """Whether all definitions of tools stay, or else the names of those that do though nobody called or mentioned them."""
    cannot_fit: Literal["pass", "refuse"] = "pass"
    """What becomes of a request of which more must stay than its budget: it goes as it came, or is a 400."""
    store_optimized: bool = False
    """Whether an answer to a context that lost something is stored as one to its request."""
    max_bytes: int = 256 * _MIB
    """What is remembered, removed texts included, may take about so much."""

    @property
    def enabled(self) -> bool:
        """Whether there is a budget for anything."""
        return self.budget is not None or self.share is not None or bool(self.models)

    def settings(self, windows: Mapping[str, int]) -> tuple[str, ...]:
        """What of it shapes answers, and is a part of every key; `windows`: those of models that a configuration states itself."""
        if not self.enabled:
            return ()
        shaping: dict[str, object] = msgspec.structs.asdict(self)
        for name in ("store_optimized", "max_bytes"):
            del shaping[name]
        if self.share is not None:
            shaping["windows"] = windows
        return (msgspec.json.encode(shaping, order="sorted").decode(),)


def rules_of_context(context: Context) -> Rules:
    """What the section asks of its values."""
    tokens, share = "1 to 2^53 tokens", context.share
    return [
        (context.budget is None or _is_budget(context.budget), "context.budget", context.budget, tokens),
        (share is None or is_share(share), "context.share", share, "above 0, up to 1"),
        *_rules_of_models(context),
        (0 <= context.keep_last < 2**31, "context.keep_last", context.keep_last, "0 messages or more"),
        (is_share(context.epoch_share), "context.epoch_share", context.epoch_share, "above 0, up to 1"),
        (
            isinstance(context.expected_turns, str | None) or at_least(context.expected_turns, 1),
            "context.expected_turns",
            context.expected_turns,
            "1 or more, 'as_before'",
        ),
        (_MIB <= context.max_bytes < 2**63, "context.max_bytes", context.max_bytes, f"{_MIB} to 2^63-1"),
    ]


def _rules_of_models(context: Context) -> Iterator[tuple[bool, str, object, str]]:
    for name, budget in context.models.items():
        yield plain(name), "context.models", repr(name), "names of printable characters"
        yield _is_budget(budget), f'context.models."{name}"', budget, "1 to 2^53 tokens"


def _is_budget(tokens: int) -> bool:
    return 1 <= tokens <= 2**53
