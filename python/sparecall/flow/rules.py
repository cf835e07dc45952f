"""What a request asks of a model, and rules that say by it which models may answer. Data alone: a configuration holds them as they are."""

from __future__ import annotations

from fnmatch import fnmatchcase

import msgspec

from sparecall.errors import InvalidArgument


class Features(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a request before it is sent."""

    model: str = ""
    """Asked for; empty where the router may choose any."""
    tokens: int = 0
    """Of the prompt."""
    tools: bool = False
    """Whether the model may call tools."""
    priority: str = "normal"
    deadline: float | None = None
    """Seconds left for the answer."""
    labels: frozenset[str] = frozenset()
    """Whatever else rules shall know."""

    def __post_init__(self) -> None:
        if self.tokens < 0:
            raise InvalidArgument(f"tokens is {self.tokens}; it must be at least 0")


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Requests that meet every condition given go to one of ``models``; what is left out holds for any."""

    name: str
    models: tuple[str, ...]
    model: str | None = None
    """The model asked for, with `*` and `?`."""
    tokens_at_least: int = 0
    tokens_at_most: int | None = None
    """Of the prompt."""
    tools: bool | None = None
    priorities: tuple[str, ...] = ()
    """One of these."""
    deadline_at_most: float | None = None
    """Seconds; a request without a deadline is not meant."""
    labels: tuple[str, ...] = ()
    """All of these."""

    def __post_init__(self) -> None:
        if not self.models:
            raise InvalidArgument(f"rule {self.name!r} has no models; it needs at least one")
        most = self.tokens_at_most
        if self.tokens_at_least < 0 or (most is not None and most < self.tokens_at_least):
            raise InvalidArgument(f"rule {self.name!r} is for {self.tokens_at_least} to {most} tokens, which none has")
        if self.deadline_at_most is not None and not self.deadline_at_most > 0:
            raise InvalidArgument(
                f"deadline_at_most of rule {self.name!r} is {self.deadline_at_most}; it must be above 0"
            )

    def matches(self, features: Features) -> bool:
        """Whether `features` meet every condition. O(labels)."""
        return (
            features.tokens >= self.tokens_at_least
            and (self.tokens_at_most is None or features.tokens <= self.tokens_at_most)
            and (self.tools is None or features.tools == self.tools)
            and (not self.priorities or features.priority in self.priorities)
            and (
                self.deadline_at_most is None
                or (features.deadline is not None and features.deadline <= self.deadline_at_most)
            )
            and (not self.labels or features.labels.issuperset(self.labels))
            and (self.model is None or fnmatchcase(features.model, self.model))
        )
