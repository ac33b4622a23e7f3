"""The training loop of both kinds of model, on accelerate's `Accelerator`.

Why not transformers' `Trainer` (5.23.0, tried): four of the files of its checkpoints are pickled
(optimiser, schedule, random state, arguments), each holds the whole base model again, and a run
resumed within an epoch didn't end with the bytes of one that was not interrupted. Accelerate's
`save_state` pickles too, so that the checkpoint is ours, and its `DistributedDataParallel` wants
the model's own `forward`, past which the vocabulary projection at completion tokens goes. From it
come devices, processes, mixed precision, sums over processes and clipping.

Everything that a step needs follows from its number: the order of rows from (seed, epoch), chance
from (seed, step, process), the rate from the step. So a checkpoint holds no generator, and going
on from any step gives the same bytes as never having stopped. Processes share each batch row by
row and sum their gradients in one call, so that options mean the same on any number of them.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import torch

from workbench.errors import InputError, RunError
from workbench.methods.adapt import adapters
from workbench.methods.adapt.base import base_facts
from workbench.methods.adapt.checkpoints import Checkpoint, code_digest
from workbench.methods.adapt.options import TrainingOptions

OnStep = Callable[[dict], None]


class Task(Protocol):
    """What a kind of model brings to the loop."""

    parts: dict[str, tuple[torch.nn.Module, float]]
    """name -> module and its peak learning rate."""
    lengths: list[int]
    """Tokens of each training row."""

    @staticmethod
    def check(work: Work) -> None:
        """InputError when the rows can't be learned from; reads no weights."""

    def weight(self, rows: list[int]) -> float:
        """What the summed loss of these rows is divided by."""

    def loss(self, rows: list[int]) -> torch.Tensor:
        """Summed loss of these rows."""

    def judge(self) -> tuple[float, dict[str, float]]:
        """(score, figures) on the validation rows; the epoch with the highest score is kept."""

    def save(self, figures: dict[str, float]) -> dict[str, Any]:
        """Write model and settings as they are now, given the history row of the epoch that was
        kept; returns what was chosen."""


@dataclass(frozen=True)
class Work:
    """All that a training is given; plain values, so that a process of its own can have it."""

    task: type[Task]
    base: Path
    train: pd.DataFrame
    validation: pd.DataFrame
    options: TrainingOptions
    out: Path
    labels: tuple[str, ...] = ()
    reference: Path | None = None
    """Where a classifier's starting head is written."""
    checkpoints: Path | None = None
    """Folder that outlives a killed run."""
    device: str = "cpu"

    def checkpoint(self) -> Checkpoint:
        """The checkpoint of this training and no other."""
        facts = {name: getattr(self.options, name) for name in self.options.read}
        facts.pop("checkpoint_s")  # when it is written changes nothing of what is learned
        facts |= {"base": base_facts(self.base)["weights"], "code": code_digest()}
        facts |= {"train": rows_digest(self.train), "validation": rows_digest(self.validation)}
        facts |= {"labels": self.labels}
        return Checkpoint(self.checkpoints, facts, self.options.checkpoint_s)


def rows_digest(rows: pd.DataFrame) -> str:
    """SHA-256 of the rows in their order."""
    return hashlib.sha256(rows.to_json(orient="split", index=False).encode()).hexdigest()


def run(work: Work, on_step: OnStep | None = None) -> dict[str, Any]:
    """Train and write what the task saves.

    Returns history (a row per epoch), chosen, trainable, and resumed (the step that a checkpoint
    was read at, or None). Raises InputError for rows, devices and checkpoints that don't fit,
    RunError when the loss is no longer a number or a process died.
    """
    work.task.check(work)
    require_device(work.options)
    work.checkpoint().read()
    found = _launch(work, on_step) if work.options.processes > 1 else _train(work, on_step)
    return found | {"history": pd.DataFrame(found["history"])}


def require_device(options: TrainingOptions) -> None:
    """InputError when this machine does not have what the options ask for."""
    if options.device == "cpu":
        return
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if there < options.processes:
        raise InputError(
            "CUDA is not available on this machine"
            if not there
            else "there are fewer GPUs than processes",
            where="device",
            expected=f"{options.processes} GPU",
            given=there,
            next_step="set device to cpu, or run where the GPUs are",
        )


