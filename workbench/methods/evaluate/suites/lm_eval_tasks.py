"""lm-evaluation-harness tasks (EleutherAI, lm_eval) over a model that is already in memory."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.evaluator import evaluate
from lm_eval.loggers import EvaluationTracker
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.tasks import TaskManager
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from workbench.errors import InputError
from workbench.methods.evaluate.suites.backend import Loaded, cut
from workbench.methods.evaluate.suites.lm_eval_logs import rows_of


class InProcess(TemplateLM):
    """The harness's own splitting of texts into tokens, our reading of them."""

    def __init__(self, backend: Loaded) -> None:
        super().__init__()
        self.ours, self.tokenizer = backend, backend.tokenizer

    @property
    def eot_token_id(self) -> int:
        return self.tokenizer.eos_token_id

    def tok_encode(self, string: str, *_, **__) -> list[int]:
        return self.tokenizer(string, add_special_tokens=False)["input_ids"]

    def _loglikelihood_tokens(self, requests: list[tuple], **_) -> list[tuple[float, bool]]:
        return self.ours.scores([(context, rest) for _, context, rest in requests])

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm=False) -> list[float]:
        """Of whole texts, in windows where they are longer than the model can read."""
        sums = []
        for tokens in (self.tok_encode(request.args[0]) for request in requests):
            parts = get_rolling_token_windows(tokens, self.prefix_token_id, self.ours.longest, 1)
            pairs = [make_disjoint_window(part) for part in parts]
            sums.append(sum(score for score, _ in self.ours.scores(pairs)))
        return sums

    def generate_until(self, requests: list[Instance], disable_tqdm=False) -> list[str]:
        """Greedy replies up to a stop; InputError where a task asks for sampling."""
        replies = [""] * len(requests)
        asked = [normalize_gen_kwargs(request.args[1]) for request in requests]
        if any(one.get("do_sample") for one in asked):
            raise InputError("an lm-eval task asks for sampling", expected="greedy decoding")
        for length in {one["max_gen_toks"] for one in asked}:
            mine = [n for n, one in enumerate(asked) if one["max_gen_toks"] == length]
            found = self.ours.replies([requests[n].args[0] for n in mine], length)
            for n, reply in zip(mine, found, strict=True):
                replies[n] = cut(reply, asked[n]["until"])
        return replies


def run(folder: Path, name: str, backend: Loaded, out: Path, *, limit: int, system: str) -> list:
    """Every task of the YAML files in `folder`, whose data files are named relative to it.

    The harness's own logs go to `out`: results.json, samples_TASK.jsonl. Returns rows of the table.
    Prompts are as the task writes them, plain text without `system`.
    """
    folder, out = folder.resolve(), out.resolve()
    quiet = contextlib.redirect_stderr(io.StringIO())  # bars that move are noise in a record
    with contextlib.chdir(folder), quiet:
        results = scored(folder, InProcess(backend), limit)
    tracker, samples = EvaluationTracker(output_path=str(out / "results.json")), results["samples"]
    tracker.save_results_aggregated({k: v for k, v in results.items() if k != "samples"}, samples)
    for task, found in samples.items():
        tracker.save_results_samples(task, found)
    for path in sorted(out.iterdir()):  # a name without the time, a text without this host's paths
        text = path.read_text(encoding="utf-8").replace(str(folder), "suites")
        path.rename(path.with_stem(path.stem.removesuffix(f"_{tracker.date_id}"))).write_text(text)
    return [row for task in samples for row in rows_of(out / f"samples_{task}.jsonl", name)]


def scored(folder: Path, model: TemplateLM, limit: int) -> dict[str, Any]:
    """What the harness says of a model on the folder's tasks; examples in prompts as they ask."""
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    loaded = manager.load(manager.all_subtasks)
    for task in loaded["tasks"].values():
        task.set_config(key="num_fewshot", value=task.get_config("num_fewshot") or 0)
        task.set_fewshot_seed(seed=0)
    return evaluate(model, loaded, limit=limit or None, bootstrap_iters=0)
