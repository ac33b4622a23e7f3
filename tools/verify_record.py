#!/usr/bin/env python3
"""Verify workbench records without the workbench: standard library and `cryptography` only.

    python verify_record.py PATH [--key engine.pem ...] [--at TIME]

PATH is a record (a folder with statement.json), a store (store.json), an unpacked pack (pack.json;
unpack with `tar --zstd -xf`), or an exported release (release.json). --key names the public keys
that you trust, one PEM file each. Without it, keys are taken from the folder itself: that shows
that nothing was changed since, but not who made it. --at asks what held at another time than now.
Prints every fault with the file at fault; of a release, who signed, as what, and when.
Exit code: 0 verified, 6 something does not verify, 1 wrong use.

1. tree      RFC 6962 hashes, audit paths, and the signed checkpoint (C2SP signed note)
2. envelope  DSSE v1 with Ed25519, in its one canonical spelling
3. record    signature, then every file by SHA-256 and exec bit, none missing, none besides
4. people    SSH signatures in the ledger (by ssh-keygen) and the keyring in force at that entry
5. ledger    the engine's keys, each introduced by the one before; every entry under the root that
             the key in force signed, or the one at fault
6. store     every record is in the ledger, every record of the ledger is here
7. pack      entries proven to be in the origin's ledger, records as those entries list them
8. release   the bundle as its manifest and its sealed record name it, back to the sealed training;
             approvals of it by the plan: who, as what, distinct, not expired, revoked or replayed
9. model.sig the same bundle as OpenSSF model-signing (Sigstore bundle v0.3, P-256) sees it
"""

import argparse
import base64
import hashlib
import json
import os
import stat
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from types import SimpleNamespace

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

STATEMENT, PACK = "application/vnd.in-toto+json", "application/vnd.workbench.pack+json"
ROTATION = "application/vnd.workbench.key-rotation+json"
SEALS = {"statement.json", "statement.sigs.json"}
COPIED = {"usecase.json", "plan.json", "criteria.json"}
STORE = {"store.json", "records", "ledger", "imports", "scratch"}
LINES = "ledger/entries.jsonl"
MEANT = {
    "keyring": "keyring", "approval": "approve", "revocation": "revoke", "finding": "finding",
    "risk-acceptance": "accept", "deployment": "release", "incident": "incident",
    "key-rotation": "keyring",
}  # fmt: skip
BROKEN = InvalidSignature, UnsupportedAlgorithm
ERRORS = (OSError, ValueError, KeyError, TypeError, AttributeError, *BROKEN)
moment = datetime.fromisoformat


class Fault(ValueError):
    """What does not verify."""


def sha256(data):
    return hashlib.sha256(data).hexdigest()


# 1. tree
def leaf(line):
    return hashlib.sha256(b"\x00" + line).digest()


