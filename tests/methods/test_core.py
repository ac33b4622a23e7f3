"""The evaluation core over a task made by hand, over two tiny models, and killed in the middle."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pandas as pd
import pytest
import torch

from workbench.errors import InputError, IntegrityError
from workbench.methods.adapt.causal import load_causal, train_causal
from workbench.methods.adapt.form import Form
from workbench.methods.evaluate import chat
from workbench.methods.evaluate.context import Context, batches, opened
from workbench.methods.evaluate.core import Evaluator, open_models
from workbench.methods.evaluate.decide import Filling
from workbench.methods.evaluate.kv_cache import ROOM
from workbench.methods.evaluate.parts import Parts

FORM = Form({"queue": ["a", "bc"], "person": ["yes", "no"]}, system="s")
SECRET = "zebulon"
KEY = "ab" * 32


@pytest.fixture(scope="module")
def items() -> pd.DataFrame:
    texts = [f"{SECRET} {'x' * (n % 5)}" for n in range(9)]
    return pd.DataFrame({"case_id": [f"c{n}" for n in range(9)], "text": texts})


@pytest.fixture(scope="module")
def adapter(tiny_causal, tmp_path_factory) -> Path:
    """A trained update of the tiny model."""
    out = tmp_path_factory.mktemp("adapter")
    rows = pd.DataFrame({"prompt": ["ab", "cd"] * 4, "completion": ["x", "y"] * 4})
    options = {"epochs": 3, "batch_size": 2, "rank": 2, "learning_rate": 0.1, "last_layers": 1}
    train_causal(tiny_causal, rows, rows, options, out)
    return out


class Counts:
    """A task that remembers what it was asked."""

    needed = frozenset({"case_id", "text"})

    def __init__(self) -> None:
        self.models, self.asked = {"base": None, "candidate": None}, []

    def read(self, items):
        self.texts = items["text"].tolist()
        return [[0] * len(text) for text in self.texts]

    def answer(self, model, rows):
        self.asked.append((model, rows))
        return pd.DataFrame({"said": [f"{model} {self.texts[row]}" for row in rows]})


def test_a_batch_is_bounded_by_rows_and_by_padded_tokens():
    """A long row does not pad many short ones, and one beyond the bound stands alone."""
    rows = [[0] * n for n in (3, 90, 3, 3, 10, 200)]
    assert batches(rows, 4, 100) == [[0, 2, 3, 4], [1], [5]]
    assert batches(rows, 2, 100) == [[0, 2], [3, 4], [1], [5]]
    assert batches(rows, 4, 100, by_length=False) == [[0], [1], [2, 3, 4], [5]]
    assert batches([], 4) == []


def test_answers_come_model_by_model_in_the_order_of_the_items(items):
    """Whatever the batches were; both models answer a batch before the next begins."""
    task = Counts()
    found = Evaluator(task, batch_size=4).answers(items)
    assert found["said"].tolist() == [f"{m} {t}" for m in task.models for t in items["text"]]
    assert [model for model, _ in task.asked] == ["base", "candidate"] * 3


def test_progress_is_a_line_with_cases_speed_and_time_left(items):
    """The last one at the end, so that a person sees that it is done."""
    said = []
    Evaluator(Counts(), say=said.append).answers(items)
    assert len(said) == 1 and said[0].startswith("9/9 cases, ") and said[0].endswith(" 0 s left")


def test_items_without_a_name_of_their_own_are_refused(items):
    """A repeated id would make two answers one."""
    with pytest.raises(InputError, match="twice"):
        Evaluator(Counts()).answers(pd.concat([items, items]))


def test_a_batch_that_was_finished_is_not_asked_again(items, tmp_path):
    """Half of the work is on disk: only the other half is done, and the table is the same."""
    whole = (
        Evaluator(Counts(), batch_size=4).answers(items, Parts(tmp_path)).drop(columns="seconds")
    )
    (tmp_path / "000001.part").unlink()
    task = Counts()
    again = Evaluator(task, batch_size=4).answers(items, Parts(tmp_path)).drop(columns="seconds")
    assert len(task.asked) == 2 and again.equals(whole)


def test_parts_of_persons_hold_no_plaintext(items, staged, tmp_path):
    """Neither words nor file names; another snapshot's key opens nothing."""
    (tmp_path / "40" / "kept").mkdir(parents=True)
    stage = staged("40", masked=True, key=KEY, checkpoints="kept")
    parts = Parts.of(stage, items["text"].tolist())
    Evaluator(Counts(), batch_size=4).answers(items, parts)
    kept = [path for path in stage.checkpoints.rglob("*") if path.is_file()]
    assert len(kept) == 3
    for path in kept:
        assert SECRET.encode() not in path.read_bytes() and b"PAR1" not in path.read_bytes()
    assert SECRET in parts.read(0)["said"].iloc[0]
    with pytest.raises(IntegrityError, match="part of an unfinished"):
        Parts(parts.folder, b"another key").read(0)


