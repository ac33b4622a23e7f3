"""A whole use case with tiny stages: real kernels and stores, a life cycle in seconds.

Its notebooks stand in for the shipped ones of the same file name. The "model" of the tiny stages
maps the last word of a message to its intent.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml

MARKER = "Grandma Zebulon's private words"  # in every message: it may stand nowhere in the clear
TOPICS = {"card": "cards", "fee": "fees"}
ROWS = 24
LONGEST = ("test_life_cycle.py", "test_training.py")
PERSONAL = {"class": "personal", "purpose": "routed", "owner": "ops", "retention_days": 30,
            "legal_basis": "contract"}  # fmt: skip
INTERNAL = {"class": "internal_operational", "purpose": "target", "owner": "ops"}
USECASE: dict[str, Any] = {
    "id": "tiny", "title": "Tiny", "kind": "classifier", "decision": "Which team reads it.",
    "influences": "customer_service", "affected": ["customers"], "harm": "It waits.",
    "severity": "moderate", "autonomy": "human_confirms", "domain": "finance",
    "owner": {"name": "Olga Owner", "email": "olga@example.org"},
    "base": {"source": "folder:base", "name": "none", "licence": "MIT"},
    "data": {"path": "data/messages.csv", "text": "message", "label": "intent",
             "steps": [], "classified_by": "Dora Data",
             "columns": {"message": PERSONAL, "intent": INTERNAL}},
}  # fmt: skip
POLICY: dict[str, Any] = {
    "version": 1, "look_budget": 9,
    "criteria": [
        {"id": "enough_rows", "stage": "20_dataset", "table": "splits.parquet", "figure": "count",
         "at_least": 10, "bound": "value", "blocking": True, "harm": "h", "why": "w"},
        {"id": "accuracy", "stage": "40_functional", "table": "cases.parquet",
         "where": {"model": "candidate"}, "figure": "accuracy", "at_least": 0.5, "bound": "value",
         "min_n": 5, "blocking": True, "harm": "h", "why": "w"},
    ],
}  # fmt: skip

WHY = {"why": "w"}
ENVELOPE: dict[str, Any] = {
    "version": 1,
    "modifications": {
        "base": [WHY | {"name": "none", "revision": "1"}],
        "method": WHY | {"one_of": ["lora", "frozen"]},
        "target_modules": WHY | {"one_of": ["query"]},
        "trainable_share": WHY | {"at_most": 1.0},
        "hyperparameters": {"epochs": WHY | {"at_least": 1, "at_most": 5}},
        "data_classes": WHY | {"one_of": ["personal", "internal_operational"]},
        "rows": WHY | {"at_least": 1, "at_most": 1000},
    },
    "protocol": {"outside": "A new one.", "verification": [
        {"practice": practice, "method": "m", "gates": ["accuracy"], "by": "Olga Owner",
         "changes": ["base", "method", "target_modules", "trainable_share", "hyperparameters",
                     "data_classes", "rows"]}
        for practice in ("data_management", "retraining", "performance_evaluation", "update")
    ]},
    "impact": {"together": "t", "effects": [
        {"changes": ["base"], "benefit": "b", "risk": "r", "mitigation": "m", "gates": ["accuracy"]},
    ]},
}  # fmt: skip
OPERATIONS: dict[str, Any] = {
    "version": 1, "load": {"requests_per_s": 5, "seconds": 5}, "serving": {"timeout_s": 2},
    "fallback": {"answer": {"label": "human_review"}, "say": "A person will answer."},
    "deployments": {"guarded": {"rehearsed": True,
                                "canary": {"share": 0.5, "requests": 3, "minutes": 0.01}}},
    "rehearsal": [
        WHY | {"id": "as_validated", "stage": "60_preproduction", "table": "items.parquet",
               "figure": "differing", "at_most": 0, "bound": "value", "blocking": True, "harm": "h"},
    ],
    "promotion": [
        WHY | {"id": "canary_answers", "stage": "70_deploy", "table": "served.parquet",
               "where": {"arm": "canary"}, "figure": "failed_share", "at_most": 0.5,
               "bound": "value", "min_n": 3, "blocking": True, "harm": "h"},
    ],
    "monitor": {"signals": [
        WHY | {"id": "errors", "watch": "error", "at_most": 0.02, "then": "roll_back", "harm": "h"},
    ]},
}  # fmt: skip
"""An operations.yaml: `guarded` asks for all that there is, other environments for a release."""
SOURCE = {"id": "desk", "approved_by": "Dora Data", "approved_at": "2026-01-01"}
TRAINING: dict[str, Any] = {
    "name": "training",
    "python": platform.python_version(),
    "zone": {"name": "bank", "holds": "personal"},
}
PERSONS = {"Dora Data": ("keyholder", "data_steward"), "Olga Owner": ("use_case_owner",),
           "Vera Validator": ("model_validator",)}  # fmt: skip
APPROVERS = {"Rita Risk": ("risk_manager",), "Otto Operator": ("operator",)}

SETUP = """
import json, os, pathlib, time
from workbench.record.digest import canonical
facts = json.loads(pathlib.Path("stage.json").read_text())
given = {name: pathlib.Path(one["path"]) for name, one in facts["inputs"].items()}
out = pathlib.Path("outputs")
"""
TABLES = SETUP + "import pyarrow as pa, pyarrow.parquet as pq\n"
INTAKE = """
import yaml
from workbench.policy.criteria import Policy
from workbench.policy.tiers import control_plan
from workbench.policy.usecase import UseCase
usecase = UseCase.parse(yaml.safe_load(given["usecase"].read_text()))
plain = usecase.model_dump(mode="json", by_alias=True)
data = plain["data"] | {name: plain[name] for name in ("kind", "labels", "form")}
(out / "data.json").write_bytes(canonical(data))
(out / "usecase.json").write_bytes(canonical(plain))
(out / "plan.json").write_bytes(canonical(control_plan(usecase).as_dict()))
if "operations" in given:
    from workbench.policy.operations import Operations
    operations = Operations.parse(yaml.safe_load(given["operations"].read_text()))
    (out / "operations.json").write_bytes(canonical(operations.plain()))
