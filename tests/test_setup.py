"""Ways to set up agree: pyproject, lock, environment.yml, Makefile and README."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from workbench import errors

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
LOCKS = ("lock.txt", "torch.txt", "models.txt")


def entries(text: str) -> list[str]:
    """The logical lines of a requirements file: continuations joined, comments dropped."""
    joined = re.sub(r"\\\n", " ", text)
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in joined.splitlines())
    return [line for line in lines if line]


def unhashed(text: str) -> list[str]:
    """Entries that are not pinned to one version with a hash of 64 hex digits."""
    sound = re.compile(r"[A-Za-z0-9._-]+==\S+( ;.*?)?(\s+--hash=sha256:[0-9a-f]{64})+")
    return [line for line in entries(text) if not sound.fullmatch(line)]


def locked(name: str) -> dict[str, Version]:
    pins = [re.match(r"([\w.-]+)==([^\s;]+)", line) for line in entries(read(name))]
    return {canonicalize_name(pin[1]): Version(pin[2]) for pin in pins if pin}


def read(name: str) -> str:
    return (ROOT / "requirements" / name).read_text(encoding="utf-8")


def direct() -> list[Requirement]:
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    return [Requirement(text) for group in groups for text in group]


@pytest.mark.parametrize("need", direct(), ids=str)
def test_every_direct_dependency_is_pinned_at_a_version_that_fits(need):
    """What pyproject asks for is in one of the locks, and the pin is within what it allows."""
    pins = {name: version for lock in LOCKS for name, version in locked(lock).items()}
    assert canonicalize_name(need.name) in pins
    assert need.specifier.contains(pins[canonicalize_name(need.name)])


@pytest.mark.parametrize("name", ["lock.txt", "models.txt"])
def test_every_locked_package_has_a_hash(name):
    """A package whose bytes changed under the same version is not installed."""
    assert unhashed(read(name)) == []
    assert len(entries(read(name))) == len(locked(name))


def test_a_lock_without_a_hash_is_seen():
    """The check itself: no hash, a short one, no version, an option."""
    assert unhashed(f"a==1 \\\n    --hash=sha256:{'0' * 64}\n    # via b\n") == []
    for text in ("a==1", f"a==1 --hash=sha256:{'0' * 63}", f"a>=1 --hash=sha256:{'0' * 64}",
                 "--extra-index-url https://example.org"):  # fmt: skip
        assert unhashed(text) == [text]


def test_torch_is_pinned_as_pyproject_says():
    """Its build depends on the machine, so it has no hash; its version is one all the same."""
    wanted = next(need for need in direct() if need.name == "torch")
    assert str(wanted.specifier) == f"=={locked('torch.txt')['torch']}"
    assert "torch" not in locked("lock.txt")


def test_conda_asks_for_the_same_python():
    """One lower bound in both places."""
    python = next(text for text in CONDA if isinstance(text, str) and text.startswith("python"))
    assert SpecifierSet(python.removeprefix("python")) == SpecifierSet(PROJECT["requires-python"])


def test_conda_installs_from_the_same_lock():
    """Files that it names are there, and `make setup` or a pip part brings what the lock holds."""
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    named = re.findall(r"requirements/\w+\.txt", text)
    assert all((ROOT / name).is_file() for name in named)
    assert "make setup" in text or "requirements/lock.txt" in named
    assert "pip" in CONDA


def test_what_conda_gives_to_pip_pip_can_install():
    """All of a pip part is one call, and one hash in it asks for a hash on every line: torch and
    the editable package have none, so such a part never installs."""
    parts = [part["pip"] for part in CONDA if isinstance(part, dict)]
    for given in parts:
        files = [line.removeprefix("-r ") for line in given if line.startswith("-r ")]
        lines = [line for name in files for line in entries((ROOT / name).read_text())]
        lines += [line for line in given if not line.startswith("-r ")]
        hashed = ["--hash" in line for line in lines]
        assert all(hashed) or not any(hashed)


def targets(makefile: str) -> set[str]:
    return set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))


def test_every_make_target_that_the_readme_names_exists():
    """Also the flags are for a target that there is."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    pages = [README, *(p.read_text(encoding="utf-8") for p in (ROOT / "docs").glob("*.md"))]
    named = {name for page in pages for name in re.findall(r"(?m)(?:`|^)make ([a-z]+)", page)}
    assert {"demo", "test"} <= named
    assert named <= targets(makefile)
    assert {"setup", "demo", "test", "prove", "measure", "lab", "lint"} <= targets(makefile)


def test_every_tool_that_the_makefile_calls_exists():
    """A target that fails for want of its script helps nobody."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all((ROOT / name).is_file() for name in re.findall(r"tools/\w+\.(?:py|sh)", makefile))


def exit_codes(page: str) -> dict[int, str]:
    return {int(code): text for code, text in re.findall(r"(?m)^\| (\d) \| (.+?) \|$", page)}


def test_the_readme_has_the_exit_codes_of_the_errors():
    """One row a code: 0 and those of the error classes, no other."""
    classes = [one for one in vars(errors).values()
               if isinstance(one, type) and issubclass(one, errors.WorkbenchError)]  # fmt: skip
    said = exit_codes(README)
    assert sorted(said) == [0, *sorted({one.exit_code for one in classes})]
    for code, word in (
        (0, "done"),
        (1, "input"),
        (2, "broke"),
        (3, "gate"),
        (4, "person"),
        (6, "integrity"),
    ):
        assert word in said[code]


def test_the_readme_names_files_that_exist():
    """Links and tools; what a run makes is left out."""
    named = re.findall(r"\]\(([\w./-]+)\)", README) + re.findall(r"tools/\w+\.py", README)
    assert all((ROOT / name).exists() for name in named), named


def test_a_wheel_carries_the_templates(tmp_path):
    """An installed workbench has every stage, starter pack and the stand-alone verifier, also
    without the checkout."""
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "-w", tmp_path, ROOT], check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        held = {name.removeprefix("workbench/") for name in wheel.namelist()}
    ours = {p.relative_to(ROOT).as_posix() for p in (ROOT / "templates").rglob("*") if p.is_file()}
    assert {name for name in ours if ".ipynb_checkpoints" not in name} <= held
    assert "tools/verify_record.py" in held  # what goes along with an exported release