def test_a_part_with_one_changed_bit_is_refused(items, tmp_path):
    """What was written by others can't become an answer; nor can another part under its name."""
    parts = Parts(tmp_path, bytes.fromhex(KEY))
    Evaluator(Counts(), batch_size=4).answers(items, parts)
    one, two = (tmp_path / f"00000{n}.part" for n in (0, 1))
    whole = one.read_bytes()
    one.write_bytes(two.read_bytes())
    with pytest.raises(IntegrityError):
        parts.read(0)
    one.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(IntegrityError):
        parts.read(0)


KILLED = """
    import os, signal, sys
    import pandas as pd
    sys.path.insert(0, {tests!r})
    from pathlib import Path
    from test_core import Counts
    from workbench.methods.evaluate.core import Evaluator
    from workbench.methods.evaluate.parts import Parts

    class Dies(Counts):
        def answer(self, model, rows):
            if len(self.asked) == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().answer(model, rows)

    items = pd.read_parquet({items!r})
    Evaluator(Dies(), batch_size=4).answers(items, Parts(Path({kept!r}), bytes.fromhex({key!r})))
"""


def test_a_killed_evaluation_goes_on_and_gives_the_same_bytes(items, tmp_path):
    """SIGKILL in the second batch: the first is not asked again, and the table is the same file."""
    items.to_parquet(tmp_path / "items.parquet")
    kept, tests = tmp_path / "kept", str(Path(__file__).parent)
    places = {"items": str(tmp_path / "items.parquet"), "kept": str(kept), "tests": tests}
    script = textwrap.dedent(KILLED).format(**places, key=KEY)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [path.name for path in kept.iterdir()] == ["000000.part"]
    task, parts = Counts(), Parts(kept, bytes.fromhex(KEY))
    resumed = Evaluator(task, batch_size=4).answers(items, parts)
    assert [rows for _, rows in task.asked] == [rows for rows in batches(task.read(items), 4)[1:] for _ in range(2)]  # fmt: skip
    whole = Evaluator(Counts(), batch_size=4).answers(items)
    for name, table in (("resumed", resumed), ("whole", whole)):
        table.drop(columns="seconds").to_parquet(tmp_path / name)
    assert (tmp_path / "resumed").read_bytes() == (tmp_path / "whole").read_bytes()


def test_one_backbone_answers_exactly_as_two_models_do(tiny_causal, adapter, items):
    """What the adapter left alone is held once, and no answer of either model moves by a bit."""
    folders = {"base": None, "candidate": adapter}
    both = Filling(tiny_causal, folders, FORM, 4)
    base, candidate = (dict(model.named_parameters()) for model in both.models.values())
    shared = {name for name in base if base[name].data_ptr() == candidate[name].data_ptr()}
    assert "model.embed_tokens.weight" in shared and 0 < len(shared) < len(base)
    found = Evaluator(both, batch_size=4).answers(items).drop(columns="seconds")
    for name, folder in folders.items():
        alone = Filling(tiny_causal, {name: folder}, FORM, 4)
        one = Evaluator(alone, batch_size=4).answers(items).drop(columns="seconds")
        assert found[found["model"] == name].reset_index(drop=True).equals(one)
    numbers = found.set_index("model").filter(like="p_queue")
    assert (
        not numbers.loc["base"]
        .reset_index(drop=True)
        .equals(numbers.loc["candidate"].reset_index(drop=True))
    )


