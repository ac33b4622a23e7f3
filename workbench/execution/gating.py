"""Verdicts outside the kernel: the sealed rows, the frozen criteria, and nobody's word for it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

import yaml

from ..errors import InputError
from ..policy import gates, governance, risks, scenarios
from ..policy.criteria import Policy
from ..policy.gates import GateResult, GateVerdict
from ..policy.looks import ONLY, Looks
from ..policy.scenarios import Case, Library
from ..record.digest import canonical
from ..record.store import Record, Store
from .inputs import Input
from .locked import Locked
from .stages import Stage

VERDICTS = "verdicts.json"
CLAIMS = "claims.json"
DECISION, DECISION_FILE = "candidate", "decision.json"
BUNDLE = "bundle"
EXAMINED = "cases.parquet"  # the table over the locked set, a row a case, model and task


def frozen_policy(stage: Stage, inputs: dict[str, Input], outputs: Path) -> Policy | None:
    """The criteria as the intake sealed them. Only a stage that commits criteria brings its own."""
    own = stage.facts.get("commits", {}).get("criteria")
    path = inputs["criteria"].path if "criteria" in inputs else outputs / (own or "")
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError("The criteria are not JSON.", where=path, given=error) from None
    return Policy.parse(found, where=path)


def reader(
    outputs: Path, cases: dict[str, Case] | None = None, locked: Locked | None = None
) -> Callable[[str], list[dict[str, Any]] | None]:
    """Rows of a table below `outputs`; None where there is none.

    Of scenarios' rows the libraries say again what each is worth, of locked ones the sealed set
    what was expected, whatever the kernel said of it.
    """

    def rows(table: str) -> list[dict[str, Any]] | None:
        import pyarrow.parquet as parquet
        from pyarrow import ArrowException

        path = outputs / table
        try:
            found = parquet.read_table(path).to_pylist() if path.is_file() else None
        except (ArrowException, OSError):  # their words name paths of this host
            raise InputError("not a Parquet table") from None
        if found and cases and table == scenarios.TABLE:
            return scenarios.examined(cases, found)
        if found and locked and {"case_id", "expected"} <= set(found[0]):
            return locked.examined(found)
        return found

    return rows


def locked_ids(policy: Policy, stage: Stage, inputs: dict[str, Input], limit: int) -> dict:
    """Rule -> ids of its locked cases, so that a case left out or slipped in is noticed.

    `limit` is the stage's parameter of that name: the demo profile may use fewer cases a rule.
    """
    if "cases" not in inputs:
        return {}
    root = inputs["cases"].path
    found = {}
    for rule in policy.of(stage.name):
        path = root / Path(getattr(rule, "cases", None) or "-").name
        if path.is_file():
            cases = yaml.safe_load(path.read_text(encoding="utf-8"))["cases"]
            ids = [str(case["id"]) for case in cases]
            found[rule.id] = set(ids[:limit] if limit else ids)
    return found


def libraries(folder: Path) -> list[Library]:
    """The scenario libraries in a folder. InputError names file, scenario and field."""
    return scenarios.parse({path.name: path.read_bytes() for path in folder.glob("*.yaml")})


def scenario_cases(inputs: dict[str, Input], parameters: dict[str, Any]) -> dict[str, Case]:
    """What a stage with an input `scenarios` owes by the sealed libraries; no other owes any."""
    if "scenarios" not in inputs:
        return {}
    asked = {name: parameters[name] for name in ("limit", "variants") if name in parameters}
    return scenarios.cases(libraries(inputs["scenarios"].path), **asked)


def judge(
    stage: Stage,
    policy: Policy | None,
    inputs: dict[str, Input],
    outputs: Path,
    parameters: dict[str, Any],
    *,
    looks: Looks = ONLY,
    answers: Locked | None = None,
) -> list[GateResult]:
    """The verdicts on what this stage left, each gate of the policy that is about it. `answers` is
    the locked set that it examined."""
    if policy is None:
        return []
    locked = locked_ids(policy, stage, inputs, parameters.get("limit", 0))
    cases = scenario_cases(inputs, parameters)
    for gate in policy.of(stage.name) if cases else ():
        if gate.table == scenarios.TABLE:
            locked[gate.id] = scenarios.agreeing(cases, gate.where)
    if answers:
        locked |= answers.owed(policy, stage.name, EXAMINED)
    read = reader(outputs, cases, answers)
    return gates.judge(policy, stage.name, read, looks=looks, locked=locked)


def contradictions(outputs: Path, results: list[GateResult]) -> list[dict[str, Any]]:
    """Where the notebook claims another verdict or figure than the rows give."""
    path = outputs / CLAIMS
    if not path.is_file():
        return []
    try:
        claimed = json.loads(path.read_text(encoding="utf-8"))
        found = gates.compare(claimed, [_plain(result) for result in results])
    except (ValueError, AttributeError, TypeError) as error:
        return [{"criterion": CLAIMS, "field": "file", "claimed": str(error), "recomputed": None}]
    return [vars(one) for one in found]


def _plain(result: GateResult) -> Any:
    """A result whose `as_dict` went through JSON, as the claim did (tuples, enums, whole floats)."""

    class Plain:
        criterion = result.criterion

        @staticmethod
        def as_dict() -> dict[str, Any]:
            return json.loads(canonical(result.as_dict()))

    return Plain


def proposed(outputs: Path) -> bool:
    """Does the notebook say, in `decision.json`, that the candidate shall be frozen?"""
    try:
        return json.loads((outputs / DECISION_FILE).read_bytes())["frozen"] is True
    except (OSError, ValueError, KeyError, TypeError):
        return False


def withdraw(outputs: Path) -> None:
    """Take away what only the engine may say: verdicts, and a candidate that nothing carries."""
    write(outputs, [])
    if (outputs / BUNDLE).is_dir():
        shutil.rmtree(outputs / BUNDLE)


def write(outputs: Path, results: list[GateResult]) -> None:
    """`verdicts.json`, the engine's; whatever the kernel left under that name is replaced."""
    (outputs / VERDICTS).unlink(missing_ok=True)
    if results:
        (outputs / VERDICTS).write_bytes(canonical([result.as_dict() for result in results]))


