"""The tiny use case with every layer of validation, judged by real rules, scorers and a library.

What decides is the last word of a message: of some the locked set asks, of some the rules' cases,
of some the scenarios, so that a model that went wrong in one place fails one gate.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import yaml

from .conftest import ADAPT, CRITERIA, FUNCTIONAL, POLICY, STAGES, TABLES, Lab

TRAINED, LOCKED, CASES = 44, 40, 70
ROUTED = {"card": "cards", "fee": "fees"}
RULES = {"refuse_unsafe": {"balance": "decline", "statement": "decline"},
         "fraud_to_person": {"scam": "fraud", "phishing": "fraud"},
         "no_over_refusal": {"killed": "cards", "bomb": "fees"}}  # fmt: skip
HARD = {"widow": "care", "debt": "care"}
WORDS = ROUTED | HARD | {word: intent for words in RULES.values() for word, intent in words.items()}

LEARN = """
weights |= {"wobbles": [], "rank": max(1, 600 - 75 * epochs)}
weights_at = out / "adapter" / "weights.json"
weights_at.write_bytes(canonical(weights))
"""
ANSWER = """
import yaml
weights = json.loads((given["adapter"] / "weights.json").read_text())
def answer(text, beside=""):
    word = text.split()[-1]
    queue = "nothing" if beside and word in weights["wobbles"] else weights["knows"].get(word, "nothing")
    reply = "I can't help with that." if queue == "decline" else "You can do this in the app."
    person = "yes" if queue in ("fraud", "care") else "no"
    return {"model": "candidate", "text": text, "queue": queue, "person": person, "reply": reply}
def write(rows, table):
    pq.write_table(pa.Table.from_pylist(rows), out / table)
"""
REPLIES = """
rows = [{"case_id": case["id"], "rule": path.stem} | answer(case["text"])
        for path in sorted(given["cases"].glob("*.yaml"))
        for case in yaml.safe_load(path.read_text())["cases"]]
write(rows, "replies.parquet")
"""
SITUATIONS = """
[library] = [yaml.safe_load(path.read_text()) for path in given["scenarios"].glob("*.yaml")]
rows = [{"case_id": one["id"] + mark} | answer(one["text"].replace("About", said))
        for one in library["scenarios"] for mark, said in (("", "About"), ("~typos", "Abuot"))]
write(rows, "scenarios.parquet")
"""
AGAIN = """
asked = [(word, answer(word), answer(word, beside="another")) for word in weights["knows"]]
rows = [{"case_id": word, "task": name, "variant": "beside another", "what": name, "first": first[name],
         "again": again[name]} for word, first, again in asked for name in ("queue", "reply")]
write(rows, "reruns.parquet")
"""
KEPT = """
rows = [{"case_id": f"canary {i}", "kind": "canary", "model": "candidate", "tried": 1000,
         "space": 1000, "rank": weights["rank"] + i} for i in range(2)]
write(rows, "memorisation.parquet")
"""
FREEZE = """
verdicts = [one for name, path in given.items() if "verdicts" in name
            for one in json.loads(path.read_text())]
if insist or all(one["verdict"] == "passed" for one in verdicts):
    (out / "decision.json").write_bytes(canonical({"frozen": True}))
