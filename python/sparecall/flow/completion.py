"""How many tokens an answer will have, by what answers of its kind had: to reserve them before they are known."""

from __future__ import annotations

from collections import OrderedDict

_ROUTES = 1_024  # remembered; the one longest unused is forgotten
_FIRST = 512.0  # tokens, where nothing is known
_GAIN_MEAN, _GAIN_SPREAD, _SPREADS = 1 / 16, 1 / 8, 2.0


class CompletionEstimates:
    """Mean and mean deviation of completions a route, exponentially averaged, as TCP estimates its round trips. O(1).

    The estimate is the mean plus two deviations: reserved a little too much, and given back once the answer is there.
    """

    __slots__ = ("_routes",)

    def __init__(self) -> None:
        self._routes: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def estimate(self, route: str, at_most: int | None) -> int:
        """The tokens to reserve for an answer on `route`, at most ``at_most``."""
        known = self._routes.get(route)
        expected = _FIRST if known is None else known[0] + _SPREADS * known[1]
        return int(expected) if at_most is None else min(int(expected), at_most)

    def observe(self, route: str, completion: float) -> None:
        """An answer on `route` had this many tokens."""
        known = self._routes.get(route)
        if known is None:
            if len(self._routes) >= _ROUTES:
                self._routes.popitem(last=False)
            self._routes[route] = (completion, completion / 2)
            return
        mean, spread = known
        error = completion - mean
        self._routes[route] = (mean + _GAIN_MEAN * error, spread + _GAIN_SPREAD * (abs(error) - spread))
        self._routes.move_to_end(route)
