"""What a semantic cache is told and tells: rules, lookups, matches, reports."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from sparecall._core import SemanticProfile, SemanticReport, SemanticVerdict, semantic_error_interval
from sparecall.errors import InvalidArgument
from sparecall.semantic.judging import Judged


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for one category of questions instead of what holds for all."""

    enabled: bool = True
    """False: such questions are neither answered nor stored."""
    max_error: float | None = None
    """The limit on the share of wrong hits of these, in (0, 1]; None: that of the cache."""
    ttl: float | None = None
    """Seconds that their answers live; None: as the cache says."""

    def __post_init__(self) -> None:
        if self.max_error is not None and not 0 < self.max_error <= 1:
            raise InvalidArgument(f"max_error of a rule is {self.max_error}; allowed: above 0 to 1, or None")
        if self.ttl is not None and not self.ttl >= 0:
            raise InvalidArgument(f"ttl of a rule is {self.ttl}; allowed: 0 seconds or more, or None")


class Match(msgspec.Struct, frozen=True):
    """A stored answer that is served."""

    id: int
    value: Any
    similarity: float
    probability: float
    """That the answer serves the question, as far as is known."""
    why: str


class Lookup(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What a lookup found: a match, or the reason why there is none. `store` and `audit` take it."""

    match: Match | None = None
    audit: bool = False
    """Whether there is a good answer that is held back this once: a fresh one is to be compared with it."""
    why: str = ""
    """For a miss: ``empty``, ``too_long``, ``disabled``, ``embedder_failed``, ``embedder_timeout``, ``embedder_busy``,
    ``bad_vector``, ``nothing_near``, ``unproven``, or what the decision says."""
    vector: NDArray[np.float32] | None = None
    max_error: float = 1.0
    """The limit that the verdict kept to."""
    profile: SemanticProfile | None = None
    judged: Judged | None = None
    """What `audit` teaches, and to whom."""

    @property
    def candidate(self) -> int | None:
        """The id of the nearest entry, served or not."""
        return None if self.judged is None else self.judged.found.entry.id

    @property
    def similarity(self) -> float:
        """That of the nearest entry; -1 where there is none."""
        return -1.0 if self.judged is None else self.judged.found.similarity

    @property
    def verdict(self) -> SemanticVerdict | None:
        """What was decided about the nearest entry."""
        return None if self.judged is None else self.judged.verdict

    @property
    def compare(self) -> bool:
        """Whether a fresh answer, should there be one, is worth comparing with the stored one."""
        return self.verdict is not None and (self.verdict.compare or self.audit)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a semantic cache has done."""

    entries: int
    lookups: int
    hits: int
    audits: int
    """Answers that were held back for a comparison."""
    audit_cost: float
    """Dollars that the calls for them cost."""
    refused: int
    """Answers not stored: over a principal's quota, of a category that is off, or without room."""
    misses: dict[str, int]
    """By the words of `Lookup.why`; what the decision held back counts under ``held_back``."""
    refined: dict[str, SemanticReport]
    """The same as `decisions` of what the first vectors left open, where there is an embedder to refine it."""
    decisions: dict[str, SemanticReport]
    """What is known of the errors, by pool; under an empty name where all scopes are one."""

    @property
    def decision(self) -> SemanticReport:
        """What is known of the errors where all scopes are one pool. Raises ``KeyError`` where they are not."""
        return self.decisions[""]

    @property
    def error_interval(self) -> tuple[float, float]:
        """The 95 % interval (Wilson 1927) of the share of wrong answers among the audited hits of all pools."""
        pools = self.decisions.values()
        return semantic_error_interval(sum(pool.wrong for pool in pools), sum(pool.audits for pool in pools))


def check(name: str, value: object, holds: bool, limit: str) -> None:
    """Raise `InvalidArgument` for an argument outside its limit."""
    if not holds:
        raise InvalidArgument(f"{name} is {value}; allowed: {limit}")


def check_scope(scope: str) -> None:
    """Raise `InvalidArgument` for a scope that names no tenant, or at too great length."""
    if not scope:
        raise InvalidArgument("scope is empty; give the tenant whose answers these are, such as team/user")
    if len(scope) > 1024 or scope.count("/") >= 32:
        raise InvalidArgument(f"scope has {len(scope)} characters; allowed: 1,024 in 32 parts")
