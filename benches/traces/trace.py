"""The recorded traces and the sizes they are played at."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "cache_traces"

MIB = 1 << 20

# Entries, or bytes where keys have sizes. Those of the literature where there are such; else from about 0.5 to 10 % of
# the keys, and for the recency stream of corda from where a window of 1 % is too small for it.
SIZES: dict[str, tuple[int, ...]] = {
    "lirs_loop": (100, 256, 512, 768, 1000),
    "lirs_gli": (250, 500, 1000, 1500, 2000),
    "lirs_multi3": (250, 500, 1000, 2000, 3000),
    "lirs_2_pools": (100, 250, 500, 1000, 2000),
    "arc_oltp": (500, 1000, 2000, 5000, 10_000),
    "scarab_recs": (10_000, 25_000, 50_000, 75_000, 100_000),
    "corda_vault": (1000, 2000, 5000, 10_000, 20_000),
    "cache2k_web12": (75, 300, 600, 1200, 3000),
    "gcc_address_misscost": (175, 350, 700, 1750, 3500),
    "adapt_size_id_bytes": (MIB, 2 * MIB, 5 * MIB, 14 * MIB, 28 * MIB),
}


@dataclass(frozen=True, slots=True)
class Trace:
    """A key, a weight and the cost of a miss for every access."""

    name: str
    keys: list[int]
    weights: list[int]
    costs: list[float]
    second: Literal["weight", "cost"] | None

    @property
    def mean_weight(self) -> float:
        return sum(self.weights) / len(self.weights)


def load(name: str) -> Trace:
    with gzip.open(FOLDER / f"{name}.npy.gz") as file:
        table = np.load(file)
    if table.ndim == 1:
        return Trace(name, table.tolist(), [1] * len(table), [1.0] * len(table), None)
    keys, second = table[:, 0].tolist(), table[:, 1]
    if name.endswith("_bytes"):
        return Trace(name, keys, second.tolist(), [1.0] * len(table), "weight")
    return Trace(name, keys, [1] * len(table), second.astype(float).tolist(), "cost")
