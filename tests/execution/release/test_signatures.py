"""A signature counts by its key, its order in the ledger and what it says; nothing else (L5)."""

from __future__ import annotations

import io
import subprocess
import sys
import types

import pytest

from workbench.errors import InputError, IntegrityError
from workbench.execution.project import Project
from workbench.execution.release import request, signatures, standing
from workbench.policy.release import judge, weighed
from workbench.record import person
from workbench.record.digest import digest
from workbench.record.verify import verify_store

VERA, RITA = ("Vera Validator", "model_validator"), ("Rita Risk", "risk_manager")


def collected(lab, now: str | None = None):
    project, store = Project.load(lab.usecase), lab.store("governed")
    return standing.collect(project, store, request.find(project, store, None), now)


def verdict(lab, name: str = "approvals", now: str | None = None) -> str:
    return next(one.verdict for one in judge(collected(lab, now)) if one.criterion == name)


def again(lab, name: str, key: str, *roles: str, person_id: str | None = None) -> None:
    """Enter a key under a name and roles, whoever's it was."""
    named = [word for role in roles for word in ("--role", role)]
    told = lab.cli("keys", "add", "--track", "governed", "--id", person_id or key.lower(),
                   "--name", name, "--email", f"{name[:4].lower()}@example.org", *named,
                   "--public-key", lab.keys / f"{key}.pub",
                   "--sign-with", lab.keys / "Dora")  # fmt: skip
    assert told.code == 0, told.err


def test_an_approval_names_all_that_it_is_about(releasable):
    """Bundle, records read, lock, criteria, ledger head; who, as what, when, until when, once."""
    lab, asked = releasable, releasable.request()
    told = lab.sign(*VERA, asked=asked)
    assert told.code == 0, told.err
    given, store = request.read(asked), lab.store("governed")
    for shown in (given["bundle"], given["lock"], given["policy"], given["expires"], "approvals"):
        assert shown in told.out
    assert all(one["ref"] in told.out for one in given["records"])
    said = store.ledger.entries("approval")[-1].body["envelope"]["statement"]
    assert said["kind"] == "release" and said["request"] == digest(given)
    for name in ("usecase", "bundle", "candidate", "lock", "policy", "ledger", "expires"):
        assert said[name] == given[name], name
    assert said["records"] == sorted(one["digest"] for one in given["records"])
    assert (said["by"], said["role"], said["meaning"]) == (*VERA, "approved")
    assert said["time"] and len(said["nonce"]) == 32
    [approval] = signatures.of(store)
    assert (approval.by, approval.fault, approval.flag) == (VERA[0], "", "")
    assert signatures.of(store, given["bundle"]) == [approval] and not signatures.of(store, "0")
    assert verify_store(store).ok


@pytest.mark.parametrize(
    ("by", "role", "meaning", "key", "says"),
    [
        ("Vera Validator", "model_validator", "approved", "Rita", "with this key"),
        ("Vera Validator", "risk_manager", "approved", "Vera", "as risk_manager"),
        ("Otto Operator", "operator", "approved", "Otto", "as operator"),
        ("Olga Owner", "risk_manager", "responsible", "Olga", "as risk_manager"),
    ],
)
def test_who_may_not_sign_enters_nothing(unsigned, by, role, meaning, key, says):
    """In another's name, in a role that is not theirs, or that the plan does not ask."""
    told = unsigned.sign(by, role, meaning, key)
    assert told.code == 1 and says in told.err
    assert signatures.of(unsigned.store("governed")) == []


def test_who_built_it_may_not_approve_it_and_is_told_where(releasable):
    """Dora ran the stages; with the role she still may not, and may say that she reviewed it."""
    again(releasable, "Dora Data", "Dora", "keyholder", "data_steward", "model_validator")
    told = releasable.sign("Dora Data", "model_validator")
    assert told.code == 1 and "Dora Data may not approve" in told.err
    assert releasable.record("30_adapt", "governed").ref in told.err
    assert releasable.sign("Dora Data", "model_validator", "reviewed").code == 0
    assert verdict(releasable) == "insufficient_evidence"


def test_nobody_signs_twice_whatever_they_are_called(releasable):
    """Not the same person, nor the same key under a new name; another meaning may."""
    lab = releasable
    assert lab.sign(*VERA).code == 0
    assert "signed already" in lab.sign(*VERA).err
    assert lab.sign(*VERA, "reviewed").code == 0
    again(lab, "Viktor Second", "Vera", "risk_manager", "model_validator")
    told = lab.sign("Viktor Second", "risk_manager", key="Vera")
    assert told.code == 1 and "signed already" in told.err
    assert len(signatures.of(lab.store("governed"))) == 2


def test_one_key_under_two_names_counts_once(releasable):
    """Even where somebody with the engine's key enters the second past `approve`."""
    lab = releasable
    asked = request.read(lab.request())
    for name, role in (VERA, ("Viktor Second", "risk_manager")):
        again(lab, name, "Vera", "risk_manager", "model_validator", person_id=name[:4].lower())
        plant(lab, statement(asked, by=name, role=role), "Vera")
    assert verdict(lab) == "insufficient_evidence"


