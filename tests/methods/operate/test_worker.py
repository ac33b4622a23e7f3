"""The worker answers as the bundle did in its validation, keeps nothing, and outlives bad input."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch

from workbench.errors import IntegrityError
from workbench.methods import predict
from workbench.methods.adapt.classifier import opened
from workbench.methods.operate import inference
from workbench.methods.operate.worker import Request, Worker, checked

from .conftest import Served, router, writer

START = [sys.executable, "-m", "workbench.methods.operate.worker"]
TEXTS = ["my card", "the fee of may", "a", "log me in again", "why is my card here", "fees 12"]
FLOAT32 = 2e-6
"""What the company of other rows can change in a probability: the order of float32 sums."""


class Talk:
    """A connection to a worker: requests by number, replies as they come."""

    def __init__(self, path: Path) -> None:
        self.line, self.number = socket.socket(socket.AF_UNIX), 0
        self.line.settimeout(60)
        self.line.connect(str(path))
        self.file = self.line.makefile("rb")

    def send(self, op: str, **more) -> int:
        self.number += 1
        self.raw(json.dumps({"id": self.number, "op": op, **more}).encode())
        return self.number

    def raw(self, line: bytes) -> None:
        self.line.sendall(line + b"\n")

    def read(self) -> dict:
        return json.loads(self.file.readline())

    def ask(self, op: str, **more) -> dict:
        number = self.send(op, **more)
        reply = self.read()
        assert reply["id"] == number
        return reply

    def load(self, served: Served) -> dict:
        folder, base = str(served.folder), str(served.base)
        return self.ask("load", bundle=served.digest, folder=folder, base=base)

    def answer(self, served: Served, text: str, tokens: int | None = None) -> dict:
        return self.ask("answer", bundle=served.digest, text=text, reply_tokens=tokens)

    def answers(self, served: Served, texts: list[str]) -> list[dict]:
        """All sent before the first reply is read."""
        asked = {"bundle": served.digest, "reply_tokens": None}
        sent = [self.send("answer", text=text, **asked) for text in texts]
        found = {(reply := self.read())["id"]: reply for _ in sent}
        return [found[number] for number in sent]


@contextlib.contextmanager
def started(folder: Path, *more: str) -> Iterator[tuple[subprocess.Popen, Path]]:
    """A worker that listens."""
    path = folder / "w"
    process = subprocess.Popen([*START, str(path), "--threads", "1", *more])
    try:
        for _ in range(600):
            with contextlib.suppress(OSError):
                Talk(path)
                break
            time.sleep(0.05)
        yield process, path
    finally:
        process.kill()
        process.wait()


class Running(NamedTuple):
    """A worker that holds both bundles."""

    process: subprocess.Popen
    path: Path
    first: list[dict]
    """Replies to the first load and to a ping that was sent right behind it."""


@pytest.fixture(scope="module")
def worker(tmp_path_factory, served_router, served_writer) -> Iterator[Running]:
    with started(tmp_path_factory.mktemp("w"), "--batch", "8") as (process, path):
        talk, first = Talk(path), served_router
        talk.send("load", bundle=first.digest, folder=str(first.folder), base=str(first.base))
        talk.send("ping")
        found = [talk.read(), talk.read()]
        talk.load(served_writer)
        yield Running(process, path, found)


@pytest.fixture
def talk(worker) -> Talk:
    return Talk(worker.path)


@pytest.fixture(scope="module")
def second_router(tiny_encoder, rows, tmp_path_factory) -> Served:
    return router(tmp_path_factory.mktemp("second"), tiny_encoder, rows, seed=9)


def held(flat: dict) -> dict:
    """The answer of `predict` in the worker's form."""
    names = [name for name in flat if not name.endswith(("_confidence", "_calibrated"))]
    raw = {name: flat[f"{name}_confidence"] for name in names if f"{name}_confidence" in flat}
    sure = {name: flat.get(f"{name}_calibrated", value) for name, value in raw.items()}
    return {"answer": {name: flat[name] for name in names}, "confidence": sure, "raw": raw}


@pytest.mark.parametrize("kind", ["router", "writer"])
def test_a_served_answer_is_that_of_the_validated_code(kind, talk, request):
    """Bit for bit that of `predict.answers`: answer, confidence as calibrated, and raw."""
    served = request.getfixturevalue(f"served_{kind}")
    for text in TEXTS:
        [alone] = predict.answers(served.folder, served.base, [text])
        reply = talk.answer(served, text)
        assert {name: reply[name] for name in ("answer", "confidence", "raw")} == held(alone)
        assert reply["tokens"] >= 1 and reply["seconds"] > 0


