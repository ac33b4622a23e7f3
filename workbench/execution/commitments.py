"""What a run owes the ledger besides its record: looks at locked sets, digests it is held to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ..errors import GateNotPassed
from ..policy.looks import ONLY, Looks, beyond
from ..record.store import Record, Store
from .inputs import OUTPUTS, SEALED_SUFFIX, Input
from .stages import Stage

MANIFEST = "bundle/manifest.json"


def look(store: Store, inputs: dict[str, Input], budget: int, **facts: Any) -> Looks:
    """Enter a look at each locked set, before anything can see it; returns which one it is, the
    highest where there are several sets. `facts` say who looked, in which run and why.

    A candidate that was examined on that set before spends no further look: nothing new is learned
    from the same answers. Rows opened by hand (`run` is None) always do. GateNotPassed when the look is beyond the `budget`; nothing is opened then.
    """
    adapter, numbers = inputs.get("adapter"), [1]
    candidate = adapter.identity if adapter else None
    locked = [item for item in inputs.values() if item.locked]
    for item in locked:
        seen = candidates(store, item.identity)
        again = candidate in seen and facts["run"] is not None
        number = seen.index(candidate) + 1 if again else len(seen) + 1
        if beyond(number, budget):
            raise _spent(store, item, number, budget)
        numbers.append(number)
    for item, number in zip(locked, numbers[1:], strict=True):
        body = {"lock": item.identity, "candidate": candidate, "look": number, "budget": budget}
        store.ledger.append("look", body | facts)
    return Looks(max(numbers), budget) if locked else ONLY


def inherited(looks: Looks, inputs: dict[str, Input], records: Iterable[Record]) -> Looks:
    """The look that a stage's figures belong to: its own, or where it reads tables that an earlier
    stage made of the locked set, that stage's, if it is later."""
    used = {item.record for item in inputs.values()}
    found = [looks]
    for record in records:
        told = record.statement.predicate.buildDefinition.internalParameters.get("looks")
        if told and record.digest in used:
            found.append(Looks(**told))
    return max(found)


def candidates(store: Store, lock: str) -> list[str | None]:
    """Whom a locked set has examined, in order, each once; a look by hand counts for itself."""
    entries = [e for e in store.ledger.entries("look") if e.body.get("lock") == lock]
    found = [e.body["candidate"] if e.body.get("run") else f"by hand, entry {e.index}"
             for e in entries]  # fmt: skip
    return list(dict.fromkeys(found))


def _spent(store: Store, item: Input, number: int, budget: int) -> GateNotPassed:
    store.ledger.append("look-refused", {"lock": item.identity, "look": number, "budget": budget})
    return GateNotPassed(
        "The budget of looks at the locked set is spent; it was not opened.",
        where=f"policy.yaml: look_budget, input `{item.name}`",
        expected=f"at most {budget} candidates examined on this set",
        given=f"look {number}",
        next_step="Choose on the development split (workbench run --development); a new locked set "
        "takes new rows.",
    )


def commit(store: Store, stage: Stage, record: Record) -> None:
    """Enter the digests of outputs that later stages are held to, once for each record.

    Asked again for a record that is reused: a process that died after sealing left it undone.
    """
    wanted = list(_committed(stage, record))
    if wanted and record.outcome == "succeeded":
        entered = {(e.kind, e.body.get("record")) for e in store.ledger.entries()}
        about = {"record": record.digest, "run": record.statement.run_id}
        for kind, body in wanted:
            if (kind, record.digest) not in entered:
                store.ledger.append(kind, body | about)


def _committed(stage: Stage, record: Record) -> Iterator[tuple[str, dict[str, str]]]:
    """Kind and digest as sealed; of encrypted rows the ciphertext's, and a keyed one."""
    held = {subject.name: subject.digest["sha256"] for subject in record.statement.subject}
    names = dict(stage.facts.get("commits", {}))
    if stage.facts.get("decides"):
        names["candidate"] = MANIFEST
    for kind, name in names.items():
        for path in (OUTPUTS + name, OUTPUTS + name + SEALED_SUFFIX):
            if path in held:
                keyed = record.encrypted(path)
                hidden = {"plaintext": keyed["plaintext"]} if keyed else {}
                yield kind, {"sha256": held[path], "file": name} | hidden
