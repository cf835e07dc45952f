"""Packs OpenAI's `.tiktoken` files into the blobs under rust/core/src/tokens/data.

    python tools/vocabulary.py path/to/cl100k_base.tiktoken path/to/o200k_base.tiktoken

The crate `tiktoken-rs` publishes both files under assets/; `cargo fetch` of a scratch project with that dependency
puts them into cargo's registry folder. Files with any other content are refused by their SHA-256.

A blob is one zlib stream of: the number of tokens (u32, little-endian); the byte of each of the ranks 0 to 255; then,
for every later token, the ranks of the two tokens its last merge joined, as six byte planes (low, middle and high byte
of all left ranks, then of all right ranks). Bytes of a token are those of its left part and its right part, so a third
of the size of the `.tiktoken` file's own gzip carries them all, and the merges with them.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import struct
import zlib
from pathlib import Path

DATA = Path(__file__).resolve().parents[1] / "rust/core/src/tokens/data"
# The `expected_hash` of each file in tiktoken_ext/openai_public.py.
SHA256 = {
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
}


def last_merge(token: bytes, ranks: dict[bytes, int]) -> tuple[int, int]:
    """The two ranks whose merge makes `token`, found by merging its bytes with the ranks below its own."""
    own = ranks[token]
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        joined = ((ranks.get(parts[i] + parts[i + 1], own), i) for i in range(len(parts) - 1))
        rank, i = min(joined)
        if rank >= own:
            raise SystemExit(f"rank {own} is not the merge of two earlier tokens: this is no byte-pair vocabulary")
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return ranks[parts[0]], ranks[parts[1]]


def pack(text: bytes) -> bytes:
    """The blob of a `.tiktoken` file's text."""
    ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in text.splitlines())}
    tokens = sorted(ranks, key=ranks.__getitem__)
    if [ranks[token] for token in tokens] != list(range(len(tokens))) or any(len(t) != 1 for t in tokens[:256]):
        raise SystemExit("ranks must be dense and begin with the 256 single bytes")
    merges = [last_merge(token, ranks) for token in tokens[256:]]
    planes = [bytes(merge[side] >> shift & 255 for merge in merges) for side in (0, 1) for shift in (0, 8, 16)]
    return zlib.compress(struct.pack("<I", len(tokens)) + b"".join(tokens[:256]) + b"".join(planes), 9)


def main() -> None:
    """Write one blob per file named on the command line."""
    parser = argparse.ArgumentParser(description="Pack .tiktoken files into the blobs the core ships")
    parser.add_argument("files", nargs="+", type=Path)
    for path in parser.parse_args().files:
        text = path.read_bytes()
        if hashlib.sha256(text).hexdigest() != SHA256.get(path.stem):
            raise SystemExit(f"{path.name} is not one of {', '.join(SHA256)} as published: its SHA-256 differs")
        blob = pack(text)
        (DATA / f"{path.stem}.bin").write_bytes(blob)
        print(f"{path.stem}: {len(text):,} bytes packed into {len(blob):,}")


if __name__ == "__main__":
    main()