def node(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(hashes):
    """RFC 6962 §2.1: split at the largest power of two below the length."""
    if len(hashes) < 2:
        return hashes[0] if hashes else hashlib.sha256(b"").digest()
    split = 1 << ((len(hashes) - 1).bit_length() - 1)
    return node(root(hashes[:split]), root(hashes[split:]))


def root_from_path(hash_, index, size, path):
    """The root that an audit path leads to: RFC 6962 §2.1.1, followed from the top."""
    if size == 1 or not path:
        return hash_ if size == 1 and not path else b""  # of another length than the tree's
    split = 1 << ((size - 1).bit_length() - 1)
    if index < split:
        return node(root_from_path(hash_, index, split, path[:-1]), path[-1])
    return node(path[-1], root_from_path(hash_, index - split, size - split, path[:-1]))


def checkpoint(note, origin, keys):
    """(size, root) of a checkpoint that one of the keys signed for this log."""
    text, _, last = note.rpartition("\n\n")
    signature = base64.b64decode(last.split(" ")[-1])[4:]
    for key in keys.values():
        raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
        blob = hashlib.sha256(origin.encode() + b"\n\x01" + raw).digest()[:4] + signature
        if last == f"\u2014 {origin} {base64.b64encode(blob).decode()}\n":
            key.verify(signature, f"{text}\n".encode())
            named, size, hash_ = text.split("\n")
            if named == origin:
                return int(size), base64.b64decode(hash_)
    raise Fault("the checkpoint is changed, not signed with a known key, or not of this store")


# 2. envelope
def load_keys(texts):
    """Key id (SHA-256 of the SubjectPublicKeyInfo) → Ed25519 public key, from PEM texts."""
    keys = [load_pem_public_key(text.encode()) for text in texts]
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    return {sha256(key.public_bytes(*form)): key for key in keys}


def check_envelope(data, payload, kind, keys):
    """That the envelope's bytes are a DSSE envelope over this payload, signed with known keys."""
    found = [(s["keyid"], base64.b64decode(s["sig"])) for s in json.loads(data)["signatures"]]
    for keyid, signature in found:
        if keyid not in keys:
            raise Fault(f"signed with an unknown key: {keyid[:16]}")
        try:
            pae = b"DSSEv1 %d %b %d %b" % (len(kind), kind.encode(), len(payload), payload)
            keys[keyid].verify(signature, pae)
        except InvalidSignature:
            raise Fault("the signature is not of this file") from None
    spelled = {"payload": base64.b64encode(payload).decode(), "payloadType": kind}
    spelled["signatures"] = [
        {"keyid": keyid, "sig": base64.b64encode(signature).decode()} for keyid, signature in found
    ]
    if not found or json.dumps(spelled, separators=(",", ":"), sort_keys=True).encode() != data:
        raise Fault("the envelope was changed, or is of another payload")


# 3. record
def files_below(folder, prefix=""):
    """(path, fault or None) of everything below a folder."""
    children = sorted(os.scandir(folder), key=lambda child: child.name)
    if not children:
        yield prefix.rstrip("/") or ".", "an empty folder"
    for child in children:
        mode, path = child.stat(follow_symlinks=False).st_mode, prefix + child.name
        if stat.S_ISDIR(mode):
            yield from files_below(child.path, path + "/")
        else:
            yield path, None if stat.S_ISREG(mode) else "a link or special file"


def read_all(folder, paths):
    """Path → (SHA-256, exec bit), read in a thread a core, the largest files first."""

    def one(path):
        with open(folder / path, "rb") as file:
            executable = bool(os.fstat(file.fileno()).st_mode & 0o111)
            return hashlib.file_digest(file, "sha256").hexdigest(), executable

    order = sorted(paths, key=lambda path: -(folder / path).lstat().st_size)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(order, pool.map(one, order), strict=True))


def check_record(folder, keys):
    """Faults of one record, and its statement (None when that does not verify)."""
    name, listing = f"{folder.parent.name}/{folder.name}", dict(files_below(folder))
    faults = [f"{name}/{path}: {fault}" for path, fault in listing.items() if fault]
    plain = {path for path, fault in listing.items() if not fault}
    if SEALS - plain:
        return faults + [f"{name}/{seal}: missing" for seal in sorted(SEALS - plain)], None
    data = (folder / "statement.json").read_bytes()
    try:
        check_envelope((folder / "statement.sigs.json").read_bytes(), data, STATEMENT, keys)
    except ERRORS as fault:
        return [*faults, f"{name}/statement.json or statement.sigs.json: {fault}"], None
    statement = json.loads(data)
    expected = {subject["name"]: subject for subject in statement["subject"]}
    faults += [f"{name}/{path}: added" for path in sorted(plain - set(expected) - SEALS)]
    faults += [f"{name}/{path}: removed or renamed" for path in sorted(set(expected) - plain)]
    for path, (found, executable) in sorted(read_all(folder, plain & set(expected)).items()):
        if found != expected[path]["digest"]["sha256"]:
            faults.append(f"{name}/{path}: changed")
        if executable != expected[path]["annotations"]["executable"]:
            faults.append(f"{name}/{path}: the exec bit was changed")
    return faults, statement