@pytest.mark.parametrize("kind", ["router", "writer"])
def test_in_company_it_is_the_same_answer(kind, talk, request):
    """Whatever was computed with it, and in whatever order; confidence to the rounding of float32,
    sketch to its last digit."""
    served, texts = request.getfixturevalue(f"served_{kind}"), TEXTS * 4
    alone = {text: talk.answer(served, text) for text in TEXTS}
    others = [Talk(Path(talk.line.getpeername())) for _ in range(2)]
    for other in others:
        other.send("answer", bundle=served.digest, text="other", reply_tokens=None)
    for text, reply in zip(texts, talk.answers(served, texts), strict=True):
        assert reply["answer"] == alone[text]["answer"]
        assert reply["confidence"] == pytest.approx(alone[text]["confidence"], abs=FLOAT32)
        assert reply["sketch"] == pytest.approx(alone[text]["sketch"], abs=0.0011)


def test_both_labels_and_replies_turn_on_the_text(talk, served_router, served_writer):
    """Else the tests above could not fail."""
    assert len({talk.answer(served_router, text)["raw"]["label"] for text in TEXTS}) == len(TEXTS)
    assert len({talk.answer(served_writer, text)["raw"]["queue"] for text in TEXTS}) == len(TEXTS)


def test_a_load_says_what_is_answered(talk, served_router, served_writer):
    """Kind and fields; of a bundle that is there already nothing is read again."""
    assert talk.load(served_router) == {"id": 1, "ok": True, "kind": "classifier",
                                        "fields": ["label"]}  # fmt: skip
    assert talk.load(served_writer)["fields"] == ["queue", "rule", "reply"]


def test_a_shorter_reply_can_be_asked_for(talk, served_writer):
    """Tokens of the reply at most; without a number as many as in the validation."""
    read = talk.answer(served_writer, "a", 1)["tokens"] - 1
    assert talk.answer(served_writer, "a")["tokens"] <= read + 3
    assert talk.answer(served_writer, "a", 40)["tokens"] > read + 3


def test_the_sketch_of_a_classifier_is_its_vector_in_16_numbers(served_router):
    """The one that the head reads: a fixed projection of it, from the only pass of the model."""
    release = inference.Resident(served_router.folder, served_router.base, 1)
    encoder, _, _ = opened(served_router.base, served_router.folder / "adapter")
    passes: list = []
    release.task.models["candidate"].register_forward_hook(lambda *_: passes.append(1))
    found = [one["sketch"] for one in release.answers(TEXTS)]
    assert len(passes) == 1
    vectors = encoder.encode(encoder.tokens(TEXTS)).double().numpy()
    fixed = np.random.Generator(np.random.PCG64(0)).standard_normal((vectors.shape[1], 16))
    assert np.array(found) == pytest.approx(vectors @ fixed, abs=0.00051)
    assert len({tuple(one) for one in found}) == len(TEXTS)


def test_the_sketch_of_a_written_answer_is_the_mean_over_its_text(served_writer):
    """Last hidden state from where prompts begin to differ to the prompt's end, as one reads it
    by itself; the model is not asked once more for it."""
    release = inference.Resident(served_writer.folder, served_writer.base, 1)
    inner, passes = release.task.models["candidate"].model, []
    inner.register_forward_hook(lambda *_: passes.append(1))
    same = ["my card", "my cash", "my car is"]  # these share more than their form
    for texts in (["my card"], same, TEXTS):
        passes.clear()
        found = [one["sketch"] for one in release.answers(texts)]
        asked = len(passes)
        passes.clear()
        release.task.read(predict.items(texts))
        release.task.answer("candidate", list(range(len(texts))))
        assert asked == len(passes)
        for text, sketch in zip(texts, found, strict=True):
            [ids] = release.task.read(predict.items([text]))
            with torch.no_grad():
                states = inner(input_ids=torch.tensor([ids])).last_hidden_state[0]
            mean = states[len("s\n") :].mean(0).double().numpy()  # a token a letter
            assert sketch == pytest.approx(mean @ inference.projection(len(mean)), abs=0.002)


def test_two_releases_over_one_base_hold_it_once(served_router, second_router):
    """Only what the second adapter changed is there twice, and both answer as if alone."""
    first = inference.Resident(served_router.folder, served_router.base, 1)
    before = first.answers(TEXTS)
    second = inference.Resident(second_router.folder, second_router.base, 1)
    alone = second.answers(TEXTS)
    second.settle([first])
    mine, other = (dict(one.task.models["candidate"].named_parameters()) for one in (first, second))
    twice = {name for name in mine if mine[name].data_ptr() != other[name].data_ptr()}
    assert twice == {name for name in mine if name.endswith("attention.self.query.weight")}
    drop = [{k: v for k, v in one.items() if k != "seconds"} for one in (*before, *alone)]
    now = [{k: v for k, v in one.items() if k != "seconds"}
           for one in (*first.answers(TEXTS), *second.answers(TEXTS))]  # fmt: skip
    assert now == drop
    assert [one["raw"] for one in before] != [one["raw"] for one in alone]


