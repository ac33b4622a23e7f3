#!/usr/bin/env python3
"""Verify workbench records without the workbench: standard library and `cryptography` only.

    python verify_record.py PATH [--key engine.pem ...]

PATH is a record (a folder with statement.json), a store (store.json), or an unpacked pack
(pack.json; unpack with `tar --zstd -xf`). --key names the public keys that you trust, one PEM
file each. Without it, keys are taken from the store or pack itself: that shows that nothing was
changed since, but not who made it. Prints every fault with the file at fault.
Exit code: 0 verified, 6 something does not verify, 1 wrong use.

1. tree      RFC 6962 hashes, audit paths, and the signed checkpoint (C2SP signed note)
2. envelope  DSSE v1 with Ed25519, in its one canonical spelling
3. record    signature, then every file by SHA-256 and exec bit, none missing, none besides
4. people    SSH signatures in the ledger (by ssh-keygen) and the keyring in force at that entry
5. ledger    every entry under the signed root, or the one at fault
6. store     every record is in the ledger, every record of the ledger is here
7. pack      entries proven to be in the origin's ledger, records as those entries list them
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
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

STATEMENT, PACK = "application/vnd.in-toto+json", "application/vnd.workbench.pack+json"
SEALS = {"statement.json", "statement.sigs.json"}
STORE = {"store.json", "records", "ledger", "imports", "scratch"}
LINES = "ledger/entries.jsonl"
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
    for path in sorted(plain & set(expected)):
        with open(folder / path, "rb") as file:
            if (
                hashlib.file_digest(file, "sha256").hexdigest()
                != expected[path]["digest"]["sha256"]
            ):
                faults.append(f"{name}/{path}: changed")
            executable = bool(os.fstat(file.fileno()).st_mode & 0o111)
        if executable != expected[path]["annotations"]["executable"]:
            faults.append(f"{name}/{path}: the exec bit was changed")
    return faults, statement


# 4. people
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
    text = line.decode()  # what was signed is the statement as it stands in the canonical line
    start = text.index('"statement":', text.index('"signature":')) + len('"statement":')
    statement, end = json.JSONDecoder().raw_decode(text, start)
    with tempfile.TemporaryDirectory() as folder:
        allowed, signature = Path(folder, "allowed"), Path(folder, "signature")
        allowed.write_text(f'signer namespaces="{namespace}" {public}\n')
        signature.write_text(envelope["signature"])
        command = ["ssh-keygen", "-Y", "verify", "-f", allowed, "-I", "signer", "-n", namespace]
        message = text[start:end].encode()
        done = subprocess.run([*command, "-s", signature], input=message, capture_output=True)
    if done.returncode or statement != envelope["statement"]:
        raise Fault("the SSH signature is not of this statement, namespace and key")
    return person


def check_people(lines):
    """Faults of the keyring's versions and of every other signed statement, in ledger order."""
    keyring = {"number": 0, "persons": []}
    for entry, line in ((json.loads(line), line) for line in lines):
        envelope = entry["body"].get("envelope")
        try:
            if envelope and entry["kind"] == "keyring":
                version = envelope["statement"]
                judge = keyring if keyring["number"] else version  # the first signs itself
                signer = check_person(line, envelope, judge, entry["time"])
                right = envelope["namespace"] == "keyring@workbench"
                if not right or "keyholder" not in signer["roles"]:
                    raise Fault("a keyring version that no keyholder signed as such")
                if version["number"] != keyring["number"] + 1:
                    raise Fault("a keyring version that does not follow the one before")
                keyring = version
            elif envelope:
                check_person(line, envelope, keyring, entry["time"])
        except ERRORS as fault:
            yield f"ledger entry {entry['index']}: {fault}"


# 5. ledger
def ledger_lines(folder, origin, keys):
    """(faults, lines): the lines are those under the signed root, or none."""
    try:
        size, expected = checkpoint((folder / "checkpoint").read_text(), origin, keys)
        *lines, rest = (folder / "entries.jsonl").read_bytes().split(b"\n")
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


