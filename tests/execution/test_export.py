"""A release leaves in one folder: whole or not at all, with nothing in it that is not meant to go.

What the folder proves to a stranger is held in tests/tools/test_verify_record.py.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys

import pytest

from workbench.errors import InputError, IntegrityError, RunError
from workbench.execution.release.export import export, verifier
from workbench.record.digest import file_digest, tree

from ..a_release import USECASE, Made


@pytest.fixture(scope="module")
def release_made(tmp_path_factory):
    """A release that is in order; to be copied, never used."""
    home = tmp_path_factory.mktemp("registered")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_KEYS", str(home / "keys"))
        return Made(home).approved().register()


@pytest.fixture
def made(release_made, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_KEYS", str(tmp_path / "keys"))
    return release_made.copied(tmp_path)


def _left(made):
    return sorted(path.name for path in made.home.iterdir() if "exported" in path.name)


def test_one_folder_holds_all_that_a_stranger_needs(made):
    """The bundle as it was frozen, the pack, public keys, the verifier and how to use it; every
    file is in the list that the engine signs."""
    folder = made.export()
    top = {"bundle", "keys", "model.sig", "pack.json", "pack.sigs.json", "README.txt", "records",
           "release.json", "verify_record.py"}  # fmt: skip
    assert {path.name for path in folder.iterdir()} == top
    frozen = made.store.record(made.candidate.digest).path / "outputs" / "bundle"
    assert tree(folder / "bundle") == tree(frozen)
    release = json.loads((folder / "release.json").read_bytes())
    assert (release["bundle"], release["approvals"]) == (made.bundle, made.approvals)
    beside = json.loads((folder / "pack.json").read_bytes())["carried"]["facts"]["beside"]
    own = {"pack.json", "pack.sigs.json"}
    held = {one.path for one in tree(folder) if not one.path.startswith("records/")}
    assert {one["path"] for one in beside} == held - own
    assert file_digest(folder / "verify_record.py") == file_digest(verifier())


def test_no_private_key_and_no_other_record_goes_along(made):
    """Two records: the candidate's and the release's; of their ancestors only the seals."""
    folder = made.export()
    assert not [p for p in folder.rglob("*") if p.is_file() and b"PRIVATE KEY" in p.read_bytes()
                and p.name != "verify_record.py"]  # fmt: skip
    assert {path.name for path in (folder / "records").iterdir()} == {"50_candidate", "55_release"}
    lines = [e["line"] for e in json.loads((folder / "pack.json").read_bytes())["entries"]]
    kinds = {json.loads(line)["kind"] for line in lines}
    assert {"store", "keyring", "approval", "release", "identity", "criteria"} <= kinds


def test_a_record_with_rows_is_not_handed_out(made):
    """Not even encrypted: of rows a stranger needs none."""
    rows = {"outputs/standing.json": {"snapshot": "s", "plaintext": "0" * 64}}
    made.register(encrypted=rows)
    with pytest.raises(IntegrityError, match="holds rows"):
        made.export()
    assert _left(made) == []


def test_only_a_new_or_empty_folder_is_written(made):
    """What lies there is never mixed with a release, and never replaced."""
    place = made.home / "exported"
    place.mkdir()
    made.export()
    before = tree(place)
    with pytest.raises(InputError, match="Can't export there"):
        made.export()
    assert tree(place) == before
    (made.home / "link").symlink_to(made.home / "nowhere")
    with pytest.raises(InputError):
        made.export("link")


def test_a_disk_that_fills_up_leaves_nothing(made):
    """RunError, no folder, nothing half; with room again it goes."""
    made.export("before")  # the ledger has its entry of the key: what fails now is the folder
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))
    try:
        with pytest.raises(RunError, match="could not export"):
            made.export()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert _left(made) == []
    assert made.export().is_dir()


def test_a_changed_record_or_bundle_is_not_exported(made):
    """IntegrityError, and nothing is left."""
    path = made.store.record(made.candidate.digest).path / "outputs/bundle/MODEL_CARD.md"
    path.chmod(0o644)
    path.write_text("# Another model\n")
    with pytest.raises(IntegrityError):
        made.export()
    assert _left(made) == []


def test_what_is_not_registered_is_no_release(made):
    """Neither a use case without one, nor a candidate that nobody registered; the next step is
    said."""
    with pytest.raises(InputError, match="no such release"):
        export(made.store, "another", made.home / "exported")
    made.freeze(lambda folder: (folder / "MODEL_CARD.md").write_text("# Newer\n"))
    with pytest.raises(InputError) as refused:
        export(made.store, USECASE, made.home / "exported", made.bundle)
    assert "release status" in refused.value.next_step


def test_without_a_name_the_last_release_goes(made):
    """Also where a newer candidate waits for its signatures."""
    first = made.bundle
    made.freeze(lambda folder: (folder / "MODEL_CARD.md").write_text("# Newer\n"))
    assert export(made.store, USECASE, made.home / "exported").bundle == first
    assert export(made.store, USECASE, made.home / "again", first[:12]).bundle == first


# other tools


def test_the_key_for_other_tools_is_made_once_and_the_ledger_knows_it(made):
    """P-256, beside the engine's, for nobody else to read; another in its place is refused."""
    one, two = made.export("one"), made.export("two")
    pem = (one / "keys/model-signing.pem").read_text()
    assert (two / "keys/model-signing.pem").read_text() == pem
    (known,) = made.store.ledger.entries("identity")
    assert known.body == {"purpose": "model-signing", "public_key": pem}
    place = made.store.keys / "model-signing.pem"
    assert place.stat().st_mode & 0o777 == 0o600
    place.unlink()
    with pytest.raises(IntegrityError, match="not the one in the ledger"):
        made.export()


def test_a_name_that_other_tools_pass_over_is_refused(made):
    """model-signing does not look at git's files at the top: what it would not see is not signed."""
    made.freeze(lambda folder: (folder / ".gitattributes").write_text("x"))
    made.approvals.clear()
    with pytest.raises(InputError, match="passes over"):
        made.approved().register().export()


@pytest.mark.skipif(not shutil.which("model_signing"), reason="model-signing is not installed here")
def test_openssf_model_signing_verifies_the_bundle(made):
    """Its own command: good as it is, refused when a file is changed or added."""
    folder = made.export()
    command = ["model_signing", "verify", "key", folder / "bundle", "--signature",
               folder / "model.sig", "--public_key", folder / "keys/model-signing.pem"]  # fmt: skip
    said = subprocess.run(command, capture_output=True, text=True)
    assert said.returncode == 0 and "Verification succeeded" in said.stdout, said.stderr
    path = folder / "bundle/adapter/weights.bin"
    path.chmod(0o644)
    path.write_bytes(b"other")
    assert subprocess.run(command, capture_output=True).returncode != 0
    path.write_bytes(made.weights)
    assert subprocess.run(command, capture_output=True).returncode == 0
    (folder / "bundle" / "more").write_text("x")
    assert subprocess.run(command, capture_output=True).returncode != 0


def test_a_released_life_cycle_leaves_through_the_command_line(released, tmp_path):
    """From real kernels and people to a folder that its own verifier passes."""
    folder = tmp_path / "stranger"
    told = released.cli("release", "export", "--to", folder)
    assert told.code == 0, told.err
    command = [sys.executable, "-I", folder / "verify_record.py", folder]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "approved" in done.stdout and "verified" in done.stdout
