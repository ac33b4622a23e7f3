"""What a retraining changed, seen from outside the kernel, held against the change envelope (A2).

The facts come from the sealed files: names and shapes of tensors from the headers of safetensors
files (which the format's own parser refuses unless every byte belongs to one tensor), the base's
digest from its bytes, rows and columns from the training set. So a notebook can't say less than it
did. What leaves no trace in a file (learning rate, epochs, rows used of those that lay there) is
as the engine passed it to the notebook; that the notebook did so is for the approval of its
template and for replay to show.

VeRA's two shared projections are drawn at random and never learn (Kopiczko et al. 2024,
arXiv:2310.11454), so they do not count as trainable; that they are as drawn is for replay, too.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..policy import governance
from ..policy.envelope import GATE, Change, Envelope, contradictions, decide, tunable
from ..policy.figures import Figure
from ..policy.gates import GateResult, GateVerdict
from ..policy.usecase import Data
from ..record.cipher import Cipher
from ..record.digest import file_digest
from .inputs import Input
from .project import Project, load_yaml

if TYPE_CHECKING:
    from .runner import Job

HARM = "A change that nobody assessed is released under an approval that was given for another."
ADAPTER, HEAD, MODEL = "adapter_model.safetensors", "head.safetensors", "model.safetensors"
TEXTS = {".json", ".md", ".txt", ".jinja"}
LEARNS = re.compile(r"(.+)\.(lora_(?:embedding_)?[AB]|lora_magnitude_vector|ia3_l|vera_lambda_[bd])"
                    r"(?:\.weight)?")  # fmt: skip
FIXED = re.compile(r"(.+\.)?vera_[AB]")
RANKED = ("lora_A", "lora_embedding_A", "vera_lambda_d")  # their first axis is the rank
Tensors = dict[str, list[int]]


def load(project: Project, path: Path | None = None) -> Envelope | None:
    """The change envelope of a use case, or the one at `path`; None where it has none.

    InputError names the field at fault, or a gate that it leans on and nobody computes.
    """
    if path is None and project.usecase.envelope is None:
        return None
    path = path or project.path(project.usecase.envelope, "envelope")
    found = Envelope.parse(load_yaml(path), where=path)
    strange = found.gates - {gate.id for gate in project.policy.gates} - {GATE, *governance.GATES}
    if strange:
        raise InputError("The envelope leans on gates that do not exist.", where=path,
                         expected="ids of policy.yaml, or standing gates",
                         given=", ".join(sorted(strange)))  # fmt: skip
    return found


def planned(project: Project, parameters: Mapping[str, Any]) -> Change:
    """What a run of the adapting stage with these parameters is going to be, as far as is known."""
    case = project.usecase
    return Change(
        name=case.base.name,
        revision=case.base.revision,
        method=parameters.get("method"),
        hyperparameters=tunable(parameters),
        data_classes=_classes(case.data, case.data.columns),
        rows=parameters.get("rows") or None,
    )


def stated(adapter: Path) -> Change:
    """What the adapter's own files say of it, as far as they do."""
    said, whole = _json(adapter / "adaptation.json"), (adapter / ADAPTER).exists()
    config = _json(adapter / "adapter_config.json") if whole else {}
    dropout = f"{config.get('peft_type', '')}_dropout".lower()
    # either changes the scale of the update, which no tensor shows
    scaled = [name for name in ("alpha_pattern", "use_rslora") if config.get(name)]
    alpha = " with ".join(map(str, [config.get("lora_alpha"), *scaled])) if scaled else None
    return Change(
        sha256=str(said.get("base")).removeprefix("sha256:"),
        method=str(said.get("method")),
        target_modules=tuple(sorted(config["target_modules"])) if whole else None,
        hyperparameters={"rank": config.get("r"), "alpha": alpha or config.get("lora_alpha"),
                         "dropout": config.get(dropout)},
    )  # fmt: skip


def observed(
    inputs: Mapping[str, Input], outputs: Path, parameters: Mapping[str, Any], cipher: Cipher
) -> Change:
    """What a run has been, from what really lies in its inputs and in `outputs/adapter`.

    InputError when a file there is torn, or is of no kind that can be read from outside.
    """
    base, adapter = inputs["base"].path, outputs / "adapter"
    facts, frozen = _json(base / "base.json"), tensors(base / MODEL, aside="I64")
    files = _files(adapter)
    sizes = [math.prod(shape) for part in files.values() for shape in part.values()]
    held = 0 if MODEL in files else sum(map(math.prod, frozen.values()))
    names, rows = _rows(inputs["train"], cipher)
    last, said = parameters.get("last_layers", 0), stated(adapter).hyperparameters or {}
    traces = {**said, **_traces(files.get(ADAPTER, {}), frozen, last)}
    found = {n: v for n, v in traces.items() if v is not None and n in parameters}
    return Change(
        name=facts.get("name") or "none",
        revision=facts.get("revision") or "none",
        sha256=file_digest(base / MODEL),
        method=_method(files),
        target_modules=tuple(sorted(set(_modules(files)))),
        trainable_share=sum(sizes) / (held + sum(sizes)),
        hyperparameters=tunable(parameters) | found,
        data_classes=_classes(Data.frozen(_json(inputs["facts"].path)), names),
        rows=min(rows, parameters.get("rows") or rows),
    )


