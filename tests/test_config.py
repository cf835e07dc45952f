"""The configuration: every key checked, every error names its key, no error repeats a secret."""

from __future__ import annotations

import math
import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

import sparecall
from sparecall import config
from sparecall.errors import ConfigError, SparecallError
from sparecall.prices import Price

PAGE = Path(__file__).parent.parent / "docs" / "config.md"


def test_nothing_given_is_all_defaults() -> None:
    loaded = config.load()
    assert loaded == config.Config()
    assert loaded.server.host == "127.0.0.1"
    assert loaded.upstream.url == "https://api.openai.com/v1"
    assert loaded.cache.enabled
    assert loaded.scope is None


def test_a_file_a_path_text_and_a_mapping_of_the_same_shape_are_the_same(tmp_path: Path) -> None:
    content = """
        scope = "team/service"
        version = 3
        [server]
        port = 9000
        client_keys = ["one", "two"]
        [upstream]
        url = "http://localhost:1/v1"
        read_timeout = 5
        [cache]
        ttl = inf
        max_n = 4
        [prices."my-model"]
        input = 1
        output = 2.5
    """
    path = tmp_path / "sparecall.toml"
    path.write_text(content)
    mapping = {
        "scope": "team/service",
        "version": 3,
        "server": {"port": 9000, "client_keys": ["one", "two"]},
        "upstream": {"url": "http://localhost:1/v1", "read_timeout": 5.0},
        "cache": {"ttl": math.inf, "max_n": 4},
        "prices": {"my-model": {"input": 1.0, "output": 2.5}},
    }
    loaded = config.load(path)
    assert loaded == config.load(str(path)) == config.load(mapping) == config.load(config.load(mapping))
    assert loaded.server.client_keys == ("one", "two")
    assert loaded.prices == {"my-model": Price(1.0, 2.5)}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"sever": {}}, "unknown field `sever`"),
        ({"server": {"prot": 1}}, r"unknown field `prot` - at `\$.server`"),
        ({"upstream": {"urls": []}}, r"unknown field `urls` - at `\$.upstream`"),
        ({"cache": {"tll": 1}}, r"unknown field `tll` - at `\$.cache`"),
        ({"prices": {"m": {"in": 1}}}, r"unknown field `in` - at `\$.prices"),
        ({"server": {"port": "80"}}, r"Expected `int`, got `str` - at `\$.server.port`"),
        ({"server": {"port": True}}, r"Expected `int`, got `bool` - at `\$.server.port`"),
        ({"cache": {"enabled": 1}}, r"Expected `bool`, got `int` - at `\$.cache.enabled`"),
        ({"server": {"client_keys": "sk-secret"}}, r"Expected `array`, got `str` - at `\$.server.client_keys`"),
        ({"upstream": {"api_key": 5}}, r"got `int` - at `\$.upstream.api_key`"),
        ({"server": []}, r"Expected `object`, got `array` - at `\$.server`"),
        ({"prices": {"m": {"input": 1.0}}}, "missing required field `output`"),
    ],
    ids=str,
)
def test_an_unknown_key_or_a_wrong_type_is_an_error_that_names_its_table(content: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        config.load(content)
    assert "docs/config.md" in str(caught.value)
    assert "secret" not in str(caught.value)


OUT_OF_RANGE: list[tuple[str, Any]] = [
    ("server.host", ""),
    ("server.host", "local\nhost"),
    ("server.port", -1),
    ("server.port", 65536),
    ("server.max_body_bytes", 0),
    ("server.request_timeout", 0.0),
    ("server.shutdown_grace", -0.1),
    ("server.workers", 0),
    ("server.workers", 1025),
    ("cache.snapshot_every", -1.0),
    ("embeddings.max_concurrent", 0),
    ("embeddings.max_inputs", 0),
    ("embeddings.max_tokens", -1),
    ("embeddings.max_wait", -0.1),
    ("embeddings.max_wait", math.inf),
    ("cache.snapshot_every", math.inf),
    ("server.shutdown_grace", math.nan),
    ("server.client_keys", [""]),
    ("server.client_keys", ["good", "bad\r\n"]),
    ("server.client_keys", ["padded "]),
    ("upstream.url", ""),
    ("upstream.url", "api.openai.com/v1"),
    ("upstream.url", "ftp://host/v1"),
    ("upstream.url", "http:///v1"),
    ("upstream.url", "http://:80/v1"),
    ("upstream.url", "http://host:0/v1"),
    ("upstream.url", "http://host:99999/v1"),
    ("upstream.url", "http://host:port/v1"),
    ("upstream.url", "http://[::1/v1"),
    ("upstream.url", "http://ho\r\nst/v1"),
    ("upstream.url", "http://host/v 1"),
    ("upstream.url", "http://host/v1?"),
    ("upstream.url", "http://host/v1?api-key=1"),
    ("upstream.url", "http://host/v1#top"),
    ("anthropic.url", "http://host/v1#top"),
    ("anthropic.read_timeout", 0.0),
    ("upstream.api_key", ""),
    ("upstream.api_key", "sk-1\nx-evil: 1"),
    ("upstream.api_key", "sk-kлюч"),
    ("upstream.connect_timeout", 0.0),
    ("upstream.connect_timeout", math.inf),
    ("upstream.read_timeout", -1.0),
    ("upstream.connections", 0),
    *[("upstream.first_byte_timeout", value) for value in (0.0, -1.0, math.inf)],
    ("upstream.total_timeout", 0.0),
    *[("upstream.warm", value) for value in (-1, 2000)],
    ("upstream.weight", 0.0),
    ("upstream.models", [""]),
    ("upstream.aliases", {"gpt-4o": ""}),
    ("upstream.limit", {"requests": 0.0}),
    ("upstream.limit", {"tokens": -1.0}),
    ("upstream.limit", {"per": math.inf}),
    ("upstream.limit", {"burst": 1.5}),
    ("upstream.limit", {"max_wait": -1.0}),
    ("upstream.breaker", {"failure_rate": 0.0}),
    ("upstream.breaker", {"slow_rate": 0.5}),
    ("upstream.breaker", {"slow_rate": 2.0, "slow_after": 1.0}),
    ("upstream.breaker", {"minimum_calls": 0}),
    ("upstream.breaker", {"open_for": 0.0}),
    ("upstream.breaker", {"probes": 0}),
    *[("retry.attempts", value) for value in (0, 101)],
    ("retry.base", -1.0),
    ("retry.patience", math.inf),
    ("retry.budget", 0.0),
    ("retry.reserve", -1),
    ("upstream.timeout", {"least": 0.0}),
    ("upstream.timeout", {"most": 0.5}),
    ("upstream.timeout", {"factor": 0.9}),
    *[("hedge.quantile", value) for value in (0.0, 1.5)],
    ("hedge.budget", 0.0),
    ("hedge.reserve", 0),
    ("hedge.least", -1.0),
    ("hedge.minimum_calls", 0),
    ("route.rules", [{"name": "a", "models": [""]}]),
    ("route.budget", 0.0),
    ("route.per", 0.0),
    ("route.patience", 0.0),
    ("route.explore", 1.5),
    *[("system.cpu_high", value) for value in (0.0, 1.1)],
    ("system.cpu_cut", 0.0),
    ("system.memory_hard", 0.5),
    ("system.lag_high", 0.0),
    ("system.latency_high", math.inf),
    ("fallback.model", []),
    ("fallback.model", [""]),
    ("fallback.model", ["model"]),
    ("fallback.model", [{}]),
    ("fallback.model", [{"upstream": "nobody"}]),
    ("cache.max_bytes", -1),
    ("cache.max_bytes", 2**64),
    ("cache.ttl", -1.0),
    ("cache.ttl", math.nan),
    ("cache.max_temperature", -0.5),
    ("cache.max_temperature", math.nan),
    ("cache.max_n", 0),
    ("cache.max_n", 2**70),
    ("cache.max_reply_bytes", 0),
    ("cache.snapshot", ""),
    ("version", -1),
    ("version", 2**63),
    ("scope", ""),
    ('prices."m".input', -1.0),
    ('prices."m".output', math.inf),
    ('prices."m".cached_input', math.nan),
    *[("semantic.max_error", value) for value in (0.0, 1.1, -0.1, float("nan"))],
    *[("semantic.audit_share", value) for value in (-0.1, 1.1, float("nan"))],
    *[("semantic.min_similarity", value) for value in (-1.1, 1.1, float("nan"))],
    *[("semantic.max_bytes", value) for value in (-1, 2**63)],
    *[("semantic.ttl", value) for value in (-1.0, float("nan"))],
    *[("semantic.max_characters", value) for value in (0, 2**20 + 1)],
    *[("semantic.seed", value) for value in (-1, 2**63)],
    *[("semantic.promote_after", value) for value in (0, 65)],
    ("semantic.write_quota", -1),
    *[("context.budget", value) for value in (0, 2**54)],
    *[("context.share", value) for value in (0.0, 1.1)],
    ("context.models", {"": 5}),
    ("context.models", {"m": 0}),
    ("context.keep_last", -1),
    ("context.epoch_share", 0.0),
    ("context.expected_turns", 0.5),
    ("context.max_bytes", 5),
    ('prices."m".window', 0),
    ("semantic.folder", "/models/minilm"),
]


@pytest.mark.parametrize(("key", "value"), OUT_OF_RANGE, ids=lambda value: repr(value)[:40])
def test_a_value_out_of_range_is_an_error_that_names_its_key(key: str, value: Any) -> None:
    table, _, name = key.rpartition(".")
    content: dict[str, Any] = {table: {name: value}} if table else {name: value}
    if table.startswith("prices"):
        content = {"prices": {"m": {"input": 1.0, "output": 1.0, name: value}}}
    with pytest.raises(ConfigError) as caught:
        config.load(content)
    assert key.replace(".model", '."model"') in str(caught.value) or key in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("server.port", 0),
        ("server.port", 65535),
        ("server.shutdown_grace", 0.0),
        ("server.host", "::1"),
        ("upstream.url", "http://[::1]:8080/v1/"),
        ("upstream.url", "https://example.com"),
        ("anthropic.url", "http://127.0.0.1:8080/v1"),
        ("upstream.connect_timeout", 0.001),
        ("cache.max_bytes", 0),
        ("cache.max_bytes", 2**63 - 1),
        ("cache.ttl", 0.0),
        ("cache.ttl", math.inf),
        ("cache.max_temperature", 0.0),
        ("cache.max_reply_bytes", 1),
        ("version", 2**63 - 1),
        ("scope", "team/a"),
    ],
    ids=str,
)
def test_the_ends_of_a_range_are_allowed_and_open_a_pipeline(key: str, value: Any) -> None:
    table, _, name = key.rpartition(".")
    loaded = config.load({table: {name: value}} if table else {name: value})
    assert getattr(getattr(loaded, table) if table else loaded, name) == value
    assert sparecall.open(loaded).stages


