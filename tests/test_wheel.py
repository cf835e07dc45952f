"""What users download: exactly the package, nothing that runs at interpreter start, and small."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

import sparecall

ROOT = Path(__file__).parent.parent
MAX_BYTES = 25_000_000


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    maturin = Path(sys.executable).parent / "maturin"
    if not maturin.exists():
        pytest.skip("maturin is not installed in this environment")
    folder = tmp_path_factory.mktemp("wheel")
    # With a warm target this only packs what the suite already runs on.
    command = [maturin, "build", "--release", "--quiet", "--interpreter", sys.executable, "--out", folder]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    sources = {
        str(path.relative_to(ROOT / "python"))
        for path in (ROOT / "python").rglob("*")
        if path.suffix in {".bin", ".py", ".pyi", ".toml", ".typed"} or path.name == "py.typed"
    }
    names = set(zipfile.ZipFile(wheel).namelist())
    info = f"sparecall-{sparecall.__version__}.dist-info/"
    described = {name for name in names if name.startswith(info)}
    compiled = {name for name in names if name.startswith("sparecall/_core.") and name.endswith((".so", ".pyd"))}
    assert names - described - compiled == sources
    assert len(compiled) == 1
    assert {name.removeprefix(info).split("/")[0] for name in described} == {
        "METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses", "sboms",
    }  # fmt: skip
    assert {info + "licenses/LICENSE", info + "licenses/NOTICE"} <= described
    assert not [name for name in names if name.endswith(".pth")]


def test_the_wheel_is_small_and_made_for_one_interpreter(wheel: Path) -> None:
    assert wheel.stat().st_size <= MAX_BYTES
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    assert f"-{tag}-{tag}-" in wheel.name


def test_the_wheel_needs_no_more_than_it_says(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    metadata = message_from_bytes(archive.read(f"sparecall-{sparecall.__version__}.dist-info/METADATA"))
    runtime = {line.split(">")[0] for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line}
    assert runtime == {"aiohttp", "msgspec", "numpy", "orjson", "uvloop"}
    assert metadata["License-Expression"] == "Apache-2.0"
    assert set(metadata.get_all("Provides-Extra", [])) >= {"demo"}
