"""The stand-alone verifier: small, independent, and of one mind with ours.

What it finds after tampering is held in tests/record/test_verify.py, side by side with ours.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.record import pack, statement
from workbench.record.store import Store

TOOL = Path(__file__).parents[2] / "tools" / "verify_record.py"


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_KEYS", str(tmp_path / "keys"))
    store = Store.create(tmp_path / "store", "research")
    run = store.begin("10_intake", "tester")
    (run.record / "notebook.ipynb").write_text("{}")
    about = statement.build(
        stage="10_intake",
        parameters={},
        usecase="demo",
        track="research",
        started="2025-01-01T00:00:00Z",
        finished="2025-01-01T00:00:00Z",
        outcome="succeeded",
    )
    store.publish(run, about)
    (tmp_path / "key.pem").write_text(store.public_keys[0])
    return store


def _verify(*arguments):
    """Exit code and output of the tool, run apart from our package."""
    command = [sys.executable, "-I", TOOL, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/")
    return done.returncode, done.stdout + done.stderr


def test_it_uses_none_of_our_code():
    """Standard library and cryptography only, and short enough to read in half an hour."""
    text = TOOL.read_text()
    modules = set()
    for part in ast.walk(ast.parse(text)):
        if isinstance(part, ast.Import):
            modules |= {name.name for name in part.names}
        elif isinstance(part, ast.ImportFrom):
            modules.add(part.module)
    roots = {name.split(".")[0] for name in modules}
    assert roots - set(sys.stdlib_module_names) == {"cryptography"}
    assert len([line for line in text.splitlines() if line.strip()]) <= 320


def test_record_store_and_pack_verify_with_a_public_key(store, tmp_path):
    """Exit 0 for each of the three, with the key that the reader brings."""
    pack.pack(store, [store.records()[0].id], tmp_path / "p.tar")
    pack.unpack(tmp_path / "p.tar", tmp_path / "pack")
    for path in (store.records()[0].path, store.path, tmp_path / "pack"):
        code, output = _verify(path, "--key", tmp_path / "key.pem")
        assert (code, "verified" in output) == (0, True), output


def test_what_a_pack_carries_is_verified_against_its_signed_list(store, tmp_path):
    """Templates and leaf inputs for a replay: changed, added or removed, each is named."""
    (tmp_path / "template.ipynb").write_text("{}")
    files = {"templates/10.ipynb": tmp_path / "template.ipynb"}
    carried = pack.Carried(files=files)
    pack.pack(store, [store.records()[0].id], tmp_path / "p.tar", carry=lambda records: carried)
    pack.unpack(tmp_path / "p.tar", tmp_path / "pack")
    assert _verify(tmp_path / "pack")[0] == 0
    held = tmp_path / "pack" / "carried" / "templates" / "10.ipynb"
    held.chmod(0o644)
    held.write_text("[]")
    code, output = _verify(tmp_path / "pack")
    assert code == 6 and "carried/templates/10.ipynb: changed" in output
    held.rename(held.with_name("11.ipynb"))
    code, output = _verify(tmp_path / "pack")
    assert code == 6 and "carried/templates/11.ipynb: added or removed" in output


def test_without_a_key_it_says_what_that_means(store):
    """The folder's own key shows that nothing changed, not who made it."""
    for path in (store.path, store.records()[0].path):
        code, output = _verify(path)
        assert code == 0
        assert "does not show who made it" in output


def test_a_changed_byte_ends_in_6_and_names_the_file(store):
    """The exit code of IntegrityError, and the file at fault."""
    path = store.records()[0].path / "notebook.ipynb"
    path.chmod(0o644)
    path.write_text("[]")
    for place in (store.path, store.records()[0].path):
        code, output = _verify(place)
        assert code == 6
        assert "notebook.ipynb: changed" in output


def test_another_key_ends_in_6(store, tmp_path):
    """A store that is consistent, but not of the key that is trusted."""
    other = Store.create(tmp_path / "other", "research")
    (tmp_path / "other.pem").write_text(other.public_keys[0])
    assert _verify(store.path, "--key", tmp_path / "other.pem")[0] == 6


@pytest.mark.parametrize("name", ["store.json", "pack.json", "statement.json"])
def test_nonsense_ends_in_6_and_not_in_a_traceback(tmp_path, name):
    """A folder with a file of the right name and nothing right in it."""
    (tmp_path / name).write_text("[1]")
    code, output = _verify(tmp_path)
    assert (code, "Traceback" in output) == (6, False)


def test_wrong_use_ends_in_1(tmp_path):
    """A path that is no folder, a key that is none."""
    assert _verify(tmp_path / "none")[0] == 1
    (tmp_path / "bad.pem").write_text("x")
    assert _verify(tmp_path, "--key", tmp_path / "bad.pem")[0] == 1