def check_records(folder, entries, expected, keys):
    """Faults of all records below a folder, and against the digests expected of them."""
    keys |= load_keys(k for e in entries if e["kind"] == "import" for k in e["body"]["public_keys"])
    below = [path for pattern in ("*", "*/*") for path in folder.glob(pattern)]
    odd = {path for path in below if path.is_symlink() or not path.is_dir()}
    faults = [f"records/{path.relative_to(folder)}: added" for path in sorted(odd)]
    here = {f"{p.parent.name}/{p.name}": p for p in sorted(folder.glob("*/*")) if p not in odd}
    faults += [f"records/{n}: removed or renamed" for n in sorted(set(expected) - set(here))]
    faults += [f"records/{n}: not in the ledger" for n in sorted(set(here) - set(expected))]
    for name, path in here.items():
        found, statement = check_record(path, keys)
        faults += found
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
    return faults + check_records(folder / "records", entries, listed(entries), keys)


# 7. pack
def check_pack(folder, trusted):
    """Faults of an unpacked pack."""
    data = (folder / "pack.json").read_bytes()
    facts = json.loads(data)
    keys = trusted or load_keys([facts["public_key"]])
    check_envelope((folder / "pack.sigs.json").read_bytes(), data, PACK, keys)
    size, expected = checkpoint(facts["checkpoint"], f"workbench/{facts['store']}", keys)
    lines = [item["line"].encode() for item in facts["entries"]]
    entries = [json.loads(line) for line in lines]
    for item, line, entry in zip(facts["entries"], lines, entries, strict=True):
        path = [bytes.fromhex(step) for step in item["proof"]]
        if root_from_path(leaf(line), entry["index"], size, path) != expected:
            raise Fault(f"entry {entry['index']} is not in the signed ledger")
    names = [f"{item['stage']}/{item['id']}" for item in facts["records"]]
    wanted = {name: listed(entries).get(name, "not listed") for name in names}
    held = {f"carried/{f['path']}": f for f in facts.get("carried", {}).get("files", [])}
    top = {"pack.json", "pack.sigs.json", "records", *(["carried"] if held else [])}
    extra = {path.name for path in folder.iterdir()} ^ top
    faults = [f"{name}: added or removed" for name in sorted(extra)] + list(check_people(lines))
    faults += check_carried(folder / "carried", held) if held else []
    return faults + check_records(folder / "records", entries, wanted, keys)


def check_carried(folder, expected):
    """Faults of what a pack carries besides records, against its signed list."""
    found = dict(files_below(folder, "carried/")) if folder.is_dir() else {}
    yield from (f"{path}: added or removed" for path in sorted(set(found) ^ set(expected)))
    for path in sorted(set(found) & set(expected)):
        file, item = folder.parent / path, expected[path]
        executable = bool(file.lstat().st_mode & 0o111)
        if found[path] or (sha256(file.read_bytes()), executable) != (
            item["sha256"],
            item["executable"],
        ):
            yield f"{path}: changed"


def check(folder, trusted):
    """(kind, faults) of whatever the folder is."""
    for kind, look in (("store", check_store), ("pack", check_pack)):
        if (folder / f"{kind}.json").is_file():
            try:
                return kind, look(folder, dict(trusted))
            except ERRORS as fault:
                return kind, [f"{kind}.json: {fault!r}"]
    store = folder.parents[min(2, len(folder.parents) - 1)] / "store.json"  # where a record stands
    if not trusted and store.is_file():
        trusted = load_keys(json.loads(store.read_bytes())["public_keys"])
    return "record", check_record(folder, trusted)[0]


def main():
    parser = argparse.ArgumentParser(description="Verify a workbench record, store or pack.")
    parser.add_argument("path", type=Path)
    parser.add_argument("--key", type=Path, action="append", default=[], help="public key, PEM")
    given = parser.parse_args()
    folder = given.path.resolve()
    try:
        trusted = load_keys(key.read_text() for key in given.key)
        kind, faults = check(folder, trusted)
    except ERRORS as error:
        parser.exit(1, f"can't verify {folder}: {error}\n")
    print(*faults, sep="\n", end="\n" if faults else "")
    if not trusted:
        print("note: no --key given; keys are the folder's own, which does not show who made it")
    print(f"{kind} {folder.name}: " + (f"{len(faults)} faults" if faults else "verified"))
    return 6 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
