"""BLAKE3-256 of at most one chunk (1024 bytes), written from the specification: enough to forge a small file."""

from __future__ import annotations

import struct

START = (
    0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19,
)  # fmt: skip
ORDER = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
COLUMNS_THEN_DIAGONALS = (
    (0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
    (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14),
)  # fmt: skip
CHUNK_START, CHUNK_END, ROOT = 1, 2, 8


def blake3(data: bytes) -> bytes:
    assert len(data) <= 1024
    blocks = [data[at : at + 64] for at in range(0, len(data), 64)] or [b""]
    state: tuple[int, ...] = START
    for number, block in enumerate(blocks):
        flags = CHUNK_START * (number == 0) | (CHUNK_END | ROOT) * (number == len(blocks) - 1)
        state = compress(state, struct.unpack("<16I", block.ljust(64, b"\0")), len(block), flags)
    return struct.pack("<8I", *state)


def compress(chain: tuple[int, ...], words: tuple[int, ...], length: int, flags: int) -> tuple[int, ...]:
    state = [*chain, *START[:4], 0, 0, length, flags]
    for _ in range(7):
        for number, places in enumerate(COLUMNS_THEN_DIAGONALS):
            mix(state, places, words[2 * number], words[2 * number + 1])
        words = tuple(words[place] for place in ORDER)
    return tuple(state[place] ^ state[place + 8] for place in range(8))


def mix(state: list[int], places: tuple[int, int, int, int], first: int, second: int) -> None:
    a, b, c, d = places
    for word, left, right in ((first, 16, 12), (second, 8, 7)):
        state[a] = (state[a] + state[b] + word) & 0xFFFFFFFF
        state[d] = rotated(state[d] ^ state[a], left)
        state[c] = (state[c] + state[d]) & 0xFFFFFFFF
        state[b] = rotated(state[b] ^ state[c], right)


def rotated(word: int, by: int) -> int:
    return (word >> by | word << (32 - by)) & 0xFFFFFFFF