policy = Policy.parse(yaml.safe_load(given["policy"].read_text()))
(out / "criteria.json").write_bytes(canonical(policy.model_dump(mode="json", by_alias=True)))
"""
INSPECTION = """
import csv
names = next(csv.reader(given["data"].open()))
found = [{"column": name, "data_class": "internal_operational", "confidence": "low", "why": "nothing",
          "entities": {}, "grounds": "nothing"} for name in names]
(out / "proposals.json").write_bytes(canonical(found))
"""
DATASET = """
import csv, shutil
rows = list(csv.DictReader(given["data"].open()))
rows = [{"row_id": f"r{i:07d}"} | row for i, row in enumerate(rows, start=1)]
(out / "raw").mkdir()
shutil.copyfile(given["data"], out / "raw" / "messages.csv")
half, end = len(rows) // 2, len(rows) - 4
sets = {"train": rows[:half], "locked": rows[half:end], "dev": rows[end:]}
for name, held in sets.items():
    pq.write_table(pa.Table.from_pylist(held), out / f"{name}.parquet")
names = [{"row_id": row["row_id"], "label": row["intent"]} for row in rows]
pq.write_table(pa.Table.from_pylist(names), out / "splits.parquet")
def line(row, step, outcome, detail):
    return {"row_id": row["row_id"], "source_id": row["row_id"], "step": step, "use": "",
            "version": "", "outcome": outcome, "detail": detail, "other": ""}
