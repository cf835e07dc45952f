"""Checked by mypy, never run: the public names keep their types."""

from __future__ import annotations

from typing import assert_type

import sparecall
from sparecall import digest

assert_type(sparecall.__version__, str)
assert_type(digest.inspect(b"{}", scope="").digest, bytes)
assert_type(digest.inspect(b"{}", scope="").temperature, float | None)
assert_type(digest.compare(b"{}", bytearray()), digest.Difference | None)
assert_type(digest.scope_of_key("key"), str)
