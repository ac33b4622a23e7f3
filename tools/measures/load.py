"""The stated load on the real server for ten minutes, then everything that can break: a classifier
(MiniLM) and a generative model (SmolLM2) under the operations.yaml of their packs.

Gateway, worker and the client that asks share this machine's cores. The adapters are trained on a
few rows in seconds: what an answer costs does not turn on whether it is right. WORKBENCH_LOAD_SECONDS
asks for less than ten minutes.
"""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

PACKS = Path(__file__).resolve().parents[2] / "templates" / "usecases"
SECONDS = int(os.environ.get("WORKBENCH_LOAD_SECONDS", "600"))
SLICES, TEXTS, ROWS = 20, 16, 32
MODELS = {"intent-routing": "MiniLM, LoRA", "card-support": "SmolLM2-135M, LoRA"}
QUICK = {"epochs": 1, "batch_size": 4, "seed": 7, "threads": 2}


def measure(folder: Path) -> list[str]:
    """Latency, errors and memory under the load; then what was seen of each fault."""
    lines = [f"Cores: {os.cpu_count()}; {SECONDS} s each; load at the start: "
             f"{os.getloadavg()[0]:.2f}.", "", "| model | asked | replies a second | not answered | "
             "wrong, unlogged | p50, p95, p99 (ms) [90 % interval] | worker, MiB | slope, MiB/h |",
             "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    broken: list[str] = []
    for pack in MODELS:
        told, faults = _tried(folder / pack, pack)
        lines.append(f"| {MODELS[pack]} | {' | '.join(told)} |")
        broken += [f"| {MODELS[pack]} | {' | '.join(one)} |" for one in faults]
    lines += [
        "",
        "| model | fault | expected | observed | held | recovery, s |",
        "|---|---|---|---|---|---|",
    ]
    return [*lines, *broken, "", f"Load at the end: {os.getloadavg()[0]:.2f}."]


def _tried(folder: Path, pack: str) -> tuple[list[str], list[list[str]]]:
    from workbench.methods.operate import faults, operational
    from workbench.methods.operate.load import send
    from workbench.methods.operate.trial import lay_out, running

    stage, texts = prepared(folder, pack)
    rules = operational.stated(stage, SECONDS, 0.0)
    bundle = lay_out(stage, rules, folder / "bundle")
    with running(bundle, stage.input("base").resolve(), rules) as trial:
        known = {text: send(trial.server, [text])[0] for text in texts}
        replies, memory = _loaded(trial, texts, rules.load)
        seen = []
        for fault in faults.FAULTS:
            more, line = faults.undergo(trial, fault, texts[:4], known)
            seen.append(line)
            replies |= {fault.name: more}
        log = trial.logged()
    rows = [operational.row(phase, one, faults.wrong(rules.fallback.answer, one, known), log)
            for phase, found in replies.items() for one in found]  # fmt: skip
    return _told(rows, memory, rules.load), [
        [one["fault"], one["expected"], one["observed"], "yes" if one["held"] else "**no**",
         "never" if one["recovery_s"] is None else f"{one['recovery_s']:.1f}"] for one in seen
    ]  # fmt: skip


def _loaded(trial: Any, texts: list[str], load: Any) -> tuple[dict[str, list], list[float]]:
    """Replies, and the worker's MiB at even times from before the load to its end."""
    from workbench.methods.operate.load import at_rate

    asked = {"requests_per_s": load.requests_per_s,
             "requests": round(load.requests_per_s * load.seconds)}  # fmt: skip
    memory = [_mib(trial)]
    with ThreadPoolExecutor(1) as thread:
        replies = thread.submit(at_rate, trial.server, texts, **asked)
        while len(memory) <= SLICES:
            time.sleep(load.seconds / SLICES)
            memory.append(_mib(trial))
        return {"steady": replies.result()}, memory


def _mib(trial: Any) -> float:
    return trial.worker.memory_info().rss / 2**20


def _told(rows: list[dict], memory: list[float], load: Any) -> list[str]:
    from statistics import linear_regression

    from workbench.methods.operate.operational import LEVEL
    from workbench.policy.figures import compute

    steady = [one for one in rows if one["phase"] == "steady"]
    took = max(one["at_s"] + one["latency_ms"] / 1000 for one in steady)
    failed = compute("failed_share", steady, level=LEVEL)
    found = [compute("latency_quantile", steady, q=q, level=LEVEL) for q in (0.5, 0.95, 0.99)]
    ends = ["" if one.low is None else f" [{one.low:.0f}, {one.high:.0f}]" for one in found]
    later = memory[len(memory) // 4 :]  # what a warm worker still takes
    hours = [place * load.seconds / SLICES / 3600 for place in range(len(later))]
    wrong, unlogged = (sum(one[n] == v for one in rows) for n, v in (("wrong", 1), ("logged", 0)))
    return [
        f"{load.requests_per_s:g}/s, n={len(steady)}", f"{len(steady) / took:.2f}",
        f"{failed.value:.4f} [{failed.low:.4f}, {failed.high:.4f}]",
        f"{wrong}, {unlogged} of {len(rows)}",
        ", ".join(f"{one.value:.0f}{end}" for one, end in zip(found, ends, strict=True)),
        f"{memory[0]:.0f} → {memory[-1]:.0f}", f"{linear_regression(hours, later).slope:+.1f}",
    ]  # fmt: skip


def prepared(folder: Path, pack: str) -> tuple[Any, list[str]]:
    """The stage's inputs with an adapter that was trained in seconds, and the texts to ask."""
    import pandas as pd

    from workbench.execution import base_source
    from workbench.methods.adapt.base import take_in
    from workbench.methods.stage import open_stage
    from workbench.policy.usecase import UseCase
    from workbench.record.digest import canonical

    def read(name: str) -> Any:
        return yaml.safe_load((PACKS / pack / name).read_text("utf-8"))

    usecase = UseCase.parse(read("usecase.yaml"), where=pack)
    plain = usecase.model_dump(mode="json", by_alias=True)
    facts = plain["data"] | {name: plain[name] for name in ("kind", "labels", "form")}
    rows = pd.read_json(PACKS / pack / "data" / "messages.jsonl", lines=True, dtype=str)
    rows = rows.sample(ROWS + TEXTS, random_state=0).reset_index(drop=True)
    (folder / "in").mkdir(parents=True)
    found = base_source.locate(usecase.base, folder)
    take_in(f"folder:{found if found.is_dir() else found.parent}", folder / "in" / "base",
                   licence=usecase.base.licence)  # fmt: skip
    _adapted(folder, usecase.kind, facts, rows.head(ROWS))
    documents = {"facts": facts, "criteria": read("policy.yaml"), "operations": _operations(read)}
    for name, value in documents.items():
        (folder / "in" / name).write_bytes(canonical(value))
    inputs = {name: {"path": f"in/{name}", "digest": "0" * 64, "uri": "file:measure"}
              for name in (*documents, "base", "adapter")}  # fmt: skip
    about = {"stage": "45_operations", "outputs": "out", "inputs": inputs}
    (folder / "stage.json").write_text(json.dumps(about))
    return open_stage(folder), list(rows.tail(TEXTS)[facts["text"]])


def _operations(read: Any) -> dict[str, Any]:
    from workbench.policy.operations import Operations

    return Operations.parse(read("operations.yaml")).plain()


def _adapted(folder: Path, kind: str, facts: dict[str, Any], rows: Any) -> None:
    from workbench.methods.adapt import causal, classifier
    from workbench.methods.adapt.base import load_tokenizer
    from workbench.methods.adapt.form import Form, rows_to_learn

    base, out = folder / "in" / "base", folder / "in" / "adapter"
    if kind == "classifier":
        learn = rows.rename(columns={facts["text"]: "text", facts["label"]: "label"})
        labels = sorted(learn["label"].unique())
        classifier.train_classifier(base, learn, learn, labels, QUICK, out)
        return
    learn = rows_to_learn(load_tokenizer(base), rows.head(8), Form.of(facts))
    causal.train_causal(base, learn, learn.head(2), QUICK | {"last_layers": 4}, out)
