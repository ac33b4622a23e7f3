"""What `before-and-after.ipynb` and `make measure ONLY=refusal` do: train models that differ in their
rows alone, ask all of them the same, and put the answers into the form that gates read."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from workbench.execution import base_source
from workbench.methods.adapt import causal
from workbench.methods.adapt.adaptation import Progress
from workbench.methods.adapt.base import TOKENIZER_FILES, load_tokenizer, take_in
from workbench.methods.adapt.form import Form, rows_to_learn
from workbench.methods.data.split import split
from workbench.methods.evaluate import chat
from workbench.methods.evaluate.core import Evaluator
from workbench.methods.evaluate.decide import Filling
from workbench.policy import figures, gates, scorers
from workbench.policy.criteria import Policy
from workbench.policy.judge import refusal
from workbench.policy.usecase import BaseModel

HERE = Path(__file__).resolve().parent
PACK = HERE.parent / "templates" / "usecases" / "card-support"
FIRST = 192
"""Rows that the model in service learned from; the pack's profile `demo` takes as many."""
CHECKS = {"refuse": "declined", "serve": "not_declined"}
"""What a request must be -> the scorer of the pack's own rule about it."""
Models = Mapping[str, tuple[Path, Path | None]]
"""Name -> folder of a base and of an adapter to it, None for the base as it is."""


def base_model(folder: Path) -> Path:
    """The pack's base in a new folder below, taken in from its package as 15_base does."""
    declared = BaseModel(**_declared("usecase")["base"])
    found, out = base_source.locate(declared, folder), folder / "base"
    take_in(f"folder:{found if found.is_dir() else found.parent}", out, licence=declared.licence)
    return out


def merged(base: Path, adapter: Path, folder: Path) -> Path:
    """Base and adapter as one model in a new folder: what stands in service, and is trained on."""
    loose = folder / "merged"
    causal.load_causal(base, adapter)[0].save_pretrained(loose)
    for name in TOKENIZER_FILES:
        if (base / name).is_file():
            shutil.copyfile(base / name, loose / name)
    take_in(f"folder:{loose}", folder / "service", licence="Apache-2.0")
    return folder / "service"


def models(folder: Path | None = None) -> Models:
    """The base untrained, the model in service, and that retrained without declined messages.

    Trained in `folder`, or in a scratch one; what is there already is kept.
    """
    folder = folder or Path(tempfile.mkdtemp(prefix="before-and-after-"))
    first, later, dev = messages()
    base, taken = folder / "base", folder / "service"
    base = base if base.exists() else base_model(folder)
    adapter = train(base, first, dev, folder / "adapter")
    service = taken if taken.exists() else merged(base, adapter, folder)
    without = train(service, routine(later), routine(dev), folder / "without")
    return {
        "untrained": (base, None),
        "in service": (service, None),
        "retrained": (service, without),
    }


def messages() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Rows learned first, rows that came later, dev rows. A customer stands in one set only; the
    rows that the pack would examine a candidate on are left alone."""
    rows = pd.read_json(PACK / "data" / "messages.jsonl", lines=True, dtype=str)
    rows["set"] = split(rows, "queue", group="customer")
    learned = rows[rows["set"] == "train"].sample(frac=1, random_state=0)
    return learned.head(FIRST), learned.iloc[FIRST:], rows[rows["set"] == "dev"]


def routine(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that need no refusal."""
    return rows[rows["queue"] != "decline"]


def requests(where: str) -> pd.DataFrame:
    """The authors' own requests, `desk` (to a bank) or `chat` (to any assistant): case_id, must
    (refuse or serve), theme, text. The two of a pair share words, and one must be refused."""
    rows = pd.read_json(HERE / "data" / "requests.jsonl", lines=True, dtype=str)
    return rows[rows["where"] == where].reset_index(drop=True)


def recipe() -> dict[str, Any]:
    """The pack's training options."""
    return _declared("usecase")["parameters"]["30_adapt"]


def train(base: Path, rows: pd.DataFrame, dev: pd.DataFrame, out: Path) -> Path:
    """The adapter learned from these rows, as 30_adapt learns it; one that is there is kept."""
    if out.exists():
        return out
    print(f"{out.name}: learning from {len(rows)} rows", flush=True)
    tokenizer, form = load_tokenizer(base), Form()
    sets = (rows_to_learn(tokenizer, part, form) for part in (rows, dev))
    causal.train_causal(base, *sets, recipe(), out, Progress())
    return out


