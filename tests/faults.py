"""Kinds of faults: how each is planted, which gates must refuse it, how those are disabled."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from workbench.execution import commitments, gating, locked, pipeline, preflight
from workbench.policy import gates, governance, looks, scenarios, tracks
from workbench.policy.criteria import Policy
from workbench.policy.gates import GateResult, GateVerdict
from workbench.policy.scorers import SCORERS, Verdict
from workbench.record import verify
from workbench.record.ledger import Ledger

from .checked import HARD, RULES, TABLES, Checked

Patch, Plant = pytest.MonkeyPatch, Callable[[Checked, random.Random], Any]
Disable = Callable[[Patch], None]
RUN, VERIFY = ("run", "--json"), ("verify",)
GOVERNED = ("run", "--track", "governed", "--dry-run")


@dataclass(frozen=True)
class Kind:
    """A kind of fault, and what must refuse it."""

    part: str
    """What it is planted in: candidate, data, rules or record."""
    plant: Plant
    """Plants it, and returns options for the command where it needs any."""
    by: set[str]
    """Exactly the gates that must not pass; or the one word for a refusal that is no gate's."""
    disable: Disable
    """Puts those, and nothing else, out of action."""
    says: str = ""
    """What the refusal must say."""
    command: tuple[str, ...] = RUN
    """What refuses. On the governed track the plan, before anything runs."""


# ---- how a gate is put out of action ------------------------------------------------------------


def blind(*names: str) -> Disable:
    """These gates pass whatever they see; all others judge as ever."""

    def disable(patch: Patch) -> None:
        for name in ("evaluate", "rule_gate"):
            real = getattr(gates, name)

            def judge(gate: Any, rows: Any, *, real: Any = real, **more: Any) -> GateResult:
                seen = real(gate, rows, **more)
                return gates._result(gate, GateVerdict.PASSED, "blind", seen.figure) \
                    if gate.id in names else seen  # fmt: skip

            patch.setattr(gates, name, judge)

    return disable


def without(*places: tuple[Any, str, Any]) -> Disable:
    """Each (module, name) is replaced by this value."""

    def disable(patch: Patch) -> None:
        for module, name, value in places:
            patch.setattr(module, name, value)

    return disable


def gives(value: Any) -> Callable[..., Any]:
    return lambda *given, **named: value


UNVERIFIED = without((pipeline, "_verified", gives(None)))
SOUND = gives(([], 0, "nothing is looked for"))


def believed(stage: Any, policy: Any, inputs: Any, outputs: Path, *more: Any, **named: Any) -> Any:
    """The verdicts that the kernel wrote, where it wrote any."""
    claimed = outputs / "claims.json"
    if not claimed.is_file():
        return JUDGE(stage, policy, inputs, outputs, *more, **named)
    words = {one["criterion"]: one["verdict"] for one in json.loads(claimed.read_text())}
    return [gates._result(gate, GateVerdict(words[gate.id]), "claimed", None)
            for gate in policy.of(stage.name)]  # fmt: skip


def taken_at_its_word(case: Any, row: Any, original: Any) -> dict[str, Any]:
    """What the row says of itself comes over what the library says."""
    own = {"severity": row["severity"]} if "severity" in row else {}
    return EXAMINED(case, row, original) | own


JUDGE, EXAMINED = gating.judge, scenarios._judged


def any_text(known: Any, rows: Any) -> Any:
    """As if every original had the text that the library wrote."""
    texts = {name: case.scenario.text for name, case in known.items() if "~" not in name}
    return EXAMINE(known, [row | {"text": texts.get(row["case_id"], row["text"])} for row in rows])


def as_if_varied(known: Any, rows: Any) -> Any:
    """As if every variant had another text than its original."""
    return EXAMINE(
        known, [row | {"text": row["text"] + " " * ("~" in row["case_id"])} for row in rows]
    )


EXAMINE = scenarios.examined

# ---- how faults are planted ---------------------------------------------------------------------


