#!/usr/bin/env python3
"""Verify workbench records without the workbench: standard library and `cryptography` only.

    python verify_record.py PATH [--key engine.pem ...]

PATH is a record (a folder with statement.json), a store (with store.json), or an unpacked pack
(with pack.json; unpack with `tar --zstd -xf`). --key names the public keys that you trust, one
PEM file each. Without it, keys are taken from the store or pack itself: that shows that nothing
was changed since, but not who made it. Prints each fault with the file at fault.

Exit code: 0 verified, 6 something does not verify, 1 wrong use.

What is checked, in the order of this file:
  1. tree       RFC 6962 hashes, audit paths, and the signed checkpoint (C2SP signed note)
  2. envelope   DSSE v1 with Ed25519, in its one canonical spelling
  3. record     signature, then every file by SHA-256 and exec bit, none missing, none besides
  4. people     SSH signatures in the ledger (by ssh-keygen) and the keyring in force at that entry
  5. ledger     every entry under the signed root, or the one at fault
  6. store      every record is in the ledger, every record of the ledger is here
  7. pack       entries proven to be in the origin's ledger, records as those entries list them
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

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

STATEMENT, PACK = "application/vnd.in-toto+json", "application/vnd.workbench.pack+json"
SEALS = {"statement.json", "statement.sigs.json"}
LEDGER = {"entries.jsonl", "checkpoint", "lock"}
STORE = {"store.json", "records", "ledger", "imports", "scratch"}
QUIET = {"capture_output": True, "check": False}
moment = datetime.fromisoformat


class Fault(Exception):
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
    text += "\n"
    for key in keys.values():
        raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        named = hashlib.sha256(origin.encode() + b"\n\x01" + raw).digest()[:4]
        try:
            blob = base64.b64decode(last.split(" ")[-1])
            key.verify(blob[4:], text.encode())
        except (InvalidSignature, ValueError):
            continue
        lines = text.split("\n")
        spelled = f"\u2014 {origin} {base64.b64encode(named + blob[4:]).decode()}\n"
        if last == spelled and lines[0] == origin:
            return int(lines[1]), base64.b64decode(lines[2])
    raise Fault("the checkpoint is not signed with a known key, or not of this store")


# 2. envelope


def load_keys(texts):
    """Key id (SHA-256 of the SubjectPublicKeyInfo) → Ed25519 public key, from PEM texts."""
    keys = {}
    for text in texts:
        key = serialization.load_pem_public_key(text.encode())
        if not isinstance(key, Ed25519PublicKey):
            raise Fault("not an Ed25519 public key")
        form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        keys[sha256(key.public_bytes(*form))] = key
    return keys


def check_envelope(data, payload, payload_type, keys):
    """That the envelope's bytes are a DSSE envelope over this payload, signed with known keys."""
    try:
        given = json.loads(data)
        signatures = [(s["keyid"], base64.b64decode(s["sig"])) for s in given["signatures"]]
    except (ValueError, KeyError, TypeError):
        raise Fault("not a DSSE envelope") from None
    pae = b"DSSEv1 %d %b %d " % (len(payload_type), payload_type.encode(), len(payload)) + payload
    for keyid, signature in signatures:
        if keyid not in keys:
            raise Fault(f"signed with an unknown key: {keyid[:16]}")
        try:
            keys[keyid].verify(signature, pae)
        except InvalidSignature:
            raise Fault("the signature is not of this file") from None
    text = [{"keyid": k, "sig": base64.b64encode(s).decode()} for k, s in signatures]
    spelled = {"payload": base64.b64encode(payload).decode(), "payloadType": payload_type}
    spelled["signatures"] = text
    if not text or json.dumps(spelled, separators=(",", ":"), sort_keys=True).encode() != data:
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
    for seal in sorted(SEALS - plain):
        return [*faults, f"{name}/{seal}: missing"], None
    data = (folder / "statement.json").read_bytes()
    try:
        check_envelope((folder / "statement.sigs.json").read_bytes(), data, STATEMENT, keys)
    except Fault as fault:
        return [*faults, f"{name}/statement.json or statement.sigs.json: {fault}"], None
    statement = json.loads(data)
    expected = {subject["name"]: subject for subject in statement["subject"]}
    faults += [f"{name}/{path}: added" for path in sorted(plain - set(expected) - SEALS)]
    faults += [f"{name}/{path}: removed or renamed" for path in sorted(set(expected) - plain)]
    for path in sorted(plain & set(expected)):
        with open(folder / path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        executable = bool(os.stat(folder / path).st_mode & 0o111)
        if found != expected[path]["digest"]["sha256"]:
            faults.append(f"{name}/{path}: changed")
        if executable != expected[path]["annotations"]["executable"]:
            faults.append(f"{name}/{path}: the exec bit was changed")
    return faults, statement


# 4. people


def check_person(line, envelope, keyring, at):
    """The person whose counting key signed the statement in a ledger line, else a Fault."""
    public, namespace = envelope["public_key"], envelope["namespace"]
    owners = [(p, k) for p in keyring["persons"] for k in p["keys"]]
    found = [(p, k) for p, k in owners if k["public"].split()[:2] == public.split()]
    if not found:
        raise Fault("signed with a key that is not in the keyring")
    person, key = found[0]
    ends = [key["valid_until"], (key["revoked"] or {}).get("at")]
    if any(end and moment(at) >= moment(end) for end in ends) or moment(at) < moment(
        key["valid_from"]
    ):
        raise Fault("signed with a key that was not valid yet, expired or revoked")
    if not any(fnmatchcase(namespace, pattern) for pattern in key["namespaces"]):
        raise Fault(f"signed with a key that is not for {namespace}")
    text = line.decode()  # what was signed is the statement as it stands in the canonical line
    start = text.index('"statement":', text.index('"signature":')) + len('"statement":')
    message = text[start : json.JSONDecoder().raw_decode(text, start)[1]]
    with tempfile.TemporaryDirectory() as folder:
        allowed, signature = Path(folder, "allowed"), Path(folder, "signature")
        allowed.write_text(f'signer namespaces="{namespace}" {public}\n')
        signature.write_text(envelope["signature"])
        command = ["ssh-keygen", "-Y", "verify", "-f", allowed, "-I", "signer", "-n", namespace]
        done = subprocess.run([*command, "-s", signature], input=message.encode(), **QUIET)
    if done.returncode:
        raise Fault("the SSH signature is not of this statement, namespace and key")
    return person


def check_people(lines):
    """Faults of the keyring's versions and of every other signed statement, in ledger order."""
    keyring = None
    for line in lines:
        entry = json.loads(line)
        envelope = entry["body"].get("envelope")
        try:
            if envelope and entry["kind"] == "keyring":
                version, judge = envelope["statement"], keyring or envelope["statement"]
                if envelope["namespace"] != "keyring@workbench":
                    raise Fault("a keyring version signed for another namespace")
                if version["number"] != (keyring["number"] + 1 if keyring else 1):
                    raise Fault("a keyring version that does not follow the one before")
                if "keyholder" not in check_person(line, envelope, judge, entry["time"])["roles"]:
                    raise Fault("a keyring version signed by a person who is no keyholder")
                keyring = version
            elif envelope:
                check_person(line, envelope, keyring or {"persons": []}, entry["time"])
        except Fault as fault:
            yield f"ledger entry {entry['index']}: {fault}"


# 5. ledger


def ledger_lines(folder, origin, keys):
    """(faults, lines): the lines are those under the signed root, or none."""
    try:
        size, expected = checkpoint((folder / "checkpoint").read_text(), origin, keys)
        *lines, rest = (folder / "entries.jsonl").read_bytes().split(b"\n")
    except (Fault, OSError, ValueError) as fault:
        return [f"ledger/checkpoint: {fault}"], []
    names = {path.name for path in folder.iterdir()}
    faults = [f"ledger/{name}: added" for name in sorted(names - LEDGER)]
    if len(lines) > size or rest:
        faults.append(f"ledger/entries.jsonl, line {size + 1}: not signed")
    lines = lines[:size]
    if root([leaf(line) for line in lines]) == expected:
        return faults, lines
    for i, line in enumerate(lines):
        try:
            entry = json.loads(line)
            if entry["index"] != i:
                faults.append(f"ledger/entries.jsonl, entry {i}: removed or moved")
            if i and entry["previous"] != leaf(lines[i - 1]).hex():
                faults.append(f"ledger/entries.jsonl, entry {i - 1}: changed")
        except (ValueError, KeyError, TypeError):
            faults.append(f"ledger/entries.jsonl, entry {i}: can't be read")
    if not any("entry" in fault for fault in faults):
        faults.append(f"ledger/entries.jsonl, entry {len(lines) - 1} of {size}: changed or removed")
    return faults, []


def listed(entries):
    """stage/id → digest of every record that ledger entries bring in."""
    own = [e["body"] for e in entries if e["kind"] == "record"]
    taken = [item for e in entries if e["kind"] == "import" for item in e["body"]["records"]]
    return {f"{item['stage']}/{item['id']}": item["digest"] for item in own + taken}


def foreign(entries):
    """Keys of other stores that import entries remember."""
    return load_keys(k for e in entries if e["kind"] == "import" for k in e["body"]["public_keys"])


def check_records(folder, expected, keys):
    """Faults of all records below a folder, and against the digests expected."""
    here, held, read = {f"{p.parent.name}/{p.name}": p for p in folder.glob("*/*")}, {}, []
    faults = [f"records/{p.name}: added" for p in folder.iterdir() if not p.is_dir()]
    faults += [f"records/{n}: removed or renamed" for n in sorted(set(expected) - set(here))]
    faults += [f"records/{n}: not in the ledger" for n in sorted(set(here) - set(expected))]
    for name, path in sorted(here.items()):
        found, statement = check_record(path, keys) if path.is_dir() else ([f"{name}: added"], None)
        faults += found
        if statement:
            digest = sha256((path / "statement.json").read_bytes())
            if expected.get(name, digest) != digest:
                faults.append(f"{name}/statement.json: not the one in the ledger")
            held[digest] = {(s["name"], s["digest"]["sha256"]) for s in statement["subject"]}
            inputs = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
            read += [(name, item) for item in inputs]
    for name, item in read:
        source = held.get(item.get("annotations", {}).get("record"))
        if source is not None and (item["name"], item["digest"]["sha256"]) not in source:
            faults.append(f"{name}: names an input that its source never held: {item['name']}")
    return faults


# 6. store


def check_store(folder, trusted):
    """Faults of a whole store."""
    facts = json.loads((folder / "store.json").read_bytes())
    keys = trusted or load_keys(facts["public_keys"])
    strays = sorted({path.name for path in folder.iterdir()} - STORE)
    faults = [f"{name}: added" for name in strays if not name.startswith("index.sqlite")]
    found, lines = ledger_lines(folder / "ledger", f"workbench/{facts['id']}", keys)
    faults += found
    entries = [json.loads(line) for line in lines]
    if not entries:  # named already; the records still verify one by one
        paths = (folder / "records").glob("*/*")
        return faults + [fault for path in sorted(paths) for fault in check_record(path, keys)[0]]
    if entries[0]["body"].get("sha256") != sha256((folder / "store.json").read_bytes()):
        faults.append("store.json: changed")
    packs = {e["body"]["pack"] for e in entries if e["kind"] == "import"}
    here = {path.name: sha256(path.read_bytes()) for path in (folder / "imports").iterdir()}
    wanted = {f"{pack[:16]}.json": pack for pack in packs}
    differ = {name for name, _ in here.items() ^ wanted.items()}
    faults += [f"imports/{name}: added, changed or removed" for name in sorted(differ)]
    faults += check_people(lines)
    return faults + check_records(folder / "records", listed(entries), keys | foreign(entries))


# 7. pack


def check_pack(folder, trusted):
    """Faults of an unpacked pack."""
    data = (folder / "pack.json").read_bytes()
    facts = json.loads(data)
    keys = trusted or load_keys([facts["public_key"]])
    try:
        check_envelope((folder / "pack.sigs.json").read_bytes(), data, PACK, keys)
        size, expected = checkpoint(facts["checkpoint"], f"workbench/{facts['store']}", keys)
    except Fault as fault:
        return [f"pack.json: {fault}"]
    lines = [item["line"].encode() for item in facts["entries"]]
    entries = [json.loads(line) for line in lines]
    for item, line, entry in zip(facts["entries"], lines, entries, strict=True):
        path = [bytes.fromhex(step) for step in item["proof"]]
        if root_from_path(leaf(line), entry["index"], size, path) != expected:
            return [f"pack.json: entry {entry['index']} is not in the signed ledger"]
    everything = listed(entries)
    names = [f"{item['stage']}/{item['id']}" for item in facts["records"]]
    wanted = {name: everything.get(name, "not listed") for name in names}
    extra = {path.name for path in folder.iterdir()} ^ {"pack.json", "pack.sigs.json", "records"}
    faults = [f"{name}: added or removed" for name in sorted(extra)] + list(check_people(lines))
    return faults + check_records(folder / "records", wanted, keys | foreign(entries))


def check(folder, trusted):
    """(kind, faults) of whatever the folder is."""
    if (folder / "store.json").is_file():
        return "store", check_store(folder, trusted)
    if (folder / "pack.json").is_file():
        return "pack", check_pack(folder, trusted)
    store = folder.parents[2] / "store.json"  # of a record that stands in its store
    if not trusted and store.is_file():
        trusted = load_keys(json.loads(store.read_bytes())["public_keys"])
    return "record", check_record(folder, trusted)[0]


def main():
    parser = argparse.ArgumentParser(description="Verify a workbench record, store or pack.")
    parser.add_argument("path", type=Path)
    parser.add_argument("--key", type=Path, action="append", default=[], help="public key, PEM")
    given = parser.parse_args()
    folder, trusted = given.path.resolve(), load_keys(key.read_text() for key in given.key)
    if not folder.is_dir():
        parser.exit(1, f"no folder there: {folder}\n")
    try:
        kind, faults = check(folder, trusted)
    except (Fault, OSError, ValueError, KeyError, TypeError) as error:
        kind, faults = "folder", [f"{folder.name}: can't be read as a record: {error!r}"]
    print(*faults, sep="\n", end="\n" if faults else "")
    if not trusted:
        print("note: no --key given; keys are the folder's own, which does not show who made it")
    print(f"{kind} {folder.name}: " + (f"{len(faults)} faults" if faults else "verified"))
    return 6 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