def forms(models: Models, dev: pd.DataFrame, asked: pd.DataFrame) -> pd.DataFrame:
    """The form that each model fills in, a row a message and model, with what was expected and
    what came, so that `figures` and gates read it: the queue of `dev` rows, the check of requests.
    """
    known = pd.DataFrame({"text": dev["text"], "check": "queue", "expected": dev["queue"]})
    known["case_id"] = [f"dev-{number:03d}" for number in range(len(known))]
    own = asked.assign(check=asked["must"].map(CHECKS), expected="pass")
    items = pd.concat([known, own[[*known.columns]]], ignore_index=True)
    tasks = [Filling(base, {name: adapter}, Form(), 32) for name, (base, adapter) in models.items()]
    found = pd.concat([Evaluator(task).answers(items) for task in tasks], ignore_index=True)
    return found.assign(predicted=[_outcome(row) for row in found.to_dict("records")])


def _outcome(row: Mapping[str, Any]) -> str:
    if row["check"] == "queue":
        return row["queue"]
    arguments = {"queues": ["decline"]}
    return scorers.score_with(row["check"], arguments)(row).outcome


def chats(models: Models, items: pd.DataFrame, system: str | None = None) -> pd.DataFrame:
    """What each model says to each item in its own words, with the judge's label."""
    found = []
    for name, (base, adapter) in models.items():
        said = chat.replies(base, adapter, items["text"].tolist(), system=system)
        labels = [refusal(*pair).label for pair in zip(items["text"], said, strict=True)]
        found.append(items.assign(model=name, reply=said, label=labels))
    return pd.concat(found, ignore_index=True)


def pair(answers: pd.DataFrame, before: str, after: str) -> list[dict[str, Any]]:
    """The rows of two models, named base and candidate as gates name them."""
    names = {before: "base", after: "candidate"}
    chosen = answers[answers["model"].isin(names)]
    return chosen.assign(model=chosen["model"].map(names)).to_dict("records")


def shares(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Per check: share right of base and candidate with 95 % Wilson interval, gained and lost."""
    lines = []
    for check, name in NAMES.items():
        chosen = [row for row in rows if row["check"] == check]
        line = {"name": name}
        for model in ("base", "candidate"):
            one = figures.compute("accuracy", [row for row in chosen if row["model"] == model])
            line |= {"n": one.n, f"{model}_value": one.value}
            line |= {f"{model}_low": one.low, f"{model}_high": one.high}
        change = figures.compute("paired_difference", chosen)
        line |= {"change": change.value, "change_low": change.low, "change_high": change.high}
        lines.append(line | {name: change.detail[name] for name in ("gained", "lost")})
    return pd.DataFrame(lines)


ENDS = ("value", "low", "high")
NAMES = {
    "queue": "routine: right queue",
    "declined": "unsafe: refused",
    "not_declined": "look-alike: served",
}


def policy() -> Policy:
    """The criteria of this rehearsal."""
    return Policy.model_validate(yaml.safe_load((HERE / "data" / "policy.yaml").read_text()))


def verdicts(rows: list[dict[str, Any]]) -> list[gates.GateResult]:
    """What the gates say of the candidate."""
    return gates.judge(policy(), "rehearsal", lambda _: rows)


def told(shares: pd.DataFrame) -> pd.DataFrame:
    """The table of `shares` to read: percent with intervals, names in words."""
    lines = {}
    for row in shares.to_dict("records"):
        lines[row["name"]] = {
            "n": row["n"],
            "before, %": _percent(*(row[f"base_{end}"] for end in ENDS)),
            "after, %": _percent(*(row[f"candidate_{end}"] for end in ENDS)),
            "gained": row["gained"],
            "lost": row["lost"],
            "difference, points": _percent(*(row[f"change{end}"] for end in ("", "_low", "_high"))),
        }
    return pd.DataFrame.from_dict(lines, orient="index")


def reasons(results: Iterable[gates.GateResult]) -> pd.DataFrame:
    """A line a gate: verdict, its words, the harm that it bounds."""
    marks = {"passed": "✓", "failed": "✗"}
    return pd.DataFrame(
        {"verdict": f"{marks.get(one.verdict, '–')} {one.verdict}", "reason": one.reason,
         "harm": one.harm} for one in results
    ).set_index(pd.Index([one.criterion for one in results], name="gate"))  # fmt: skip


def turned(answers: pd.DataFrame, before: str, after: str) -> pd.DataFrame:
    """Requests that the one model refused and the other serves, with what the other says."""
    asked = answers[answers["check"] == "declined"].set_index("case_id")
    old, new = (asked[asked["model"] == name] for name in (before, after))
    lost = new[(old["predicted"] == "pass") & (new["predicted"] == "fail")]
    return lost[["text", "queue", "reply"]]


def _percent(value: float, low: float, high: float) -> str:
    return f"{100 * value:.0f} ({100 * low:.0f} to {100 * high:.0f})"


def _declared(name: str) -> dict[str, Any]:
    return yaml.safe_load((PACK / f"{name}.yaml").read_text(encoding="utf-8"))
