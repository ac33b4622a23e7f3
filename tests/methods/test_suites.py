"""External suites: what the frameworks ask, and what is kept of it."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
import torch

from workbench.errors import InputError, RunError
from workbench.methods.adapt.causal import load_causal
from workbench.methods.evaluate import suites
from workbench.methods.evaluate.suites import backend, lm_eval_logs
from workbench.policy import figures

PACK = Path(__file__).parents[2] / "templates/usecases/card-support"
INSPECT = """
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import includes
from inspect_ai.solver import generate

@task
def letters():
    samples = [Sample(id=f"L{n}", input=text, target=" ") for n, text in enumerate(["abc", "xyz"] * 3)]
    return Task(dataset=samples, solver=generate(max_tokens=4), scorer=includes()MORE)
"""
CHOICE = {
    "task": "pick", "dataset_path": "json", "test_split": "test", "doc_to_text": "{{q}}",
    "output_type": "multiple_choice", "doc_to_choice": "{{options}}", "doc_to_target": "right",
    "dataset_kwargs": {"data_files": {"test": "pick.jsonl"}}, "metric_list": [{"metric": "acc"}],
}  # fmt: skip
LOG = {"doc_id": 0, "doc_hash": "0" * 64, "metrics": ["acc", "f1"], "acc": 1.0, "f1": [1, 0],
       "filter": "none"}  # fmt: skip
needs_frameworks = pytest.mark.skipif(
    not (find_spec("inspect_ai") and find_spec("lm_eval")), reason="extra `suites` not installed"
)


@pytest.fixture(scope="module")
def loaded(tiny_causal):
    """A tiny model that has no chat manners; its answers only have to be the same each time."""
    return backend.Loaded(*load_causal(tiny_causal, threads=2), 4)


@pytest.fixture
def folder(tmp_path):
    """A folder of suites with one task a framework."""
    place = tmp_path / "suites"
    place.mkdir()
    (place / "letters.py").write_text(INSPECT.replace("MORE", ""))
    (place / "pick.yaml").write_text(json.dumps(CHOICE))
    rows = [
        {"q": q, "options": ["a", "bc"], "right": n % 2} for n, q in enumerate(["xy", "z", "ab"])
    ]
    (place / "pick.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return place


def ids(letters: str) -> list[int]:
    return [4 + ord(letter) - ord("a") for letter in letters]


def test_a_continuation_scores_the_sum_of_its_tokens(loaded):
    """As the model itself says, read token by token without batch or sharing."""
    pairs = [(ids("abc"), ids("d")), (ids("abc"), ids("e")), (ids("x"), ids("yzy")),
             (ids("abc"), ids("def"))]  # fmt: skip
    for (context, rest), (score, greedy) in zip(pairs, loaded.scores(pairs), strict=True):
        with torch.no_grad():
            logits = loaded.model(torch.tensor([context + rest])).logits[0]
        logs = torch.log_softmax(logits, dim=-1)[len(context) - 1 : -1]
        assert score == pytest.approx(
            sum(logs[n, token].item() for n, token in enumerate(rest)), abs=1e-4
        )
        assert greedy == (logs.argmax(dim=-1).tolist() == rest)


def test_a_case_longer_than_the_model_reads_is_refused(loaded):
    """Never cut in silence: a cut question is another question."""
    with pytest.raises(InputError, match="too long"):
        loaded.scores([([5] * 70, [6])])


def test_a_reply_ends_before_the_first_stop():
    """Whichever of them comes first; without one it stays whole."""
    assert backend.cut("one\ntwo. three", [".", "\n", ""]) == "one"
    assert backend.cut("one", ["."]) == "one"


def test_the_system_prompt_is_explicit_and_markers_are_broken(loaded):
    """The template's own is never used, a task's own is kept, and no text can end its turn."""
    said = backend.chat(loaded.tokenizer, [("user", "a</s>b")], "be kind")
    assert said.startswith("be kind\n") and "</s>" not in said
    assert backend.chat(loaded.tokenizer, [("system", "x"), ("user", "y")], "be kind") == "x\ny\n"


@needs_frameworks
def test_both_frameworks_run_and_keep_their_logs(loaded, folder, tmp_path):
    """Logs that each framework reads again, without paths of this host; rows told apart by case."""
    out = tmp_path / "out"
    rows = suites.table(suites._asked(folder, "candidate", loaded, out, limit=0, system="s"))
    assert rows.groupby("task").size().to_dict() == {"letters": 6, "pick": 3}
    assert set(rows["model"]) == {"candidate"} and set(rows["origin"]) == {"run"}
    assert rows["sample"].nunique() == 2 + 3  # six letters ask two different things
    from inspect_ai.log import read_eval_log

    log = read_eval_log(str(out / "inspect/candidate/letters.eval"))
    assert log.status == "success" and log.eval.model == "workbench/candidate"
    names = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert names == {"inspect/candidate/letters.eval", "lm_eval/candidate/results.json",
                     "lm_eval/candidate/samples_pick.jsonl"}  # fmt: skip
    text = log.model_dump_json() + (out / "lm_eval/candidate/results.json").read_text()
    assert str(tmp_path) not in text and sys.prefix not in text


@needs_frameworks
def test_asking_again_gives_the_same_rows(loaded, folder, tmp_path):
    """Whatever waits in a batch together: a replay must give the same table."""
    again = backend.Loaded(loaded.model, loaded.tokenizer, 1)
    one, other = (
        suites.table(suites._asked(folder, "base", way, tmp_path / str(n), limit=0, system="s"))
        for n, way in enumerate((loaded, again))
    )
    pd.testing.assert_frame_equal(one, other)


@needs_frameworks
def test_samples_wait_for_each_other(loaded, folder, tmp_path):
    """Six samples in batches of at most four are asked in fewer calls than six."""
    asked = []

    class Counting(backend.Loaded):
        def replies(self, prompts, max_new_tokens):
            asked.append(len(prompts))
            return super().replies(prompts, max_new_tokens)

    from workbench.methods.evaluate.suites import inspect_tasks

    counting = Counting(loaded.model, loaded.tokenizer, 4)
    inspect_tasks.run(folder, "base", counting, tmp_path / "out", limit=0, system="s")
    assert sum(asked) == 6 and len(asked) <= 3


@needs_frameworks
def test_a_task_that_wants_sampling_is_refused(loaded, folder, tmp_path):
    """One greedy reply is what evidence can repeat; the run breaks with the reason."""
    from workbench.methods.evaluate.suites import inspect_tasks

    more = ", config=GenerateConfig(temperature=0.7)"
    text = "from inspect_ai.model import GenerateConfig\n" + INSPECT.replace("MORE", more)
    (folder / "letters.py").write_text(text)
    with pytest.raises(RunError, match="greedy"):
        inspect_tasks.run(folder, "base", loaded, tmp_path / "out", limit=2, system="s")


@needs_frameworks
def test_a_mute_model_scores_nothing_freely_and_chance_by_choice(loaded, folder, tmp_path):
    """The negative control: silence is never right, and no option is preferred."""
    mute = backend.Mute(loaded.tokenizer)
    rows = suites.table(suites._asked(folder, "mute", mute, tmp_path, limit=0, system="s"))
    means = rows.groupby("task")["value"].mean()
    assert means["letters"] == 0 and means["pick"] == pytest.approx(2 / 3)  # the first option


@needs_frameworks
def test_texts_longer_than_the_model_are_scored_in_windows(loaded):
    """Each token once, as the harness defines it; what fits at once is one reading."""
    from lm_eval.api.instance import Instance

    from workbench.methods.evaluate.suites.lm_eval_tasks import InProcess

    model = InProcess(loaded)
    long, short = "abcdef" * 20, "abc"
    found = model.loglikelihood_rolling(
        [Instance("loglikelihood_rolling", {}, (text,), n) for n, text in enumerate((long, short))]
    )
    whole = loaded.scores([([model.prefix_token_id], ids(short))])[0][0]
    assert found[1] == pytest.approx(whole, abs=1e-4) and found[0] < found[1] < 0


@needs_frameworks
def test_generation_stops_where_the_task_says(loaded):
    """Greedy up to the stop; a task that samples is refused."""
    from lm_eval.api.instance import Instance

    from workbench.methods.evaluate.suites.lm_eval_tasks import InProcess

    def asked(**how):
        return [Instance("generate_until", {}, ("abc", {"max_gen_toks": 6, **how}), 0)]

    model = InProcess(loaded)
    free = model.generate_until(asked(until=[]))[0]
    assert free == loaded.replies(["abc"], 6)[0]
    assert model.generate_until(asked(until=[free[1]]))[0] == free[: free.index(free[1])]
    with pytest.raises(InputError, match="sampling"):
        model.generate_until(asked(until=[], do_sample=True, temperature=1.0))


@needs_frameworks
def test_a_multiple_choice_score_agrees_with_the_harness_own_backend(tiny_causal, loaded, folder):
    """The same verdicts and the same log likelihoods, up to the rounding of float32."""
    import contextlib

    from lm_eval.models.huggingface import HFLM

    from workbench.methods.evaluate.suites.lm_eval_tasks import InProcess, scored

    with contextlib.chdir(folder):
        theirs, ours = (
            scored(folder, model, 0)["samples"]["pick"]
            for model in (HFLM(pretrained=str(tiny_causal), device="cpu"), InProcess(loaded))
        )
    assert [one["acc"] for one in theirs] == [one["acc"] for one in ours]
    for one, other in zip(theirs, ours, strict=True):
        for a, b in zip(one["resps"], other["resps"], strict=True):
            assert float(a[0][0]) == pytest.approx(float(b[0][0]), abs=1e-4)


def test_a_log_made_elsewhere_is_marked(tmp_path):
    """By whose folder it lies in; a metric over the whole corpus has no row."""
    place = tmp_path / "imported/candidate"
    place.mkdir(parents=True)
    (place / "samples_arc.jsonl").write_text(json.dumps(LOG) + "\n")
    rows = suites.table(suites.imported(tmp_path))
    assert rows[["task", "metric", "value", "origin"]].values.tolist() == [
        ["arc", "acc", 1.0, "imported"]
    ]
    assert rows["model"].tolist() == ["candidate"]


def test_a_log_of_nobody_knows_whom_is_refused(tmp_path):
    """Only base and candidate are compared here."""
    place = tmp_path / "imported/gpt"
    place.mkdir(parents=True)
    (place / "samples_arc.jsonl").write_text(json.dumps(LOG))
    with pytest.raises(InputError, match="Whose log"):
        suites.imported(tmp_path)


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"doc_id": 0, "doc_hash": "x", "metrics": ["acc"]}']
)
def test_a_broken_log_is_refused_by_name(tmp_path, text):
    """A sample that is lost on the way would be a score that looks whole."""
    path = tmp_path / "samples_arc.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match="samples_arc"):
        lm_eval_logs.rows_of(path, "base")


def test_a_filtered_answer_is_a_metric_of_its_own(tmp_path):
    """The same case under two filters is two rows, not one case twice; truly twice is refused."""
    path = tmp_path / "samples_arc.jsonl"
    path.write_text(json.dumps(LOG) + "\n" + json.dumps({**LOG, "filter": "strict"}))
    rows = lm_eval_logs.rows_of(path, "base")
    assert suites.table(rows)["metric"].tolist() == ["acc", "acc/strict"]
    with pytest.raises(InputError, match="twice"):
        suites.table(rows + rows[:1])


def test_imported_rows_count_only_where_a_criterion_names_them():
    """Nobody here saw them being made, so no gate is met by them unless its author says so."""
    rows = [{"value": 1.0, "origin": "imported"}] * 9 + [{"value": 0.0, "origin": "run"}]
    assert figures.compute("suite_score", rows).value == 0
    assert figures.compute("suite_score", rows[:9]).value is None
    named = figures.compute("suite_score", rows, origin="imported")
    assert (named.value, named.n) == (1.0, 9)


def test_a_suite_score_has_an_interval_and_counts_the_unscored():
    """Wilson's for right and wrong (Newcombe 1998, 15 of 148); none on another scale."""
    rows = [{"value": float(n < 15), "origin": "run"} for n in range(148)]
    found = figures.compute("suite_score", [*rows, {"value": float("nan"), "origin": "run"}])
    assert (round(found.low, 4), round(found.high, 4), found.unscored) == (0.0624, 0.1605, 1)
    other = figures.compute("suite_score", [{"value": 31.0, "origin": "run"}])
    assert (other.value, other.low) == (31.0, None)


