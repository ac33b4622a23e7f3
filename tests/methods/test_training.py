from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from workbench.errors import InputError, IntegrityError, RunError
from workbench.methods.adapt import training
from workbench.methods.adapt.causal import train_causal
from workbench.methods.adapt.checkpoints import FILE
from workbench.methods.adapt.classifier import train_classifier

ROOT = Path(__file__).resolve().parents[2]
LABELS = ["a", "b", "c"]
SMALL = {"epochs": 2, "batch_size": 2, "accumulate": 2, "dropout": 0.2, "rank": 2, "threads": 1}
SMALL |= {"checkpoint_s": 0.0, "seed": 3, "last_layers": 0}
STEPS = 6


def texts() -> pd.DataFrame:
    """Twelve rows of different lengths, four per label."""
    return pd.DataFrame([(f"{x} {'x' * n}{x}", x) for n in range(4) for x in LABELS],
                        columns=["text", "label"])  # fmt: skip


def pairs() -> pd.DataFrame:
    """The same, to be completed."""
    rows = texts()
    return pd.DataFrame({"prompt": rows["text"] + ":", "completion": rows["label"] + "end",
                         "free": "end"})  # fmt: skip


def classify(base: Path, out: Path, options: dict | None = None, **more) -> dict:
    rows = texts()
    given = SMALL | (options or {})
    more = {"reference": out / "reference"} | more
    return train_classifier(base, rows, rows, LABELS, given, out / "adapter", **more)


def complete(base: Path, out: Path, options: dict | None = None, **more) -> dict:
    return train_causal(base, pairs(), pairs(), SMALL | (options or {}), out / "adapter", **more)


def contents(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def stop_at(step: int):
    def stop(facts: dict) -> None:
        if facts["step"] == step:
            raise KeyboardInterrupt

    return stop


@pytest.fixture(params=["classifier", "causal"])
def train(request, tiny_encoder, tiny_causal):
    """Train a tiny model of either kind: (out, options, …) -> result."""
    if request.param == "classifier":
        return lambda *given, **more: classify(tiny_encoder, *given, **more)
    return lambda *given, **more: complete(tiny_causal, *given, **more)


@pytest.fixture
def encode(tiny_encoder):
    return lambda *given, **more: classify(tiny_encoder, *given, **more)


DRIVER = """
import json, os, signal, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import test_training as here
import peft, transformers, sklearn.linear_model  # noqa: once, before the forks
kind, base, folder = sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])
train = here.classify if kind == "classifier" else here.complete

def child(work):
    number = os.fork()
    if not number:
        try:
            work()
        except BaseException:
            import traceback; traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitpid(number, 0)[1]

def left(name, **more):
    found = train(base, folder / name, checkpoints=folder / "kept", **more)
    found["history"].to_json(folder / name / "history.json", orient="split", double_precision=15)
    (folder / name / "resumed.txt").write_text(str(found["resumed"]))

def killed(step):
    def at(facts):
        if facts["step"] == step:
            os.kill(os.getpid(), signal.SIGKILL)
    left("killed", on_step=at)

assert child(lambda: left("whole")) == 0
for step in range(1, here.STEPS + 1):
    assert child(lambda: killed(step)) == signal.SIGKILL
    assert child(lambda: left(f"after{step}")) == 0
"""


@pytest.mark.parametrize("kind", ["classifier", "causal"])
def test_killed_at_any_step_and_resumed_gives_the_same_bytes(
    kind, tiny_encoder, tiny_causal, tmp_path
):
    """A4: SIGKILL at each step, with dropout and accumulation: the same files, the same history."""
    base = tiny_encoder if kind == "classifier" else tiny_causal
    given = [sys.executable, "-c", DRIVER, str(Path(__file__).parent), kind, base, tmp_path]
    done = subprocess.run([*map(str, given)], cwd=ROOT, capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(ROOT)})  # fmt: skip
    assert done.returncode == 0, done.stderr
    whole = contents(tmp_path / "whole")
    assert whole.pop("resumed.txt") == b"None"
    for step in range(1, STEPS + 1):
        resumed = contents(tmp_path / f"after{step}")
        # killed in its step, before the checkpoint of that step: the last one is of the step before
        assert resumed.pop("resumed.txt").decode() == str(step - 1 or None)
        assert resumed == whole, f"killed at step {step}"
    assert not (tmp_path / "kept" / FILE).exists()


@pytest.mark.parametrize("method", ["dora", "ia3", "vera", "frozen", "full"])
def test_every_method_is_resumed_to_the_same_bytes(encode, tmp_path, method):
    """What is kept is enough whatever learns; the reference is written in either case."""
    options = {"method": method}
    whole = encode(tmp_path / "whole", options)
    with pytest.raises(KeyboardInterrupt):
        encode(tmp_path / "x", options, on_step=stop_at(5), checkpoints=tmp_path / "kept")
    again = encode(tmp_path / "again", options, checkpoints=tmp_path / "kept")
    assert again["resumed"] == 4 and whole["resumed"] is None
    assert again["history"].equals(whole["history"])
    assert contents(tmp_path / "again") == contents(tmp_path / "whole")


