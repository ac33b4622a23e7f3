"""What refuses: the very functions that the verbs call, asked of a sandbox, each for itself."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from types import SimpleNamespace
from typing import NamedTuple

from ...errors import WorkbenchError
from ...policy.gates import GateResult, GateVerdict
from ...policy.release import judge
from ...record import verify
from .. import bundle, governance, runner
from ..recompute import recompute
from ..release import request
from ..release.export import verifier
from .sandbox import Sandbox


class Refusal(NamedTuple):
    """Which gate refused, and what it said, with the file or person at fault."""

    gate: str
    why: str


def ask(box: Sandbox, off: Collection[str] = ()) -> list[Refusal]:
    """All refusals; the gates named by `off` are not asked, and whatever stands behind them goes on
    as if they had passed."""
    found = []
    for name, check in CHECKS.items():
        if name not in off:
            try:
                found += [one for one in check(box, off) if one.gate not in off]
            except WorkbenchError as error:
                found.append(Refusal(name, f"{error.what} {error.where or ''} {error.given or ''}"))
    return found


def _verify(box: Sandbox, off: Collection[str]) -> Iterator[Refusal]:
    for one in verify.verify_store(box.store, box.trusted).problems:
        yield Refusal("verify", str(one))


def _verifier(box: Sandbox, off: Collection[str]) -> Iterator[Refusal]:
    """As a stranger runs it, with the key that they were given before."""
    key = box.home / "trusted.pem"
    key.write_text("".join(box.trusted))
    words = [sys.executable, verifier(), box.store.path, "--key", key]
    done = subprocess.run(words, capture_output=True, text=True)
    said = done.stdout.splitlines()[:-1] or [done.stderr.strip()]
    yield from (Refusal("verify_record.py", line) for line in said if done.returncode)


def _bundle(box: Sandbox, off: Collection[str]) -> Iterator[Refusal]:
    yield from (Refusal("bundle", str(one)) for one in bundle.check(box.candidate.folder))


def _ledger(box: Sandbox, off: Collection[str]) -> Iterable[Refusal]:
    box.store.ledger.signed()
    return ()


def _standing(box: Sandbox, off: Collection[str]) -> Iterable[Refusal]:
    """The gates of the release; a ledger that does not verify is believed, as it has a gate of its
    own."""
    return _refused(judge(box.evidence(box.believed)))


def _refused(results: Iterable[GateResult]) -> Iterator[Refusal]:
    for one in results:
        if one.verdict != GateVerdict.PASSED:
            yield Refusal(one.criterion, f"{one.verdict}: {one.reason}")


def _dataset(box: Sandbox, off: Collection[str]) -> Iterable[Refusal]:
    """The standing gates of the dataset once more, where its rows were opened."""
    folder = box.home / "dataset"
    if not folder.exists():
        return ()
    raw = sorted((folder / "raw").glob("*")) or [
        box.project.path(box.project.usecase.data.path, "")
    ]
    paths = {"facts": folder / "facts.json", "proposals": folder / "proposals.json", "data": raw[0]}
    job = SimpleNamespace(
        stage=SimpleNamespace(name=governance.governance.STAGE, facts={"governs": "data"}),
        inputs={name: SimpleNamespace(path=path) for name, path in paths.items()},
        store=box.store, project=box.project,
    )  # fmt: skip
    return _refused(governance.judge(job, folder))


def _layers(box: Sandbox, off: Collection[str]) -> Iterable[Refusal]:
    stage = SimpleNamespace(name=bundle.STAGE)
    job = SimpleNamespace(project=box.project, stage=stage, store=box.believed)
    return _refused([runner._layers(job, [v for v in box.verdicts() if v["stage"] not in box.unread])])


def _recompute(box: Sandbox, off: Collection[str]) -> Iterator[Refusal]:
    for ref in box.suspects:
        for one in recompute(box.store, box.project, ref).bad:
            yield Refusal("recompute", str(one))


def _approve(box: Sandbox, off: Collection[str]) -> Iterable[Refusal]:
    if box.asked:
        request.check(box.project, box.store, json.loads(json.dumps(box.asked)))
    return ()


Check = Callable[[Sandbox, Collection[str]], Iterable[Refusal]]
CHECKS: dict[str, Check] = {
    "verify": _verify, "verify_record.py": _verifier, "bundle": _bundle, "ledger": _ledger,
    "standing": _standing, "dataset": _dataset, "layers": _layers, "recompute": _recompute,
    "approve": _approve,
}  # fmt: skip
