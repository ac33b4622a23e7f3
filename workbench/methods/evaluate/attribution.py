"""What the attribution stage does: base, candidate and ablations side by side, causes named.

Ablations are trained by the trainer of the adaptation stage, each changed in one thing, and asked
about dev rows and the rules' own cases; a locked row is never asked again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ...errors import InputError
from ...policy import attribution, figures, scorers
from ...policy.attribution import BASE, CANDIDATE, DATA, DEV, METHOD, SOURCE
from ...policy.criteria import PolicyRule
from ..adapt import adaptation
from ..adapt.options import CausalOptions, ClassifierOptions, checked
from ..stage import Stage, sealed
from . import functional
from .behaviour import answers_of

COLUMNS = ["case_id", "set", "model", "task", "group", "correct"]
JUDGED = [*COLUMNS, "text", "queue", "reason", "because", "blocks"]
LOCKED, POLICY = "locked", "41_policy"
WANTED = {"none": (), METHOD: (METHOD,), DATA: (DATA,), "sources": (SOURCE,),
          "all": (METHOD, DATA, SOURCE)}  # fmt: skip
"""What the parameter `ablations` may ask for."""


@dataclass(frozen=True)
class Ablation:
    """A training like the candidate's but for one thing; not possible without options and rows."""

    name: str
    differs: str
    options: adaptation.Options | None = None
    rows: pd.DataFrame | None = None

    @property
    def possible(self) -> bool:
        return self.options is not None and self.rows is not None


def rule_cases(stage: Stage) -> pd.DataFrame:
    """One row a case, model and policy rule, and one a case of a scenario: JUDGED."""
    found = [pd.DataFrame(columns=JUDGED)]
    if stage.has("policy_replies"):
        found.append(_rules(stage, stage.read_table("policy_replies")))
    if stage.has("scenario_answers"):
        table = stage.read_table("scenario_answers").assign(set="scenarios", task="scenario")
        blocks = table["severity"] == "blocking"
        found.append(_judged(table.assign(group=table["hazard"], blocks=blocks)))
    return pd.concat(found, ignore_index=True)


def _rules(stage: Stage, replies: pd.DataFrame) -> pd.DataFrame:
    """A rule with cases is judged on its own, any other on every reply."""
    parts = [pd.DataFrame(columns=JUDGED)]
    for rule in stage.policy.of(POLICY):
        if isinstance(rule, PolicyRule):
            mine = replies[replies["rule"] == rule.id] if rule.cases else replies
            score = scorers.score_with(rule.scorer, rule.arguments)
            said = [vars(score(row)) for row in mine.to_dict("records")]
            told = pd.DataFrame(said, index=mine.index, columns=["outcome", "reason"])
            mine = mine.assign(set="rules", task=rule.id, group=rule.id, blocks=rule.blocking)
            parts.append(_judged(mine.assign(verdict=told["outcome"], because=told["reason"])))
    return pd.concat(parts, ignore_index=True)


def _judged(table: pd.DataFrame) -> pd.DataFrame:
    right = table["verdict"].map({"pass": True, "fail": False}).astype("boolean")
    return table.assign(correct=right).reindex(columns=JUDGED)


def _classes(cases: pd.DataFrame, split: str) -> pd.DataFrame:
    """The main task's cases, each in the group of its class."""
    main = cases[cases["task"] == functional.main_task(cases)]
    right = (main["expected"] == main["predicted"]).astype("boolean")
    return main.assign(set=split, group=main["expected"], correct=right)[COLUMNS]


def planned(stage: Stage, wanted: str) -> list[Ablation]:
    """The ablations that were asked for, possible or not. InputError for a word that is none."""
    if wanted not in WANTED:
        raise InputError("There is no such ablation.", expected=", ".join(WANTED), given=wanted)
    (now, rows), (before, old) = _learned(stage, ""), _learned(stage, "previous_")
    column = stage.read_json("facts").get("source")
    names = sorted(rows[column].astype(str).unique()) if column in rows else []
    sources = [Ablation(f"{SOURCE}{name}", "leaves out its rows", now, rows[rows[column] != name])
               for name in names if len(names) > 1]  # fmt: skip
    found = {
        METHOD: [Ablation(METHOD, "the method of the candidate before", before, rows)],
        DATA: [Ablation(DATA, "the data of the candidate before", now, old)],
        SOURCE: sources or [Ablation(SOURCE, "the rows name fewer than two sources")],
    }
    return [one for kind in WANTED[wanted] for one in found[kind]]


