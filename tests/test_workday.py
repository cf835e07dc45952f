"""The demo's script of a day: deterministic, made of the user's own library, and with no repeats but the intended ones."""

from __future__ import annotations

import json
from collections import Counter
from random import Random
from typing import TYPE_CHECKING

import pytest

from sparecall import digest
from sparecall._core import SemanticProfile
from sparecall.demo import source
from sparecall.demo.workday import HOURS, SHARES, TEAM, amounts, plan
from sparecall.errors import SparecallError

if TYPE_CHECKING:
    from pathlib import Path

    from sparecall.demo.task import Task

FUNCTION = "def {name}(value):\n    '''Doc.'''\n    total = value + 1\n    return total\n\n\n"
MODULE = "".join(FUNCTION.format(name=f"function_{number}") for number in range(30))


def key(task: Task) -> bytes:
    """The digest of the task's first call; a follow-up counts with what it follows."""
    body = {"model": task.model, "messages": task.messages, "temperature": task.temperature}
    if task.kind == "follow-up":
        body["follows"] = task.earlier
    return digest.inspect(json.dumps(body).encode(), scope="").digest


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A folder with two good modules and much that is none."""
    root = tmp_path / "lib"
    (root / "package" / "deeper").mkdir(parents=True)
    (root / "good.py").write_text(MODULE)
    (root / "package" / "__init__.py").write_text(MODULE)
    (root / "short.py").write_text("x = 1\n")
    (root / "long.py").write_text(MODULE * 40)
    (root / "flat.py").write_text("# no functions\n" * 200)
    (root / "broken.py").write_text(MODULE + "def (")
    (root / "latin.py").write_bytes(MODULE.encode() + b"# \xff\n")
    (root / "null.py").write_bytes(MODULE.encode() + b"# \x00\n")
    (root / "folder.py").mkdir()
    for name in ("site-packages", "test"):
        (root / name).mkdir()
        (root / name / "there.py").write_text(MODULE)
    outside = tmp_path / "outside.py"
    outside.write_text(MODULE + "# a secret\n")
    (root / "link.py").symlink_to(outside)
    (root / "dangling.py").symlink_to(tmp_path / "nowhere.py")
    return root


def test_the_same_seed_gives_the_same_day_and_another_seed_another() -> None:
    assert plan(calls=100, agents=5, seed=1) == plan(calls=100, agents=5, seed=1)
    assert plan(calls=100, agents=5, seed=1) != plan(calls=100, agents=5, seed=2)


@pytest.mark.parametrize("calls", [*range(30, 36), 97, 480])
def test_a_day_has_exactly_the_calls_asked_for_whatever_the_size(calls: int) -> None:
    day = plan(calls=calls, agents=3 + calls % 6, seed=calls)
    assert day.calls == calls
    kinds = Counter(task.kind for task in day.tasks)
    expected = amounts(calls)
    assert kinds == {**expected, "together": TEAM * expected["together"]}
    assert len({task.number for task in day.tasks}) == len(day.tasks)
    assert len(day.hours) == HOURS


def test_the_shares_are_those_of_all_calls() -> None:
    assert sum(SHARES.values()) == pytest.approx(1)
    calls = Counter[str]()
    for task in plan(calls=2000, agents=8, seed=0).tasks:
        calls[task.kind] += task.calls
    for kind, share in SHARES.items():
        assert calls[kind] / 2000 == pytest.approx(share, abs=0.002)


def test_only_repeats_and_simultaneous_starts_say_what_was_said_before() -> None:
    tasks = plan(calls=600, agents=8, seed=4).tasks
    by_number = {task.number: task for task in tasks}
    fresh = Counter(key(task) for task in tasks if task.kind not in {"repeat", "together"})
    assert set(fresh.values()) == {1}
    for task in tasks:
        if task.kind == "repeat":
            assert task.earlier is not None
            assert key(task) == key(by_number[task.earlier])
    teams = Counter(key(task) for task in tasks if task.kind == "together")
    assert set(teams.values()) == {TEAM}
    assert not fresh.keys() & teams.keys()


def test_what_builds_on_earlier_work_comes_in_a_later_hour() -> None:
    day = plan(calls=400, agents=8, seed=5)
    hour_of = {task.number: number for number, hour in enumerate(day.hours) for tasks in hour for task in tasks}
    later = [task for task in day.tasks if task.earlier is not None]
    assert {task.kind for task in later} == {"repeat", "retype", "rephrase", "re-read", "follow-up"}
    assert all(hour_of[task.earlier or 0] < hour_of[task.number] for task in later)
    assert any(task.agent != by.agent for task in later for by in day.tasks if by.number == task.earlier)


def test_a_rephrased_question_shows_the_same_source_in_other_words() -> None:
    tasks = plan(calls=400, agents=8, seed=6).tasks
    by_number = {task.number: task for task in tasks}
    rephrased = [task for task in tasks if task.kind == "rephrase"]
    assert rephrased
    for task in rephrased:
        said, before = (each.messages[-1]["content"] for each in (task, by_number[task.earlier or 0]))
        assert said.rpartition("```")[0] == before.rpartition("```")[0]
        assert said != before


@pytest.mark.parametrize("seed", range(3))
def test_a_retyped_question_is_another_request_in_the_same_words(seed: int) -> None:
    tasks = plan(calls=400, agents=8, seed=seed).tasks
    by_number = {task.number: task for task in tasks}
    retyped = [task for task in tasks if task.kind == "retype"]
    assert len({task.earlier for task in retyped}) == len(retyped) > 0
    for task in retyped:
        said, before = (each.messages[-1]["content"] for each in (task, by_number[task.earlier or 0]))
        assert said != before
        assert SemanticProfile(said).same(SemanticProfile(before))


def test_an_edit_changes_the_request_and_nobody_shows_the_old_text_again() -> None:
    day = plan(calls=600, agents=8, seed=7)
    by_number = {task.number: task for task in day.tasks}
    rereads = [task for task in day.tasks if task.kind == "re-read"]
    assert rereads
    edited: dict[str, int] = {}
    for hour in day.hours:
        tasks = [task for tasks in hour for task in tasks]
        for task in tasks:
            if task.kind == "re-read":
                before = by_number[task.earlier or 0]
                assert task.path == before.path
                assert key(task) != key(before)
                edited[task.path] = edited.get(task.path, 0) + 1
        for task in tasks:
            shown = task.messages[-1]["content"] if task.tools is None else task.tools["read_file"]
            if task.path in edited and (
                task.tools is not None or "# Edit " in shown or task.kind in {"read", "re-read"}
            ):
                assert shown.count("# Edit ") == edited[task.path]


def test_agents_share_the_work_evenly() -> None:
    for hour in plan(calls=800, agents=8, seed=8).hours:
        calls = [sum(task.calls for task in tasks) for tasks in hour]
        assert max(calls) - min(calls) <= 2 * TEAM


def test_only_readable_modules_inside_the_library_are_chosen(library: Path) -> None:
    modules = source.modules(100, Random(0), root=library)
    assert sorted(module.path for module in modules) == ["good.py", "package/__init__.py"]
    good = next(module for module in modules if module.path == "good.py")
    assert (good.text, len(good.functions)) == (MODULE, 30)
    assert good.functions[0].name == "good.function_0"
    assert good.functions[0].source == FUNCTION.format(name="function_0").rstrip()
    assert repr(good) == f"<Module good.py, {len(MODULE)} characters, 30 functions>"
    assert not any("secret" in module.text for module in modules)


def test_methods_are_named_with_their_class_and_modules_without_init(tmp_path: Path) -> None:
    method = FUNCTION.format(name="method").replace("\n", "\n    ")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text(MODULE + f"class Thing:\n    {method}\n    async {method}")
    (module,) = source.modules(1, Random(0), root=tmp_path)
    assert [function.name for function in module.functions[-2:]] == ["package.Thing.method"] * 2
    assert module.functions[-1].source.lstrip().startswith("async def")


def test_a_library_without_sources_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(SparecallError, match="has no Python sources to work on; run the demo with a Python that"):
        plan(calls=100, agents=4, seed=0, root=tmp_path)
    with pytest.raises(SparecallError, match="has no Python sources"):
        plan(calls=100, agents=4, seed=0, root=tmp_path / "absent")


def test_the_running_pythons_own_library_is_the_source() -> None:
    day = plan(calls=40, agents=4, seed=0)
    root = source.library()
    assert all((root / task.path).is_file() for task in day.tasks)
    read = next(task for task in day.tasks if task.kind == "read" and "# Edit" not in task.messages[-1]["content"])
    assert (root / read.path).read_text("utf-8") in read.messages[-1]["content"]