def misled(words: dict[str, str], intent: str) -> Plant:
    """The training rows of a word, drawn, teach this intent."""
    return lambda lab, rng: lab.teach(rng, words, intent)


def inverted(lab: Checked, rng: random.Random) -> None:
    """The training rows of a topic, drawn, have the other one's label."""
    word, intent = rng.choice([("card", "fees"), ("fee", "cards")])
    lab.teach(rng, {word: intent}, intent)


def changed(stage: str, *cells: str, **facts: Any) -> Plant:
    """A notebook that does something else at its end; `SEED` in a cell is a number drawn."""

    def plant(lab: Checked, rng: random.Random) -> None:
        number = str(rng.randrange(1000))
        lab.write(stage, *[cell.replace("SEED", number) for cell in cells], **facts)

    return plant


def rewritten(stage: str, table: str, work: str, **facts: Any) -> Plant:
    """The kernel changes the rows of its table before they leave it."""
    lines = ["import random", "rng = random.Random(SEED)",
             f"rows = pq.read_table(out / '{table}').to_pylist()", *work.strip().splitlines(),
             f"pq.write_table(pa.Table.from_pylist(rows), out / '{table}')"]  # fmt: skip
    return changed(stage, "\n".join(lines), **facts)


def ruled(edit: Callable[[dict[str, Any]], object]) -> Plant:
    return lambda lab, rng: lab.policy(edit)


def both(*plants: Plant) -> Plant:
    return lambda lab, rng: [plant(lab, rng) for plant in plants] and None


def edited(stage: str, name: str, old: bytes | None = None, new: bytes = b"") -> Plant:
    """A file of a sealed record, changed where it lies: some bytes, or one that is drawn."""

    def plant(lab: Checked, rng: random.Random) -> None:
        path = lab.record(stage).path / name
        path.chmod(0o644)
        content = bytearray(path.read_bytes())
        at = content.index(old) if old else rng.randrange(len(content))
        content[at : at + len(old or b"1")] = new or bytes([content[at] ^ 1])
        path.write_bytes(bytes(content))

    return plant


def any_result(lab: Checked, rng: random.Random) -> None:
    """Some byte of some output of some sealed stage."""
    stage = rng.choice(["20_dataset", "40_functional", "41_policy", "42_scenarios", "44_reproducibility",
                        "46_memorisation"])  # fmt: skip
    sealed = [one.name for one in lab.record(stage).statement.subject]
    edited(stage, rng.choice([one for one in sealed if one.startswith("outputs/")]))(lab, rng)


def ledger_without_look(lab: Checked, rng: random.Random) -> None:
    """The last line that says that the locked set was looked at is taken out."""
    path = lab.runs / "research" / "ledger" / "entries.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    last = max(i for i, line in enumerate(lines) if json.loads(line)["kind"] == "look")
    path.chmod(0o644)
    path.write_text("".join(lines[:last] + lines[last + 1 :]))


def learned_test(lab: Checked, rng: random.Random) -> None:
    """Four training rows are locked ones, in capitals and with a full stop."""
    found = lab.rows()
    half = len(found) // 2
    for message, intent in rng.sample(found[half:-4], 4):
        mine = [row for row in found[:half] if row[0].endswith(message.split()[-1])]
        rng.choice(mine)[:] = [message.upper() + ".", intent]
    lab.data(found)


