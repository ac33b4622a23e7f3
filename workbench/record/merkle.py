"""The hash tree of the ledger: pure functions, no I/O.

================================  =====================================================
rule                              source
================================  =====================================================
root of nothing = SHA-256("")     RFC 6962 §2.1
leaf  = SHA-256(0x00 ‖ entry)     RFC 6962 §2.1: a leaf can't pass for a node
node  = SHA-256(0x01 ‖ l ‖ r)     RFC 6962 §2.1
split at the largest 2^k < n      RFC 6962 §2.1: the tree is a function of the entries
audit path                        RFC 6962 §2.1.1; check: RFC 9162 §2.1.3.2
consistency proof                 RFC 6962 §2.1.2; check: RFC 9162 §2.1.4.2
checkpoint: origin, size, root    C2SP tlog-checkpoint
note: text, blank line, "— name   C2SP signed-note; key hash = SHA-256(name ‖ 0x0A ‖ 0x01 ‖
base64(key hash ‖ signature)"     public key)[:4], 0x01 meaning Ed25519
================================  =====================================================

A list of leaves is a list of leaf *hashes*; every hash is 32 bytes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from workbench.errors import InputError, IntegrityError


def leaf_hash(data: bytes) -> bytes:
    """The hash of an entry (§2.1)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node (§2.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def _levels(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """All levels from the leaves to the root.

    Pairing neighbours and carrying an odd last one up gives the same tree as the recursive
    split of §2.1, as every left subtree is then complete.
    """
    levels = [list(leaves)]
    while len(levels[-1]) > 1:
        below = levels[-1]
        above = list(map(node_hash, below[::2], below[1::2]))
        levels.append(above + below[len(above) * 2 :])
    return levels


def root(leaves: Sequence[bytes]) -> bytes:
    """The Merkle tree hash (§2.1)."""
    return _levels(leaves)[-1][0] if leaves else hashlib.sha256(b"").digest()


def inclusion_proof(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """The audit path PATH(index, leaves), from the leaf upwards (§2.1.1)."""
    if not 0 <= index < len(leaves):
        raise InputError("no such entry", given=index, expected=f"0 to {len(leaves) - 1}")
    proof = []
    for level in _levels(leaves)[:-1]:
        if index ^ 1 < len(level):
            proof.append(level[index ^ 1])
        index //= 2
    return proof


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], expected: bytes
) -> bool:
    """Whether the leaf is entry ``index`` of the tree with this size and root (§2.1.3.2)."""
    if not 0 <= index < size:
        return False
    node, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if node % 2 or node == last:
            found = node_hash(sibling, found)
            while not node % 2 and node:
                node, last = node >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and found == expected


def consistency_proof(old: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PROOF(old, leaves): that the first ``old`` leaves are a prefix of all (§2.1.2)."""
    if not 0 < old <= len(leaves):
        raise InputError("no such tree", given=old, expected=f"1 to {len(leaves)}")
    return _subproof(old, leaves, True)


def _subproof(old: int, leaves: Sequence[bytes], whole: bool) -> list[bytes]:
    size = len(leaves)
    if old == size:
        return [] if whole else [root(leaves)]
    split = 1 << ((size - 1).bit_length() - 1)
    if old <= split:
        return [*_subproof(old, leaves[:split], whole), root(leaves[split:])]
    return [*_subproof(old - split, leaves[split:], False), root(leaves[:split])]


def verify_consistency(
    old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether the tree (new, new_root) only adds to the tree (old, old_root) (§2.1.4.2)."""
    if not 0 < old <= new:
        return False
    if old == new:
        return not proof and old_root == new_root
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    if not path:
        return False
    node, last = old - 1, new - 1
    while node % 2:
        node, last = node >> 1, last >> 1
    first = second = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if node % 2 or node == last:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while not node % 2 and node:
                node, last = node >> 1, last >> 1
        else:
            second = node_hash(second, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root


@dataclass(frozen=True)
class Checkpoint:
    """The state of a log: whose it is, how many entries, and their root."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The signed part of the note."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read the signed part; only the one spelling that ``text`` writes is accepted."""
        try:
            origin, size, encoded = text.removesuffix("\n").split("\n")
            found = cls(origin, int(size), base64.b64decode(encoded, validate=True))
        except (ValueError, binascii.Error) as error:
            raise IntegrityError("not a checkpoint", expected="origin, size, root") from error
        if found.text() != text or found.size < 0 or len(found.root) != 32:
            raise IntegrityError("a checkpoint in another spelling", given=text[:200])
        return found


def key_hash(name: str, public: bytes) -> bytes:
    """Four bytes that name an Ed25519 key in a note."""
    return hashlib.sha256(name.encode() + b"\n\x01" + public).digest()[:4]


def signed_note(text: str, name: str, public: bytes, signature: bytes) -> str:
    """The text with one Ed25519 signature below it."""
    blob = base64.b64encode(key_hash(name, public) + signature).decode()
    return f"{text}\n\u2014 {name} {blob}\n"


def parse_note(note: str) -> tuple[str, str, bytes, bytes]:
    """(text, name, key hash, signature) of a note with exactly one signature, strictly spelled."""
    text, gap, last = note.rpartition("\n\n\u2014 ")
    name, space, encoded = last.removesuffix("\n").partition(" ")
    try:
        blob = base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error) as error:
        raise IntegrityError("not a signed note") from error
    spelled = f"{text}{gap}{name}{space}{base64.b64encode(blob).decode()}\n"
    if not gap or spelled != note or len(blob) != 68:
        raise IntegrityError("not a signed note", expected="C2SP signed-note, one signature")
    return text + "\n", name, blob[:4], blob[4:]
