"""A person's statement, signed with the SSH key that they already use.

The signature is OpenSSH's (``ssh-keygen -Y``, format SSHSIG) over the canonical JSON of the
statement, in a namespace that says what the signature means: one made to approve can't be passed
off as one made to classify. Whose key it is, and whether it was valid, the keyring says.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import InputError, IntegrityError
from workbench.record import clock
from workbench.record.digest import canonical

if TYPE_CHECKING:
    from workbench.record.keyring import Keyring, Person

NAMESPACES = tuple(
    f"{act}@workbench"
    for act in (
        "accept",
        "approve",
        "cause",
        "classify",
        "finding",
        "forget",
        "incident",
        "keyring",
        "promote",
        "release",
        "replay",
        "revoke",
        "serve",
    )
)


PARTS = ("namespace", "public_key", "signature")


def sign(statement: dict[str, Any], namespace: str, key_path: Path) -> dict[str, Any]:
    """An envelope: statement, namespace, public key, signature.

    ``ssh-keygen`` asks for a passphrase itself, so this belongs in a terminal and is refused
    inside a kernel. A public key file works when the private key is in ssh-agent.
    """
    if namespace not in NAMESPACES:
        raise InputError("no such namespace", given=namespace, expected=", ".join(NAMESPACES))
    _refuse_in_kernel()
    public = public_line(key_path)
    with tempfile.TemporaryDirectory() as folder:
        message = Path(folder, "statement")
        message.write_bytes(canonical(statement))
        done = _ssh_keygen("sign", "-f", str(key_path), "-n", namespace, str(message))
        if done.returncode:
            raise InputError(
                "ssh-keygen did not sign",
                where=key_path,
                given=done.stderr.decode(errors="replace").strip(),
                next_step="try the passphrase again, or ssh-add the key",
            )
        signature = message.with_suffix(".sig").read_text()
    return {
        "statement": statement,
        "namespace": namespace,
        "public_key": public,
        "signature": signature,
    }


def sign_as(
    name: str, statement: dict[str, Any], namespace: str, key_path: Path, keyring: Keyring
) -> dict[str, Any]:
    """As `sign`, when the key is in force now and that person's; else IntegrityError or InputError."""
    envelope = sign(statement, namespace, key_path)
    signer = verify(envelope, keyring, namespace, clock.now())
    if signer.name != name:
        raise InputError("The key is another person's.", expected=name, given=signer.name)
    return envelope


def verify(
    envelope: dict[str, Any], keyring: Keyring, namespace: str, at: str | datetime
) -> Person:
    """The person who signed, when the signature is good and the key was valid at that time.

    ``at`` is the ledger's time of the entry that holds the envelope, not a time that the signer
    claims. IntegrityError says which: wrong namespace, unknown, not yet valid, expired or revoked
    key, or a signature that is not of these bytes.
    """
    try:
        given, public, signature = (envelope[name] for name in PARTS)
        message = canonical(envelope["statement"])
    except (KeyError, TypeError, InputError) as error:
        raise IntegrityError("not a signed statement", given=str(error)) from error
    if given != namespace:
        raise IntegrityError("signed for another meaning", expected=namespace, given=given)
    person = keyring.who(public, at, namespace)
    check(message, namespace, public, signature)
    return person


@lru_cache(maxsize=1024)  # of what was good once: the same bytes, key and signature stay so
def check(message: bytes, namespace: str, public: str, signature: str) -> None:
    """IntegrityError unless the key signed exactly these bytes in this namespace."""
    with tempfile.TemporaryDirectory() as folder:
        allowed, sealed = Path(folder, "allowed_signers"), Path(folder, "signature")
        allowed.write_text(f'signer namespaces="{namespace}" {bare(public)}\n')
        sealed.write_text(signature)
        arguments = ("-f", str(allowed), "-I", "signer", "-n", namespace, "-s", str(sealed))
        done = _ssh_keygen("verify", *arguments, message=message)
    if done.returncode:
        raise IntegrityError(
            "the signature is not of this statement, namespace and key",
            expected=bare(public),
            given=done.stderr.decode(errors="replace").strip().split("\n")[-1] or None,
        )


def check_together(envelopes: Iterable[Any]) -> None:
    """Check signatures side by side, so that what is asked one by one afterwards is known by then.

    Says nothing: one that is not good is found again by whoever asks for it.
    """
    with ThreadPoolExecutor() as pool:
        for one in envelopes:
            pool.submit(lambda e: check(canonical(e["statement"]), *map(e.get, PARTS)), one)


def public_line(key_path: Path) -> str:
    """``type base64`` of a key file's public half; InputError when it can't be read."""
    path = Path(key_path)
    beside = path if path.suffix == ".pub" else path.with_name(path.name + ".pub")
    try:
        return bare(beside.read_text())
    except OSError as error:
        raise InputError(
            "no public key beside the private one",
            where=beside,
            next_step=f"ssh-keygen -y -f {path} > {beside}",
        ) from error


def bare(line: str) -> str:
    """An OpenSSH public key without its comment; InputError when it is none."""
    parts = line.split()[:2]
    if len(parts) < 2 or not parts[0].startswith(("ssh-", "ecdsa-", "sk-")):
        raise InputError("not an OpenSSH public key", given=line[:60])
    return " ".join(parts)


def _refuse_in_kernel() -> None:
    kernel = sys.modules.get("ipykernel.kernelapp")
    if kernel and kernel.IPKernelApp.initialized():
        raise InputError("people sign in a terminal, never in a kernel")


def _ssh_keygen(
    verb: str, *arguments: str, message: bytes | None = None
) -> subprocess.CompletedProcess[bytes]:
    command = ["ssh-keygen", "-Y", verb, *arguments]
    env = {**os.environ, "LC_ALL": "C"}
    feed = {"input": message} if message is not None else {}
    try:
        return subprocess.run(command, capture_output=True, env=env, check=False, **feed)
    except FileNotFoundError as error:
        raise InputError(
            "ssh-keygen is missing", next_step="install OpenSSH 8.2 or later"
        ) from error