# 4. people
def part(line, *names):
    """The bytes of a value as they stand in a canonical line: what was signed, or hashed."""
    text, start = line.decode(), 0
    for name in names:
        start = text.index(name, start) + len(name)
    return text[start : json.JSONDecoder().raw_decode(text, start)[1]].encode()


def check_person(line, envelope, keyring, at):
    """The person whose key signed the statement in a ledger line, and counted then."""
    public, namespace = envelope["public_key"], envelope["namespace"]
    owners = [(p, k) for p in keyring["persons"] for k in p["keys"]]
    found = [(p, k) for p, k in owners if k["public"].split()[:2] == public.split()]
    if not found:
        raise Fault("signed with a key that is not in the keyring")
    person, key = found[0]
    ends = [end for end in (key["valid_until"], (key["revoked"] or {}).get("at")) if end]
    late = any(moment(at) >= moment(end) for end in ends)
    if late or moment(at) < moment(key["valid_from"]):
        raise Fault("signed with a key that was not valid yet, expired or revoked")
    if not any(fnmatchcase(namespace, pattern) for pattern in key["namespaces"]):
        raise Fault(f"signed with a key that is not for {namespace}")
    message = part(line, '"signature":', '"statement":')
    with tempfile.TemporaryDirectory() as folder:
        allowed, signature = Path(folder, "allowed"), Path(folder, "signature")
        allowed.write_text(f'signer namespaces="{namespace}" {public}\n')
        signature.write_text(envelope["signature"])
        command = ["ssh-keygen", "-Y", "verify", "-f", allowed, "-I", "signer", "-n", namespace]
        done = subprocess.run([*command, "-s", signature], input=message, capture_output=True)
    if done.returncode or json.loads(message) != envelope["statement"]:
        raise Fault("the SSH signature is not of this statement, namespace and key")
    return person


def check_people(lines, signers=None):
    """Faults of the keyring's versions and of every other signed statement, in ledger order;
    fills ``signers`` with the person behind each entry."""
    signers = {} if signers is None else signers
    keyring, last = {"number": 0, "persons": []}, None
    for entry, line in ((json.loads(line), line) for line in lines):
        envelope = entry["body"].get("envelope")
        try:
            meant = f"{MEANT.get(entry['kind'], '')}@workbench"
            if envelope and entry["kind"] in MEANT and envelope["namespace"] != meant:
                raise Fault(f"signed as {envelope['namespace']}, not {meant}")
            if envelope and entry["kind"] == "keyring":
                version = envelope["statement"]
                judge = keyring if keyring["number"] else version  # the first signs itself
                signer = check_person(line, envelope, judge, entry["time"])
                if "keyholder" not in signer["roles"]:
                    raise Fault("a keyring version that no keyholder signed as such")
                if (version["number"], version["previous"]) != (keyring["number"] + 1, last):
                    raise Fault("a keyring version that does not follow the one before")
                keyring, last = version, sha256(part(line, '"envelope":'))
            elif envelope:
                signer = check_person(line, envelope, keyring, entry["time"])
                if entry["kind"] == "key-rotation" and "keyholder" not in signer["roles"]:
                    raise Fault("a key of the engine that no keyholder signed for")
                signers[entry["index"]] = signer
        except ERRORS as fault:
            yield f"ledger entry {entry['index']}: {fault}"


# 5. ledger
def rotations(lines):
    """[(entry, old key, new key, store)]: each new one is introduced by the one before."""
    found = []
    for line in (line for line in lines if b'"kind":"key-rotation"' in line):
        entry = json.loads(line)
        if entry["kind"] == "key-rotation":
            said = entry["body"]["envelope"]["statement"]
            payload, old = part(line, '"envelope":'), load_keys([said["old"]])
            check_envelope(part(line, '"seal":'), payload, ROTATION, old)
            if found and found[-1][2] != said["old"]:
                raise Fault(f"ledger entry {entry['index']}: the old key was not in force")
            found.append((entry["index"], said["old"], said["new"], said["store"]))
    return found


def order(found):
    """Key id → key, the first to the last; none where nothing was rotated."""
    return load_keys([one[1] for one in found[:1]] + [one[2] for one in found])