def test_a_checkpoint_of_another_training_is_refused_by_what_differs(train, tmp_path):
    """Never dropped in silence: the message names each fact that is not the same."""
    kept = {"checkpoints": tmp_path / "kept"}
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "one", on_step=stop_at(3), **kept)
    for changed, names in (({"rank": 3}, "rank"), ({"seed": 4, "epochs": 3}, "seed epochs")):
        with pytest.raises(InputError, match="another training") as caught:
            train(tmp_path / "two", changed, **kept)
        assert all(f"{name} {changed[name]}" in caught.value.given for name in names.split())
        assert "batch_size" not in caught.value.given
    assert not (tmp_path / "two" / "adapter").exists()
    assert (tmp_path / "kept" / FILE).exists()
    assert train(tmp_path / "one", {"checkpoint_s": 60.0}, **kept)["resumed"] == 2


def test_a_checkpoint_of_other_rows_or_other_code_is_refused(tiny_encoder, tmp_path, monkeypatch):
    """The rows and the code are part of what a checkpoint belongs to."""
    kept, rows = {"checkpoints": tmp_path / "kept"}, texts()
    with pytest.raises(KeyboardInterrupt):
        classify(tiny_encoder, tmp_path, on_step=stop_at(3), **kept)
    with pytest.raises(InputError, match="another training") as caught:
        train_classifier(tiny_encoder, rows[::-1], rows, LABELS, SMALL, tmp_path / "x", **kept)
    assert "train " in caught.value.given and "validation" not in caught.value.given
    monkeypatch.setattr(training, "code_digest", lambda: "0" * 64)
    with pytest.raises(InputError) as caught:
        classify(tiny_encoder, tmp_path, **kept)
    assert caught.value.given == f"code {'0' * 64}"


def test_what_was_torn_while_it_was_written_is_not_read(encode, tmp_path):
    """A partial file is nothing; a whole name with torn bytes was damaged, and says so."""
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "checkpoint.partial").write_bytes(b"torn")
    assert encode(tmp_path / "one", checkpoints=kept)["resumed"] is None
    (kept / FILE).write_bytes(b"torn")
    with pytest.raises(IntegrityError, match="can't be read"):
        encode(tmp_path / "two", checkpoints=kept)


def test_checkpoints_are_as_far_apart_as_asked_and_at_the_end_of_an_epoch(encode, tmp_path):
    """With an hour between them, only the end of the first epoch is kept."""
    options, kept = {"checkpoint_s": 3600.0}, tmp_path / "kept"
    with pytest.raises(KeyboardInterrupt):
        encode(tmp_path / "one", options, on_step=stop_at(6), checkpoints=kept)
    assert [path.name for path in kept.iterdir()] == [FILE]
    assert encode(tmp_path / "one", options, checkpoints=kept)["resumed"] == STEPS // 2


def test_two_processes_learn_what_one_learns(tiny_causal, tmp_path):
    """A batch is shared, not repeated: without chance the numbers differ by rounding alone, also
    where a batch has a row for one of them only."""
    options = {"dropout": 0.0, "batch_size": 1}
    one = complete(tiny_causal, tmp_path / "one", options)
    two = complete(tiny_causal, tmp_path / "two", options | {"processes": 2})
    assert (one["history"] - two["history"]).abs().to_numpy().max() < 1e-4
    assert one["trainable"] == two["trainable"]


class KillAt:
    """Kills the first process at a step; can be sent to another process."""

    def __init__(self, step: int) -> None:
        self.step = step

    def __call__(self, facts: dict) -> None:
        if facts["step"] == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.prove
def test_two_processes_give_the_same_bytes_each_time_killed_or_not(train, tmp_path):
    """Sums over processes have one order: with dropout too, two runs agree bit by bit; a run breaks
    when one of its processes is killed, and goes on from its checkpoint."""
    options, kept = {"processes": 2}, {"checkpoints": tmp_path / "kept"}
    train(tmp_path / "whole", options)
    with pytest.raises(RunError, match="process failed"):
        train(tmp_path / "x", options, on_step=KillAt(4), **kept)
    assert not (tmp_path / "x").exists()
    assert train(tmp_path / "again", options, **kept)["resumed"] == 3
    assert contents(tmp_path / "again") == contents(tmp_path / "whole")


def test_accumulated_batches_are_one_larger_batch(tiny_causal, tmp_path):
    """Two batches of two rows make the update of one batch of four, weights of tokens and all."""
    plain = {"dropout": 0.0, "epochs": 1}
    small = complete(tiny_causal, tmp_path / "a", plain | {"batch_size": 6, "accumulate": 2})
    large = complete(tiny_causal, tmp_path / "b", plain | {"batch_size": 12, "accumulate": 1})
    assert small["history"]["loss"][0] == pytest.approx(large["history"]["loss"][0], rel=1e-5)
    held = "validation_loss"
    assert small["history"][held][0] == pytest.approx(large["history"][held][0], rel=1e-5)


