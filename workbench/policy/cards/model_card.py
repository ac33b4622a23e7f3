"""The model card, with the front matter that Hugging Face reads.

https://huggingface.co/docs/hub/model-cards. After Mitchell et al. 2019, Model Cards for Model
Reporting: use, base, data, evaluation with intervals, and what was not evaluated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from ..data_card import HUB_LICENCES, TASKS
from ..wordings import wordings
from .facts import CardFacts
from .markdown import bullets, plain, sections, table
from .plain import WORDS, asked, cases, environment, found, headline, not_passed, words, worst_first

SAID = wordings(__package__, "model_card.yaml")
EVALUATION = "gate stage verdict blocks found n asked harm"
WITHOUT_ADAPTER = ("full", "frozen")


def render(facts: CardFacts) -> str:
    """The card as Markdown with YAML front matter."""
    usecase, allowed = facts.usecase, ", ".join(facts.plan["allowed_data_classes"])
    scope = [plain(line.format(classes=allowed)) for line in SAID["out_of_scope"]]
    stands = [{"fact": fact} | vars(one) for fact, one in sorted(facts.sources.items())]
    parts = {
        f"# {plain(usecase.title)}: {name(facts)}": plain(headline(facts.verdicts)[1]),
        "## Use": bullets(_use(facts)),
        "## Out of scope": bullets(scope),
        "## Base": _pairs(facts.base),
        "## Adaptation": _pairs(facts.adaptation.get("parameters", facts.adaptation)),
        "## Data": _data(facts),
        "## Evaluation": _looks(facts) + table(EVALUATION, _gates(facts)),
        "## Environment": _pairs(environment(facts.environment)),
        "## Gates that did not pass": bullets(map(_failed, not_passed(facts.verdicts))),
        "## Not shown": bullets(map(plain, not_shown(facts))),
        "## How to verify": SAID["verify"].format(
            validation=record(facts, "49_validation"), adapt=record(facts, "30_adapt")),
        "## Records": table("stage ref digest finished", facts.records),
        "## Where each statement stands": table("fact record path sha256", stands),
    }  # fmt: skip
    return sections(yaml.safe_dump(front_matter(facts), sort_keys=False, allow_unicode=True), parts)


def front_matter(facts: CardFacts) -> dict[str, Any]:
    """What the hub reads: licence, languages, base, library, task, and figures as `model-index`."""
    usecase, licence = facts.usecase, str(facts.base["licence"])
    known = licence.lower() in HUB_LICENCES
    front = {"license": licence.lower()} if known else {"license": "other", "license_name": licence}
    languages = sorted({code for one in usecase.data.sources for code in one.language or ()})
    front |= {"language": languages} if languages else {}
    if usecase.base.source.startswith("hub:"):
        front |= {"base_model": usecase.base.source.removeprefix("hub:")}
    task = {"type": TASKS[usecase.kind]}
    whole = facts.adaptation.get("method") in WITHOUT_ADAPTER
    front |= {"library_name": "transformers" if whole else "peft"}
    front |= {"pipeline_tag": task["type"], "tags": [usecase.domain]}
    metrics = [
        {"type": one["figure"]["name"], "name": one["criterion"], "value": one["figure"]["value"]}
        for one in facts.verdicts
        if one["stage"] == "40_functional" and (one.get("figure") or {}).get("value") is not None
    ]
    dataset = {"type": usecase.id, "name": f"{usecase.title}, locked cases"}
    results = [{"task": task, "dataset": dataset, "metrics": metrics}] if metrics else []
    return front | {"model-index": [{"name": facts.identity["name"], "results": results}]}


def name(facts: CardFacts) -> str:
    """Name and number, as in `candidate 3`."""
    return plain(f"{facts.identity['name']} {facts.identity['number']}")


def record(facts: CardFacts, stage: str) -> str:
    """How to name the record of a stage; `REF` where none was read."""
    return next((plain(one["ref"]) for one in facts.records if one["stage"] == stage), "REF")


def not_shown(facts: CardFacts) -> list[str]:
    """What no test covers, as the validation says."""
    return [SAID["nobody"]] if facts.validation is None else list(facts.validation["not_shown"])


def _use(facts: CardFacts) -> list[str]:
    usecase, rules = facts.usecase, words([rule["number"] for rule in facts.plan["rules"]])
    said = {
        "It decides": usecase.decision,
        "In between": WORDS["autonomy"][usecase.autonomy],
        "Affected": "; ".join(usecase.affected),
        "When it is wrong": f"{usecase.harm} Severity: {usecase.severity}.",
        "Answers for it": f"{usecase.owner.name}, {usecase.owner.email}",
        "Tier": f"{facts.plan['tier']}, by rules {rules}",
        "Version before": facts.identity["parent"] or "none",
    }
    return [f"**{head}.** {plain(text)}" for head, text in said.items()]


def _data(facts: CardFacts) -> str:
    rows = ", ".join(f"{set_} {n}" for set_, n in facts.data["rows"].items())
    listed = table("step use version why rows_in rows_out changed created", facts.data["manifest"])
    return f"Rows: {plain(rows)}. Classes, sources and limits: DATA_CARD.md.\n\n{listed}"


def _looks(facts: CardFacts) -> str:
    held = facts.figures.get("40_functional", {})
    if "look" not in held:
        return ""
    look, budget = (int(held[key]["value"]) for key in ("look", "look_budget"))
    return f"Look {look} of {budget} at the locked cases; the intervals hold over all {budget}.\n\n"


def _gates(facts: CardFacts) -> Iterable[dict[str, Any]]:
    for one in worst_first(facts.verdicts):
        blocks = "yes" if one["blocking"] else "no"
        yield {"gate": one["criterion"], "stage": one["stage"], "blocks": blocks,
               "verdict": WORDS["verdicts"][one["verdict"]], "found": found(one),
               "n": cases(one) or "none", "asked": asked(one), "harm": one["harm"]}  # fmt: skip


def _failed(gate: Mapping[str, Any]) -> str:
    risk = "Accepted by nobody" if gate["blocking"] else "It blocks nothing"
    if gate.get("accepted"):
        risk = f"Accepted as a risk, {words(gate['accepted'])}"
    return f"**{plain(gate['criterion'])}.** {plain(gate['reason'])}. {plain(risk)}."


def _pairs(facts: Mapping[str, Any]) -> str:
    said = [{"what": key, "stated": words(facts[key])} for key in sorted(facts)]
    return table("what stated", said)