def heads(found, note, keys):
    """The keys that may have signed a checkpoint, for whoever trusts ``keys``."""
    chain = list(order(found).items()) if found else []
    first = next((i for i, (name, _) in enumerate(chain) if name in keys), len(chain))
    size = int(note.split("\n")[1])
    last = len(chain) - (2 if found and found[-1][0] == size - 1 else 1)
    return dict(chain[max(first, last) :]) if found else keys


def ledger_lines(folder, origin, keys):
    """(faults, lines): the lines are those under the signed root, or none."""
    try:
        note = (folder / "checkpoint").read_text()
        *lines, rest = (folder / "entries.jsonl").read_bytes().split(b"\n")
        known = heads(rotations(lines[: int(note.split("\n")[1])]), note, keys)
        size, expected = checkpoint(note, origin, known)
    except ERRORS as fault:
        return [f"ledger/checkpoint: {fault!r}"], []
    strays = {path.name for path in folder.iterdir()} - {"entries.jsonl", "checkpoint"}
    faults = [f"ledger/{name}: added" for name in sorted(strays)]
    if len(lines) > size or rest:
        faults.append(f"{LINES}, line {size + 1}: not signed")
    hashes = [leaf(line) for line in lines[:size]]
    if root(hashes) == expected:
        return faults, lines[:size]
    for i, line in enumerate(lines[:size]):
        try:
            if json.loads(line)["index"] != i:
                faults.append(f"{LINES}, entry {i}: removed or moved")
            if i and json.loads(line)["previous"] != hashes[i - 1].hex():
                faults.append(f"{LINES}, entry {i - 1}: changed")
        except (ValueError, KeyError, TypeError):
            faults.append(f"{LINES}, entry {i}: can't be read")
    last = f"entry {len(hashes)}: removed" if len(hashes) < size else f"entry {size - 1}: changed?"
    return [*faults, f"{LINES}, {last}, the root is not the signed one"], []


def listed(entries):
    """stage/id → digest of every record that ledger entries bring in."""
    own = [e["body"] for e in entries if e["kind"] == "record"]
    taken = [item for e in entries if e["kind"] == "import" for item in e["body"]["records"]]
    return {f"{item['stage']}/{item['id']}": item["digest"] for item in own + taken}


def check_records(folder, entries, expected, keys, found):
    """Faults of all records below a folder, and against the digests expected of them. What was made
    here is sealed by the key that was in force at its entry."""
    own = {f"{e['body']['stage']}/{e['body']['id']}": sum(at < e["index"] for at, *_ in found)
           for e in entries if e["kind"] == "record" and found}  # fmt: skip
    chain = list(order(found).items())
    keys |= dict(chain) | load_keys(
        k for e in entries if e["kind"] == "import" for k in e["body"]["public_keys"]
    )
    below = [path for pattern in ("*", "*/*") for path in folder.glob(pattern)]
    odd = {path for path in below if path.is_symlink() or not path.is_dir()}
    faults = [f"records/{path.relative_to(folder)}: added" for path in sorted(odd)]
    here = {f"{p.parent.name}/{p.name}": p for p in sorted(folder.glob("*/*")) if p not in odd}
    faults += [f"records/{n}: removed or renamed" for n in sorted(set(expected) - set(here))]
    faults += [f"records/{n}: not in the ledger" for n in sorted(set(here) - set(expected))]
    for name, path in here.items():
        sealers = dict([chain[own[name]]]) if name in own else keys
        wrong, statement = check_record(path, sealers)
        faults += wrong
        if statement:
            digest = sha256((path / "statement.json").read_bytes())
            if expected.get(name, digest) != digest:
                faults.append(f"{name}/statement.json: not the one in the ledger")
    return faults