def relabelled_test(lab: Checked, rng: random.Random) -> None:
    """Five locked rows have the other label at their source."""
    found = lab.rows()
    for row in rng.sample(found[len(found) // 2 : -4], 5):
        row[1] = "fees" if row[1] == "cards" else "cards"
    lab.data(found)


def late(lab: Checked, rng: random.Random) -> None:
    """A model that fails is trained without its criteria; easier ones come once that is known."""
    inputs = {"train": "20_dataset/train.parquet"}
    both(FAILS, lambda lab, rng: lab.write("30_adapt", inputs=inputs))(lab, rng)
    lab.cli(*RUN, "--until", "40_functional")
    lab.policy(lambda found: found["criteria"][1].update(at_least=0.1))


def lax(lab: Checked, rng: random.Random) -> None:
    """The stage that examines brings criteria of its own making, from a stage of its own."""
    lab.stage("11_lax", inputs={"criteria": "10_intake/criteria.json"}, cells=[TABLES, EASIER_ON],
              commits={"criteria": "criteria.json"})  # fmt: skip
    own = {"criteria": "11_lax/criteria.json"}
    lab.write("30_adapt", inputs={"train": "20_dataset/train.parquet"} | own)
    examined = CHECKED_INPUTS | own
    rewritten("40_functional", "cases.parquet", WRONG, inputs=examined)(lab, rng)


EASIER_ON = (
    "(out / 'criteria.json').write_text(given['criteria'].read_text().replace('0.9,', '0.1,'))"
)
CHECKED_INPUTS = {"adapter": "30_adapt/adapter", "locked": "20_dataset/locked.parquet!"}
FAILS = misled({"card": "cards", "fee": "fees"}, "nothing")
WRONG = """
hard = rng.sample([row for row in rows if row["model"] == "candidate"], 8)
for row in hard: row["predicted"] = "nothing"
"""
TWICE = """
rows += [dict(row) for row in rows if row["model"] == "candidate" and row not in hard] * 20
"""
SWAPPED = """
for row in rows: row["model"] = {"base": "candidate", "candidate": "base"}[row["model"]]
"""
HELPS = """
mine = [row for row in rows if row["rule"] == "refuse_unsafe"]
hard = rng.sample(mine, 9)
for row in hard: row["queue"] = "cards"
"""
LEFT_OUT = "rows = [row for row in rows if row not in hard]\n"
INVENTED = """
rows += [mine[0] | {"case_id": f"easy {i}", "queue": "decline"} for i in range(300)]
"""
SERVES = 'case = rng.choice([row for row in rows if "~" not in row["case_id"]])\n'
EASIER = 'case["text"] = "I am well"\n'
PLAYED_DOWN = """
for row in rows: row["severity"] = "minor" if row is case else "blocking"
case["person"] = "no"
"""
UNVARIED = """
texts = {row["case_id"]: row["text"] for row in rows}
for row in rows: row["text"] = texts[row["case_id"].split("~")[0]]
"""
CERTIFIES = """
claims = [{"criterion": name, "verdict": "passed"} for name in ("accuracy", "no_worse")]
for name in ("claims.json", "verdicts.json"): (out / name).write_bytes(canonical(claims))
"""
WOBBLES = """
weights["wobbles"] = [sorted(weights["knows"])[SEED % len(weights["knows"])]]
weights_at.write_bytes(canonical(weights))
"""
VANISH = """
kept = pq.read_table(out / "locked.parquet").to_pylist()
kept.pop(SEED % len(kept))
pq.write_table(pa.Table.from_pylist(kept), out / "locked.parquet")
"""
ALWAYS = gives(Verdict("pass", "always"))


def scorer_true(name: str, fails: Plant) -> Plant:
    """The scorer is replaced by one that passes everything, and the model does what it forbids."""

    def plant(lab: Checked, rng: random.Random) -> None:
        lab.patch.setitem(SCORERS, name, ALWAYS)
        fails(lab, rng)

    return plant


def thinned(lab: Checked, rng: random.Random) -> None:
    """A scenario that the model fails is taken out of the library."""
    found = lab.library()
    found["scenarios"].pop(rng.randrange(len(found["scenarios"])))
    lab.document("scenarios/hard.yaml", found)


def dropped(found: dict[str, Any]) -> None:
    found["criteria"] = [one for one in found["criteria"] if one["stage"] != "46_memorisation"]


def not_asked(name: str) -> Disable:
    """As if the policy did not say that this gate blocks."""
    real = Policy.required.fget
    return without((Policy, "required", property(lambda p: [n for n in real(p) if n != name])))


def lenient(gate: Any, figure: Any) -> GateResult:
    return VERDICT(gate.model_copy(update={"min_n": 0}), figure)


VERDICT = gates._verdict
OMITTED = (
    WRONG
    + """
gone = {row["case_id"] for row in hard}
rows = [row for row in rows if row["case_id"] not in gone]
"""
)
REWRITTEN = (
    WRONG
    + """
for row in hard: row["expected"] = row["predicted"]
"""
)
UNSEALED = without((locked, "of", lambda *_: None))

KINDS = {
    "locked case left out": Kind("data", rewritten("40_functional", "cases.parquet", OMITTED),
                                 {"accuracy", "no_worse"}, UNSEALED),
    "expected answer rewritten": Kind("data", rewritten("40_functional", "cases.parquet", REWRITTEN),
                                      {"accuracy"}, UNSEALED),
    "degraded refusal": Kind("candidate", misled(RULES["refuse_unsafe"], "cards"), {"refuse_unsafe"},
                             blind("refuse_unsafe"), "pass rate"),
    "degraded escalation": Kind("candidate", misled(RULES["fraud_to_person"], "cards"),
                                {"fraud_to_person"}, blind("fraud_to_person")),
    "refuses too much": Kind("candidate", misled(RULES["no_over_refusal"], "decline"),
                             {"no_over_refusal"}, blind("no_over_refusal")),
    "fails where it is hard": Kind("candidate", misled(HARD, "cards"), {"hard_cases"}, blind("hard_cases")),
    "learned by heart": Kind("candidate", lambda lab, rng: ("-p", "30_adapt.epochs=9"),
                             {"canary_exposure"}, blind("canary_exposure")),
    "another answer beside another": Kind("candidate", changed("30_adapt", WOBBLES), {"same_again"},
                                          blind("same_again")),
    "swapped adapter": Kind("record", edited("30_adapt", "outputs/adapter/weights.json", b'"fee":"fees"',
                                             b'"fee":"card"'), {"integrity"}, UNVERIFIED, "weights.json"),
    "base and candidate swapped": Kind("candidate", rewritten("40_functional", "cases.parquet", SWAPPED),
                                       {"accuracy", "no_worse"}, blind("accuracy", "no_worse")),
    "inverted label": Kind("data", inverted, {"accuracy"}, blind("accuracy")),
    "locked labels flipped": Kind("data", relabelled_test, {"accuracy"}, blind("accuracy")),
    "learned from the locked set": Kind("data", learned_test, {"data_sets_apart"},
                                        without((governance, "_sets_apart", SOUND)), "stands in"),
    "locked row vanished": Kind("data", changed("20_dataset", VANISH), {"data_lineage"},
                                without((governance, "_lineage", SOUND))),
    "duplicated easy cases": Kind("data", rewritten("40_functional", "cases.parquet", WRONG + TWICE),
                                  {"accuracy", "no_worse"},
                                  without((gates, "Counter", lambda keys: dict.fromkeys(keys, 1))),
                                  "counted twice"),
    "hard case left out": Kind("data", rewritten("41_policy", "replies.parquet", HELPS + LEFT_OUT),
                               {"refuse_unsafe"}, without((gates, "_count_absent", lambda f, *rows: f)),
                               "unscored"),
    "easy case invented": Kind("data", rewritten("41_policy", "replies.parquet", HELPS + INVENTED),
                               {"refuse_unsafe"}, without((gating, "locked_ids", gives({}))), "nobody locked"),
    "easier text answered": Kind("data", rewritten("42_scenarios", "scenarios.parquet", SERVES + EASIER),
                                 {"hard_cases"}, without((scenarios, "examined", any_text)), "another text"),
    "variants not varied": Kind("data", rewritten("42_scenarios", "scenarios.parquet", UNVARIED),
                                {"hard_cases"}, without((scenarios, "examined", as_if_varied)),
                                "another text"),
    "severity played down": Kind("rules", rewritten("42_scenarios", "scenarios.parquet", SERVES + PLAYED_DOWN),
                                 {"hard_cases"}, without((scenarios, "_judged", taken_at_its_word),
                                                         (scenarios, "agreeing", gives(None)))),
    "scenario taken out": Kind("rules", thinned, {"hard_cases"}, without((gates, "_verdict", lenient)),
                               "12 needed"),
    "shifted threshold, sealed": Kind("rules", edited("10_intake", "outputs/criteria.json",
                                                      b'"at_least":0.9,', b'"at_least":0.1,'),
                                      {"integrity"}, UNVERIFIED, "criteria.json"),
    "shifted threshold, own": Kind("rules", lax, {"candidate"}, without((gating, "given_under", lambda c, r: [
        v for one in r for v in one.statement.predicate.workbench_verdicts])), "accuracy: no verdict"),
    "shifted threshold, late": Kind("rules", late, {"accuracy", "no_worse", "refuse_unsafe",
                                    "fraud_to_person", "no_over_refusal", "hard_cases", "same_again",
                                    "canary_exposure"}, without((gating, "late_criteria", gives(None))),
                                    "not_evaluated"),
    "too few cases": Kind("rules", ruled(lambda found: found["rules"][0].update(min_n=5)), {"refused"},
                          without((preflight.gates, "preflight", gives([]))), "the plan asks for 59",
                          GOVERNED),
    "rule made non-blocking": Kind("rules", ruled(lambda found: found["criteria"][3].update(blocking=False)),
                                   {"refused"}, without((preflight, "_criteria", gives([]))),
                                   "no gate of it blocks", GOVERNED),
    "layer dropped with its gate": Kind("rules", both(ruled(dropped), changed("46_memorisation", kinds=[])),
                                        {"refused"}, without((preflight, "_criteria", gives([]))),
                                        "asks for the layer memorisation", GOVERNED),
    "notebook not approved": Kind("rules", changed("40_functional", "print(SEED)"), {"refused"},
                                  without((tracks, "_approvals", gives(()))), "not what was approved",
                                  GOVERNED),
    "dropped layer": Kind("rules", changed("46_memorisation", kinds=[]), {"candidate"},
                          not_asked("canary_exposure"), "canary_exposure: no verdict"),
    "emptied layer": Kind("rules", changed("46_memorisation", cells=[]), {"canary_exposure"},
                          blind("canary_exposure"), "not_evaluated"),
    "scorer that is always true": Kind("rules", scorer_true("declined", misled(RULES["refuse_unsafe"], "cards")),
                                       {"refused"}, without((gates.scorers, "sound", gives(True))),
                                       "fails the rule's own probes"),
    "check that is always true": Kind("rules", scorer_true("escalation", misled(HARD, "cards")), {"refused"},
                                      without((gates.scorers, "sound", gives(True)),
                                              (scenarios.probes, "trusted", gives(True)))),
    "looks overspent": Kind("rules", lambda lab, rng: lab.policy(lambda found: found.update(look_budget=1))
                            or ("-p", f"30_adapt.epochs={rng.choice([2, 4, 5])}"), {"looks"},
                            without((commitments, "beyond", gives(False)), (looks, "beyond", gives(False)),
                                    (gates, "level_at", lambda level, *look: level)), "budget of looks"),
    "verdicts of its own": Kind("record", rewritten("40_functional", "cases.parquet", WRONG + CERTIFIES),
                                {"accuracy"}, without((gating, "judge", believed))),
    "edited result": Kind("record", any_result, {"integrity"}, UNVERIFIED, "does not verify"),
    "edited statement": Kind("record", edited("46_memorisation", "statement.json", b'"passed"', b'"failed"'),
                             {"integrity"}, without((verify, "verify_record", gives([])),
                                                    (verify, "_completeness", gives([]))),
                             "statement.json", VERIFY),
    "look taken out of the ledger": Kind("record", ledger_without_look, {"integrity"},
                                         without((Ledger, "verify", gives([]))), "entries.jsonl", VERIFY),
}  # fmt: skip
