"""What a retraining really changed is read from its files, whatever the notebook says of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import yaml
from safetensors.numpy import save_file

from workbench.errors import InputError
from workbench.execution import envelope
from workbench.execution.inputs import Input
from workbench.execution.project import Project
from workbench.execution.stages import Stage, templates_root
from workbench.policy.envelope import decide
from workbench.record.cipher import Cipher
from workbench.record.digest import file_digest

PACK = Path(__file__).parents[2] / "templates" / "usecases" / "intent-routing"
MODULES = {"query": (8, 8), "key": (8, 8), "dense": (16, 8)}
PREFIX = "base_model.model."
PARAMETERS: dict[str, Any] = {
    "method": "lora", "rank": 4, "alpha": 8.0, "dropout": 0.0, "last_layers": 0,
    "learning_rate": 1e-3, "epochs": 5, "batch_size": 32, "accumulate": 1, "patience": 3,
    "max_length": 64, "rows": 0, "seed": 7, "dtype": "float32", "threads": 2, "domain": "native",
    "device": "cpu", "processes": 1, "checkpoint_s": 60.0, "canaries": 8,
}  # fmt: skip
COLUMNS = ("row_id", "text", "intent", "customer", "synthetic")
LAYERS = 3


def write(path: Path, shapes: dict[str, tuple[int, ...]], dtype: Any = np.float32) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: np.zeros(shape, dtype) for name, shape in shapes.items()}, path)


@dataclass
class Run:
    """One sound LoRA run on a base of three layers; a test changes one thing."""

    home: Path
    parameters: dict[str, Any] = field(default_factory=lambda: dict(PARAMETERS))
    track: str = "governed"
    facts: dict[str, Any] = field(default_factory=lambda: {"adapts": True})

    def __post_init__(self) -> None:
        self.usecase, self.base = self.home / "usecase", self.home / "model"
        self.outputs = self.home / "outputs"
        self.adapter = self.outputs / "adapter"
        self.usecase.mkdir()
        for name in ("usecase.yaml", "policy.yaml", "envelope.yaml", "operations.yaml"):
            shutil.copyfile(PACK / name, self.usecase / name)
        shapes = {f"encoder.layer.{i}.{m}.weight": shape for i in range(LAYERS)
                  for m, shape in MODULES.items()}  # fmt: skip
        write(self.base / "model.safetensors", shapes | {"embeddings.word.weight": (500, 8)})
        self.sha256 = file_digest(self.base / "model.safetensors")
        facts = {"name": "all-MiniLM-L6-v2", "revision": "0.1.0"}
        (self.base / "base.json").write_text(json.dumps(facts))
        self.bound("base", 0, sha256=self.sha256)
        self.bound("trainable_share", at_most=0.5)
        self.write_adapter()
        self.rows(300)

    def bound(self, name: str, *path: Any, **values: Any) -> None:
        """Change a bound in the use case's envelope."""
        file = self.usecase / "envelope.yaml"
        document = yaml.safe_load(file.read_text("utf-8"))
        spot = document["modifications"][name]
        for step in path:
            spot = spot[step]
        spot.update(values)
        file.write_text(yaml.safe_dump(document), encoding="utf-8")

    def write_adapter(self, modules: Any = MODULES, layers: Any = range(LAYERS), rank: int = 4,
                      more: dict | None = None, **config: Any) -> None:  # fmt: skip
        shapes: dict[str, tuple[int, ...]] = {}
        for i in layers:
            for m in modules:
                out, into = MODULES.get(m, (8, 8))
                name = f"{PREFIX}encoder.layer.{i}.{m}"
                shapes |= {
                    f"{name}.lora_A.weight": (rank, into),
                    f"{name}.lora_B.weight": (out, rank),
                }
        write(self.adapter / "adapter_model.safetensors", shapes | (more or {}))
        said = {"peft_type": "LORA", "use_dora": False, "r": 4, "lora_alpha": 8.0,
                "lora_dropout": 0.0, "target_modules": ["dense", "key", "query"]}  # fmt: skip
        (self.adapter / "adapter_config.json").write_text(json.dumps(said | config))
        self.about()

    def about(self, **facts: str) -> None:
        said = {"method": "lora", "base": f"sha256:{self.sha256}"} | facts
        (self.adapter / "adaptation.json").write_text(json.dumps(said))

    def rows(self, n: int, names: Any = COLUMNS) -> None:
        table = pa.table({name: ["x"] * n for name in names})
        parquet.write_table(table, self.home / "train.parquet")

    @property
    def project(self) -> Project:
        return Project.load(self.usecase)

    @property
    def inputs(self) -> dict[str, Input]:
        data = self.project.usecase.data.model_dump(mode="json", by_alias=True)
        (self.home / "data.json").write_text(json.dumps(data | {"kind": "classifier"}))
        paths = {"base": "model", "train": "train.parquet", "facts": "data.json"}
        return {n: Input(n, self.home / p, "", "", "", record="r") for n, p in paths.items()}

    def observed(self, **more: Any) -> Any:
        inputs = self.inputs | more
        return envelope.observed(inputs, self.outputs, self.parameters, Cipher(self.home / "keys"))

    def judge(self) -> Any:
        """The one verdict, and the fields that it names."""
        job = SimpleNamespace(
            stage=SimpleNamespace(name="30_adapt", facts=self.facts), project=self.project,
            inputs=self.inputs, parameters=self.parameters,
            store=SimpleNamespace(track=self.track, cipher=Cipher(self.home / "keys")),
        )  # fmt: skip
        (found,) = envelope.judge(job, self.outputs)
        return found

    def outside(self) -> list[str]:
        found = self.judge()
        assert found.verdict in ("failed", "passed"), found.reason
        return [one.split(":")[0] for one in found.failing]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_a_sound_run_passes_and_names_the_envelope_that_it_is_inside(run):
    """The reason holds the digest, so that it can be compared with what was signed."""
    found = run.judge()
    assert (found.verdict, found.blocking, found.criterion) == ("passed", True, "change_envelope")
    assert envelope.load(run.project).digest in found.reason
    json.dumps(found.as_dict(), allow_nan=False)