# 6. store
def check_store(folder, trusted):
    """Faults of a whole store."""
    data = (folder / "store.json").read_bytes()
    facts = json.loads(data)
    keys = trusted or load_keys(facts["public_keys"])
    strays = sorted({path.name for path in folder.iterdir()} - STORE)
    faults = [f"{name}: added" for name in strays if not name.startswith("index.sqlite")]
    found, lines = ledger_lines(folder / "ledger", f"workbench/{facts['id']}", keys)
    if not lines:  # the fault is named; the records still verify one by one
        paths = (path for path in (folder / "records").glob("*/*") if path.is_dir())
        return faults + found + [fault for path in paths for fault in check_record(path, keys)[0]]
    entries = [json.loads(line) for line in lines]
    if entries[0]["body"].get("sha256") != sha256(data):
        faults.append("store.json: changed")
    packs = [e["body"]["pack"] for e in entries if e["kind"] == "import"]
    here = {(p.name, sha256(p.read_bytes())) for p in (folder / "imports").glob("*")}
    differ = here ^ {(f"{pack[:16]}.json", pack) for pack in packs}
    faults += [f"imports/{name}: added, changed or removed" for name, _ in sorted(differ)]
    faults += [*found, *check_people(lines)]
    known = rotations(lines)
    if any((one[3], known[0][1] in facts["public_keys"]) != (facts["id"], True) for one in known):
        faults.append("ledger: a rotation of another store's key")
    return faults + check_records(folder / "records", entries, listed(entries), keys, known)


# 7. pack
def check_pack(folder, trusted):
    """Faults of an unpacked pack."""
    return read_pack(folder, trusted).faults


def read_pack(folder, trusted):
    """A pack: its faults, keys, proven entries, who signed them, and digests of what is beside."""
    data = (folder / "pack.json").read_bytes()
    facts = json.loads(data)
    keys = trusted or load_keys([facts["public_key"]])
    lines = [item["line"].encode() for item in facts["entries"]]
    try:
        known = rotations(lines)
        last = heads(known, facts["checkpoint"], keys)
        check_envelope((folder / "pack.sigs.json").read_bytes(), data, PACK, last)
    except ERRORS as fault:
        raise Fault(f"pack.json or pack.sigs.json: {fault}") from fault
    size, expected = checkpoint(facts["checkpoint"], f"workbench/{facts['store']}", last)
    entries = [json.loads(line) for line in lines]
    for item, line, entry in zip(facts["entries"], lines, entries, strict=True):
        path = [bytes.fromhex(step) for step in item["proof"]]
        if root_from_path(leaf(line), entry["index"], size, path) != expected:
            raise Fault(f"entry {entry['index']} is not in the signed ledger")
    names = [f"{item['stage']}/{item['id']}" for item in facts["records"]]
    wanted = {name: listed(entries).get(name, "not listed") for name in names}
    carried, signers = facts.get("carried", {"facts": {}, "files": []}), {}
    beside = {f"carried/{item['path']}": item for item in carried["files"]}
    beside |= {item["path"]: item for item in carried["facts"].get("beside", [])}
    faults, held = check_beside(folder, beside)
    faults += [*check_people(lines, signers)]
    faults += check_records(folder / "records", entries, wanted, keys, known)
    return SimpleNamespace(
        folder=folder, facts=facts, faults=faults, keys=keys, signers=signers, held=held, stood_on=[],
        entries={e["index"]: (e, line) for e, line in zip(entries, lines, strict=True)},
    )  # fmt: skip


def check_beside(folder, expected):
    """Faults of what stands in a pack besides its records, against its signed list; its digests."""
    own, every = ("pack.json", "pack.sigs.json"), files_below(folder)
    found = {p: fault for p, fault in every if p not in own and not p.startswith("records/")}
    faults = [f"{path}: added or removed" for path in sorted(set(found) ^ set(expected))]
    faults += [f"{path}: {fault}" for path, fault in found.items() if fault]
    held = read_all(folder, [path for path, fault in found.items() if not fault])
    for path in sorted(set(held) & set(expected)):
        if held[path] != (expected[path]["sha256"], expected[path]["executable"]):
            faults.append(f"{path}: changed")
    return faults, {path: digest for path, (digest, _) in held.items()}


# 8. release
OFFLINE = (
    "note: offline nobody sees what the ledger took in after this export, or what was left out of "
    "it; who touched what, findings, accepted risks and replays are as the release's record says"
)


