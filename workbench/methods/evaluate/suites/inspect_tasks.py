"""Inspect tasks (UK AI Security Institute, inspect_ai) over a model that is already in memory."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import anyio
from inspect_ai import eval as evaluate
from inspect_ai.log import EvalLog, EvalSample, read_eval_log, write_eval_log
from inspect_ai.model import GenerateConfig, ModelAPI, ModelOutput, get_model, modelapi
from inspect_ai.scorer import value_to_float

from workbench.errors import InputError, RunError
from workbench.methods.evaluate.suites.backend import Loaded, chat, cut
from workbench.record.digest import digest

QUIET_S = 0.02
"""How long a batch waits for further samples to join it."""
number_of = value_to_float()


@modelapi(name="workbench")
class InProcess(ModelAPI):
    """Samples that wait at the same time are answered in one batch."""

    def __init__(self, model_name: str, *, backend: Loaded, system: str, **named: Any) -> None:
        super().__init__(model_name, config=named.get("config", GenerateConfig()))
        self.backend, self.system, self.turn = backend, system, anyio.Lock()
        self.waiting: dict[object, tuple[str, int]] = {}
        self.replies: dict[object, str] = {}

    def max_connections(self) -> int:
        return self.backend.batch_size

    def max_tokens(self) -> int:
        """Of a reply, where the task does not say."""
        return 64

    async def generate(self, input, tools, tool_choice, config) -> ModelOutput:
        """The greedy reply. InputError where a task asks for tools, sampling or several replies."""
        if tools or config.temperature or config.logprobs or (config.num_choices or 1) > 1:
            raise InputError("a task asks for more than one greedy reply in words", given=config)
        turns, me = [(message.role, message.text) for message in input], object()
        self.waiting[me] = (chat(self.backend.tokenizer, turns, self.system), config.max_tokens)
        async with self.turn:
            if me in self.waiting:
                await anyio.sleep(QUIET_S)
                await anyio.to_thread.run_sync(self._answer, config.max_tokens)
        reply = cut(self.replies.pop(me), config.stop_seqs or [])
        return ModelOutput.from_content(model=self.model_name, content=reply)

    def _answer(self, length: int) -> None:
        """All that wait and may write as much as the one whose turn it is."""
        now = {who: prompt for who, (prompt, most) in self.waiting.items() if most == length}
        self.waiting = {who: one for who, one in self.waiting.items() if who not in now}
        self.replies |= zip(now, self.backend.replies(list(now.values()), length), strict=True)


def run(folder: Path, name: str, backend: Loaded, out: Path, *, limit: int, system: str) -> list:
    """Every task of every `*.py` in `folder`; logs go to `out`. Returns rows of the table.

    RunError, with Inspect's own words, for a task that did not end well.
    """
    files, out = sorted(path.name for path in folder.glob("*.py")), out.resolve()
    model = get_model(f"workbench/{name}", memoize=False, backend=backend, system=system)
    model.model_args = {"system": system}  # what the log says of it
    with contextlib.chdir(folder):  # Inspect takes its files by names relative to where it is
        logs = evaluate(
            files, model, log_dir=str(out), log_format="eval", limit=limit or None, display="none",
            max_samples=backend.batch_size, log_realtime=False, acp_server=False, ctl_server=False,
        )  # fmt: skip
    for log in logs:
        if log.status != "success":
            raise RunError("an Inspect task broke", where=log.eval.task, given=log.error)
    return [row for log in logs for row in _kept(Path(log.location), folder, name)]


def _kept(written: Path, folder: Path, name: str) -> list[dict[str, Any]]:
    """Keep a whole log under its task's name, without paths of this host; the rows in it."""
    text = read_eval_log(str(written)).model_dump_json()
    for place in (folder.resolve(), Path.cwd(), sys.prefix):
        text = text.replace(str(place), "…")
    log = EvalLog.model_validate_json(text)
    log.eval.revision, task = None, log.eval.task.replace("/", "_")
    written.unlink()
    write_eval_log(log, str(written.with_name(f"{task}.eval")), "eval")
    return [row for sample in log.samples or [] for row in _rows(sample, task, name)]


def _rows(sample: EvalSample, task: str, name: str) -> list[dict[str, Any]]:
    """One row a score; a value that is no number stays empty: unscored, not 0."""
    asked = sample.input if isinstance(sample.input, str) else [m.text for m in sample.input]
    said = digest([asked, sample.target, sample.choices])
    about = {"case_id": f"{task}/{sample.id}/{sample.epoch}", "model": name, "suite": "inspect",
             "task": task, "sample": said, "origin": "run"}  # fmt: skip
    found = []
    for scorer, score in (sample.scores or {}).items():
        parts = score.value if isinstance(score.value, dict) else {"": score.value}
        for part, value in parts.items():
            known = isinstance(value, str | int | float) and value == value
            number = float(number_of(value)) if known else None
            found.append({**about, "metric": f"{scorer}/{part}".rstrip("/"), "value": number})
    return found