def test_a_worker_serves_two_releases_and_lets_one_go(talk, served_router, second_router):
    """Each request is answered by the bundle that it names; what was let go answers no more."""
    assert talk.load(second_router)["ok"]
    bundles = talk.ask("ping")["bundles"]
    assert {served_router.digest, second_router.digest} <= set(bundles)
    for served in (second_router, served_router, second_router):
        [alone] = predict.answers(served.folder, served.base, TEXTS[:1])
        assert talk.answer(served, TEXTS[0])["raw"] == held(alone)["raw"]
    assert talk.ask("unload", bundle=second_router.digest)["ok"]
    assert "not loaded" in talk.answer(second_router, "a")["error"]
    assert "error" not in talk.answer(served_router, "a")


def test_another_base_or_a_changed_one_is_refused(served_router, tiny_causal, talk, tmp_path):
    """By the bytes of its weights and its tokenizer; nothing is loaded, and others still answer."""
    other = served_router._replace(base=tiny_causal, digest="0" * 64)
    assert "are not those that this release was made over" in talk.load(other)["error"]
    changed = tmp_path / "base"
    for name in ("model.safetensors", "tokenizer.json"):
        shutil.rmtree(changed, ignore_errors=True)
        shutil.copytree(served_router.base, changed)
        data = bytearray((changed / name).read_bytes())
        data[-3] ^= 1
        (changed / name).write_bytes(data)
        with pytest.raises(IntegrityError):
            inference.Resident(served_router.folder, changed, 1)
        assert "error" in talk.load(other._replace(base=changed))
    assert "0" * 64 not in talk.ask("ping")["bundles"]
    assert "error" not in talk.answer(served_router, "a")


def test_an_adapter_of_another_base_is_refused(served_router, tiny_causal, tmp_path):
    """Also where the bundle itself names the base that it is given."""
    shutil.copytree(served_router.folder, tmp_path, dirs_exist_ok=True)
    shutil.copyfile(tiny_causal / "base.json", tmp_path / "base.json")
    with pytest.raises(Exception, match="another base model"):
        inference.Resident(tmp_path, tiny_causal, 1)


@pytest.mark.parametrize("text", ["secret \ud800", ""], ids=["no Unicode", "empty"])
def test_a_text_that_the_model_can_not_read_is_an_error_of_its_own(text, talk, served_router):
    """Those that were computed with it are answered, the worker lives, and nothing of the text
    comes back."""
    *_, bad, good = talk.answers(served_router, ["a", "my card", text, "fees 12"])
    assert bad.keys() == {"id", "error"} and "secret" not in bad["error"]
    assert good["answer"] == talk.answer(served_router, "fees 12")["answer"]


@pytest.mark.parametrize(
    "line",
    [b"no json", b"[]", b"{}", b'{"id":1,"op":"erase"}', b'{"op":"answer","bundle":"x"}',
     b'{"op":"answer","bundle":"x","text":3}', b'{"op":"load","bundle":"x"}', b"\xff",
     b'{"op":"answer","bundle":"x","text":"a","reply_tokens":0}'],
)  # fmt: skip
def test_what_is_no_request_is_refused(line, talk):
    """In a reply without a number; the connection stays."""
    talk.raw(line)
    reply = talk.read()
    assert reply["id"] is None and reply["error"]
    assert talk.ask("ping")["ok"]


def test_an_endless_line_ends_only_its_connection(talk, worker):
    """A megabyte without an end is no request."""
    with contextlib.suppress(OSError):
        talk.raw(b"x" * (3 << 20))
        assert talk.file.readline() == b""
    assert Talk(worker.path).ask("ping")["ok"]


def test_a_ping_is_answered_while_the_model_is_busy(worker, served_router):
    """So that who watches can tell a worker that loads from one that hangs."""
    ping, load = worker.first
    assert (ping["id"], ping["ok"], ping["bundles"]) == (2, True, []) and ping["rss"] > 0
    assert load == {"id": 1, "ok": True, "kind": "classifier", "fields": ["label"]}


