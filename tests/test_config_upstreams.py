"""Several upstreams in the configuration: what stands where, which keys go to whom, and errors that name the upstream."""

from __future__ import annotations

from typing import Any

import pytest

import sparecall
from sparecall import config
from sparecall.errors import ConfigError
from sparecall.pipeline import Digest, RetryStage, RouteStage, Upstream, control

HERE = "http://127.0.0.1:1/v1"


def loaded(upstream: dict[str, Any], **sections: Any) -> config.Config:
    return config.load({"upstream": upstream, **sections})


def test_named_upstreams_are_tables_of_their_own(tmp_path: Any) -> None:
    path = tmp_path / "sparecall.toml"
    path.write_text("""
        [upstream.east]
        url = "http://127.0.0.1:1/v1"
        models = ["gpt-4o*"]
        aliases = { "gpt-4o" = "deployment" }
        [upstream.east.limit]
        requests = 60
        [upstream.claude]
        wire = "anthropic"
        api_key = "sk"
        [upstream.claude.breaker]
        enabled = false
        [fallback]
        "gpt-4o" = ["gpt-4o-mini", { upstream = "east", model = "o3" }]
    """)
    read = config.load(path)
    assert list(read.upstreams) == list(read.providers()) == ["east", "claude"]
    assert list(read.sections()) == ["upstream.east", "upstream.claude"]
    east, claude = read.upstreams.values()
    assert (east.wire, east.models, east.aliases) == ("openai", ("gpt-4o*",), {"gpt-4o": "deployment"})
    assert east.limit == config.Limit(requests=60.0)
    assert (claude.wire, claude.url) == ("anthropic", "https://api.anthropic.com/v1")
    assert claude.breaker == config.Breaker(enabled=False)
    assert read.fallback == {"gpt-4o": ("gpt-4o-mini", config.Substitute(model="o3", upstream="east"))}
    assert read.upstream == config.Upstream()


def test_an_anthropic_section_stands_beside_named_ones() -> None:
    read = loaded({"a": {"url": HERE}}, anthropic={"url": HERE})
    assert list(read.providers()) == ["a", "anthropic"]
    with pytest.raises(ConfigError, match=r"upstream\.anthropic is given"):
        loaded({"anthropic": {"url": HERE}}, anthropic={})


@pytest.mark.parametrize(
    ("upstream", "told"),
    [
        ({"a": {"limit": {"requests": -5}}}, r"upstream\.a\.limit\.requests is -5\.0; allowed: above 0"),
        ({"a": {"limit": {"requests": "x"}}}, r"got `str` - at `\$\.upstream\.a\.limit\.requests`"),
        ({"a": {"lmit": {}}}, r"unknown field `lmit` - at `\$\.upstream\.a`"),
        ({"a": {"url": "ftp://x"}}, r"upstream\.a\.url is ftp://x; allowed: http"),
        ({"url": HERE, "a": {}}, r"upstream\.url stands beside \[upstream\.a\]"),
        ({"a b": {}}, r"upstream is 'a b'; allowed: names"),
        ({"a=b": {}}, r"upstream is 'a=b'; allowed: names"),
        ({"a": {}, "b": 5}, r"upstream\.b stands beside"),
    ],
    ids=str,
)
def test_errors_name_the_upstream(upstream: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        loaded(upstream)


def test_a_section_of_the_plural_is_told_the_way_to_write_it() -> None:
    with pytest.raises(ConfigError, match=r"write \[upstream\.NAME\]"):
        config.load({"upstreams": {}})


def test_a_client_s_key_goes_to_two_hosts_only_where_that_is_said() -> None:
    two = {"a": {"url": "http://one.example/v1"}, "b": {"url": "http://two.example/v1"}}
    with pytest.raises(ConfigError, match=r"upstream\.a and upstream\.b are of two hosts .* client_key"):
        loaded(two)
    for sure in ({"api_key": "sk"}, {"client_key": True}, {"client_key": False}):
        assert loaded({"a": two["a"], "b": {**two["b"], **sure}}).upstreams["b"].client_key is sure.get("client_key")
    same = {"a": {"url": "http://one.example:1/v1"}, "b": {"url": "http://one.example:2/v1"}}
    assert len(loaded(same).upstreams) == 2


def test_an_option_for_one_upstream_is_refused_where_there_are_several() -> None:
    with pytest.raises(ConfigError, match=r"several upstreams \(a\); .* without --upstream"):
        loaded({"a": {"url": HERE}}).with_changes("upstream", url=HERE)
    assert loaded({"a": {"url": HERE}}).with_changes("upstream", url=None).upstreams


def test_a_plain_upstream_is_called_by_a_plain_stage() -> None:
    for plain in ({}, {"upstream": {"url": HERE}}, {"upstream": {"url": HERE}, "anthropic": {}}):
        pipeline = sparecall.open(plain)
        assert pipeline.stage(RouteStage) is pipeline.stage(RetryStage) is None
        assert isinstance(pipeline.stages[-1], Upstream)
        assert not config.load(plain).controlled


@pytest.mark.parametrize(
    "sections",
    [
        {"upstream": {"limit": {"requests": 5}}},
        {"upstream": {"breaker": {}}},
        {"upstream": {"models": ["a"]}},
        {"upstream": {"aliases": {"a": "b"}}},
        {"retry": {}},
        {"fallback": {"a": ["b"]}},
        {"upstream": {"a": {}}},
    ],
    ids=str,
)
def test_whatever_controls_calls_makes_a_route(sections: dict[str, Any]) -> None:
    pipeline = sparecall.open(sections)
    assert pipeline.stage(RouteStage) is not None
    assert len(pipeline.upstreams) == 1


def test_what_shapes_answers_is_part_of_the_key_and_nothing_else_is() -> None:
    plain = config.load({"upstream": {"url": HERE + "/"}, "anthropic": {"url": HERE}})
    assert control.settings(plain) == (HERE, HERE)  # as before there were several
    one = {"url": HERE, "models": ["x"], "aliases": {"a": "b"}}
    settings = control.settings(loaded({"a": one}))
    for other in ({"url": HERE + "2"}, {"models": ["y"]}, {"aliases": {"a": "c"}}):
        assert control.settings(loaded({"a": {**one, **other}})) != settings
    for same in ({"weight": 2.0}, {"priority": 3}, {"read_timeout": 5.0}, {"limit": {"requests": 5}}, {"breaker": {}}):
        assert control.settings(loaded({"a": {**one, **same}})) == settings
    fallback = {"x": ["y"]}
    assert control.settings(loaded({"a": one}, fallback=fallback)) == settings  # not stored
    stored = control.settings(loaded({"a": one}, fallback=fallback, cache={"other_models": True}))
    assert stored != settings
    assert sparecall.open({"upstream": {"a": one}}).stage(Digest) is not None