def test_the_facts_are_the_files(run):
    """Base, method, modules, share, rank, rows and classes, each from what lies there."""
    seen = run.observed()
    learned = LAYERS * sum(4 * (out + into) for out, into in MODULES.values())
    base = 500 * 8 + LAYERS * sum(out * into for out, into in MODULES.values())
    assert seen.sha256 == run.sha256 and (seen.name, seen.revision) == ("all-MiniLM-L6-v2", "0.1.0")
    assert (seen.method, seen.rows) == ("lora", 300)
    assert seen.target_modules == ("dense", "key", "query")
    assert seen.trainable_share == pytest.approx(learned / (base + learned), rel=1e-12)
    assert seen.data_classes == ("internal_operational", "personal")
    assert seen.hyperparameters["rank"] == 4 and "threads" not in seen.hyperparameters


# ---- a notebook that did more than it says -------------------------------------------------------

PLANTED: list[tuple[str, Callable[[Run], None], list[str]]] = [
    ("another rank than stated", lambda r: r.write_adapter(rank=8), ["stated.rank"]),
    ("a rank outside", lambda r: (
        r.parameters.update(rank=64), r.write_adapter(rank=64, r=64),
        r.bound("trainable_share", at_most=0.9)),
     ["modifications.hyperparameters.rank"]),
    ("says query, changes more", lambda r: r.write_adapter(target_modules=["query"]),
     ["stated.target_modules"]),
    ("a module outside", lambda r: r.write_adapter([*MODULES, "word_embeddings"],
     target_modules=sorted([*MODULES, "word_embeddings"])), ["modifications.target_modules"]),
    ("a whole tensor beside the updates", lambda r: r.write_adapter(
        more={f"{PREFIX}classifier.weight": (2, 2)}),
     ["modifications.target_modules", "stated.target_modules"]),
    ("a bias that learned", lambda r: r.write_adapter(
        more={f"{PREFIX}encoder.layer.0.query.bias": (8,)}),
     ["modifications.target_modules", "stated.target_modules"]),
    ("DoRA under the name of LoRA", lambda r: r.write_adapter(
        more={f"{PREFIX}encoder.layer.0.query.lora_magnitude_vector": (8,)}),
     ["stated.method"]),
    ("only the last layer, where all were stated", lambda r: r.write_adapter(layers=[2]),
     ["modifications.hyperparameters.last_layers", "stated.last_layers"]),
    ("the first layers, where the last was stated", lambda r: (
        r.parameters.update(last_layers=1), r.write_adapter(layers=[0])),
     ["modifications.hyperparameters.last_layers", "stated.last_layers"]),
    ("another scale", lambda r: r.write_adapter(lora_alpha=16.0), ["stated.alpha"]),
    ("a scale that no tensor shows", lambda r: r.write_adapter(use_rslora=True),
     ["modifications.hyperparameters.alpha", "stated.alpha"]),
    ("another dropout", lambda r: r.write_adapter(lora_dropout=0.05), ["stated.dropout"]),
    ("another base than was read", lambda r: r.about(base="sha256:" + "0" * 64), ["stated.sha256"]),
    ("a base outside", lambda r: r.bound("base", 0, sha256="0" * 64), ["modifications.base.sha256"]),
    ("the whole model beside the updates", lambda r: write(
        r.adapter / "model.safetensors", {"encoder.layer.0.query.weight": (8, 8)}),
     ["modifications.method", "modifications.trainable_share", "stated.method"]),
    ("too much learns, by its head", lambda r: write(
        r.adapter / "head.safetensors", {"weight": (900, 8)}), ["modifications.trainable_share"]),
    ("too few rows", lambda r: r.rows(199), ["modifications.rows"]),
    ("a column that nobody classified", lambda r: r.rows(300, [*COLUMNS, "note"]),
     ["modifications.data_classes"]),
]  # fmt: skip


