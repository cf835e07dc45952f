"""docs/gateway.md names what the gateway says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.site import QUESTION, simulated_site
from sparecall import exchange, gateway

pytestmark = pytest.mark.anyio

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "gateway.md").read_text("utf-8")


async def test_the_page_names_every_metric_family_and_no_other() -> None:
    async with simulated_site() as (site, _):
        client = await site.sdk()
        await client.chat.completions.create(**QUESTION)
        families = set(re.findall(r"^# TYPE (\S+)", await site.metrics(), re.MULTILINE))
    table = PAGE.partition("## Metrics")[2].partition("##")[0]
    assert families == set(re.findall(r"`(sparecall_\w+)`", table))


async def test_the_page_names_every_header_the_gateway_adds() -> None:
    async with simulated_site() as (site, _):
        client = await site.sdk()
        for _ in range(2):
            raw = await client.chat.completions.with_raw_response.create(**QUESTION)
            added = {name for name in raw.headers if name.startswith("x-sparecall-") or name == "age"}
            assert {name for name in added if f"`{name}`" not in PAGE} <= {"x-sparecall-simulated"}


def test_the_page_names_every_error_code() -> None:
    files = [*Path(gateway.__file__).parent.glob("*.py"), Path(exchange.__file__)]
    source = "".join(path.read_text("utf-8") for path in files)
    codes = set(re.findall(r'code="(\w+)"', source))
    assert len(codes) > 5
    assert {code for code in codes if f"`{code}`" not in PAGE} == set()