def check_release(folder, trusted, at, told):
    """Faults of an exported release; fills ``told`` with who signed it."""
    pack = read_pack(folder, trusted)
    seals = {sha256(p.read_bytes()): p.parent for p in folder.glob("records/*/*/statement.json")}
    try:
        release = json.loads((folder / "release.json").read_bytes())
        standing = json.loads((seals[release["record"]] / "outputs/standing.json").read_bytes())
    except ERRORS as fault:
        return [*pack.faults, f"release.json: its record can't be read: {type(fault).__name__}"]
    for step in (
        check_entered(pack, release, at),
        check_bundle(pack, release),
        check_evidence(pack),
        check_sealed(pack, release, standing, seals),
        check_approvals(pack, release, standing, at, told),
        check_openssf(pack),
    ):
        try:
            pack.faults += step
        except ERRORS as fault:
            pack.faults.append(f"{step.__name__}: {type(fault).__name__}: {fault}")
    told.append(OFFLINE)
    return list(dict.fromkeys(pack.faults))


def check_entered(pack, release, at):
    """release.json is what the ledger entered, by then; the key beside it is the store's."""
    names = ("bundle", "candidate", "record", "approvals")
    entered = [e for e, _ in pack.entries.values() if e["kind"] == "release"]
    same = [e["time"] for e in entered if all(e["body"][name] == release[name] for name in names)]
    if not same or release["store"] != pack.facts["store"]:
        yield "release.json: the ledger of this store entered no such release"
    elif moment(same[0]) > at:
        yield f"release.json: was registered only at {same[0]}"
    if (pack.folder / "keys" / "engine.pem").read_text() != pack.facts["public_key"]:
        yield "keys/engine.pem: not the key of this store"


def check_bundle(pack, release):
    """The bundle has the digest that was released, and is as its manifest says."""
    if pack.held["bundle/manifest.json"] != release["bundle"]:
        yield "bundle/manifest.json: not the bundle that was released"
    manifest = json.loads((pack.folder / "bundle" / "manifest.json").read_bytes())
    expected = {f"bundle/{item['path']}": item["sha256"] for item in manifest["files"]}
    found = {path for path in pack.held if path.startswith("bundle/")} - {"bundle/manifest.json"}
    yield from (f"{path}: added, the manifest lacks it" for path in sorted(found - set(expected)))
    for path, digest in sorted(expected.items()):
        if pack.held.get(path) != digest:
            yield f"{path}: " + ("not as the manifest has it" if path in found else "removed")


def check_evidence(pack):
    """The seals in the bundle are of this candidate's records, which the ledger lists; what they
    show, the plan and the adapter are as those records sealed them."""
    folder = pack.folder / "bundle"
    manifest = json.loads((folder / "manifest.json").read_bytes())
    known, sealed = listed(e for e, _ in pack.entries.values()).values(), {}
    for stage, digest in ((item["stage"], item["digest"]) for item in manifest["records"]):
        pack.stood_on.append(digest)
        place = folder / "evidence" / stage
        payload, seal = ((place / name).read_bytes() for name in sorted(SEALS))
        try:
            check_envelope(seal, payload, STATEMENT, pack.keys)
        except ERRORS as fault:
            yield f"bundle/evidence/{stage}/statement.json or statement.sigs.json: {fault}"
        if sha256(payload) != digest or digest not in known:
            yield f"bundle/evidence/{stage}/statement.json: not the record in manifest and ledger"
        subjects = json.loads(payload)["subject"]
        sealed[stage] = {(s["name"].split("/", 1)[-1], s["digest"]["sha256"]) for s in subjects}
    every = set().union(*sealed.values())
    weights = {(name.partition("/")[2], digest) for name, digest in every}
    for path, digest in sorted(pack.held.items()):
        part, _, name = path.removeprefix("bundle/").partition("/")
        stage, _, shown = name.partition("/")
        wrong = part == "adapter" and (name, digest) not in weights
        wrong |= path.startswith("bundle/") and part in COPIED and (part, digest) not in every
        if part == "evidence" and shown not in SEALS:
            wrong |= (shown, digest) not in sealed.get(stage, ())
        if wrong:
            yield f"{path}: not as a record of this candidate sealed it"