def test_a_scope_that_could_be_mistaken_for_another_does_not_open() -> None:
    with pytest.raises(ConfigError, match="scope is 'a b'"):
        sparecall.open({"scope": "a b"})


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"semantic": {"embedder": "minilm"}}, r"semantic\.folder is none; allowed: the path of a model"),
        ({"semantic": {"embedder": "minilm", "folder": ""}}, r"semantic\.folder is ''"),
        ({"semantic": {"embedder": "other"}}, r"Invalid enum value 'other' - at `\$\.semantic\.embedder`"),
        (
            {"semantic": {"enabled": True}, "cache": {"enabled": False}},
            r"semantic\.enabled is true; allowed: only with",
        ),
        ({"semantic": {"categories": {"a": {"pattern": "("}}}}, r"semantic\.categories\.a\.pattern is no regular"),
        ({"semantic": {"categories": {"a": {"max_error": 2.0}}}}, r"semantic\.categories\.a\.max_error is 2\.0"),
        ({"semantic": {"categories": {"a": {"ttl": -1.0}}}}, r"semantic\.categories\.a\.ttl is -1\.0"),
        ({"semantic": {"categories": {"": {}}}}, r"semantic\.categories is ''"),
        ({"semantic": {"categories": {"a": {"route": "x"}}}}, "unknown field `route`"),
    ],
    ids=str,
)
def test_what_cannot_be_answered_by_meaning_is_named(sections: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        config.load(sections)


@pytest.mark.parametrize(
    "url",
    [
        "http://user:hunter2@host/v1",
        "https://user@host",
        "http://user:hunter2@host:bad/",
        "http://user:hunter2@/?x=hunter2",
    ],
)
def test_an_address_with_a_password_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigError, match=r"upstream\.url") as caught:
        config.load({"upstream": {"url": url}})
    assert "hunter2" not in str(caught.value)
    assert "user@" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_neither_errors_nor_reprs_repeat_keys() -> None:
    secret = "sk-secret"
    with pytest.raises(ConfigError) as caught:
        config.load({"upstream": {"api_key": f"{secret}\n"}})
    assert secret not in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        config.load({"server": {"client_keys": [f"{secret} "]}})
    assert secret not in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        config.load({"upstream": {"url": f"http://host/v1?key={secret}"}})
    assert secret not in str(caught.value)
    loaded = config.load({"upstream": {"api_key": secret}, "server": {"client_keys": [secret]}})
    assert secret not in repr(loaded)
    assert "client_keys=<1>" in repr(loaded)