def tensors(path: Path, aside: str = "") -> Tensors:
    """Tensor -> shape, of all that can learn; `aside` is a type that holds none (position numbers).

    InputError when the file is not whole.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            kept = {name: part for name, part in parts.items() if part.get_dtype() != aside}
            return {n: p.get_shape() for n, p in kept.items() if not FIXED.fullmatch(n)}
    except (SafetensorError, OSError) as error:
        raise InputError("Not a whole safetensors file.", where=path.name, given=error) from None


def _files(adapter: Path) -> dict[str, Tensors]:
    """The tensors of each file of weights; anything else that could hold some is refused."""
    paths = [path for path in sorted(adapter.rglob("*")) if path.is_file()]
    names = [path.relative_to(adapter).as_posix() for path in paths if path.suffix not in TEXTS]
    strange = sorted(set(names) - {ADAPTER, HEAD, MODEL})
    if strange:
        raise InputError("A file of the adapter can't be read from outside.", where=strange[0])
    return {name: tensors(adapter / name) for name in names}


def _json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        raise InputError("Not there, or not a JSON object.", where=path.name) from None


def _rows(item: Input, cipher: Cipher) -> tuple[list[str], int]:
    """Columns and number of the training rows; encrypted ones are opened in memory only."""
    import pyarrow.parquet as parquet

    rows = cipher.read(item.path, item.snapshot) if item.snapshot else item.path.read_bytes()
    file = parquet.ParquetFile(io.BytesIO(rows))
    return file.schema_arrow.names, file.metadata.num_rows


def _classes(data: Data, names: Iterable[str]) -> tuple[str, ...]:
    """Classes of the columns that can be learned from; one that has none says which it is."""
    learned = governance.learned_columns(data, names)
    known = {name: str(column.data_class) for name, column in data.columns.items()}
    return tuple(sorted({known.get(name, f"{name}: not classified") for name in learned}))


def _method(files: Mapping[str, Tensors]) -> str:
    """What the kinds of tensors come to; nothing but a head is `frozen`, a mixture says so."""
    parts = {match[2] for name in files.get(ADAPTER, ()) if (match := LEARNS.fullmatch(name))}
    kinds = {part.split("_")[0] for part in parts} | ({"full"} if MODEL in files else set())
    if "lora_magnitude_vector" in parts:
        kinds = kinds - {"lora"} | {"dora"}
    return "+".join(sorted(kinds)) or "frozen"


def _modules(files: Mapping[str, Tensors]) -> Iterable[str]:
    """Last names of the modules that learn; a tensor of no adapter goes by its last two names."""
    for name in files.get(ADAPTER, ()):
        match = LEARNS.fullmatch(name)
        yield match[1].rpartition(".")[2] if match else ".".join(name.split(".")[-2:])
    for name in files.get(MODEL, ()):
        yield ".".join(name.split(".")[-2:-1])


def _traces(learns: Tensors, base: Tensors, asked: int) -> dict[str, Any]:
    """Parameters that show in an adapter's tensors: the rank, and that the last layers learn."""
    if not learns:
        return {}
    parts = [(LEARNS.fullmatch(name), shape) for name, shape in learns.items()]
    ranks = {n for match, shape in parts if match and match[2] in RANKED for n in shape[:1]}
    rank = max(ranks) if len(ranks) == 1 else ", ".join(map(str, sorted(ranks))) or None
    last = asked if _layers(learns) == _layers(base)[-asked:] else f"layers {_layers(learns)}"
    return {"rank": rank, "last_layers": last}


def _layers(names: Iterable[str]) -> list[int]:
    return sorted({int(m[1]) for name in names if (m := re.search(r"\.(\d+)\.", name))})


def judge(job: Job, outputs: Path) -> list[GateResult]:
    """The standing gate of a stage that adapts a model; none for any other, never raises.

    It blocks on the governed track; research is told, and goes on.
    """
    if not job.stage.facts.get("adapts"):
        return []
    frozen, faults, reason = job.inputs.get("envelope"), [], ""
    verdict, blocking = GateVerdict.NOT_EVALUATED, job.store.track != "research"
    try:
        envelope = load(job.project, frozen and frozen.path)
        if envelope is None:
            raise InputError("the use case has no change envelope")
        seen = observed(job.inputs, outputs, job.parameters, job.store.cipher)
        found = decide(envelope, seen)
        for said in (planned(job.project, job.parameters), stated(outputs / "adapter")):
            found += contradictions(said, seen)
        faults = list(dict.fromkeys(map(str, found)))
        reason = "; ".join(faults) or f"inside version {envelope.version}, sha256 {envelope.digest}"
        verdict = GateVerdict.FAILED if faults else GateVerdict.PASSED
    except Exception as error:  # whatever stops a gate from being computed, it isn't a pass
        reason = " ".join(str(error).split()) or type(error).__name__
    known = verdict != GateVerdict.NOT_EVALUATED
    figure = Figure(GATE, len(faults), n=1, method="count", unit="fields") if known else None
    asked, named = "inside the change envelope", tuple(faults)
    return [GateResult(GATE, job.stage.name, verdict, figure, asked, reason, HARM, blocking, named)]