@pytest.mark.parametrize(("plant", "fields"), [p[1:] for p in PLANTED], ids=[p[0] for p in PLANTED])
def test_what_a_notebook_does_beyond_its_word_is_caught(run, plant, fields):
    """Each planted difference is named by its field, and by no other."""
    assert run.outside() == []
    plant(run)
    assert run.outside() == fields
    found = run.judge()
    assert found.verdict == "failed" and found.blocking and found.figure.value == len(fields)


def test_fewer_layers_are_inside_when_they_are_the_stated_last_ones(run):
    """Asking for as many layers as there are, or more, is asking for all."""
    for asked, layers in ((1, [2]), (2, [1, 2]), (3, range(3)), (6, range(3))):
        run.parameters["last_layers"] = asked
        run.write_adapter(layers=layers)
        assert run.outside() == []


def test_rows_that_the_parameter_leaves_out_are_not_counted(run):
    """As many as were used at most: the set's, or the parameter's if that is smaller."""
    run.parameters["rows"] = 250
    assert run.observed().rows == 250
    run.parameters["rows"] = 4000
    assert run.observed().rows == 300


def test_encrypted_training_rows_are_counted_and_nothing_is_left_in_the_clear(run):
    """Rows of persons lie encrypted; the engine opens them in memory."""
    keys = run.home / "keys"
    keys.mkdir()
    cipher = Cipher(keys)
    cipher.new_key("snap")
    cipher.encrypt(run.home / "train.parquet", run.home / "train.parquet.enc", "snap")
    (run.home / "train.parquet").unlink()
    before = set(run.home.rglob("*"))
    sealed = Input("train", run.home / "train.parquet.enc", "", "", "", "r", "snap")
    assert run.observed(train=sealed).rows == 300
    assert set(run.home.rglob("*")) - before <= {run.home / "data.json"}


# ---- files that can't be trusted -----------------------------------------------------------------


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def padded(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"weights that no tensor owns")


def overlong(path: Path) -> None:
    path.write_bytes((2**40).to_bytes(8, "little") + path.read_bytes()[8:])


