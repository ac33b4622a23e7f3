"""Ten thousand cases through the evaluation core, to Parquet, figures and a plot: how much memory
does it take beside the model's?

Each job runs in a process of its own. Memory is the resident set: what the loaded models hold is
read before the first case, the peak at the end.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CASES = 10_000
LABELS = ("card", "fees", "access", "fraud")
JOBS = (
    ("classifier", "MiniLM, base and candidate over one backbone"),
    ("causal", "SmolLM2-135M, one field by label likelihood, base only"),
)


def measure(folder: Path) -> list[str]:
    """A line a job: cases, seconds, models in memory, peak beside them."""
    from measures.training import _bases

    lines = [
        f"{CASES:,} cases each, from messages of 5 to 60 words, to the plot.", "",
        "| job | cases a second | models loaded | peak beside them | parts on disk |",
        "|---|---|---|---|---|",
    ]  # fmt: skip
    bases = _bases(folder)
    for kind, title in JOBS:
        done = subprocess.run(
            [sys.executable, __file__, kind, str(bases[kind])],
            check=True, text=True, capture_output=True,
        )  # fmt: skip
        one = json.loads(done.stdout.splitlines()[-1])
        lines.append(
            f"| {title} | {one['rate']:.0f} | {one['models']:.2f} GiB | {one['beside']:.2f} GiB "
            f"| {one['parts']} |"
        )
    return lines


def items() -> Any:
    """Messages of mixed length from the packaged pack, each with a number of its own."""
    import pandas as pd

    pack = Path(__file__).resolve().parents[2] / "templates" / "usecases" / "card-support"
    rows = pd.read_json(pack / "data" / "messages.jsonl", lines=True, dtype=str)["text"].tolist()
    texts = [
        " ".join(rows[(n + k) % len(rows)] for k in range(1 + n % 4))[:400] + f" ({n})"
        for n in range(CASES)
    ]
    labels = [LABELS[n % len(LABELS)] for n in range(CASES)]
    ids = [f"c{n}" for n in range(CASES)]
    return pd.DataFrame({"case_id": ids, "text": texts, "label": labels})


def job(kind: str, base: Path) -> dict[str, float]:
    """Answer, write, summarise and draw; GiB and cases a second."""
    import matplotlib

    matplotlib.use("Agg")
    from workbench.evidence import figures as drawn
    from workbench.methods.evaluate.core import Evaluator
    from workbench.methods.evaluate.parts import Parts
    from workbench.policy import figures

    given = items()
    with tempfile.TemporaryDirectory() as place:
        task = TASKS[kind](base, Path(place))
        models, began = resident(), time.monotonic()
        kept = Parts(Path(place, "parts"), bytes(32))
        said = Evaluator(task, batch_size=64, say=lambda line: print(line, file=sys.stderr))
        found = said.answers(given, kept)
        seconds = time.monotonic() - began
        found = found.rename(columns={"queue": "predicted"})
        found["expected"] = found["label"] if "label" in found else None
        found.to_parquet(Path(place, "cases.parquet"))
        lines = [
            {"name": name, "n": figure.n, "candidate_value": figure.value,
             "candidate_low": figure.low, "candidate_high": figure.high}
            for name in LABELS
            for figure in [figures.compute("recall", found.to_dict("records"), label=name)]
        ]  # fmt: skip
        import pandas as pd

        drawn.intervals(pd.DataFrame(lines), "Recall").savefig(Path(place, "recall.png"))
        parts = len(list(Path(place, "parts").iterdir()))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    rate = len(found) / seconds
    return {"models": models, "beside": peak - models, "rate": rate, "parts": parts}


def resident() -> float:
    """GiB that this process holds now."""
    text = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(text.split("VmRSS:")[1].split()[0]) / 2**20


def classifier(base: Path, place: Path) -> Any:
    """A reference and a candidate trained for a moment."""
    from workbench.methods.adapt.classifier import train_classifier
    from workbench.methods.evaluate.classify import Labelling

    rows = items().head(64)
    folders = {"base": place / "reference", "candidate": place / "adapter"}
    options = {"epochs": 1, "batch_size": 32, "threads": 2}
    train_classifier(base, rows, rows, list(LABELS), options, folders["candidate"],
                     reference=folders["base"])  # fmt: skip
    return Labelling(base, folders)


def causal(base: Path, place: Path) -> Any:
    """The base alone, choosing a queue."""
    from workbench.methods.adapt.form import Form
    from workbench.methods.evaluate.decide import Filling

    return Filling(base, {"base": None}, Form({"queue": list(LABELS)}), 0)


TASKS = {"classifier": classifier, "causal": causal}

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    print(json.dumps(job(sys.argv[1], Path(sys.argv[2]))))
