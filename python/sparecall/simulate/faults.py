"""Which requests go wrong, and how: shares drawn from the seed, or one named by a request header."""

from __future__ import annotations

from dataclasses import dataclass, fields

from sparecall.errors import InvalidArgument, UnknownName
from sparecall.simulate.seeded import generator

FAULT_HEADER = "x-simulate-fault"

#: Every fault a request may ask for. Those that are fields of `Faults` can also be drawn.
FAULT_NAMES = (
    "rate_limit",  # 429 with retry-after
    "server_error",  # 500
    "overloaded",  # 503; 529 on the Messages API
    "disconnect",  # the connection is reset before any reply
    "cut_stream",  # it is reset in the middle of the reply
    "stall",  # silence in the middle of a stream, or before another reply
    "garbage",  # bytes that are not JSON where JSON belongs
    "html",  # 200 and an HTML page
    "truncated_json",  # the JSON ends halfway, the HTTP reply is whole
    "bad_length",  # the reply ends before the length it announced
    "error_in_200",  # 200 and an error object
    "no_done",  # a stream without its last event
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """The share of requests (0 to 1, together at most 1) that meet each fault; ``stall_for`` is in seconds."""

    rate_limit: float = 0.0
    server_error: float = 0.0
    disconnect: float = 0.0
    cut_stream: float = 0.0
    stall: float = 0.0
    garbage: float = 0.0
    stall_for: float = 60.0

    def __post_init__(self) -> None:
        for name, share in self.shares():
            if not 0 <= share <= 1:
                raise InvalidArgument(f"the share of {name} is {share}; it must be between 0 and 1")
        total = sum(share for _, share in self.shares())
        if total > 1 + 1e-9:
            raise InvalidArgument(f"the shares of all faults add up to {total:g}; they must not exceed 1")
        if not self.stall_for >= 0:
            raise InvalidArgument(f"stall_for is {self.stall_for}; it must be a number of seconds, 0 or more")

    def shares(self) -> list[tuple[str, float]]:
        """Return each fault that can be drawn with its share."""
        return [(name, getattr(self, name)) for name in DRAWN_FAULTS]

    def choose(self, forced: str | None, *, seed: int, digest: str, call: int) -> str | None:
        """Return the fault this call meets: the forced one, else one drawn, so that a retry draws anew; or None.

        Raises `sparecall.errors.UnknownName` when the forced name is not one of `FAULT_NAMES`.
        """
        if forced:
            if forced not in FAULT_NAMES:
                raise UnknownName(f"there is no such fault to simulate; known are {', '.join(FAULT_NAMES)}")
            return forced
        shares = [(name, share) for name, share in self.shares() if share]
        if not shares:
            return None
        drawn = generator(seed, digest, f"fault {call}").random()
        for name, share in shares:
            if drawn < share:
                return name
            drawn -= share
        return None


#: Faults that `Faults` gives a share to.
DRAWN_FAULTS = tuple(field.name for field in fields(Faults) if field.name in FAULT_NAMES)
