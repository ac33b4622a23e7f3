"""What the notebook of a release shows: the bundle, what was not shown, and who signed for it.

All of it is drawn from the frozen bundle and from what the engine collected; the verdicts are the
engine's, by the same rules.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pandas as pd

from ..policy import release
from ..policy.gates import GateVerdict
from ..policy.release import Evidence
from .stage import Stage, gate_table

DEMO = "DEMO, no person: "
SIGNED = ["printed name", "role", "signed at (UTC)", "meaning", "expires", "key", "ledger entry",
          "counts"]  # fmt: skip


def evidence(stage: Stage) -> Evidence:
    """What the engine collected on the candidate."""
    return stage.once("evidence", lambda: Evidence.parse(stage.read_json("standing")))


def identity(stage: Stage) -> pd.DataFrame:
    """What is released, by digest."""
    held, manifest = evidence(stage), _read(stage, "manifest.json")
    named = {name: manifest[name] for name in ("usecase", "name", "number", "parent")}
    named |= {name: held.subject[name] for name in ("bundle", "candidate", "lock", "policy")}
    named |= {"records read": len(held.subject["records"]), "tier": held.plan.tier}
    named |= {"the evidence expires": held.subject["expires"]}
    return pd.DataFrame({"": list(map(str, named.values()))}, index=list(named))


def files(stage: Stage) -> pd.DataFrame:
    """The manifest: every file of the bundle."""
    return pd.DataFrame(_read(stage, "manifest.json")["files"]).set_index("path")


def not_passed(stage: Stage) -> pd.DataFrame:
    """Gates of the candidate that did not pass, with the risk acceptance where one was given."""
    found = [one for one in _evaluation(stage)["verdicts"] if one["verdict"] != "passed"]
    table = gate_table(found)
    table["accepted"] = [_accepted(one.get("accepted")) for one in found]
    return table


def _accepted(said: dict[str, Any] | None) -> str:
    if said is None:
        return "does not block"
    return f"ACCEPTED RISK, by {said['by']} until {said['expires']}: {said['residual']}"


def not_shown(stage: Stage) -> str:
    """What no test showed, a line each."""
    return "\n".join(f"- {line}" for line in release.not_shown(_evaluation(stage)))


def signatures(stage: Stage) -> pd.DataFrame:
    """Each signature for this bundle: printed name, date and time, and meaning (21 CFR 11.50)."""
    rows = [
        (DEMO * one.demo + one.by, one.role.replace("_", " "), one.time, one.meaning, one.expires,
         one.fingerprint, one.entry, f"no: {why}" if why else f"yes {one.flag}".strip())
        for one, why in release.weighed(evidence(stage))
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=SIGNED).set_index("printed name")


def people(stage: Stage, rows: int) -> pd.DataFrame:
    """Who touched what led to the candidate, and whether that bars them from approving it."""
    held = evidence(stage)
    barring = held.plan.conflicts.get("approve", ())
    told = [(one.person, one.act.replace("_", " "), one.where,
             "yes" if one.act in barring else "no") for one in held.touches]  # fmt: skip
    told += [("unidentified", "", one, "unknown") for one in held.unidentified]
    columns = ["person", "did", "where", "bars from approving"]
    return pd.DataFrame(told[:rows], columns=columns).set_index("person")


def gates(stage: Stage) -> pd.DataFrame:
    """The standing gates of the release, as the engine judges them by the same evidence."""
    return gate_table([one.as_dict() for one in release.judge(evidence(stage))])


def without_one(stage: Stage) -> pd.DataFrame:
    """The same judge, once for each signature that counts, without it: never a release."""
    held, rows = release.fresh(evidence(stage)), []
    for gone in [one for one, why in release.weighed(held) if not why]:
        left = replace(held, approvals=[one for one in held.approvals if one != gone])
        verdict = next(one for one in release.judge(left) if one.criterion == "approvals")
        assert verdict.verdict != GateVerdict.PASSED, "released without a signature"
        rows.append({"without": gone.by, "approvals": str(verdict.verdict), "why": verdict.reason})
    return pd.DataFrame(rows).set_index("without")


def _read(stage: Stage, name: str) -> Any:
    return json.loads((stage.input("bundle") / name).read_bytes())


def _evaluation(stage: Stage) -> dict[str, Any]:
    return _read(stage, "evaluation.json")