def check_sealed(pack, release, standing, seals):
    """The candidate's record holds this bundle; the release's shows this candidate, its lock and
    criteria as the ledger has them, and that every gate passed."""
    frozen = json.loads((seals[release["candidate"]] / "statement.json").read_bytes())
    judged = json.loads((seals[release["record"]] / "statement.json").read_bytes())
    files = {s["name"]: s["digest"]["sha256"] for s in frozen["subject"]}
    if files.get("outputs/bundle/manifest.json") != release["bundle"]:
        yield f"record {release['candidate'][:12]}: did not freeze this bundle"
    name, subject = f"record {release['record'][:12]}", standing["subject"]
    if any(subject[n] != release[n] for n in ("bundle", "candidate")):
        yield f"{name}: is about another bundle or candidate"
    if {release["candidate"], *pack.stood_on} - set(subject["records"]):
        yield f"{name}: does not name every record of the candidate"
    for field, kind in (("lock", "evaluation-lock"), ("policy", "criteria")):
        said = [e["body"] for e, _ in pack.entries.values() if e["kind"] == kind]
        known = {body["sha256"] for body in said if body["record"] in subject["records"]} or {None}
        if subject[field] not in known:
            yield f"{name}: the ledger has no such {field}"
    verdicts = judged["predicate"].get("workbench_verdicts", [])
    bad = [f"{v['criterion']} {v['verdict']}" for v in verdicts if v["verdict"] != "passed"]
    if bad or not verdicts:
        yield f"{name}: not every gate passed: {', '.join(bad) or 'it shows none'}"


def check_approvals(pack, release, standing, at, told):
    """Who signed, by the plan in the bundle; one signature a person, a key and a nonce counts."""
    plan = json.loads((pack.folder / "bundle" / "plan.json").read_bytes())
    counted, roles, barring = set(), set(), plan.get("conflicts", {}).get("approve", ())
    for index in release["approvals"]:
        if index not in pack.signers:
            yield f"ledger entry {index}: an approval that is missing, or does not verify"
            continue
        entry, line = pack.entries[index]
        said, person = entry["body"]["envelope"]["statement"], pack.signers[index]
        key = entry["body"]["envelope"]["public_key"].split()[1]
        who = {person["id"], person["name"], person["email"], key}
        mark = base64.b64encode(hashlib.sha256(base64.b64decode(key)).digest()).decode().rstrip("=")
        told.append(
            f"signed: {said['by']}, {said['role'].replace('_', ' ')}, {said['meaning']}, "
            f"{entry['time']}, expires {said['expires']}, key SHA256:{mark}"
        )
        why = discount(said, entry, standing["subject"], pack, at)
        why = why or revoked(line, said["by"], pack, at)
        if person["name"] != said["by"] or said["role"] not in person["roles"]:
            why = f"{person['name']} signed it, who is not {said['by']} as {said['role']}"
        for name, act, where in standing["touches"] if said["meaning"] == "approved" else ():
            if name in who and act in barring:
                why = why or f"they may not approve what they touched: {act}, {where}"
        if said["meaning"] == "approved" and counted & who:
            why = why or "this person or this key has signed already"
        if why:
            yield f"ledger entry {index}, approval by {said['by']}: {why}"
        elif said["meaning"] == "approved":
            counted |= who
            roles.add(said["role"])
    lacking = set(plan["approver_roles"]) - roles
    if len(set(plan["approver_roles"]) & roles) < int(plan["quorum"]):
        yield from (f"release.json: no approval of a {role} counts" for role in sorted(lacking))


def discount(said, entry, subject, pack, at):
    """Why an approval is not one of this release at that time, or None."""
    if (entry["kind"], said["kind"]) != ("approval", "release"):
        return "not an approval of a release"
    for name, value in subject.items():
        if said.get(name) != value:
            return f"names another {name}"
    if moment(entry["time"]) > at:
        return f"entered only at {entry['time']}"
    if moment(said["expires"]) <= at:
        return f"expired at {said['expires']}"
    for index, (other, _) in pack.entries.items():
        held = other["body"].get("envelope", {}).get("statement", {})
        if index < entry["index"] and held.get("nonce") == said["nonce"]:
            return f"its nonce was used before, in entry {index}: it is a copy"


