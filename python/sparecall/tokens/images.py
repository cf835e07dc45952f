"""How large an image in a `data:` URL is, read from its first bytes, and how many tokens OpenAI's models take for it.

Nothing is fetched and nothing is decompressed: of the base64 only the few bytes that hold the size are decoded.
"""

from __future__ import annotations

import binascii
import math
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparecall.tokens.bounds import Bounds

_DATA = re.compile(r"data:image/[\w.+-]{1,32}(?:;[\w.+=-]{1,64}){0,4};base64,", re.ASCII | re.IGNORECASE)
_HEAD = 32
_MAX_SEGMENTS = 256
"""Of a JPEG before its frame: profiles and thumbnails come in segments of 64 KiB."""
# SOF0 to SOF15 say the size; C4, C8 and CC among them are other tables.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def size_of_data_url(url: str) -> tuple[int, int] | None:
    """Width and height of a PNG, JPEG, GIF or WebP in a base64 `data:` URL; None where they cannot be read. Raises nothing.

    Constant time for all but JPEG, whose segments are skipped by their lengths, 256 at most.
    """
    match = _DATA.match(url)
    return None if match is None else size_of_base64(url, match.end())


def size_of_base64(text: str, start: int = 0) -> tuple[int, int] | None:
    """The same of base64 alone, which begins at `start`."""
    size = (len(text) - start) // 4 * 3

    def read(at: int, length: int) -> bytes:
        if at >= size:
            return b""
        first = start + at // 3 * 4
        groups = (at % 3 + length + 2) // 3
        try:
            # The last group may be cut short by its padding; a line break inside would shift all that follows: unreadable.
            return binascii.a2b_base64(text[first : first + groups * 4], strict_mode=True)[at % 3 :][:length]
        except ValueError:
            return b""

    return _size(read)


def _size(read: Callable[[int, int], bytes]) -> tuple[int, int] | None:
    """Width and height; `read(at, length)` gives that part of the file, less at its end."""
    head = read(0, _HEAD)
    found: tuple[int, int] | None = None
    if head[:8] == b"\x89PNG\r\n\x1a\n" and head[12:16] == b"IHDR" and len(head) >= 24:
        found = int.from_bytes(head[16:20]), int.from_bytes(head[20:24])
    elif head[:6] in {b"GIF87a", b"GIF89a"} and len(head) >= 10:
        found = int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little")
    elif head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        found = _webp(head)
    elif head[:2] == b"\xff\xd8":
        found = _jpeg(read)
    return found if found is not None and min(found) > 0 else None


def _webp(head: bytes) -> tuple[int, int] | None:
    kind = head[12:16]
    if len(head) < 30:
        return None
    if kind == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if kind == b"VP8L" and head[20] == 0x2F:
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and head[23:26] == b"\x9d\x01\x2a":
        # The two highest bits of each are how to enlarge it for the screen.
        return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF
    return None


def _jpeg(read: Callable[[int, int], bytes]) -> tuple[int, int] | None:
    at = 2
    for _ in range(_MAX_SEGMENTS):
        segment = read(at, 9)
        if len(segment) < 4 or segment[0] != 0xFF:
            return None
        marker = segment[1]
        if marker == 0xFF:  # a byte of fill
            at += 1
            continue
        if marker in _FRAMES:
            return (int.from_bytes(segment[7:9]), int.from_bytes(segment[5:7])) if len(segment) == 9 else None
        length = int.from_bytes(segment[2:4])
        if length < 2 or marker in {0xD8, 0xD9, 0xDA}:
            return None
        at += 2 + length
    return None


class Tiles(NamedTuple):
    """Images by tiles of 512 pixels: `base` tokens, and `tile` for each where the detail is high."""

    base: int
    tile: int

    def bounds(self, size: tuple[int, int] | None, detail: str) -> Bounds:
        """Low, total and high. All three are equal where size and detail are known."""
        if detail == "low":
            return self.base, self.base, self.base
        few, usual, many = (1, 4, 8) if size is None else _tiles(*size)
        low, total, high = (self.base + self.tile * number for number in (few, usual, many))
        # What `auto` means is the model's to choose; that it chooses high is what is reported.
        return (low, total, high) if detail == "high" else (self.base, total, high)


def _tiles(width: int, height: int) -> tuple[int, int, int]:
    """How many tiles: fitted into 2048 by 2048, then the short side to 768, never enlarged.

    How a fraction of a pixel is rounded is not documented: the fewest and the most differ where that decides.
    """
    short, long = sorted((width, height))
    # Exact fractions of whole numbers: both sides are times/over of what they were.
    times, over = min((1, 1), (2048, long), (768, short), key=lambda ratio: ratio[0] / ratio[1])
    sides = [(side * times // over, -(-side * times // over)) for side in (short, long)]
    fewest, most = (math.prod(max(1, -(-side[i] // 512)) for side in sides) for i in (0, 1))
    return fewest, fewest, most


class Patches(NamedTuple):
    """Images by patches of 32 pixels, `most` of them at the most, each `factor` tokens; `least` is the lowest factor reported."""

    factor: float
    least: float = 1.2
    most: int = 1536

    def bounds(self, size: tuple[int, int] | None, detail: str) -> Bounds:
        """Low, total and high, never equal: what is billed has been seen to differ from what is documented."""
        known = size is not None
        patches = _patches(*size, self.most) if size is not None else 1024
        low = patches if known and detail == "high" else min(patches, 256) if known else 1
        high = patches if known else self.most
        return math.floor(low * self.least), math.ceil(patches * self.factor), math.ceil(high * self.factor) + 2


def _patches(width: int, height: int, most: int) -> int:
    across, down = -(-width // 32), -(-height // 32)
    if across * down <= most:
        return across * down
    shrink = math.sqrt(most * 32 * 32 / (width * height))
    across_f, down_f = width * shrink / 32, height * shrink / 32
    fit = min(math.floor(across_f) / across_f, math.floor(down_f) / down_f)
    if fit == 0:  # thinner than one patch
        return most
    # Less a hair, so that a side that is meant to be whole is not rounded up.
    return max(1, math.ceil(across_f * fit - 1e-9)) * max(1, math.ceil(down_f * fit - 1e-9))


class Area(NamedTuple):
    """Images by their area, as Anthropic documents it: `pixels` to a token, `most` tokens after it has been scaled down."""

    pixels: int
    most: int

    def bounds(self, size: tuple[int, int] | None, detail: str) -> Bounds:
        """Low, total and high, never equal: the formula is called an approximation."""
        if size is None:
            return 1, self.most, self.most * 5 // 4 + 16
        total = max(1, min(self.most, size[0] * size[1] // self.pixels))
        return max(1, total * 3 // 4), total, total * 5 // 4 + 16


class Anyhow(NamedTuple):
    """Images of a model whose rule is not known: fixed bounds."""

    low: int = 64
    total: int = 800
    high: int = 10_000

    def bounds(self, size: tuple[int, int] | None, detail: str) -> Bounds:
        """The bounds, whatever the image."""
        return self.low, self.total, self.high
