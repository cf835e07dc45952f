"""The `sparecall` command: exit statuses, messages, and what it does not import."""

from __future__ import annotations

import subprocess
import sys
import types

import pytest

import sparecall
from sparecall import cli, errors


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A command named `try`, whose `run` a test sets."""
    module = types.ModuleType("sparecall_try")
    module.add_arguments = lambda parser: parser.add_argument("--size", type=int)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(cli, "COMMANDS", (*cli.COMMANDS, ("try", module.__name__, "try something")))
    return module


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"sparecall {sparecall.__version__}\n"


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    for name, _, summary in cli.COMMANDS:
        assert f"    {name} " in out
        assert summary.split()[0] in out


@pytest.mark.parametrize("name", [name for name, _, _ in cli.COMMANDS])
def test_every_command_has_help_of_its_own(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([name, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: sparecall {name} [-h] ")


@pytest.mark.parametrize(("words", "message"), [(["bake"], "invalid choice: 'bake'"), ([], "required: COMMAND")])
def test_an_unknown_command_and_none_are_refused_with_status_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_the_status_of_the_command_is_the_status_of_the_process(command: types.ModuleType) -> None:
    command.run = lambda arguments: arguments.size  # type: ignore[attr-defined]
    assert cli.main(["try", "--size", "7"]) == 7


def test_an_error_of_ours_is_one_line_and_status_2(
    command: types.ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_: object) -> int:
        raise errors.InvalidArgument("size is 0; it must be 1 or more")

    command.run = run  # type: ignore[attr-defined]
    assert cli.main(["try"]) == 2
    captured = capsys.readouterr()
    assert captured.err == "sparecall try: size is 0; it must be 1 or more\n"
    assert captured.out == ""


def test_a_bug_is_not_hidden_behind_a_line(command: types.ModuleType) -> None:
    def run(_: object) -> int:
        raise ZeroDivisionError

    command.run = run  # type: ignore[attr-defined]
    with pytest.raises(ZeroDivisionError):
        cli.main(["try"])


def test_an_interrupt_is_status_130_and_silent(command: types.ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    command.run = interrupted  # type: ignore[attr-defined]
    assert cli.main(["try"]) == 130
    command.add_arguments = interrupted  # type: ignore[attr-defined]
    assert cli.main(["try"]) == 130, "also while the command is set up"
    assert capsys.readouterr() == ("", "")


def test_the_version_is_told_without_loading_a_command() -> None:
    code = (
        "import sys; from sparecall import cli\n"
        "try: cli.main(['--version'])\n"
        "finally: print(sorted({'aiohttp', 'openai', 'uvloop', 'sparecall.gateway'} & set(sys.modules)))"
    )
    assert python("-c", code).stdout == f"sparecall {sparecall.__version__}\n[]\n"


def test_explain_does_not_load_the_gateway() -> None:
    code = (
        "import sys; from sparecall import cli\n"
        "assert cli.main(['explain', 'nowhere', 'nowhere']) == 2\n"
        "print(sorted({'aiohttp', 'uvloop', 'sparecall.gateway'} & set(sys.modules)))"
    )
    assert python("-c", code).stdout == "[]\n"


def test_the_module_runs_as_the_command_does() -> None:
    done = python("-m", "sparecall.cli", "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"sparecall {sparecall.__version__}\n", "")
    refused = python("-m", "sparecall.cli", "explain", "nowhere", "nowhere")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "sparecall explain: nowhere: No such file or directory\n"