lines = [line(row, 0, "read", "") for row in rows]
lines += [line(row, 1, "set", name) for name, held in sets.items() for row in held]
pq.write_table(pa.Table.from_pylist(lines), out / "lineage.parquet")
(out / "manifest.json").write_bytes(canonical([]))
"""
ADAPT = """
train = pq.read_table(given["train"]).to_pylist()
knows = {row["message"].split()[-1]: row["intent"] for row in train}
(out / "adapter").mkdir()
weights = {"knows": knows, "epochs": epochs}
(out / "adapter" / "weights.json").write_bytes(canonical(weights))
(out / "figures.json").write_bytes(canonical({"loss_candidate": {"value": 1 / epochs}}))
"""
SHOWS = """
import numpy as np
from safetensors.numpy import save_file
from workbench.methods import open_stage
from workbench.methods.adapt import probes
from workbench.record.digest import file_digest
stage = open_stage()
tried = probes.attempts(stage)
stage.write_table("isolation.parquet", tried.drop(columns="detail"))
save_file({"head.weight": np.ones((2, 8), np.float32)}, out / "adapter" / "head.safetensors")
said = {"method": method, "base": "sha256:" + file_digest(given["base"] / "model.safetensors")}
(out / "adapter" / "adaptation.json").write_bytes(canonical(said))
"""
FUNCTIONAL = """
locked = pq.read_table(given["locked"]).to_pylist()
knows = json.loads((given["adapter"] / "weights.json").read_text())["knows"]
def case(row, model, said):
    return {"case_id": row["row_id"], "model": model, "expected": row["intent"], "predicted": said}
if "base_cases" in given:
    base = pq.read_table(given["base_cases"]).to_pylist()
else:
    base = [case(row, "base", "cards") for row in locked]
print("base reused" if "base_cases" in given else "base computed")
said = [knows.get(row["message"].split()[-1], "nothing") for row in locked]
cases = [case(row, "candidate", s) for row, s in zip(locked, said)]
pq.write_table(pa.Table.from_pylist(base), out / "base_cases.parquet")
pq.write_table(pa.Table.from_pylist(base + cases), out / "cases.parquet")
"""
CANDIDATE = """
verdicts = json.loads(given["verdicts"].read_text()) if "verdicts" in given else []
if insist or all(one["verdict"] == "passed" for one in verdicts):
    (out / "decision.json").write_bytes(canonical({"frozen": True}))