def reshaped(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"shape":[4,8]', b'"shape":[2,8]', 1))


def hole(path: Path) -> None:
    size = int.from_bytes(path.read_bytes()[:8], "little")
    header = json.loads(path.read_bytes()[8 : 8 + size])
    last = max(header, key=lambda name: header[name]["data_offsets"])
    del header[last]
    text = json.dumps(header).encode().ljust(size)
    path.write_bytes(size.to_bytes(8, "little") + text[:size] + path.read_bytes()[8 + size :])


@pytest.mark.parametrize("damage", [torn, padded, overlong, reshaped, hole])
@pytest.mark.parametrize("name", ["adapter_model", "head"])
def test_a_file_with_bytes_that_no_tensor_owns_is_refused(run, damage, name):
    """Torn, padded, a false length, a false shape, a tensor left out of the header: not evaluated."""
    write(run.adapter / "head.safetensors", {"weight": (4, 8), "bias": (3,)})
    assert run.judge().verdict == "passed"
    damage(run.adapter / f"{name}.safetensors")
    found = run.judge()
    assert (found.verdict, found.blocking) == ("not_evaluated", True)
    assert "safetensors" in found.reason


@pytest.mark.parametrize("name", ["weights.bin", "a.pt", "b.safetensors", "deep/head.safetensors"])
def test_a_file_that_cannot_be_read_from_outside_is_refused(run, name):
    """Weights in a form without a header could hold anything."""
    path = run.adapter / name
    write(path, {"weight": (1, 1)})
    found = run.judge()
    assert found.verdict == "not_evaluated" and "can't be read from outside" in found.reason
    assert name in found.reason


@pytest.mark.parametrize("name", ["adaptation.json", "adapter_config.json"])
@pytest.mark.parametrize("text", [None, "[]x", "[1]"])
def test_an_adapter_without_its_description_is_no_pass(run, name, text):
    """Absent, torn, or no object: nothing says what the tensors are for."""
    (run.adapter / name).unlink()
    if text:
        (run.adapter / name).write_text(text)
    found = run.judge()
    assert found.verdict == "not_evaluated" and name in found.reason


def test_integers_hide_no_weights(run):
    """In an adapter every tensor counts, whatever its type."""
    write(run.adapter / "head.safetensors", {"weight": (900, 8)}, np.int64)
    assert run.outside() == ["modifications.trainable_share"]


def test_position_numbers_of_a_base_are_no_parameters(run):
    """Integers in the base don't make the share that learns look smaller."""
    from safetensors.numpy import load_file

    before, path = run.observed().trainable_share, run.base / "model.safetensors"
    save_file(load_file(path) | {"embeddings.position_ids": np.zeros((1, 512), np.int64)}, path)
    assert run.observed().trainable_share == before


# ---- the envelope itself -------------------------------------------------------------------------


def without_envelope(run: Run) -> None:
    path = run.usecase / "usecase.yaml"
    path.write_text(path.read_text("utf-8").replace("envelope: envelope.yaml\n", ""))


@pytest.mark.parametrize(("track", "blocking"), [("research", False), ("governed", True)])
def test_a_use_case_without_an_envelope_is_told_so(run, track, blocking):
    """Research goes on; a governed run stops."""
    without_envelope(run)
    run.track = track
    found = run.judge()
    assert (found.verdict, found.blocking) == ("not_evaluated", blocking)
    assert envelope.load(run.project) is None


def test_the_envelope_that_was_an_input_judges(run):
    """Whoever widens the file while the training runs widens nothing."""
    frozen = run.home / "frozen.yaml"
    shutil.copyfile(run.usecase / "envelope.yaml", frozen)
    run.rows(199)
    run.bound("rows", at_least=1)
    assert run.outside() == []
    held = run.inputs | {"envelope": Input("envelope", frozen, "", "", "")}
    Sealed = type("Sealed", (Run,), {"inputs": held})
    run.__class__ = Sealed
    assert run.outside() == ["modifications.rows"]


def test_only_a_stage_that_adapts_is_judged(run):
    """No verdict for any other."""
    job = SimpleNamespace(stage=SimpleNamespace(facts={}))
    assert envelope.judge(job, run.outputs) == []


def test_an_envelope_that_leans_on_no_gate_of_the_policy_is_refused(run):
    """A verification by a gate that nobody computes verifies nothing."""
    path = run.usecase / "envelope.yaml"
    path.write_text(path.read_text("utf-8").replace("enough_rows", "enough_rowz"))
    with pytest.raises(InputError, match="gates that do not exist") as refusal:
        envelope.load(run.project)
    assert refusal.value.given == "enough_rowz"
    assert run.judge().verdict == "not_evaluated"


def test_a_plan_is_decided_before_anything_ran(run):
    """Method, parameters, classes, rows and the base's name are known; the files are not."""
    held = envelope.load(run.project)
    plan = envelope.planned(run.project, run.parameters)
    assert decide(held, plan) == [] and plan.sha256 is None and plan.trainable_share is None
    for name, value, outside in (
        ("method", "full", "method"), ("rank", 64, "hyperparameters.rank"), ("rows", 16, "rows"),
        ("seed", 8, "hyperparameters.seed"),
    ):  # fmt: skip
        plan = envelope.planned(run.project, run.parameters | {name: value})
        assert [one.field for one in decide(held, plan)] == [f"modifications.{outside}"]


# ---- real adapters -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["lora", "dora", "ia3", "vera", "frozen", "full"])
def test_each_method_is_told_by_the_files_that_the_trainers_write(tmp_path, method):
    """With peft's own files on a small BERT: method, modules and share are those of the trainer."""
    import torch
    from transformers import BertConfig, BertModel

    from workbench.methods.adapt import adapters, options

    run = Run(tmp_path)
    config = BertConfig(hidden_size=8, num_hidden_layers=LAYERS, num_attention_heads=2,
                        intermediate_size=16, vocab_size=64, max_position_embeddings=16)  # fmt: skip
    torch.manual_seed(0)
    model = BertModel(config)
    adapters.write_tensors(run.base / "model.safetensors", dict(model.named_parameters()))
    digest = file_digest(run.base / "model.safetensors")
    given = options.ClassifierOptions(method=method, rank=4, alpha=8.0, dropout=0.0)
    adapted = adapters.adapted(model, given, digest)
    share = adapters.share(adapted)["share"]
    shutil.rmtree(run.adapter)
    adapters.save_adapter(adapted, method, digest, run.adapter)
    run.parameters["method"] = method
    seen = run.observed()
    assert (seen.method, seen.sha256) == (method, digest)
    if method == "full":  # every tensor is there, so every one counts, the idle pooler too
        assert seen.trainable_share == 1 > share
        assert {"LayerNorm", "query", "word_embeddings"} <= set(seen.target_modules)
    else:
        assert seen.trainable_share == pytest.approx(share, rel=1e-12)
        learned = set() if method == "frozen" else {"dense", "key", "query", "value"}
        assert set(seen.target_modules) == learned
    assert envelope.contradictions(envelope.planned(run.project, run.parameters), seen) == []
    assert envelope.contradictions(envelope.stated(run.adapter), seen) == []


PACKS = ["card-support", "intent-routing", "patient-messages", "traffic-scenes"]


@pytest.mark.parametrize("pack", PACKS)
def test_a_packs_envelope_names_every_parameter_of_the_shipped_stage(tmp_path, pack):
    """A parameter that is added to the notebook has to be bounded, or be one of the machine."""
    shutil.copytree(PACK.parent / pack, tmp_path / pack)
    project = Project.load(tmp_path / pack)
    stage = Stage.load(templates_root() / "stages" / "30_adapt.ipynb")
    given = project.usecase.parameters.get("30_adapt", {})
    for profile in ({}, *project.usecase.profiles.values()):
        values = stage.schema.check(given | profile.get("30_adapt", {}))
        plan = envelope.planned(project, values)
        assert plan.method, "the stage says by which method it adapts"
        assert list(map(str, decide(envelope.load(project), plan))) == []