def revoked(line, by, pack, at):
    """Who took an approval back until then, or None; its signer or a keyholder may."""
    name = sha256(part(line, '"envelope":'))
    for index, (other, _) in pack.entries.items():
        said, who = other["body"].get("envelope", {}).get("statement", {}), pack.signers.get(index)
        if other["kind"] == "revocation" and said["approval"] == name and who:
            may = who["name"] == said["by"] and (said["by"] == by or "keyholder" in who["roles"])
            if may and moment(other["time"]) <= at:
                return f"revoked by {said['by']} at {other['time']}: {said['reason']}"


# 9. model.sig
def check_openssf(pack):
    """The signature for other tools: by a key that the ledger calls the store's, of this bundle."""
    pem = (pack.folder / "keys" / "model-signing.pem").read_text()
    identities = [e["body"] for e, _ in pack.entries.values() if e["kind"] == "identity"]
    if pem not in [body["public_key"] for body in identities]:
        yield "keys/model-signing.pem: the ledger does not know this key"
    envelope = json.loads((pack.folder / "model.sig").read_bytes())["dsseEnvelope"]
    payload, (one,) = base64.b64decode(envelope["payload"]), envelope["signatures"]
    pae = b"DSSEv1 %d %b %d %b" % (len(STATEMENT), STATEMENT.encode(), len(payload), payload)
    try:
        sig = base64.b64decode(one["sig"])
        load_pem_public_key(pem.encode()).verify(sig, pae, ec.ECDSA(hashes.SHA256()))
    except ERRORS:
        yield "model.sig: the signature is not of keys/model-signing.pem"
    resources = json.loads(payload)["predicate"]["resources"]
    named = {f"bundle/{item['name']}": item["digest"] for item in resources}
    if named != {p: digest for p, digest in pack.held.items() if p.startswith("bundle/")}:
        yield "model.sig: not of the files in bundle/"


def check(folder, trusted, at=None, told=None):
    """(kind, faults) of whatever the folder is; fills ``told`` with what there is to say of it."""
    asked = at or datetime.now(UTC), [] if told is None else told
    for kind, look, more in (
        ("release", check_release, asked), ("store", check_store, ()), ("pack", check_pack, ()),
    ):  # fmt: skip
        if (folder / f"{kind}.json").is_file():
            try:
                return kind, look(folder, dict(trusted), *more)
            except ERRORS as fault:
                return kind, [f"{kind}.json, or what it stands on: {type(fault).__name__}: {fault}"]
    store = folder.parents[min(2, len(folder.parents) - 1)] / "store.json"  # where a record stands
    if not trusted and store.is_file():
        ledger = store.parent / LINES
        lines = ledger.read_bytes().split(b"\n") if ledger.is_file() else []
        trusted = load_keys(json.loads(store.read_bytes())["public_keys"]) | order(rotations(lines))
    return "record", check_record(folder, trusted)[0]


def main():
    parser = argparse.ArgumentParser(description="Verify a record, store, pack or release.")
    parser.add_argument("path", type=Path)
    parser.add_argument("--key", type=Path, action="append", default=[], help="public key, PEM")
    parser.add_argument("--at", type=lambda t: moment(t).astimezone(UTC), help="now by default")
    given = parser.parse_args()
    folder = given.path.resolve()
    try:
        trusted = load_keys(key.read_text() for key in given.key)
        told = []
        kind, faults = check(folder, trusted, given.at, told)
    except ERRORS as error:
        parser.exit(1, f"can't verify {folder}: {error}\n")
    for line in (*told, *faults):
        print(line)
    if not trusted:
        print("note: no --key given; keys are the folder's own, which does not show who made it")
    print(f"{kind} {folder.name}: " + (f"{len(faults)} faults" if faults else "verified"))
    return 6 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
