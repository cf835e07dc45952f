"""Checked by mypy, never run: the public names keep their types."""

from __future__ import annotations

from typing import assert_type

import sparecall

assert_type(sparecall.__version__, str)