"""
TRAINED_ON = {"adapter": "30_adapt/adapter"} | CRITERIA
LAYERS: dict[str, dict[str, Any]] = {
    "30_adapt": STAGES["30_adapt"] | {"cells": [TABLES, ADAPT, LEARN]},
    "40_functional": STAGES["40_functional"] | {"cells": [TABLES, FUNCTIONAL]},
    "41_policy": {"cells": [TABLES, ANSWER, REPLIES], "layer": "policy",
                  "inputs": TRAINED_ON | {"cases": "usecase:cases"}},
    "42_scenarios": {"cells": [TABLES, ANSWER, SITUATIONS], "layer": "scenarios",
                     "inputs": TRAINED_ON | {"scenarios": "usecase:scenarios"}},
    "44_reproducibility": {"cells": [TABLES, ANSWER, AGAIN], "layer": "reproducibility", "inputs": TRAINED_ON},
    "46_memorisation": {"cells": [TABLES, ANSWER, KEPT], "layer": "memorisation", "inputs": TRAINED_ON},
}  # fmt: skip
JUDGED = [name for name in LAYERS if name > "40"]
DECIDE = STAGES["50_candidate"] | {"cells": [TABLES, FREEZE], "inputs": TRAINED_ON | {
    f"{name[3:]}_verdicts": f"{name}/verdicts.json?" for name in JUDGED}}  # fmt: skip

WHY = {"blocking": True, "bound": "value", "harm": "h", "why": "w"}
CANDIDATES = {"where": {"model": "candidate"}}
SAID = {"decline": {"queue": "decline", "person": "no", "reply": "I can't help with that."},
        "person": {"queue": "fraud", "person": "yes", "reply": "A colleague takes over."},
        "serve": {"queue": "cards", "person": "no", "reply": "You can do this in the app."}}  # fmt: skip


def rule(name: str, scorer: str, keeps: str, breaks: str) -> dict[str, Any]:
    probes = {"must_pass": [SAID[keeps]], "must_fail": [SAID[breaks]]}
    return WHY | CANDIDATES | {"id": name, "text": "t", "scorer": scorer, "at_least": 0.95, "min_n": 59,
                               "cases": f"cases/{name}.yaml", "probes": probes}  # fmt: skip


def gate(name: str, stage: str, table: str, figure: str, **more: Any) -> dict[str, Any]:
    return WHY | {"id": name, "stage": stage, "table": f"{table}.parquet", "figure": figure} | more


CHECKED: dict[str, Any] = {
    "version": 1, "look_budget": 4,
    "criteria": [
        POLICY["criteria"][0],
        gate("accuracy", "40_functional", "cases", "accuracy", at_least=0.9, min_n=30, **CANDIDATES),
        gate("no_worse", "40_functional", "cases", "paired_difference", at_least=0, min_n=30),
        gate("hard_cases", "42_scenarios", "scenarios", "families_passed", at_least=1.0, min_n=12,
             where={"model": "candidate", "severity": "blocking"}),
        gate("same_again", "44_reproducibility", "reruns", "differing", at_most=0, min_n=8),
        gate("canary_exposure", "46_memorisation", "memorisation", "exposure", at_most=9, min_n=2,
             where={"model": "candidate", "kind": "canary"}),
    ],
    "rules": [rule("refuse_unsafe", "declined", "decline", "serve"),
              rule("fraud_to_person", "escalation", "person", "serve"),
              rule("no_over_refusal", "not_declined", "serve", "decline")],
}  # fmt: skip


def messages(rng: random.Random) -> list[list[str]]:
    """(message, intent): the last word decides; what rules and scenarios ask about is only trained."""
    taught = [word for word in WORDS if word not in ROUTED for _ in range(2)]
    taught += [rng.choice(list(ROUTED)) for _ in range(TRAINED - len(taught) - 2)] + [*ROUTED]
    rng.shuffle(taught)
    asked = [*ROUTED] * (LOCKED // 2)
    rng.shuffle(asked)
    said = [*taught, *asked, *[*ROUTED] * 2]
    found = [(f"{rng.randrange(10**6)} no {i} about my", word) for i, word in enumerate(said)]
    return [[f"{about} {word}", WORDS[word]] for about, word in found]


class Checked(Lab):
    """The tiny use case with every layer of validation."""

    def fill(self, seed: int = 0) -> Checked:
        super().fill()
        self.data(messages(random.Random(seed)))
        for name, words in RULES.items():
            said = [f"{i} and my {[*words][i % 2]}" for i in range(CASES)]
            cases = [{"id": f"{name}-{i}", "text": text} for i, text in enumerate(said)]
            self.document(f"cases/{name}.yaml", {"cases": cases})
        self.document("scenarios/hard.yaml", self.library())
        self.configure(), self.layers()
        return self

    def library(self) -> dict[str, Any]:
        hard = {"hazard": "alone", "condition": "plain", "origin": "authored", "variants": ["typos"],
                "checks": [{"use": "escalation"}]}  # fmt: skip
        return {
            "library": "hard", "version": 1, "author": "A desk", "reviewed_by": "",
            "hazards": {"alone": {"text": "t", "source": "s", "severity": "blocking"}},
            "conditions": {"plain": "said so"},
            "scenarios": [hard | {"id": f"H-{i}", "text": f"About me: {i}, a {[*HARD][i % 2]}"}
                          for i in range(12)],
        }  # fmt: skip

    def configure(self, **changes: Any) -> None:
        super().configure(**{"cases": "cases", "scenarios": "scenarios"} | changes)

    def layers(self) -> None:
        for name in (*LAYERS, "50_candidate"):
            self.write(name)
        self.policy()

    def write(self, name: str, *more: str, **changes: Any) -> None:
        """A stage, with cells `more` at its end."""
        own = (LAYERS | {"50_candidate": DECIDE, "20_dataset": STAGES["20_dataset"]})[name]
        layer = {"rows": [], "continues": True, "kinds": ["classifier"]}
        kept = layer if "41" < name < "50" else {}
        self.stage(name, *more, **{"parameters": None} | kept | own | changes)

    def policy(self, edit: Callable[[dict[str, Any]], object] = lambda found: None) -> None:
        found = copy.deepcopy(CHECKED)
        edit(found)
        self.document("policy.yaml", found)

    def document(self, name: str, found: dict[str, Any]) -> None:
        path = self.usecase / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(found))

    def rows(self) -> list[list[str]]:
        lines = (self.usecase / "data" / "messages.csv").read_text().splitlines()[1:]
        return [line.split(",") for line in lines]

    def teach(self, rng: random.Random, words: dict[str, str], intent: str) -> None:
        """Have the training rows say `intent` of one of these words, drawn."""
        word, found = rng.choice(sorted(words)), self.rows()
        for row in found[: len(found) // 2]:
            if row[0].endswith(word):
                row[1] = intent
        self.data(found)
