"""Promotion re-runs, never copies; until everybody did what is theirs it is a to-do list (A6)."""

from __future__ import annotations

import shutil

import pytest

from workbench.errors import InputError, IntegrityError
from workbench.execution import promote
from workbench.execution.pipeline import Pipeline
from workbench.execution.project import Project
from workbench.record.pack import import_pack, pack
from workbench.record.statement import build
from workbench.record.verify import verify_store


def owed(told) -> dict[str, list[str]]:
    """Person -> what they owe, from the printed list."""
    found: dict[str, list[str]] = {}
    for line in told.out.splitlines():
        if line.endswith(":") and not line.startswith(" "):
            found[line[:-1]] = []
        elif line.startswith("  · "):
            list(found.values())[-1].append(line[4:])
    return found


def test_a_fresh_use_case_is_a_list_by_person_and_makes_nothing(done):
    """Exit 4; each with the exact command; no governed store comes of it."""
    told = done.cli("promote", "--dry-run")
    assert told.code == 4, told.err
    found = owed(told)
    assert set(found) == {"data steward", "engineer", "keyholder", "model validator",
                          "use-case owner", "whoever commits"}  # fmt: skip
    assert f"workbench approve templates --by 'NAME' --sign-with KEY -u {done.usecase}" in told.out
    assert not (done.runs / "governed").exists()
    told = done.cli("promote", "--json")
    assert told.code == 4 and told.json["record"].startswith("50_candidate/")
    assert {one["who"] for one in told.json["missing"]} == set(found)
    assert not (done.runs / "governed").exists()


def test_a_research_record_shows_what_the_governed_track_would_ask(done, tmp_path):
    """At its end, with whom to ask; quietly nothing without a use case, or with another one."""
    ref = done.record("30_adapt").id
    told = done.cli("show", ref)
    assert told.code == 0 and "The governed track would still ask:" in told.out
    assert "there is no change envelope" in told.out
    data = done.cli("show", done.record("20_dataset").id)
    assert "nobody has approved the templates" in data.out and "envelope" not in data.out
    assert not (done.runs / "governed").exists()
    done.configure(id="other")
    assert "would still ask" not in done.cli("show", ref).out
    shutil.rmtree(done.usecase)
    told = done.cli("show", ref)
    assert told.code == 0 and "would still ask" not in told.out


@pytest.fixture
def governed(governed_done):
    """Research led to a candidate of what is now in order for the governed track."""
    return governed_done


def test_what_research_found_runs_again_and_gives_the_same_bytes(governed):
    """Nothing is owed; every stage runs on the governed track, the adapter is equal bit for bit.

    It is no candidate there: the tiny adapting stage shows neither its change nor its isolation.
    """
    assert governed.cli("promote", "--dry-run").out == "Nobody owes anything.\n"
    told = governed.cli("promote")
    assert told.code == 3
    assert "change_envelope: no verdict; isolation: no verdict" in told.err
    assert "✓ The governed adapter is the research one, bit for bit." in told.out
    store, research = governed.store("governed"), governed.store()
    assert len(store.records()) == 6 and verify_store(store).ok
    assert not {r.digest for r in store.records()} & {r.digest for r in research.records()}
    assert all(promote.track_of(record) == "governed" for record in store.records())
    made = governed.cli("promote", "--json").json
    assert made["differs"] == [] and len(made["run"]) == 6


def test_another_adapter_is_named_with_the_files_that_differ(governed):
    """Where training gives other bytes each time, promotion says so."""
    cell = "(out / 'adapter' / 'noise.txt').write_text(str(time.time()))"
    governed.stage("30_adapt", cell)
    governed.commit()
    governed.cli("approve", "templates", "--by", "Vera Validator",
                 "--sign-with", governed.keys / "Vera")  # fmt: skip
    assert governed.cli("run", "--until", "30_adapt").code == 0
    told = governed.cli("promote", governed.record("30_adapt").id)
    assert told.code == 0, told.err
    assert "✗ The governed adapter is not the research one." in told.out
    assert "Outputs that differ: adapter/noise.txt." in told.out


def test_a_gate_that_does_not_pass_there_ends_as_any_run(governed):
    """Exit 3, with the gate; a refusal on research is one on the governed track."""
    governed.criteria(at_least=1.1)
    governed.commit()
    assert governed.cli("run").code == 3
    told = governed.cli("promote", governed.record("30_adapt").id)
    assert told.code == 0, told.err  # as far as the adapter no gate stops it
    told = governed.cli("promote", governed.record("50_candidate").id)
    assert told.code == 3 and "accuracy" in told.err and "bit for bit" in told.out