def statement(asked: dict, **more) -> dict:
    """What an approver would sign."""
    names = ("usecase", "bundle", "candidate", "lock", "policy", "expires", "ledger")
    said = {name: asked[name] for name in names} | {
        "kind": "release", "by": VERA[0], "role": VERA[1], "meaning": "approved", "nonce": "n" * 32,
        "time": "2026-01-01T00:00:00Z", "records": sorted(r["digest"] for r in asked["records"]),
    }  # fmt: skip
    said["nonce"] = digest(said)
    return said | more


def plant(lab, said: dict, key: str, namespace: str = "approve@workbench", **changed) -> None:
    """Enter an approval as somebody does who has the engine's key."""
    envelope = person.sign(said, namespace, lab.keys / key) | changed
    lab.store("governed").ledger.append("approval", {"envelope": envelope})


def revoked_before(lab, asked):
    store = lab.store("governed")
    public = (lab.keys / "Vera.pub").read_text()
    store.update_keyring(store.keyring().revoke(public, "lost"), lab.keys / "Dora")
    plant(lab, statement(asked), "Vera")


def unsigned_entry(lab, asked):
    body = {"envelope": {"statement": statement(asked)}}
    lab.store("governed").ledger.append("approval", body)


FORGED = {
    "other key": (lambda lab, a: plant(lab, statement(a), "Rita"), "in the name of"),
    "other namespace": (
        lambda lab, a: plant(lab, statement(a), "Vera", "classify@workbench"),
        "signed for another meaning",
    ),
    "edited statement": (
        lambda lab, a: plant(lab, statement(a, bundle="0" * 64), "Vera", statement=statement(a)),
        "the signature is not of this statement",
    ),
    "stripped signature": (unsigned_entry, "not a signed statement"),
    "role not held": (
        lambda lab, a: plant(lab, statement(a, role="risk_manager"), "Vera"),
        "is no risk_manager",
    ),
    "no meaning": (
        lambda lab, a: plant(lab, statement(a, meaning="liked"), "Vera"),
        "does not say what it means",
    ),
    "no nonce": (lambda lab, a: plant(lab, statement(a, nonce=""), "Vera"), "no nonce"),
    "no time": (lambda lab, a: plant(lab, statement(a, time="soon"), "Vera"), "not a time"),
    "another ledger": (
        lambda lab, a: plant(lab, statement(a, ledger={"size": 3, "root": "0" * 64}), "Vera"),
        "before another ledger",
    ),
    "a ledger to come": (
        lambda lab, a: plant(lab, statement(a, ledger={"size": 999, "root": "0" * 64}), "Vera"),
        "before another ledger",
    ),
    "no ledger": (lambda lab, a: plant(lab, statement(a, ledger=[1]), "Vera"), "another ledger"),
    "many meanings": (
        lambda lab, a: plant(lab, statement(a, meaning=["approved"]), "Vera"),
        "does not say what it means",
    ),
    "as research signs": (
        lambda lab, a: lab.store("governed").ledger.append("approval", {"statement": statement(a)}),
        "not a signed statement",
    ),
    "revoked key": (revoked_before, "does not count: revoked"),
}


def test_a_forged_approval_counts_for_nothing_and_is_named(releasable):
    """Each way to forge one, side by side; with Rita's own the quorum is still open."""
    lab = releasable
    asked = request.read(lab.request())
    assert lab.sign(*RITA).code == 0
    for plant_one, says in FORGED.values():
        plant_one(lab, asked)
        assert says in signatures.of(lab.store("governed"))[-1].fault, says
    found = collected(lab)
    assert [one.by for one, why in weighed(found) if not why] == [RITA[0]]
    assert all(one.fingerprint or not one.key for one, _ in weighed(found))
    gate = judge(found)[0]
    assert gate.verdict == "insufficient_evidence"
    assert all(f"entry {one.entry} by" in gate.reason for one, why in weighed(found) if why)


def test_a_copy_of_an_approval_is_no_second_one(releasable):
    """The same envelope again, and one with a nonce that stood in an approval before."""
    lab = releasable
    asked = request.read(lab.request())
    assert lab.sign(*VERA).code == 0
    ledger = lab.store("governed").ledger
    first = ledger.entries("approval")[-1].body
    ledger.append("approval", first)
    nonce = first["envelope"]["statement"]["nonce"]
    plant(lab, statement(asked, by=RITA[0], role=RITA[1], nonce=nonce), "Rita")
    whys = [why for _, why in weighed(collected(lab))]
    assert whys[0] == "" and all("nonce was used before" in why for why in whys[1:])