def test_the_own_key_may_stand_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    content = {"upstream": {"api_key_env": "SPARECALL_TEST_KEY"}}
    monkeypatch.delenv("SPARECALL_TEST_KEY", raising=False)
    with pytest.raises(ConfigError, match=r"upstream\.api_key_env names SPARECALL_TEST_KEY, which is not set"):
        config.load(content)
    monkeypatch.setenv("SPARECALL_TEST_KEY", "sk-1\n")
    with pytest.raises(ConfigError, match="SPARECALL_TEST_KEY") as caught:
        config.load(content)
    assert "sk-1" not in str(caught.value)
    monkeypatch.setenv("SPARECALL_TEST_KEY", "sk-1")
    assert config.load(content).upstream.key() == "sk-1"
    assert config.load({"upstream": {"api_key": "sk-2", "api_key_env": "SPARECALL_TEST_KEY"}}).upstream.key() == "sk-2"
    assert config.load().upstream.key() is None


def test_a_file_that_cannot_be_read_or_is_not_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.toml cannot be read: No such file"):
        config.load(tmp_path / "missing.toml")
    with pytest.raises(ConfigError, match=r"cannot be read: Is a directory"):
        config.load(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read"):
        config.load("nul\0byte")
    path = tmp_path / "broken.toml"
    path.write_text("[server\nport = 1")
    with pytest.raises(ConfigError, match=r"broken\.toml is not TOML"):
        config.load(path)
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"broken\.toml is not TOML"):
        config.load(path)
    path.write_text("[server]\nport = 70000")
    with pytest.raises(ConfigError, match=r"broken\.toml: server\.port is 70000; allowed: 0 to 65535"):
        config.load(path)