def test_a_record_that_is_not_what_the_use_case_says_is_not_promoted(governed):
    """A changed parameter, template or file is named by stage: it would be another model."""
    governed.configure(**Project.load(governed.usecase).usecase.model_dump(
        mode="json", by_alias=True, exclude_unset=True) | {"parameters": {"30_adapt": {"epochs": 4}}})  # fmt: skip
    told = governed.cli("promote", "--dry-run")
    said = owed(told)["engineer"]
    assert said == [
        "10_intake changed: input usecase",
        "30_adapt changed: parameter epochs (3 → 4)",
    ]
    governed.stage("10_intake", "print('more')")
    assert "10_intake changed: the notebook" in "".join(
        owed(governed.cli("promote", "--dry-run"))["engineer"]
    )
    path = governed.usecase / "data" / "messages.csv"
    path.write_text(path.read_text() + "one more about a card,cards\n")
    said = owed(governed.cli("promote", "--dry-run"))["engineer"]
    assert "05_inspection changed: input data" in said and told.code == 4


def test_a_value_from_the_command_line_is_no_part_of_the_use_case(governed):
    """Research may try; what is promoted is what the use case leads to, and `why` says what differs."""
    now = governed.record("50_candidate")
    assert governed.cli("run", "-p", "30_adapt.epochs=2").code == 0
    tried = governed.record("50_candidate")
    [said] = owed(governed.cli("promote", "--dry-run"))["engineer"]
    assert said.startswith(f"the use case leads to {now.ref}, changed: input adapter")
    told = governed.cli("promote", tried.ref)
    assert f"workbench why {tried.ref} {now.ref}" in told.out and told.code == 4
    assert governed.cli("promote", now.ref, "--dry-run").code == 0


def test_only_a_research_record_of_this_use_case_is_promoted(done):
    """A record that failed, or of no run here, is refused; without any there is nothing."""
    project = Project.load(done.usecase)
    with pytest.raises(InputError, match="no such record"):
        promote.plan(project, "30_adapt/nothing")
    done.stage("30_adapt", "raise OSError('broken')")
    done.cli("run")
    with pytest.raises(InputError, match="no such research record to promote"):
        promote.plan(project, done.record("30_adapt").digest)
    shutil.rmtree(done.runs)
    with pytest.raises(InputError, match="no research store"):
        promote.plan(project)


# ---- the tracks stay apart -----------------------------------------------------------------------


def test_a_research_pack_can_t_enter_a_governed_store(governed, tmp_path):
    """Both tracks are named, and nothing is taken in; the other way round is free."""
    pack(governed.store(), [governed.record("30_adapt").digest], tmp_path / "free.tar")
    store = governed.store("governed")
    with pytest.raises(InputError, match="another track can't enter a governed store") as refused:
        import_pack(store, tmp_path / "free.tar")
    assert "research" in str(refused.value) and "expected: governed" in str(refused.value)
    assert not store.records() and not store.ledger.entries("import")
    assert governed.cli("promote", governed.record("20_dataset").id).code == 0
    pack(store, [governed.record("20_dataset", "governed").digest], tmp_path / "strict.tar")
    assert import_pack(governed.store(), tmp_path / "strict.tar")


def test_a_certificate_is_no_input_of_a_stage(lab):
    """What no stage made has no key: a stage that takes the name of a replay gets nothing of it."""
    lab.stage("replay", cells=["print('mine')"])
    project = Project.load(lab.usecase)
    store = project.store("research")
    begun = store.begin("replay", "somebody")
    (begun.record / "certificate.json").write_text("{}")
    sealed = store.publish(begun, build(
        stage="replay", parameters={}, usecase="tiny", track="research", outcome="succeeded",
        started="2026-01-01T00:00:00Z", finished="2026-01-01T00:00:01Z",
    ))  # fmt: skip
    pipeline = Pipeline(project, store)
    [stage] = [one for one in pipeline.stages if one.name == sealed.stage]
    assert pipeline.earlier(stage) == [] and store.records("replay") == [sealed]


@pytest.fixture
def smuggled(governed):
    """(lab, pipeline, record): a research record lies in the governed store's folder."""
    record = governed.record("30_adapt")
    place = governed.runs / "governed" / "records" / record.ref
    place.parent.mkdir(parents=True)
    shutil.copytree(record.path, place)
    project = Project.load(governed.usecase)
    return governed, Pipeline(project, project.store("governed")), record


def test_a_research_record_beside_governed_ones_is_no_input(smuggled):
    """The ledger does not list it: it is made again."""
    lab, pipeline, record = smuggled
    done = {one.stage: one for one in pipeline.run(until="40_functional")}
    assert not done["30_adapt"].reused and done["30_adapt"].record.digest != record.digest
    inputs = lab.record("40_functional", "governed").statement.inputs
    assert record.digest not in {item.annotations.get("record") for item in inputs}


def test_a_research_record_that_the_ledger_was_made_to_list_is_no_input(smuggled):
    """Its own statement says which track it is of: nothing runs, and the record is named."""
    _, pipeline, record = smuggled
    body = {"run": "r", "stage": record.stage, "id": record.id, "digest": record.digest}
    pipeline.store.ledger.append("record", body | {"outcome": "succeeded"})
    with pytest.raises(IntegrityError, match="of another track stands in this store") as refused:
        pipeline.run()
    assert record.id in str(refused.value) and "research" in str(refused.value)