def test_memory_is_flat(talk, served_router, served_writer):
    """2,000 requests after the first 300 add less than 5 MB."""

    def served(count: int) -> int:
        for _ in range(count // 20):
            talk.answers(served_router, (TEXTS * 4)[:20])
        return talk.ask("ping")["rss"]

    talk.answers(served_writer, TEXTS * 4)
    before = served(300)
    assert served(2000) - before < 5e6


def test_it_has_no_network_and_a_socket_for_its_own_user(worker, talk, served_router):
    """No socket of the process is of the internet's; nobody else may connect to its own."""
    talk.answer(served_router, "a")
    assert worker.path.stat().st_mode & 0o777 == 0o600
    links = [os.readlink(one) for one in Path(f"/proc/{worker.process.pid}/fd").iterdir()]
    mine = {link[8:-1] for link in links if link.startswith("socket:[")}
    net = Path(f"/proc/{worker.process.pid}/net")
    open_there = {line.split()[9] for name in ("tcp", "tcp6", "udp", "udp6")
                  for line in (net / name).read_text().splitlines()[1:]}  # fmt: skip
    assert mine and not mine & open_there


def test_a_signal_ends_it_at_once(tmp_path):
    """SIGTERM, within a second."""
    with started(tmp_path) as (process, _):
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=1)


def test_it_ends_with_its_parent(tmp_path):
    """Also when the parent could say nothing any more."""
    path = tmp_path / "w"
    code = f"import subprocess; p = subprocess.Popen({[*START, str(path)]}); print(p.pid, flush=True); p.wait()"
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    child = Path(f"/proc/{parent.stdout.readline().strip()}/stat")
    while not path.exists():
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    end = time.monotonic() + 3
    while child.exists() and ") Z " not in child.read_text():
        assert time.monotonic() < end, "it outlived its parent"
        time.sleep(0.05)


def test_where_nobody_can_listen_it_says_so(tmp_path):
    """Exit code of wrong input, the path, and no trace."""
    done = subprocess.run([*START, str(tmp_path / ("x" * 200))], capture_output=True, text=True)
    assert done.returncode == 1 and "Nothing can listen there" in done.stderr
    assert "Traceback" not in done.stderr


def waits(worker: Worker, *asked: str) -> None:
    """`answer x 3`: operation, bundle, tokens."""
    for number, line in enumerate(asked):
        op, bundle, *tokens = line.split()
        more = {"text": "", "reply_tokens": int(tokens[0])} if tokens else {"text": ""}
        worker.put(Request({"op": op, "bundle": bundle, "id": number} | more, lambda told: None))


@pytest.mark.parametrize(
    ("waiting", "taken"),
    [
        (["answer a", "answer b", "answer a"], [[0, 2], [1]]),
        (["answer a"] * 5, [[0, 1, 2], [3, 4]]),
        (["answer a", "unload a", "answer a"], [[0], [1], [2]]),
        (["load a", "load b"], [[0], [1]]),
        (["answer a 3", "answer a 4", "answer a 3"], [[0, 2], [1]]),
    ],
)
def test_what_waits_for_one_bundle_is_taken_together(waiting, taken):
    """Up to the batch; others keep their order, and nobody overtakes a load or an unload."""
    worker = Worker(threads=1, batch=3)
    waits(worker, *waiting)
    found = [[one.asked["id"] for one in worker.take()] for _ in taken]
    assert found == taken and not worker.waiting


def test_a_confidence_that_is_no_number_is_no_answer(served_writer):
    """A model whose weights became NaN says nothing."""
    release = inference.Resident(served_writer.folder, served_writer.base, 1)
    with torch.no_grad():
        release.task.models["candidate"].lm_head.weight.fill_(float("nan"))
    with pytest.raises(Exception, match="not a number"):
        release.answers(["a"])


def test_a_request_may_say_more_than_is_read():
    """What a later version adds is not refused."""
    assert checked(b'{"op":"ping","id":1,"new":2}')["new"] == 2


@pytest.mark.parametrize("kind", ["router", "writer"])
def test_weights_that_change_on_the_disk_change_no_answer(kind, request, tmp_path):
    """What was checked is held in memory of its own, and not mapped from the file."""
    served = request.getfixturevalue(f"served_{kind}")
    shutil.copytree(served.base, tmp_path, dirs_exist_ok=True)
    release = inference.Resident(served.folder, tmp_path, 1)
    release.settle([])
    before = [one["raw"] for one in release.answers(TEXTS)]
    with (tmp_path / "model.safetensors").open("r+b") as weights:
        weights.write(bytes((tmp_path / "model.safetensors").stat().st_size))
    assert [one["raw"] for one in release.answers(TEXTS)] == before


def test_writers_share_too(tiny_causal, served_writer, tmp_path):
    """Of a generative model the tied embedding, the largest tensor, is there once."""
    other = writer(tmp_path, tiny_causal, seed=8)
    first, second = (inference.Resident(one.folder, one.base, 1) for one in (served_writer, other))
    second.settle([first])
    mine, its = (one.task.models["candidate"] for one in (first, second))
    assert mine.lm_head.weight.data_ptr() == its.lm_head.weight.data_ptr()
    assert mine.model.embed_tokens.weight.data_ptr() == its.model.embed_tokens.weight.data_ptr()
    assert pd.Series([one["answer"]["reply"] for one in second.answers(TEXTS)]).notna().all()