"""
COUNTED = """
pq.write_table(pa.table({"case_id": ["1"]}), out / "counted.parquet")
"""
COUNT = {"table": "counted.parquet", "figure": "count", "at_least": 1, "bound": "value",
         "blocking": True, "harm": "h", "why": "w"}  # fmt: skip
LAYERS = {"42_scenarios": "scenarios", "44_reproducibility": "reproducibility",
          "46_memorisation": "memorisation"}  # fmt: skip
CRITERIA = {"criteria": "10_intake/criteria.json"}
STAGES: dict[str, dict[str, Any]] = {
    "10_intake": {
        "cells": [SETUP, INTAKE], "commits": {"criteria": "criteria.json"},
        "inputs": {"usecase": "usecase:usecase", "policy": "usecase:policy",
                   "operations": "usecase:operations?"},
    },
    "05_inspection": {
        "cells": [SETUP, INSPECTION], "inspects": True, "rows": [],
        "inputs": {"data": "usecase:data"},
    },
    "15_base": {"cells": [], "kinds": []},
    "43_calibration": {"cells": [], "kinds": []},
    "44_reproducibility": {"cells": [], "kinds": []},
    "45_operations": {"cells": [], "kinds": []},
    "46_memorisation": {"cells": [], "kinds": []},
    "47_attribution": {"cells": [], "kinds": []},
    "49_validation": {"cells": [], "kinds": []},
    "20_dataset": {
        "cells": [TABLES, DATASET], "rows": ["raw/*", "*.parquet"], "governs": "data",
        "commits": {"evaluation-lock": "locked.parquet"},
        "inputs": {"data": "usecase:data", "facts": "10_intake/data.json",
                   "proposals": "05_inspection/proposals.json?"} | CRITERIA,
    },
    "30_adapt": {
        "cells": [TABLES, ADAPT], "rows": [], "parameters": "epochs: int = 3  # rounds [1..9]",
        "inputs": {"train": "20_dataset/train.parquet"} | CRITERIA,
    },
    "40_functional": {
        "cells": [TABLES, FUNCTIONAL], "rows": ["*.parquet"], "continues": True,
        "layer": "functional",
        "reuses": {"base_cases.parquet": ["locked"]},
        "inputs": {"adapter": "30_adapt/adapter", "locked": "20_dataset/locked.parquet!",
                   "facts": "10_intake/data.json"} | CRITERIA,
    },
    "50_candidate": {
        "cells": [SETUP, CANDIDATE], "decides": True,
        "parameters": "insist: bool = False  # freeze whatever the gates say",
        "inputs": {"adapter": "30_adapt/adapter", "verdicts": "40_functional/verdicts.json?"}
        | CRITERIA,
    },
}  # fmt: skip


def rows(n: int = ROWS) -> list[tuple[str, str]]:
    """(message, intent): the last word decides."""
    words = list(TOPICS) * n
    return [(f"{MARKER} no {i} about my {words[i]}", TOPICS[words[i]]) for i in range(n)]


@dataclass
class Told:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Lab:
    """A use case in `home/usecase`, its stores in `home/runs`, their keys in `home/keys`."""

    home: Path
    owed: list[dict[str, Any]] = field(default_factory=list)
    """Criteria over the other layers, once they are asked for."""

    @property
    def usecase(self) -> Path:
        return self.home / "usecase"

    @property
    def runs(self) -> Path:
        return self.home / "runs"

    def fill(self) -> Lab:
        (self.usecase / "stages").mkdir(parents=True)
        (self.usecase / "data").mkdir()
        (self.usecase / "base").mkdir()
        (self.usecase / ".gitignore").write_text("runs/\nscratch/\n")
        self.configure(), self.criteria(POLICY), self.data(rows())
        for name in STAGES:
            self.stage(name)
        return self

    def configure(self, **changes: Any) -> None:
        """Write usecase.yaml with these fields changed."""
        (self.usecase / "usecase.yaml").write_text(yaml.safe_dump(USECASE | changes))

    def criteria(self, policy: dict[str, Any] | None = None, **accuracy: Any) -> None:
        """Write policy.yaml, with fields of the criterion `accuracy` changed."""
        first, second, *more = (policy or POLICY)["criteria"]
        changed = (policy or POLICY) | {"criteria": [first, second | accuracy, *more, *self.owed]}
        (self.usecase / "policy.yaml").write_text(yaml.safe_dump(changed))

    def operations(self, **changes: Any) -> Path:
        """Write operations.yaml with these fields changed, and name it in usecase.yaml."""
        path, file = self.usecase / "operations.yaml", self.usecase / "usecase.yaml"
        path.write_text(yaml.safe_dump(OPERATIONS | changes))
        named = yaml.safe_load(file.read_text()) | {"operations": path.name}
        file.write_text(yaml.safe_dump(named))
        return path

    def data(self, found: list[tuple[str, str]] | str) -> None:
        text = found
        if not isinstance(found, str):
            text = "message,intent\n" + "".join(f"{m},{i}\n" for m, i in found)
        (self.usecase / "data" / "messages.csv").write_text(text)

    def stage(self, name: str, *more: str, **changes: Any) -> None:
        """Write the notebook of a tiny stage, with cells `more` at its end, facts changed."""
        facts = STAGES.get(name, {"cells": []}) | changes
        cells = [nbformat.v4.new_markdown_cell(f"# {name}")]
        if facts.get("parameters"):
            tag = {"tags": ["parameters"]}
            cells.append(nbformat.v4.new_code_cell(facts["parameters"], metadata=tag))
        cells += [nbformat.v4.new_code_cell(text) for text in [*facts["cells"], *more]]
        for i, cell in enumerate(cells):
            cell.id = f"cell-{i}"
        kept = {k: v for k, v in facts.items() if k not in ("cells", "parameters")}
        about = {"stage": name, "run_s": 60, "cell_s": 60} | kept
        nb = nbformat.v4.new_notebook(cells=cells, metadata={"workbench": about})
        (self.usecase / "stages").mkdir(exist_ok=True)
        nbformat.write(nb, self.usecase / "stages" / f"{name}.ipynb")

    def govern(self, **changes: Any) -> Path:
        """All that the governed track asks: documents, commit, keyring, signatures; returns the
        folder with everybody's keys. `changes` go to usecase.yaml."""
        keys = self.declare(**changes)
        for who, kind in (("Olga Owner", "envelope"), ("Vera Validator", "templates")):
            self.ok("approve", kind, "--by", who, "--sign-with", keys / who.split()[0])
        self.ok("classify", "--track", "governed", "--by", "Dora Data",
                "--sign-with", keys / "Dora")  # fmt: skip
        return keys

    def declare(self, **changes: Any) -> Path:
        """The documents, a commit, and a keyring with keys; nothing is signed yet."""
        data = USECASE["data"] | {"sources": [SOURCE]}
        self.configure(**{"data": data, "envelope": "envelope.yaml",
                          "environments": {"training": "training.yaml"}} | changes)  # fmt: skip
        (self.usecase / "envelope.yaml").write_text(yaml.safe_dump(ENVELOPE))
        self.layers()
        (self.usecase / "training.yaml").write_text(yaml.safe_dump(TRAINING))
        self.commit()
        keys = self.home / "persons"
        keys.mkdir()
        for who, roles in PERSONS.items():
            self.person(keys / who.split()[0], who, *roles)
        return keys

    def complete(self) -> Lab:
        """Stages that show all that a governed candidate must: its change, its isolation, and each
        layer; `govern` then approves them."""
        import numpy as np
        from safetensors.numpy import save_file

        from workbench.record.digest import file_digest

        adapt, decide = STAGES["30_adapt"], STAGES["50_candidate"]
        for words in (
            ["init", "-q"],
            ["config", "user.name", "Dora Data"],
            ["config", "user.email", "dora@example.org"],
        ):  # who runs it
            subprocess.run(["git", "-C", str(self.usecase), *words], check=True)
        weights = self.usecase / "base" / "model.safetensors"
        save_file({"layer.0.query.weight": np.ones((8, 8), np.float32)}, weights)
        facts = {"name": "none", "revision": "1", "weights": file_digest(weights)}
        (weights.parent / "base.json").write_text(json.dumps(facts))
        self.stage("30_adapt", SHOWS, adapts=True, probes=True,
                   parameters=adapt["parameters"] + """\nmethod: str = "frozen"  # {lora, frozen}""",
                   inputs=adapt["inputs"] | {"base": "base:source", "facts": "10_intake/data.json",
                                             "envelope": "usecase:envelope?"})  # fmt: skip
        shown = {layer: f"{name}/verdicts.json?" for name, layer in LAYERS.items()}
        self.stage("50_candidate", inputs=decide["inputs"] | shown)
        return self

    def promote(self) -> Lab:
        """A governed candidate, and all whom its release needs."""
        named = self.complete().operations().name
        keys = self.govern(operations=named)
        for who, roles in APPROVERS.items():
            self.person(keys / who.split()[0], who, *roles)
        self.ok("run", "--track", "governed")
        return self

    def another(self) -> None:
        """A second candidate, frozen by hand: the first with another adapter."""
        from workbench.execution import bundle
        from workbench.record.digest import canonical, file_digest
        from workbench.record.statement import SEALS

        store = self.store("governed")
        first = bundle.find(store)
        run = store.begin(first.record.stage, "Dora Data")
        top = first.record.path
        for path in (one for one in top.rglob("*") if one.is_file()):
            if path.parent != top or path.name not in SEALS:
                place = run.record / path.relative_to(top)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(path.read_bytes())
        folder = run.record / "outputs" / "bundle"
        weights = json.loads((folder / "adapter" / "weights.json").read_bytes())
        (folder / "adapter" / "weights.json").write_bytes(canonical(weights | {"another": True}))
        for one in first.manifest["files"]:
            path = folder / one["path"]
            one |= {"sha256": file_digest(path), "size": path.stat().st_size}
        plain = first.manifest | {"number": first.number + 1, "parent": first.digest}
        (folder / "manifest.json").write_bytes(canonical(plain))
        store.publish(run, first.record.statement)

    def release(self) -> Lab:
        """Approve and register the newest candidate."""
        for told in [self.sign("Vera Validator", "model_validator"),
                     self.sign("Rita Risk", "risk_manager"), self.cli("release", "register")]:  # fmt: skip
            assert told.code == 0, told.err
        return self

    def request(self) -> Path:
        """A new request for the newest candidate."""
        asked = self.runs / "request.json"
        self.ok("release", "request", "--to", asked)
        return asked

    def sign(self, by: str, role: str, meaning: str = "approved", key: str | None = None,
             asked: Path | None = None) -> Told:  # fmt: skip
        """`workbench approve` of a request, a new one unless given, with a person's key."""
        asked = asked or self.request()
        return self.cli("approve", asked, "--by", by, "--role", role, "--meaning", meaning,
                        "--sign-with", self.home / "persons" / (key or by.split()[0]))  # fmt: skip

    def layers(self) -> None:
        """The other layers that the plan asks for, each with a stage and a gate that blocks."""
        for name, layer in LAYERS.items():
            self.stage(name, cells=[TABLES, COUNTED], kinds=["classifier"], layer=layer, rows=[],
                       continues=True, inputs=CRITERIA)  # fmt: skip
        self.owed = [{"id": layer, "stage": name} | COUNT for name, layer in LAYERS.items()]
        self.criteria()

    def person(self, key: Path, who: str, *roles: str) -> None:
        """Make an SSH key and enter its person; the first, a keyholder, signs for all."""
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(key)]
        subprocess.run(words, check=True)
        named = [word for role in roles for word in ("--role", role)]
        name = who.split()[0].lower()
        self.ok("keys", "add", "--track", "governed", "--id", name, "--name", who,
                "--email", f"{name}@example.org", *named, "--public-key",
                f"{key}.pub", "--sign-with", key.with_name("Dora"))  # fmt: skip

    def commit(self) -> None:
        """Commit whatever there is, in a repository that is made if there is none."""
        git = ["git", "-C", str(self.usecase), "-c", "user.name=T", "-c", "user.email=t@e"]
        for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all", "--allow-empty"]):
            subprocess.run([*git, *words], check=True)

    def shipped(self, name: str) -> None:
        """Use the shipped notebook of a stage."""
        (self.usecase / "stages" / f"{name}.ipynb").unlink()

    def cli(self, *words: object) -> Told:
        """`workbench ...` in this process; commands that ask for one get the use case."""
        from workbench.cli import main

        args = self.args(*words)
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            with pytest.raises(SystemExit) as ended:
                main(args=args, prog_name="workbench")
        return Told(ended.value.code or 0, out.getvalue(), err.getvalue())

    def ok(self, *words: object) -> Told:
        """The same, for what has to work before a test begins."""
        told = self.cli(*words)
        assert told.code == 0, told.err
        return told

    def args(self, *words: object) -> list[str]:
        texts = [str(word) for word in words]
        return texts if texts[0] == "new" else [*texts, "--usecase", str(self.usecase)]

    def start(self, *words: object, **more: Any) -> subprocess.Popen:
        """The same in a process of its own, as a person runs it."""
        command = [sys.executable, "-m", "workbench.cli", *self.args(*words)]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, **more)

    def store(self, track: str = "research") -> Any:
        from workbench.record.store import Store

        return Store.open(self.runs / track)

    def record(self, stage: str, track: str = "research") -> Any:
        """The newest record of a stage."""
        return self.store(track).records(stage)[-1]

    def ledger(self, kind: str | None = None) -> list[Any]:
        return self.store().ledger.entries(kind)

    def plaintext(self, text: str = MARKER) -> list[str]:
        """Files of all stores in which a text stands in the clear."""
        files = (path for path in self.runs.rglob("*") if path.is_file())
        return [str(path) for path in files if text.encode() in path.read_bytes()]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Fast tests first; where several workers share the files, the longest file starts first."""
    if config.getoption("numprocesses", None) or hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.path.name not in LONGEST)


@contextlib.contextmanager
def surroundings(home: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_KEYS", str(home / "keys"))
        patch.setenv("WORKBENCH_RUNS", str(home / "runs"))
        patch.setenv("PYTHONPATH", os.pathsep.join(p for p in sys.path if p))
        yield


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A tiny use case in which nothing has run."""
    with surroundings(tmp_path):
        yield Lab(tmp_path).fill()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny use case whose life cycle ran to a candidate; to be copied, never used."""
    home = tmp_path_factory.mktemp("finished")
    with surroundings(home):
        Lab(home).fill().ok("run")
    return home


@pytest.fixture
def done(finished: Path, tmp_path: Path) -> Iterator[Lab]:
    """A copy of a tiny use case whose life cycle ran to a candidate."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    with surroundings(tmp_path):
        yield Lab(tmp_path)