def test_with_changes_replaces_what_is_given_and_checks_it() -> None:
    original = config.load({"server": {"port": 1}})
    changed = original.with_changes("server", port=2, host=None)
    assert (changed.server.port, changed.server.host) == (2, "127.0.0.1")
    assert original.server.port == 1
    assert original.with_changes("cache") == original
    with pytest.raises(ConfigError, match=r"server\.port is -5"):
        original.with_changes("server", port=-5)


def test_a_config_made_in_python_is_checked_when_it_is_used() -> None:
    odd = config.Config(server=config.Server(port=-1))
    with pytest.raises(ConfigError, match=r"server\.port"):
        config.load(odd)
    with pytest.raises(ConfigError, match=r"server\.port"):
        sparecall.open(odd)


def test_a_config_cannot_be_changed_in_place() -> None:
    with pytest.raises(AttributeError):
        config.load().server.port = 5  # type: ignore[misc]


def test_a_config_error_is_caught_with_the_base_of_all() -> None:
    assert issubclass(ConfigError, SparecallError)
    assert issubclass(ConfigError, ValueError)
    assert not issubclass(ConfigError, msgspec.ValidationError)


TABLES = {
    "server", "upstream", "upstreams", "anthropic", "cache", "store", "semantic", "embeddings", "retry", "fallback", "hedge", "route", "system", "prices",
    "context",
}  # fmt: skip