def deterministic(seed: int, threads: int) -> None:
    """Seed torch, fix the threads, and refuse kernels whose result can vary between runs."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS' own condition for it
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)


def length_batches(
    lengths: list[int], batch_size: int, generator: torch.Generator
) -> Iterator[list[int]]:
    """Row numbers in batches of like length: shuffled, sorted within chunks, batches shuffled.

    Padding is work without gain; chunks of 16 batches keep enough chance in the order.
    """
    order = torch.randperm(len(lengths), generator=generator).tolist()
    chunk = batch_size * 16
    batches = []
    for start in range(0, len(order), chunk):
        near = sorted(order[start : start + chunk], key=lambda row: (lengths[row], row))
        batches += [near[at : at + batch_size] for at in range(0, len(near), batch_size)]
    for number in torch.randperm(len(batches), generator=generator).tolist():
        yield batches[number]


def rate_factor(step: int, steps: int, warmup_share: float) -> float:
    """Share of the peak rate at a step: linear rise, then half a cosine down to nearly nothing."""
    warmup = round(warmup_share * steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _accelerator(options: TrainingOptions):
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    if options.processes == 1:
        AcceleratorState._reset_state(reset_partial_state=True)  # it would keep an earlier dtype
    precision = "bf16" if options.dtype == "bfloat16" else "no"
    return Accelerator(cpu=options.device == "cpu", mixed_precision=precision)


def _train(work: Work, on_step: OnStep | None = None) -> dict[str, Any]:
    accelerator = _accelerator(work.options)
    deterministic(work.options.seed, work.options.threads)
    task = work.task(replace(work, device=str(accelerator.device)))
    loop = _Loop(task, work, accelerator, on_step)
    resumed = loop.resume()
    accelerator.wait_for_everyone()  # nobody reads what another has written since
    loop.fit()
    found = {"history": loop.history, "trainable": adapters.share(loop.model), "resumed": resumed}
    if accelerator.is_main_process:
        epoch = loop.best["epoch"]
        found["chosen"] = {"epoch": epoch, **task.save(loop.history[epoch - 1])}
        loop.checkpoint.remove()
    accelerator.end_training()
    return found


class _Loop:
    """A training between two steps."""

    def __init__(self, task: Task, work: Work, accelerator, on_step: OnStep | None) -> None:
        self.task, self.options, self.accelerator = task, work.options, accelerator
        self.on_step, self.checkpoint = on_step or (lambda facts: None), work.checkpoint()
        self.model = torch.nn.ModuleDict({name: part for name, (part, _) in task.parts.items()})
        self.learns = adapters.trainable(self.model)
        groups = [
            {"params": list(adapters.trainable(part).values()), "peak": rate}
            for part, rate in task.parts.values()
        ]
        # Fused takes exact roots; the other's differ between processors (see policy.domain).
        self.adamw = torch.optim.AdamW(
            [group for group in groups if group["params"]],
            weight_decay=work.options.weight_decay,
            fused=True,
        )
        batches = -(-len(task.lengths) // self.options.batch_size)
        self.an_epoch = -(-batches // self.options.accumulate)
        self.step, self.sum, self.history = 0, 0.0, []
        self.best: dict[str, Any] = {"epoch": 0, "score": -math.inf}
        self.kept: dict[str, torch.Tensor] = {}

    def fit(self) -> None:
        """Epochs until the last, or until patience ends; the best state is put back."""
        while len(self.history) < self.options.epochs and not self._impatient():
            epoch = len(self.history) + 1
            done = self.step - (epoch - 1) * self.an_epoch
            self.model.train()
            for batches in self._groups(epoch)[done:]:
                self._step(epoch, batches)
                if self.checkpoint.due:
                    self._write()
            self._close(epoch)
            self._write()
        with torch.no_grad():
            for name, parameter in self.learns.items():
                parameter.copy_(self.kept[name])
        self.model.eval()

    def _impatient(self) -> bool:
        return len(self.history) - self.best["epoch"] >= self.options.patience

    def _groups(self, epoch: int) -> list[list[list[int]]]:
        chance = torch.Generator().manual_seed((self.options.seed << 16) + epoch)
        batches = list(length_batches(self.task.lengths, self.options.batch_size, chance))
        size = self.options.accumulate
        return [batches[at : at + size] for at in range(0, len(batches), size)]

    def _rates(self) -> list[float]:
        return [group["lr"] for group in self.adamw.param_groups]

    def _step(self, epoch: int, batches: list[list[int]]) -> None:
        """One update, gradients clipped."""
        here, options, steps = self.accelerator, self.options, self.an_epoch * self.options.epochs
        chance = self.step * here.num_processes + here.process_index
        torch.manual_seed((options.seed << 32) + chance)
        total = sum(map(self.task.weight, batches))
        loss = torch.zeros((), device=here.device)
        for batch in batches:
            mine = batch[here.process_index :: here.num_processes]
            if mine:
                with here.autocast():
                    part = self.task.loss(mine) / total
                here.backward(part)
                loss += part.detach()
        value = self._summed(loss).item()
        if not math.isfinite(value):
            raise RunError(
                "training diverged: the loss is not a finite number",
                given=value,
                next_step="lower learning_rate, or raise warmup_share",
            )
        here.clip_grad_norm_(list(self.learns.values()), options.max_grad_norm)
        for group in self.adamw.param_groups:
            group["lr"] = group["peak"] * rate_factor(self.step, steps, options.warmup_share)
        self.adamw.step()
        self.adamw.zero_grad(set_to_none=True)
        self.step, self.sum = self.step + 1, self.sum + value
        if here.is_main_process:
            self.on_step({"epoch": epoch, "step": self.step, "steps": steps, "loss": value})

    def _summed(self, loss: torch.Tensor) -> torch.Tensor:
        """Gradients and loss over all processes: one sum of one vector has one order."""
        if self.accelerator.num_processes == 1:
            return loss
        for parameter in self.learns.values():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        grads = [parameter.grad for parameter in self.learns.values()]
        flat = torch.cat([*(grad.reshape(-1) for grad in grads), loss.reshape(1)])
        *parts, loss = self.accelerator.reduce(flat, "sum").split([*(g.numel() for g in grads), 1])
        for grad, part in zip(grads, parts, strict=True):
            grad.copy_(part.view_as(grad))
        return loss

    @torch.no_grad()
    def _close(self, epoch: int) -> None:
        """The row of an epoch; its state is kept if it is the best so far."""
        self.model.eval()
        score, figures = self.task.judge()
        row = {"epoch": epoch, "loss": self.sum / self.an_epoch, "learning_rate": self._rates()[0]}
        self.history.append(row | figures)
        self.sum = 0.0
        if score > self.best["score"]:
            self.best = {"epoch": epoch, "score": score}
            self.kept = {name: p.detach().cpu().clone() for name, p in self.learns.items()}
        elif not self.kept:
            raise RunError("training diverged: the score is not a number", given=score)

    def _write(self) -> None:
        if not self.accelerator.is_main_process:
            return
        tensors = {f"now.{name}": p for name, p in self.learns.items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.kept.items()}
        for number, moments in self.adamw.state_dict()["state"].items():
            tensors |= {f"adamw.{number}.{name}": moment for name, moment in moments.items()}
        state = {"step": self.step, "sum": self.sum, "history": self.history, "best": self.best}
        self.checkpoint.write(tensors, state | {"rates": self._rates()})

    @torch.no_grad()
    def resume(self) -> int | None:
        """Take up the checkpoint's state, if there is one; returns its step."""
        found = self.checkpoint.read()
        if found is None:
            return None
        tensors, state = found
        rates, moments = state.pop("rates"), {}
        self.__dict__.update(state)
        for name, tensor in tensors.items():
            what, _, of = name.partition(".")
            if what == "now":
                self.learns[of].copy_(tensor)
            elif what == "best":
                self.kept[of] = tensor
            else:
                number, _, moment = of.partition(".")
                moments.setdefault(int(number), {})[moment] = tensor
        groups = self.adamw.state_dict()["param_groups"]
        self.adamw.load_state_dict({"state": moments, "param_groups": groups})
        for group, rate in zip(self.adamw.param_groups, rates, strict=True):
            group["lr"] = rate
        return self.step