@pytest.fixture(scope="session")
def in_order(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, and everybody did what the governed track asks of them; to be copied, never used."""
    home = tmp_path_factory.mktemp("in_order")
    shutil.copytree(finished, home, dirs_exist_ok=True)
    with surroundings(home):
        lab = Lab(home)
        lab.govern()
        lab.ok("run")
    return home


@contextlib.contextmanager
def copied(home: Path, to: Path) -> Iterator[Lab]:
    """A copy of a governed use case, with everybody's keys."""
    shutil.copytree(home, to, dirs_exist_ok=True)
    with surroundings(to):
        lab = Lab(to, [{"id": layer, "stage": name} | COUNT for name, layer in LAYERS.items()])
        lab.keys = to / "persons"
        yield lab


@pytest.fixture
def governed_done(in_order: Path, tmp_path: Path) -> Iterator[Lab]:
    """A copy of a use case whose research led to a candidate, with all in order to promote it."""
    with copied(in_order, tmp_path) as lab:
        yield lab


@pytest.fixture(scope="session")
def promoted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A governed candidate, and all whom its release needs; to be copied, never used."""
    home = tmp_path_factory.mktemp("promoted")
    with surroundings(home):
        Lab(home).fill().promote()
    return home


@pytest.fixture
def releasable(promoted: Path, tmp_path: Path) -> Iterator[Lab]:
    """A copy of a use case with a governed candidate that nobody has signed for yet."""
    with copied(promoted, tmp_path) as lab:
        yield lab


@pytest.fixture(scope="module")
def unsigned(promoted: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The same, one copy for the tests of a file that leave it as it is."""
    with copied(promoted, tmp_path_factory.mktemp("unsigned")) as lab:
        yield lab


@pytest.fixture(scope="session")
def registered(promoted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, approved and registered; to be copied, never used."""
    home = tmp_path_factory.mktemp("registered")
    with copied(promoted, home) as lab:
        lab.release()
    return home


@pytest.fixture
def released(registered: Path, tmp_path: Path) -> Iterator[Lab]:
    """A copy of a use case with an approved and registered release."""
    with copied(registered, tmp_path) as lab:
        yield lab


@pytest.fixture(scope="session")
def registered_twice(registered: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a second release, of another adapter; to be copied, never used."""
    home = tmp_path_factory.mktemp("registered_twice")
    with copied(registered, home) as lab:
        lab.another()
        lab.release()
    return home


@pytest.fixture
def paired(registered_twice: Path, tmp_path: Path) -> Iterator[Lab]:
    """A copy of a use case with two approved and registered releases."""
    with copied(registered_twice, tmp_path) as lab:
        yield lab
