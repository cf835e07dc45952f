"""Checked by mypy, never run: the public names keep their types."""

from __future__ import annotations

from typing import assert_type

import sparecall
from sparecall import tokens

assert_type(sparecall.__version__, str)
assert_type(tokens.count("a text", "cl100k_base"), int)
assert_type(tokens.count_many(iter(["a text"]), encoding="cl100k_base"), list[int])
assert_type(tokens.encodings(), tuple[str, ...])
assert_type(tokens.encoding_for_model("gpt-4o"), str | None)