def test_whole_answers_do_not_depend_on_their_batch(tiny_causal, adapter, items):
    """Alone, in fours, in no order: every field, reply and count is the same (V5)."""
    task = Filling(tiny_causal, {"candidate": adapter}, FORM, 6)
    usual = Evaluator(task).answers(items)
    alone = Evaluator(task, batch_size=1).answers(items)
    mixed = Evaluator(task, batch_size=4, by_length=False).answers(items[::-1])
    mixed = mixed.iloc[::-1].reset_index(drop=True)
    for other in (alone, mixed):
        said = ["case_id", "queue", "person", "reply", "tokens", "tokens_out"]
        assert other[said].equals(usual[said])
        difference = (other.filter(like="p_") - usual.filter(like="p_")).abs().to_numpy()
        assert difference.max() < 1e-5


def test_an_arithmetic_that_is_not_known_is_refused(tiny_causal):
    """Not silently taken for another."""
    with pytest.raises(InputError, match="arithmetic"):
        open_models(lambda _: None, {"base": None}, "float16")


def test_products_by_onednn_are_those_of_torch(tiny_causal):
    """To rounding; with gradients, torch's own are used, which know how to go back."""
    model, _ = load_causal(tiny_causal)
    layer, x = model.model.layers[0].mlp.up_proj, torch.randn(3, 16)
    plain = layer(x)
    Context(model, 1)  # from now on
    assert "forward" in vars(layer)
    with torch.no_grad():
        assert torch.allclose(layer(x), plain, atol=1e-6)
    assert torch.equal(layer(x), plain) and layer(x).requires_grad


def test_a_branch_reads_on_without_changing_where_it_came_from(tiny_causal):
    """Both share a buffer; what the branch wrote is not what the first one then reads."""
    model, _ = load_causal(tiny_causal)
    context = opened(model, [[4, 5, 6], [7, 8]], None)
    twin = context.branch()
    ahead = twin.append([[9]] * 2).clone()
    assert context.size == 2 and context.cache.layers[0].keys.shape[2] == 3
    context.append([[10]] * 2)
    alone = opened(model, [[4, 5, 6, 10], [7, 8, 10]], None)
    assert torch.allclose(context.logits, alone.logits, atol=1e-5)
    assert not torch.allclose(ahead, alone.logits, atol=1e-3)


def test_a_context_grows_beyond_its_room(tiny_causal):
    """Token by token, rows leaving in between, it reads what one pass reads."""
    model, _ = load_causal(tiny_causal)
    rows = [[4 + n % 7 for n in range(ROOM + 9)], [5] * (ROOM + 9), [6] * (ROOM + 9)]
    context = opened(model, [row[:2] for row in rows], None)
    for place in range(2, 5):
        context.append([[row[place]] for row in rows])
    context.keep([0, 2])
    for place in range(5, len(rows[0])):
        context.append([[rows[0][place]], [rows[2][place]]])
    with torch.no_grad():
        plain = model(torch.tensor([rows[0], rows[2]])).logits[:, -1]
    assert torch.allclose(context.logits, plain, atol=1e-5)


def test_a_chat_has_the_system_prompt_that_is_named(tiny_causal):
    """And none of ours where none is named; one reply a prompt."""
    _, tokenizer = load_causal(tiny_causal)
    assert chat.chat(tokenizer, "hi", "be brief") == "be brief\nhi\n"
    assert chat.chat(tokenizer, "hi </s>", None) == "hi < /s>\n"
    found = chat.replies(tiny_causal, None, ["hi", "hello"], system="s", max_new_tokens=3)
    assert len(found) == 2