def _launch(work: Work, on_step: OnStep | None) -> dict[str, Any]:
    """Train in processes of their own; the first one writes, and leaves its result in a file."""
    from torch.multiprocessing import (
        ProcessExitedException,
        ProcessRaisedException,
        start_processes,
    )

    count = work.options.processes
    with tempfile.TemporaryDirectory() as folder:
        # spawned, not forked as by notebook_launcher: OpenMP's threads don't survive a fork
        try:
            start_processes(_child, (work, on_step, folder), nprocs=count, start_method="spawn")
        except (ProcessExitedException, ProcessRaisedException) as cause:
            raise RunError(
                "a training process failed", given=str(cause).strip().splitlines()[-1]
            ) from cause
        return json.loads(Path(folder, "result.json").read_text(encoding="utf-8"))


def _child(number: int, work: Work, on_step: OnStep | None, folder: str) -> None:
    count, backend = work.options.processes, "gloo" if work.options.device == "cpu" else "nccl"
    os.environ |= {"RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": str(count)}
    os.environ |= {"LOCAL_WORLD_SIZE": str(count), "GLOO_SOCKET_IFNAME": "lo"}
    os.environ["OMP_NUM_THREADS"] = str(work.options.threads)  # accelerate would choose another
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    if work.options.device == "cuda":
        torch.cuda.set_device(number)
    # through a file, so that no port has to be free
    torch.distributed.init_process_group(
        backend, init_method=f"file://{folder}/meeting", rank=number, world_size=count
    )
    found = _train(work, on_step)
    if number == 0:
        Path(folder, "result.json").write_text(json.dumps(found), encoding="utf-8")