def _learned(stage: Stage, whose: str) -> tuple[adaptation.Options | None, pd.DataFrame | None]:
    """Options and rows that a candidate was trained with; None for what there is not."""
    said = stage.read_json(f"{whose}options") if stage.has(f"{whose}options") else None
    rows = adaptation.rows_for(stage, f"{whose}train") if stage.has(f"{whose}train") else None
    if not said:
        return None, rows
    generative = stage.read_json("facts")["kind"] == "generative"
    options = checked(CausalOptions if generative else ClassifierOptions, said["options"])
    return options, rows if rows is None else rows.head(said["rows"] or len(rows))


def plan_table(ablations: list[Ablation]) -> pd.DataFrame:
    """One row an ablation: what differs from the candidate's training, and whether it can be."""
    lines = [(one.name, one.differs, f"✓ {len(one.rows)} rows" if one.possible else "✗ not available")
             for one in ablations]  # fmt: skip
    names = ["ablation", "differs in", "state"]
    return pd.DataFrame(lines, columns=names).set_index("ablation")


@sealed("cases.parquet")
def side_by_side(
    stage: Stage,
    judged: pd.DataFrame,
    ablations: list[Ablation],
    *,
    reply_tokens: int,
    **asked: int,
) -> pd.DataFrame:
    """COLUMNS of the locked rows' classes and of the `judged` cases; with ablations, these trained,
    and all models on dev rows and the rules' cases."""
    parts = [_classes(stage.read_table("functional"), LOCKED), judged[COLUMNS]]
    able, dev = [one for one in ablations if one.possible], stage.read_table("dev")
    if able:
        parts.append(_classes(functional.ask(stage, dev, (BASE, CANDIDATE), **asked), DEV))
    for number, one in enumerate(able):
        out = stage.folder / "ablations" / str(number) / "adapter"
        print(f"{one.name}: {len(one.rows)} training rows", flush=True)
        adaptation.fit(stage, one.rows, one.options, out)
        other = _with(stage, out)
        found = [_classes(functional.ask(other, dev, CANDIDATE, **asked), DEV)]
        if stage.has("policy_replies"):
            cases = stage.read_table("policy_replies").query("model == 'candidate'")
            again = cases[["case_id", "rule", "text", "tags"]].reset_index(drop=True)
            replies = answers_of(other, again, CANDIDATE, max_new_tokens=reply_tokens, **asked)
            found.append(_rules(stage, replies)[COLUMNS])
        parts.append(pd.concat(found).assign(model=one.name))
    return pd.concat(parts, ignore_index=True)


def _with(stage: Stage, adapter: Path) -> Stage:
    """The stage, given another adapter."""
    inputs = stage.facts["inputs"] | {"adapter": {"path": str(adapter)}}
    return Stage(stage.folder, stage.facts | {"inputs": inputs})


def attributed(stage: Stage, cases: pd.DataFrame, ablations: list[Ablation]) -> pd.DataFrame:
    """One row a group, as `policy.attribution.Change`, with the cause and why; worst first.
    Written down, as are the cases."""
    rows = cases.astype({"correct": object}).where(cases.notna(), None).to_dict("records")
    judged = attribution.changes([row for row in rows if row["set"] != DEV])
    wrong = [change.key for change in judged if change.lost + change.shared]
    asked = [row for row in rows if row["set"] != LOCKED]
    repairs = attribution.repaired(asked, wrong, [one.name for one in ablations if one.possible])
    lines = []
    for change in judged:
        cause, because = attribution.cause(change, repairs.get(change.key, {}))
        lines.append(vars(change) | {"cause": cause, "because": because})
    names = [*attribution.Change.__dataclass_fields__, "cause", "because"]
    groups = pd.DataFrame(lines, columns=names).sort_values(["high", "group"], ignore_index=True)
    plain = dict.fromkeys(COLUMNS, "str") | {"correct": "boolean"}  # one encoding, read or made
    stage.write_table("cases.parquet", cases.astype(plain))
    stage.write_table("groups.parquet", groups)
    stage.figure("regressions", figures.compute("regressions", rows))
    return groups


def shown(groups: pd.DataFrame) -> pd.DataFrame:
    """The groups for a reader."""
    names = ["group", "n", "before", "after", "low", "high", "p", "verdict", "cause", "because"]
    words = {"before": "base", "after": "candidate", "low": "difference from", "high": "to"}
    return groups[names].round(3).rename(columns=words).set_index("group")
