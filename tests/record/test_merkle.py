"""The hash tree against published values, and its laws."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import InputError, IntegrityError
from workbench.record import merkle

LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
HASHES = [merkle.leaf_hash(leaf) for leaf in LEAVES]
leaf_lists = st.lists(st.binary(max_size=8).map(merkle.leaf_hash), min_size=1, max_size=40)


def _root(leaves):
    """RFC 6962 §2.1 word for word, against which the fast form is held."""
    if len(leaves) < 2:
        return leaves[0] if leaves else hashlib.sha256(b"").digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return merkle.node_hash(_root(leaves[:k]), _root(leaves[k:]))


def test_empty_tree():
    """RFC 6962 §2.1: the root of no entries is SHA-256 of nothing."""
    expected = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert merkle.root([]).hex() == expected


@pytest.mark.parametrize("size", range(1, 9))
def test_published_roots(size):
    """The roots of the certificate-transparency reference test for 1 to 8 leaves."""
    assert merkle.root(HASHES[:size]).hex() == ROOTS[size - 1]


@pytest.mark.parametrize(
    ("index", "size", "path"),
    [
        (0, 1, []),
        (
            0,
            8,
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            5,
            8,
            [
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
        (
            1,
            5,
            [
                "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
    ],
)
def test_published_audit_paths(index, size, path):
    """The audit paths of the certificate-transparency reference test."""
    assert [step.hex() for step in merkle.inclusion_proof(index, HASHES[:size])] == path


@pytest.mark.parametrize(
    ("old", "new", "proof"),
    [
        (1, 1, []),
        (
            1,
            8,
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            6,
            8,
            [
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (
            2,
            5,
            [
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
    ],
)
def test_published_consistency_proofs(old, new, proof):
    """The consistency proofs of the certificate-transparency reference test."""
    assert [step.hex() for step in merkle.consistency_proof(old, HASHES[:new])] == proof


@given(leaf_lists)
def test_root_is_that_of_the_recursive_definition(leaves):
    """Pairing level by level gives the tree that RFC 6962 §2.1 defines by splitting."""
    assert merkle.root(leaves) == _root(leaves)


@given(leaf_lists, st.data())
def test_every_entry_can_be_proven_and_no_other_in_its_place(leaves, data):
    """An audit path proves its own leaf at its own place in its own tree, and nothing else."""
    index = data.draw(st.integers(0, len(leaves) - 1))
    proof, root, size = merkle.inclusion_proof(index, leaves), merkle.root(leaves), len(leaves)
    leaf = leaves[index]
    assert merkle.verify_inclusion(leaf, index, size, proof, root)
    assert not merkle.verify_inclusion(merkle.leaf_hash(b"other leaf"), index, size, proof, root)
    assert not merkle.verify_inclusion(leaf, index, size, proof, bytes(32))
    assert not merkle.verify_inclusion(leaf, index, size, [*proof, bytes(32)], root)
    assert not merkle.verify_inclusion(leaf, size, size, proof, root)
    assert not merkle.verify_inclusion(leaf, -1, size, proof, root)
    for at in range(len(proof)):
        wrong = [*proof[:at], bytes(32), *proof[at + 1 :]]
        assert not merkle.verify_inclusion(leaf, index, size, wrong, root)
        assert not merkle.verify_inclusion(leaf, index, size, proof[:at], root)


@given(leaf_lists, st.data())
def test_a_log_that_only_grew_can_be_proven_and_no_other(leaves, data):
    """A consistency proof holds for the tree and its own prefix, and for no changed prefix."""
    new = len(leaves)
    old = data.draw(st.integers(1, new))
    proof = merkle.consistency_proof(old, leaves)
    roots = merkle.root(leaves[:old]), merkle.root(leaves)
    assert merkle.verify_consistency(old, new, *roots, proof)
    changed = [merkle.leaf_hash(b"something else"), *leaves[1:]]
    assert not merkle.verify_consistency(old, new, merkle.root(changed[:old]), roots[1], proof)
    assert not merkle.verify_consistency(old, new, roots[0], bytes(32), proof)
    assert not merkle.verify_consistency(old, new, *roots, [*proof, bytes(32)])
    assert not merkle.verify_consistency(new + 1, new, *roots, proof)
    assert not merkle.verify_consistency(0, new, *roots, proof)
    for at in range(len(proof)):
        wrong = [*proof[:at], bytes(32), *proof[at + 1 :]]
        assert not merkle.verify_consistency(old, new, *roots, wrong)


def test_a_leaf_never_passes_for_a_node():
    """RFC 6962 §2.1: two hashes as the data of a leaf do not give their node's hash."""
    assert merkle.leaf_hash(HASHES[0] + HASHES[1]) != merkle.node_hash(*HASHES[:2])


@pytest.mark.parametrize("index", [-1, 8])
def test_no_proof_for_what_is_not_there(index):
    """An entry outside of the log: InputError."""
    with pytest.raises(InputError):
        merkle.inclusion_proof(index, HASHES)
    with pytest.raises(InputError):
        merkle.consistency_proof(0 if index < 0 else 9, HASHES)


def test_signed_note_of_the_specification():
    """C2SP signed-note: the example key gives the key hash that its verifier line names."""
    encoded = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    name, named, key = encoded.split("+")
    public = base64.b64decode(key)[1:]
    assert merkle.key_hash(name, public).hex() == named


@given(st.integers(0, 2**40), st.binary(min_size=32, max_size=32))
def test_checkpoint_round_trip(size, root):
    """A checkpoint reads back as it was written."""
    checkpoint = merkle.Checkpoint("example.org/log", size, root)
    assert merkle.Checkpoint.parse(checkpoint.text()) == checkpoint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\n1\n",
        "a\n01\n" + "A" * 43 + "=\n",
        "a\n-1\n" + "A" * 43 + "=\n",
        "a\n+1\n" + "A" * 43 + "=\n",
        "a\n1\nAAAA\n",
        "a\n1\n" + "A" * 43 + "=",
        "a\n1\n" + "A" * 42 + "B=\n",
        "a\n1\n" + "A" * 43 + "=\nextra\n",
    ],
)
def test_a_checkpoint_has_one_spelling(text):
    """Leading zeros, signs, loose base64, short roots, missing or extra lines: refused."""
    with pytest.raises(IntegrityError):
        merkle.Checkpoint.parse(text)


@pytest.mark.parametrize("extra", ["x", "\n", "\u2014 other AAAA\n"])
def test_a_note_has_one_spelling(extra):
    """Anything after the one signature, or a signature in loose base64: refused."""
    note = merkle.signed_note("a\n1\nb\n", "a", bytes(32), bytes(64))
    assert merkle.parse_note(note)[0] == "a\n1\nb\n"
    with pytest.raises(IntegrityError):
        merkle.parse_note(note + extra)
    with pytest.raises(IntegrityError):
        merkle.parse_note(note.replace("= \n", "=\n").replace("==", "=").rstrip("=\n") + "B\n")