def test_no_suites_are_not_no_failures(staged, tmp_path):
    """An empty folder stops the stage."""
    (tmp_path / "empty").mkdir()
    stage = staged("48_suites", {"suites": tmp_path / "empty"})
    with pytest.raises(InputError, match="no suites"):
        suites.run(stage, limit=0, batch_size=1, threads=1, system="s")


def test_a_classifier_may_only_import(staged, folder):
    """What only a language model can answer is refused before anything is loaded."""
    stage = staged("48_suites", {"suites": folder, "facts": {"kind": "classifier"}})
    with pytest.raises(InputError, match="imported"):
        suites.run(stage, limit=0, batch_size=1, threads=1, system="s")


def test_a_framework_that_is_not_installed_is_named(folder, tmp_path, monkeypatch):
    """With what to install."""
    monkeypatch.setitem(sys.modules, "inspect_ai", None)
    monkeypatch.delitem(sys.modules, f"{suites.__name__}.inspect_tasks", raising=False)
    with pytest.raises(InputError, match=r"workbench\[suites\]"):
        suites._asked(folder, "base", None, tmp_path, limit=0, system="s")


def test_scores_stand_side_by_side(staged):
    """Base beside candidate, imported apart; each is recorded."""
    about = {"suite": "lm-eval", "task": "t", "metric": "acc", "sample": "x"}
    rows = [{**about, "case_id": f"t/{n}", "model": model, "origin": origin, "value": value}
            for n in range(4) for model, origin, value in
            (("base", "run", 1.0), ("candidate", "run", n % 2), ("base", "imported", 0.0))]  # fmt: skip
    stage = staged("48_suites")
    found = suites.scores(stage, suites.table(rows)).set_index("name")
    assert found.loc["t, acc", ["base_value", "candidate_value", "n"]].tolist() == [1.0, 0.5, 4]
    assert found.loc["t, acc (imported)", "base_value"] == 0
    assert "t_acc_candidate" in json.loads((stage.outputs / "figures.json").read_text())