def test_an_approval_expires_with_the_oldest_validation(released):
    """Half a year on this tier; nobody can sign for old evidence either."""
    expires = collected(released).subject["expires"]
    assert verdict(released) == "passed"
    assert verdict(released, now=expires) == "insufficient_evidence"
    assert verdict(released, "evidence_fresh", now=expires) == "failed"
    late = collected(released, expires)
    vera = next(p for p in released.store("governed").keyring().persons if p.id == "vera")
    with pytest.raises(InputError, match="evidence has expired"):
        signatures.refuse(late, vera, vera.keys[0].public, *VERA, "reviewed")


def test_a_key_that_is_lost_later_leaves_its_signature_and_a_flag(released):
    """What was signed stays signed; whoever reads it is told."""
    store = released.store("governed")
    ring = store.keyring().revoke((released.keys / "Vera.pub").read_text(), "stolen")
    store.update_keyring(ring, released.keys / "Dora")
    assert verdict(released) == "passed"
    told = released.cli("release", "status")
    assert told.code == 0 and "the key was revoked later" in told.out


def test_a_signature_can_be_withdrawn_by_its_signer_or_a_keyholder(released):
    """By nobody else; with a reason; once. Then it waits again, and may be signed anew."""
    lab, (vera, rita) = released, signatures.of(released.store("governed"))
    revoke = ("release", "revoke", "--by")
    told = lab.cli(
        *revoke, "Rita Risk", vera.entry, "--reason", "r", "--sign-with", lab.keys / "Rita"
    )
    assert told.code == 1 and "Rita Risk may not revoke what Vera Validator signed" in told.err
    told = lab.cli(
        *revoke, "Dora Data", vera.entry, "--reason", "r", "--sign-with", lab.keys / "Rita"
    )
    assert told.code == 1
    for by, one in (("Vera Validator", vera), ("Dora Data", rita)):
        words = (
            *revoke,
            by,
            one.entry,
            "--reason",
            "wrong set",
            "--sign-with",
            lab.keys / by.split()[0],
        )
        assert lab.cli(*words).code == 0
        assert "no signature to revoke" in lab.cli(*words).err
    status = lab.cli("release", "status", "--json")
    assert status.code == 4 and "waits for Vera Validator, Rita Risk" in status.err
    assert [one["why"].split(" at ")[0] for one in status.json["signatures"]] == [
        "revoked by Vera Validator", "revoked by Dora Data"]  # fmt: skip
    assert lab.sign(*VERA).code == 0


def test_a_forged_revocation_withdraws_nothing_and_is_named(released):
    """By another than it names, or by somebody who may not."""
    store, first = released.store("governed"), signatures.of(released.store("governed"))[0]
    envelope = store.ledger.entries()[first.entry].body["envelope"]
    for by, key in (("Vera Validator", "Rita"), ("Rita Risk", "Rita")):
        said = {"approval": digest(envelope), "reason": "r", "by": by, "time": "t"}
        sealed = person.sign(said, "revoke@workbench", released.keys / key)
        store.ledger.append("revocation", {"envelope": sealed})
        found = signatures.of(store)[0]
        assert not found.fault and "does not count" in found.flag
    assert verdict(released) == "passed"


def test_nobody_signs_a_release_in_a_kernel(unsigned, monkeypatch):
    """A notebook or widget prepares and shows; it never signs."""
    asked = unsigned.request()
    app = types.SimpleNamespace(IPKernelApp=types.SimpleNamespace(initialized=lambda: True))
    monkeypatch.setitem(sys.modules, "ipykernel.kernelapp", app)
    told = unsigned.sign(*VERA, asked=asked)
    assert told.code == 1 and "never in a kernel" in told.err
    assert signatures.of(unsigned.store("governed")) == []


def test_without_a_key_it_shows_what_would_be_signed_and_waits(unsigned):
    """Exit 4; the meanings are spelt out, and the candidate's gates."""
    told = unsigned.cli("approve", unsigned.request())
    assert told.code == 4 and "Nothing was signed" in told.err
    assert "I approve the release of this bundle" in told.out and "accuracy" in told.out


def test_a_key_of_nobody_signs_nothing(unsigned, tmp_path):
    """It is in no keyring."""
    key, asked = tmp_path / "key", request.read(unsigned.request())
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    with pytest.raises(IntegrityError, match="not in the keyring"):
        signatures.enter(unsigned.store("governed"), asked, lambda: collected(unsigned),
                         by=VERA[0], role=VERA[1], meaning="approved", sign_with=key)  # fmt: skip


def test_whoever_does_not_say_what_they_mean_is_asked(releasable, monkeypatch):
    """Role and meaning have no default; without an answer nothing is signed."""
    lab, asked = releasable, releasable.request()
    words = ("approve", asked, "--by", VERA[0], "--sign-with", lab.keys / "Vera")
    for answer, code in (("", 2), ("model_validator\n", 2), ("model_validator\nreviewed\n", 0)):
        monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        assert lab.cli(*words).code == code
    [one] = signatures.of(lab.store("governed"))
    assert (one.role, one.meaning) == ("model_validator", "reviewed")