def documented_rows(heading: str) -> dict[str, list[str]]:
    """The rows of the table under a heading of the page, by their key."""
    section = PAGE.read_text("utf-8").partition(f"\n## {heading}")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("| `")
    ]
    return {row[0].strip("`"): row for row in rows}


@pytest.mark.parametrize(
    ("heading", "struct", "left_out"),
    [
        ("Top level", config.Config, TABLES),
        ("`[server]`", config.Server, set()),
        ("`[upstream]`", config.Upstream, {"limit", "timeout", "breaker"}),
        ("`[upstream.NAME.timeout]`", config.Timeout, set()),
        ("`[hedge]`", config.Hedge, set()),
        ("`[route]`", config.Route, set()),
        ("`[system]`", config.System, set()),
        ("`[upstream.NAME.limit]`", config.Limit, set()),
        ("`[upstream.NAME.breaker]`", config.Breaker, set()),
        ("`[retry]`", config.Retry, set()),
        (
            "`[anthropic]`",
            config.Anthropic,
            {field.name for field in msgspec.structs.fields(config.Upstream)} - {"url", "wire"},
        ),
        ("`[cache]`", config.Cache, set()),
        ("`[store]`", config.Store, set()),
        ("`[semantic]`", config.Semantic, {"categories"}),
        ("`[context]`", config.Context, set()),
        ("`[embeddings]`", config.Embeddings, set()),
        ("`[semantic.categories.NAME]`", config.SemanticCategory, set()),
        ('`[prices."model"]`', Price, set()),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "__name__", "less"),
)
def test_the_page_names_every_key_with_its_default_and_no_other(
    heading: str, struct: type[msgspec.Struct], left_out: set[str]
) -> None:
    rows = documented_rows(heading)
    fields = {field.name: field for field in msgspec.structs.fields(struct) if field.name not in left_out}
    assert set(rows) == set(fields)
    for name, (_, _, default, meaning) in rows.items():
        assert meaning
        if default not in {"none", "required", "like `input`"}:
            value = tomllib.loads(f"key = {default.strip('`')}")["key"]
            factory = fields[name].default_factory
            expected = fields[name].default if factory is msgspec.NODEFAULT else factory()
            assert msgspec.convert(value, fields[name].type) == expected
        elif default == "required":
            assert fields[name].default is msgspec.NODEFAULT
        else:
            assert fields[name].default is None


def test_the_page_has_a_section_for_every_table() -> None:
    headings = set(re.findall(r"^## `\[(\w+)", PAGE.read_text("utf-8"), re.MULTILINE))
    tables = {field.name for field in msgspec.structs.fields(config.Config)} - set(documented_rows("Top level"))
    assert headings == TABLES - {"upstreams"}
    assert tables == TABLES


def test_the_whole_file_on_the_page_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "sk-2")
    blocks = re.findall(r"```toml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 1
    assert config.load(tomllib.loads(blocks[0])).scope == "acme/support"
