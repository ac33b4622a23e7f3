"""The stand-alone verifier: small, independent, and of one mind with ours.

What it finds in a store after tampering is held in tests/record/test_verify.py, side by side with
ours; releases only it verifies, and what it finds in them is held here.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from workbench.record import clock, pack, statement
from workbench.record.digest import canonical
from workbench.record.store import Store

from ..a_release import PLAN, Made

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
    """Standard library and cryptography only, and short enough to read in an hour."""
    text = TOOL.read_text()
    modules = set()
    for part in ast.walk(ast.parse(text)):
        if isinstance(part, ast.Import):
            modules |= {name.name for name in part.names}
        elif isinstance(part, ast.ImportFrom):
            modules.add(part.module)
    roots = {name.split(".")[0] for name in modules}
    assert roots - set(sys.stdlib_module_names) == {"cryptography"}
    assert len([line for line in text.splitlines() if line.strip()]) <= 580


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


# releases


@pytest.fixture(scope="module")
def tool():
    """The tool as a module, for the many cases; as a stranger runs it, it is a process of its own."""
    spec = importlib.util.spec_from_file_location("verify_release_tool", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def frozen(tmp_path_factory):
    """A candidate that nobody has signed yet; to be copied, never used."""
    home = tmp_path_factory.mktemp("frozen")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_KEYS", str(home / "keys"))
        return Made(home)


@pytest.fixture
def made(frozen, tmp_path, monkeypatch):
    """A copy of it, to be signed by whom the test says."""
    monkeypatch.setenv("WORKBENCH_KEYS", str(tmp_path / "made" / "keys"))
    return frozen.copied(tmp_path / "made")


@pytest.fixture(scope="module")
def whole(frozen, tmp_path_factory):
    """A release that is in order, exported; its folder and who made it."""
    home = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_KEYS", str(home / "keys"))
        made = frozen.copied(home).approved().register()
        return made, made.export()


@pytest.fixture
def exported(whole, tmp_path):
    """A copy of the folder, to be spoilt."""
    folder = tmp_path / "release"
    shutil.copytree(whole[1], folder)
    return folder


def _faults(tool, made, at=None):
    """What there is against the release that was made, as a stranger sees it."""
    return tool.check(made.register().export(), {}, at)[1]


def _write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        path.chmod(0o644)
    path.write_bytes(data)


def test_a_release_verifies_and_says_who_signed(whole, tmp_path):
    """By the folder's own copy of the verifier, with the public key that the reader brings: each
    signer's printed name, role, meaning and time."""
    made, folder = whole
    (tmp_path / "engine.pem").write_text(made.store.public_keys[0])
    command = [sys.executable, "-I", folder / "verify_record.py", folder, "--key"]
    done = subprocess.run([*command, tmp_path / "engine.pem"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "release exported: verified" in done.stdout and "no --key" not in done.stdout
    for who, role in (("Vera Validator", "model validator"), ("Rita Risk", "risk manager")):
        said = next(line for line in done.stdout.splitlines() if who in line)
        assert f"{who}, {role}, approved, 20" in said and "expires 2099-01-01" in said
    assert "offline nobody sees what the ledger took in after this export" in done.stdout


def test_a_release_of_another_engine_ends_in_6(whole, tmp_path):
    """All of it is consistent, but not of the key that is trusted."""
    other = Store.create(tmp_path / "other", "governed")
    (tmp_path / "other.pem").write_text(other.public_keys[0])
    assert _verify(whole[1], "--key", tmp_path / "other.pem")[0] == 6


def test_each_kind_of_file_is_named_when_it_is_changed_or_removed(exported, tool):
    """The bundle's, what stands beside, the records', and the seals of all."""
    assert tool.check(exported, {})[1] == []
    files = [path for path in sorted(exported.rglob("*")) if path.is_file()]
    kinds = {(path.relative_to(exported).parts[0], path.name): path for path in files}
    assert len(kinds) == 24
    for path in kinds.values():
        data, name = path.read_bytes(), path.relative_to(exported).as_posix()
        path.chmod(0o644)
        path.write_bytes(data + b" ")
        assert any(_named(name, fault) for fault in tool.check(exported, {})[1]), name
        path.unlink()
        assert any(_named(name, fault) for fault in _without_raising(tool, exported)), name
        path.write_bytes(data)
        path.chmod(0o444)
    assert tool.check(exported, {})[1] == []


def _named(name, fault):
    """Seals are named in pairs: either may be the one at fault."""
    seals = {"statement.json", "statement.sigs.json", "pack.json", "pack.sigs.json"}
    last = name.rsplit("/", 1)[-1]
    known = name.removeprefix("records/")
    return (
        known in fault
        or (last in seals and known.rsplit("/", 1)[0].split("/")[-1] in fault)
        or (name in seals and "pack" in fault)
    )


def _without_raising(tool, folder):
    """A folder without release.json or pack.json is no release any more; that is a fault too."""
    kind, faults = tool.check(folder, {})
    return faults if kind == "release" else [f"release.json or pack.json is gone: {kind} {faults}"]


@pytest.mark.parametrize("name", ["bundle/more", "more", "keys/more.pem", "pack.json.more",
                                  "bundle/evidence/40_functional/more.json",
                                  "records/50_candidate/more/x"])  # fmt: skip
def test_a_file_besides_is_named(exported, tool, name):
    """Nothing rides along, wherever it is put."""
    _write(exported / name, b"x")
    assert any(name.removesuffix("/x") in fault for fault in tool.check(exported, {})[1])


# the owner of the engine's key is not the one who signed


def test_a_swapped_adapter_with_a_new_manifest_is_found(exported, whole, tool):
    """Even where the engine's key signs the folder anew: people signed for another bundle."""
    _write(exported / "bundle/adapter/weights.bin", b"other weights")
    place = exported / "bundle/manifest.json"
    manifest = json.loads(place.read_bytes())
    for item in manifest["files"]:
        if item["path"] == "adapter/weights.bin":
            item |= {"size": 13, "sha256": hashlib.sha256(b"other weights").hexdigest()}
    _write(place, canonical(manifest))
    release = json.loads((exported / "release.json").read_bytes())
    release["bundle"] = hashlib.sha256(canonical(manifest)).hexdigest()
    _write(exported / "release.json", canonical(release))
    whole[0].reseal(exported)
    found = "\n".join(tool.check(exported, {})[1])
    assert "release.json: the ledger of this store entered no such release" in found
    assert "did not freeze this bundle" in found and "model.sig: not of the files" in found
    assert "bundle/adapter/weights.bin: not as a record of this candidate sealed it" in found


def test_a_stripped_approval_is_found(exported, whole, tool):
    """Left out of release.json, or out of the proven entries."""
    place = exported / "release.json"
    release, before = json.loads(place.read_bytes()), (exported / "release.json").read_bytes()
    _write(place, canonical(release | {"approvals": release["approvals"][:1]}))
    whole[0].reseal(exported)
    assert any("entered no such release" in fault for fault in tool.check(exported, {})[1])
    _write(place, before)
    facts, lost = json.loads((exported / "pack.json").read_bytes()), release["approvals"][1]
    facts["entries"] = [e for e in facts["entries"] if json.loads(e["line"])["index"] != lost]
    _write(exported / "pack.json", canonical(facts))
    whole[0].reseal(exported)
    found = tool.check(exported, {})[1]
    assert f"ledger entry {lost}: an approval that is missing, or does not verify" in found
    assert "release.json: no approval of a risk_manager counts" in found


def test_a_signature_for_other_tools_is_by_a_key_that_the_ledger_knows(exported, whole, tool):
    """Another P-256 key is refused, and a signature that is not the key's."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    _write(exported / "keys/model-signing.pem", pem)
    whole[0].reseal(exported)
    assert tool.check(exported, {})[1] == [
        "keys/model-signing.pem: the ledger does not know this key",
        "model.sig: the signature is not of keys/model-signing.pem",
    ]


def test_a_version_of_the_keyring_can_not_be_left_out(exported, whole, tool):
    """Each names the one before by digest; a revocation can't be hidden in between."""
    facts = json.loads((exported / "pack.json").read_bytes())
    rings = [e for e in facts["entries"] if json.loads(e["line"])["kind"] == "keyring"]
    facts["entries"].remove(rings[1])
    _write(exported / "pack.json", canonical(facts))
    whole[0].reseal(exported)
    found = "\n".join(tool.check(exported, {})[1])
    assert "a keyring version that does not follow the one before" in found


@pytest.mark.parametrize("field", ["bundle", "candidate", "records", "lock", "policy", "usecase"])
def test_an_approval_of_something_else_does_not_count(made, tool, field):
    """It names this bundle, this candidate, the records read, the lock and the criteria."""
    made.approve("Vera Validator")
    made.approve("Rita Risk", **{field: ["0" * 64] if field == "records" else "0" * 64})
    found = _faults(tool, made)
    assert any(f"approval by Rita Risk: names another {field}" in fault for fault in found)
    assert "release.json: no approval of a risk_manager counts" in found


def test_a_replayed_approval_does_not_count(made, tool):
    """The same envelope entered again: its nonce was used before."""
    first = made.approve("Vera Validator")
    again = made.enter("approval", made.envelope(first))
    made.approve("Rita Risk")
    assert _faults(tool, made) == [f"ledger entry {again}, approval by Vera Validator: its nonce "
                                   f"was used before, in entry {first}: it is a copy"]  # fmt: skip


def test_an_approval_holds_until_it_expires(made, tool):
    """Now, or at the time that the reader asks about."""
    made.subject["expires"] = clock.text(datetime.now(UTC) + timedelta(hours=1))
    folder = made.approved().register().export()
    assert tool.check(folder, {})[1] == []
    later = tool.check(folder, {}, datetime.now(UTC) + timedelta(hours=2))[1]
    assert [fault for fault in later if "approval by Vera Validator: expired at" in fault]
    before = tool.check(folder, {}, datetime.now(UTC) - timedelta(hours=2))[1]
    assert [fault for fault in before if "was registered only at" in fault]
    code, output = _verify(folder, "--at", "2099-01-01T00:00:00Z")
    assert code == 6 and "expired at" in output


def test_a_revoked_approval_does_not_count_from_then_on(made, tool):
    """Revoked by whoever signed or by a keyholder; before that it stood; nobody else may."""
    vera = made.approve("Vera Validator")
    made.approve("Rita Risk")
    made.register()
    made.revoke(vera, by="Rita Risk")
    assert tool.check(made.export("others"), {})[1] == []
    between = datetime.now(UTC)
    time.sleep(0.01)
    made.revoke(vera, by="Dora Data")
    folder = made.export()
    assert any("approval by Vera Validator: revoked by Dora Data at" in fault
               for fault in tool.check(folder, {})[1])  # fmt: skip
    assert tool.check(folder, {}, between)[1] == []


def test_one_key_under_two_names_counts_once(made, tool):
    """Whoever the keyring finds for it, the other name has not signed."""
    made.enter_people(made.person("Rita Risk", key=made.keys["Vera Validator"]))
    made.approve("Vera Validator")
    made.approve("Rita Risk", key=made.keys["Vera Validator"])
    found = _faults(tool, made)
    assert any("Vera Validator signed it, who is not Rita Risk as risk_manager" in f for f in found)
    assert "release.json: no approval of a risk_manager counts" in found


def test_one_person_counts_once_in_whatever_roles(made, tool):
    """Two keys and two roles are one person still."""
    both = made.person("Vera Validator").model_copy(update={"roles": tuple(PLAN["approver_roles"])})
    made.enter_people(both)
    made.approve("Vera Validator")
    made.approve("Vera Validator", role="risk_manager")
    found = _faults(tool, made)
    assert any("this person or this key has signed already" in fault for fault in found)
    assert "release.json: no approval of a risk_manager counts" in found


def test_a_role_that_is_not_held_does_not_count(made, tool):
    """By the keyring that was in force when the signature was entered."""
    made.approve("Vera Validator")
    made.approve("Dora Data", role="risk_manager")
    assert any("Dora Data signed it, who is not Dora Data as risk_manager" in fault
               for fault in _faults(tool, made))  # fmt: skip


def test_a_revoked_key_is_not_revived_by_an_older_keyring(made, tool):
    """The old version entered again does not follow the last; what it would allow is refused."""
    old = made.store.ledger.entries("keyring")[-1].body
    line = made.keys["Rita Risk"].with_suffix(".pub").read_text()
    made.ring(made.store.keyring().revoke(line, "lost"))
    place = made.store.ledger.append("keyring", old).index
    made.approve("Vera Validator")
    rita = made.approve("Rita Risk")
    found = _faults(tool, made)
    assert f"ledger entry {place}: a keyring version that does not follow the one before" in found
    assert f"ledger entry {rita}: an approval that is missing, or does not verify" in found


def test_who_touched_what_the_plan_bars_may_not_approve(made, tool):
    """As the release's record has it, by the matrix of the plan in the bundle."""
    made.touches.append(["Vera Validator", "built", "30_adapt/x"])
    found = _faults(tool, made.approved())
    assert any("they may not approve what they touched: built, 30_adapt/x" in f for f in found)


@pytest.mark.parametrize(
    "path", ["adapter/weights.bin", "plan.json", "evidence/40_functional/figures.json"]
)
def test_what_no_record_sealed_is_no_part_of_a_candidate(made, tool, path):
    """Frozen, signed and registered, but not what the training, the intake or the validation left:
    the way back is broken, and the file is named."""
    weak = {"plan.json": canonical(PLAN | {"quorum": 1})}
    made.freeze(lambda folder: (folder / path).write_bytes(weak.get(path, b"other")))
    made.approved()
    assert _faults(tool, made) == [f"bundle/{path}: not as a record of this candidate sealed it"]


def test_lock_and_criteria_are_those_of_the_ledger(made, tool):
    """What everybody signed for must have been entered when the records were sealed."""
    made.subject |= {"lock": "0" * 64, "policy": "1" * 64}
    found = _faults(tool, made.approved())
    assert [fault.split(": ", 1)[1] for fault in found] == [
        "the ledger has no such lock", "the ledger has no such policy",
    ]  # fmt: skip


def test_a_release_names_every_record_of_its_candidate(made, tool):
    """What nobody says they read, nobody has approved."""
    made.subject["records"] = sorted({made.candidate.digest, *(r.digest for r in made.lineage[:3])})
    (found,) = _faults(tool, made.approved())
    assert "does not name every record of the candidate" in found


def test_a_release_whose_record_shows_a_failed_gate_is_none(made, tool):
    """Registered in spite of it: the gate is named."""
    folder = made.approved().register("failed").export()
    assert any(
        "not every gate passed: approvals failed" in fault for fault in tool.check(folder, {})[1]
    )


def test_a_release_with_a_five_megabyte_adapter_verifies_in_three_seconds(made, tmp_path):
    """The stranger's command, start of Python included."""
    made.weights = base64.b64encode(bytes(range(256)) * 15360)[:5_000_000]
    made.lineage[2] = made._seal("30_adapt", {"adapter/weights.bin": made.weights})
    made.freeze()
    folder = made.approved().register().export()
    began = time.monotonic()
    code, output = _verify(folder)
    assert code == 0, output
    assert time.monotonic() - began < 3