def test_patience_ends_a_training_that_no_longer_improves(train, tmp_path):
    """Both kinds stop early on the validation rows and keep the better epoch."""
    found = train(tmp_path, {"epochs": 30, "patience": 1, "learning_rate": 0.9})
    history = found["history"]
    assert len(history) < 30 and found["chosen"]["epoch"] == len(history) - 1


def test_bfloat16_trains_other_numbers_with_float32_weights(train, tmp_path):
    """Mixed precision is really on, and deterministic; weights are kept in float32."""
    from safetensors.torch import load_file

    runs = {name: train(tmp_path / name, {"dtype": "bfloat16"}) for name in ("one", "two")}
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    losses = train(tmp_path / "float32")["history"]["loss"]
    assert not runs["one"]["history"]["loss"].equals(losses)
    assert (runs["one"]["history"]["loss"] - losses).abs().max() < 0.1
    state = load_file(tmp_path / "one" / "adapter" / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in state.values()} == {torch.float32}


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_device_that_is_not_there_is_refused(train, tmp_path):
    """No silent fall back to the CPU."""
    with pytest.raises(InputError, match="CUDA is not available"):
        train(tmp_path, {"device": "cuda"})
    assert not (tmp_path / "adapter").exists()


def test_a_loss_that_is_not_finite_stops_the_run(encode, tmp_path, monkeypatch):
    """A diverged run ends as broken; it does not save a model of NaN."""
    from workbench.methods.adapt.classifier import Classifier

    loss = Classifier.loss
    monkeypatch.setattr(Classifier, "loss", lambda self, rows: loss(self, rows) * math.nan)
    with pytest.raises(RunError, match="diverged"):
        encode(tmp_path)
    assert not (tmp_path / "adapter").exists()


def test_batches_hold_every_row_once_and_rows_of_like_length():
    """Bucketing loses no row, depends on the seed alone, and pads less than chance order."""
    lengths = [n % 37 + 1 for n in range(500)]

    def made(seed: int) -> list[list[int]]:
        return list(training.length_batches(lengths, 16, torch.Generator().manual_seed(seed)))

    assert sorted(row for batch in made(1) for row in batch) == list(range(500))
    assert made(1) == made(1) != made(2)
    padded = sum(len(batch) * max(lengths[row] for row in batch) for batch in made(1))
    assert padded < sum(lengths) * 1.25


def test_the_rate_rises_linearly_and_falls_along_a_cosine():
    """Never above the peak, never a step without learning, nearly nothing at the end."""
    rates = [training.rate_factor(step, 100, 0.1) for step in range(100)]
    assert rates.index(max(rates)) == 10 and rates[10] == 1.0
    assert rates[:10] == [pytest.approx(n / 11) for n in range(1, 11)]
    assert rates[10:] == sorted(rates[10:], reverse=True) and 0 < rates[-1] < 0.001
    assert rates[55] == pytest.approx(0.5)


@pytest.mark.prove
def test_minilm_killed_from_outside_and_resumed_gives_the_same_bytes(minilm, rows, tmp_path):
    """A real encoder, a real kill at a moment that nothing in the training has chosen."""
    script = """
import json, sys
from pathlib import Path
import pandas as pd
from workbench.methods.adapt.classifier import train_classifier
base, folder, name = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
rows, labels = pd.read_json(folder / "rows.json"), ["access", "card", "fees"]
options = json.loads((folder / "options.json").read_text())
found = train_classifier(base, rows, rows, labels, options, folder / name / "adapter",
    lambda facts: (folder / "steps").write_text(str(facts["step"])),
    reference=folder / name / "reference", checkpoints=folder / "kept")
found["history"].to_json(folder / name / "history.json", double_precision=15)
print(found["resumed"])
"""
    rows.to_json(tmp_path / "rows.json")
    options = {"epochs": 6, "batch_size": 2, "dropout": 0.1, "rank": 4, "accumulate": 2,
               "checkpoint_s": 0.0, "patience": 6}  # fmt: skip
    (tmp_path / "options.json").write_text(json.dumps(options))

    def start(name: str) -> subprocess.Popen:
        given = [sys.executable, "-c", script, str(minilm), str(tmp_path), name]
        return subprocess.Popen(given, cwd=ROOT, stdout=subprocess.PIPE, text=True,
                                env=os.environ | {"PYTHONPATH": str(ROOT)})  # fmt: skip

    assert start("whole").communicate()[0].strip() == "None"
    (tmp_path / "steps").unlink()
    killed = start("killed")
    while not (tmp_path / "steps").exists() or (tmp_path / "steps").read_text() in ("", "1", "2"):
        assert killed.poll() is None, "ended before it could be killed"
        time.sleep(0.01)
    time.sleep(0.13)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert int(start("after").communicate()[0]) >= 2
    assert contents(tmp_path / "after") == contents(tmp_path / "whole")