def late_criteria(store: Store, criteria: Input, trained: Record | None) -> str | None:
    """Why these criteria may not judge: they entered the ledger after the training began."""
    if trained is None:
        return None
    run = trained.statement.run_id
    entered = trained_at = None
    for entry in store.ledger.entries():
        if entry.kind == "criteria" and entry.body.get("sha256") == criteria.digest:
            entered = entry.index if entered is None else entered
        if entry.kind == "start" and entry.body.get("run") == run:
            trained_at = entry.index
    if entered is None:
        return "these criteria never entered the ledger"
    if trained_at is None or entered > trained_at:
        return "these criteria entered the ledger after the training began"
    return None


def known_before(store: Store, criteria: Input, adapter: Input) -> str | None:
    """Why these criteria may not judge a candidate whose figures were known when they came."""
    entries = list(store.ledger.entries())
    entered = [
        e.index for e in entries if e.kind == "criteria" and e.body.get("sha256") == criteria.digest
    ]
    looked = [
        e.index for e in entries if e.kind == "look" and e.body.get("candidate") == adapter.identity
    ]
    if entered and looked and looked[0] < entered[0]:
        return "these criteria entered the ledger after this candidate was examined"
    return None


def unjudged(policy: Policy, stage: Stage, reason: str) -> list[GateResult]:
    """Every gate of a stage as `not_evaluated`, for one reason."""
    return [gates._unevaluated(gate, reason) for gate in policy.of(stage.name)]


def given_under(
    criteria: Input | None, records: Iterable[Record], accepted: Iterable[dict[str, Any]] = ()
) -> list[dict[str, Any]]:
    """The verdicts that were given under these very criteria; any other counts as none. Beside each
    failed one stands the acceptance, of those in force, that is of the record that gave it."""
    accepted = list(accepted)
    found: list[dict[str, Any]] = []
    for record in records if criteria else ():
        used = {
            item.digest.get("sha256")
            for item in record.statement.inputs
            if item.annotations.get("input") == "criteria"
        }
        if used == {criteria.digest} or record.digest == criteria.record:
            own = [one for one in accepted if one["record"] == record.digest]
            found += risks.marked(record.statement.predicate.workbench_verdicts, own)
    return found


def decided(
    stage: str,
    policy: Policy | None,
    verdicts: list[dict[str, Any]],
    frozen: bool,
    late: str | None = None,
    standing: Collection[str] = governance.GATES,
) -> GateResult:
    """The deciding stage's own verdict, from all verdicts before it.

    Required is every blocking gate of the policy, and every gate that is `standing`. One that failed
    with an acceptance in force does not refuse; the reason names it. `frozen`: the notebook says
    that it shall be; `late`: why the criteria may not judge at all.
    """
    held = {v["criterion"]: v for v in verdicts if v["blocking"]}
    own = set(policy.required) if policy else set()
    required = own | set(standing)
    missing = sorted(required - set(held))
    bad = sorted(name for name, verdict in held.items() if not risks.stands(verdict))
    named = sorted(name for name, one in held.items() if one["verdict"] != GateVerdict.PASSED)
    worst = GateVerdict.PASSED
    if missing or not own or late:
        worst = GateVerdict.NOT_EVALUATED
    if bad:
        worst = GateVerdict.FAILED
    reason = _why(bad, missing, held, late if own or late else "no gate blocks by criteria")
    if frozen and worst != GateVerdict.PASSED:
        reason = f"the notebook would freeze a candidate although: {reason}"
    if not frozen and worst == GateVerdict.PASSED:
        worst, reason = GateVerdict.FAILED, "the notebook would freeze no candidate"
    return GateResult(
        DECISION, stage, worst, None, "every blocking gate passed", reason,
        "a model that nobody showed to be safe is approved", True, tuple(named + missing),
    )  # fmt: skip


def _why(bad: list[str], missing: list[str], held: dict[str, Any], late: str | None) -> str:
    parts = [late] if late else []
    parts += [f"{name}: {held[name]['verdict']}" for name in bad]
    parts += [f"{name}: no verdict" for name in missing]
    return "; ".join(parts) or risks.tally(held.values())
