"""What ran where, and the way back from it: only what people signed, in the ledger's order (E6)."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sqlite3
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from workbench.errors import GateNotPassed, InputError, IntegrityError
from workbench.execution import bundle, inputs
from workbench.execution.project import Project
from workbench.execution.release import registry
from workbench.record import clock, index, person
from workbench.record.digest import digest, file_digest
from workbench.record.store import Store
from workbench.record.verify import verify_store

TOOL = Path(__file__).parents[2] / "tools/measures/registry.py"
spec = importlib.util.spec_from_file_location("measure_registry", TOOL)
measure = importlib.util.module_from_spec(spec)
sys.modules["measure_registry"] = measure
spec.loader.exec_module(measure)

HOUR = timedelta(hours=1)
NOON = clock.parse("2026-03-01T12:00:00Z")


@dataclass
class Shop:
    """A store with two releases, A and B, and a clock that the test sets."""

    store: Store
    keys: Path
    filler: object
    a: dict
    b: dict
    hours: float = 0

    def deploy(self, released, action="start", after=1.0, **said):
        """The entry of a deployment so many hours later."""
        self.hours += after
        return self.filler.deploy(released, self.keys, action, **said)

    def at(self, hours=None, **asked):
        self.filler.close()
        time = None if hours is None else clock.text(NOON + hours * HOUR)
        return registry.at(self.store, "production", time, **asked)

    def over(self, start, end, **asked):
        self.filler.close()
        times = (clock.text(NOON + hours * HOUR) for hours in (start, end))
        return registry.over(self.store, "production", *times, **asked)


@pytest.fixture(scope="session")
def filled(tmp_path_factory):
    """Two lineages, each approved by three people and registered; nothing deployed."""
    home = tmp_path_factory.mktemp("shop")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_KEYS", str(home / "keys"))
        store = Store.create(home / "store", "governed")
        keys = measure.people(store, home / "persons")
        filler = measure.Filler(store, now=lambda: clock.text(NOON))
        filler.close()
        made = [filler.lineage() for _ in range(2)]
        released = [filler.release(one, keys) for one in made]
        filler.close()
    return home, released


@pytest.fixture
def shop(filled, tmp_path, monkeypatch):
    home, released = filled
    shutil.copytree(home, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("WORKBENCH_KEYS", str(tmp_path / "keys"))
    store = Store.open(tmp_path / "store")
    held = Shop(store, tmp_path / "persons", None, *released)
    held.filler = measure.Filler(store, now=lambda: clock.text(NOON + held.hours * HOUR))
    return held


def test_the_store_of_the_measure_is_a_store(shop):
    """What is left out to make it fast is the flushing, not a seal: it verifies as a whole."""
    shop.deploy(shop.a)
    shop.filler.close()
    report = verify_store(shop.store)
    assert report.ok, report.problems
    assert report.records == 2 * len(measure.LINEAGE)
    [flag] = report.flags  # the clock of this test
    assert "the clock went back" in flag


def test_the_way_goes_from_the_deployment_to_the_commit(shop):
    """Who deployed, who approved with which meaning, and every record down to the intake."""
    entry = shop.deploy(shop.a)
    found = shop.at()["serving"]
    assert found["deployment"] | shop.a == found["deployment"]
    assert (found["deployment"]["entry"], found["deployment"]["by"]) == (entry, "Odd")
    signed = [(one["name"], one["role"], one["meaning"]) for one in found["approvals"]]
    assert signed == [("Olga", "use_case_owner", "approved"), ("Vera", "model_validator", "approved"),
                      ("Rita", "risk_manager", "approved")]  # fmt: skip
    assert found["bundle"]["sha256"] == shop.a["bundle"] and found["bundle"]["made_from"]
    steps = {one["stage"]: one["step"] for one in found["records"]}
    assert list(steps) == list(measure.LINEAGE) and found["missing"] == []
    assert [steps[s] for s in ("55_release", "50_candidate", "42_scenarios", "30_adapt",
                               "20_dataset", "15_base", "10_intake")] == [
        "release", "candidate", "validation", "training", "dataset", "base", "intake"]  # fmt: skip
    assert all(len(one["commit"]) == 40 and one["environment_sha256"] for one in found["records"])


def test_before_the_first_deployment_it_says_so(shop):
    """Nothing served then, and since when something does; and where nothing ever did."""
    assert shop.at() | {"time": ""} == {
        "environment": "production", "usecase": None, "time": "", "serving": None,
        "canary": None, "history": [], "first": None, "flags": [],
    }  # fmt: skip
    shop.deploy(shop.a)
    early = shop.at(0.5)
    assert early["serving"] is None and early["first"] == clock.text(NOON + HOUR)
    assert registry.at(shop.store, "elsewhere")["first"] is None


def test_what_serves_is_the_last_start_that_was_not_stopped(shop):
    """A start takes the place of what served; a stop leaves nothing; an entry counts from its time."""
    shop.deploy(shop.a)
    shop.deploy(shop.b)
    shop.deploy(shop.b, "stop")
    served = {hours: shop.at(hours)["serving"] for hours in (0.9, 1, 1.9, 2, 2.9, 3, 4)}
    bundles = {hours: way and way["deployment"]["bundle"] for hours, way in served.items()}
    a, b = shop.a["bundle"], shop.b["bundle"]
    assert bundles == {0.9: None, 1: a, 1.9: a, 2: b, 2.9: b, 3: None, 4: None}
    assert [one["action"] for one in shop.at()["history"]] == ["start", "start", "stop"]


def test_a_period_has_no_gap(shop):
    """Intervals follow on each other from its beginning to its end, also where nothing ran."""
    shop.deploy(shop.a)
    shop.deploy(shop.b)
    shop.deploy(shop.b, "stop")
    shop.deploy(shop.a, after=0)  # at the same moment: the later entry counts
    a, b = shop.a["bundle"], shop.b["bundle"]
    for start, end, ran in [
        (0, 5, [None, a, b, a]), (0, 0.5, [None]), (1, 2, [a]), (1.5, 2.5, [a, b]), (3, 9, [a]),
        (2, 3, [b]),
    ]:  # fmt: skip
        found = shop.over(start, end)
        assert [one["deployment"] and one["deployment"]["bundle"] for one in found] == ran
        edges = [clock.text(NOON + start * HOUR), *(one["to"] for one in found)]
        assert [one["from"] for one in found] == edges[:-1]
        assert edges[-1] == clock.text(NOON + end * HOUR)


def test_times_that_cannot_be_asked_are_refused(shop):
    """A time to come, one without a zone, a period that ends before it begins."""
    shop.deploy(shop.a)
    later = clock.text(clock.parse(clock.now()) + HOUR)
    with pytest.raises(InputError, match="still to come"):
        registry.at(shop.filler.close(), "production", later)
    with pytest.raises(InputError, match="without a time zone"):
        registry.at(shop.store, "production", "2026-03-01T12:00:00")
    with pytest.raises(InputError, match="before it begins"):
        shop.over(2, 2)


def test_the_order_is_the_ledger_s_and_a_clock_that_went_back_is_flagged(shop):
    """B was started after A, by a clock that said earlier: it counts from A's time, and is flagged."""
    shop.deploy(shop.a, after=5)
    entry = shop.deploy(shop.b, after=-3)
    assert shop.at(4)["serving"] is None
    found = shop.at(5)
    assert found["serving"]["deployment"]["bundle"] == shop.b["bundle"]
    assert found["serving"]["deployment"]["time"] == clock.text(NOON + 5 * HOUR)
    assert found["flags"] == [f"ledger entry {entry}: the clock went back 10800 s"]
    assert [one["deployment"]["bundle"] for one in shop.over(5, 6)] == [shop.b["bundle"]]


def test_use_cases_that_share_a_store_are_told_apart(shop):
    """Two in one environment: one has to be named; each serves on its own."""
    shop.deploy(shop.a)
    shop.deploy(shop.b, usecase="other")
    with pytest.raises(InputError, match="name one"):
        shop.at()
    for usecase, released in (("tiny", shop.a), ("other", shop.b)):
        assert shop.at(usecase=usecase)["serving"]["deployment"]["bundle"] == released["bundle"]


@pytest.mark.parametrize(
    ("said", "says"),
    [({"by": "Vera"}, "does not count"), ({"record": "0" * 64}, "not a registered release"),
     ({"bundle": "0" * 64}, "not a registered release")],
)  # fmt: skip
def test_an_entry_made_past_the_verb_is_no_deployment(shop, said, says):
    """By a person who does not deploy, or of what nobody registered: named, never shown."""
    entry = shop.deploy(shop.a, **said)
    with pytest.raises(IntegrityError, match=says) as refused:
        shop.at()
    assert refused.value.where == f"ledger entry {entry}"


@pytest.mark.parametrize("how", ["changed", "another's name", "no envelope"])
def test_a_deployment_without_its_signature_is_named(shop, how):
    """Changed after it was signed, signed by another than it names, or not signed."""
    entry = shop.deploy(shop.a)
    body = json.loads(shop.filler.lines.pop())["body"]
    said = body["envelope"]["statement"]
    if how == "changed":
        body["envelope"]["statement"] = said | shop.b
    if how == "another's name":
        body = {"envelope": person.sign(said, registry.NAMESPACE, shop.keys / "Olga")}
    shop.filler.enter("deployment", {"statement": said} if how == "no envelope" else body)
    with pytest.raises(IntegrityError) as refused:
        shop.at()
    assert refused.value.where == f"ledger entry {entry}"


def test_an_approval_that_was_withdrawn_since_is_shown_as_such(shop):
    """By whom and when; the others stand."""
    shop.deploy(shop.a)
    place = shop.at()["serving"]["approvals"][1]["entry"]
    envelope = json.loads(shop.filler.lines[place])["body"]["envelope"]
    said = {"approval": digest(envelope), "reason": "r", "by": "Vera", "time": clock.now()}
    body = {"envelope": person.sign(said, "revoke@workbench", shop.keys / "Vera")}
    shop.filler.enter("revocation", body)
    ended = [one["withdrawn"] for one in shop.at()["serving"]["approvals"]]
    assert ended == [[], [f"Vera, {clock.text(NOON + HOUR)}"], []]


EDITS = {
    "hides the records": "DELETE FROM records",
    "points at another": "UPDATE records SET stage = '10_intake', "
    "id = (SELECT id FROM records WHERE stage = '10_intake')",
    "moves a stage": "UPDATE records SET stage = '99_nowhere'",
    "hides deployments": "DELETE FROM entries",
    "changes entries": "UPDATE entries SET body = '{}', kind = 'deployment'",
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_index_changes_no_answer(shop, edit):
    """Whatever it says, lines are read under the signed root and records by their digest."""
    shop.deploy(shop.a)
    before = shop.at(1)
    with sqlite3.connect(shop.store.path / "index.sqlite") as database:
        database.execute(EDITS[edit])
    assert shop.at(1) == before


def test_a_stale_index_changes_no_answer(shop):
    """The newest deployment counts at once."""
    shop.deploy(shop.a)
    shop.at()
    shop.deploy(shop.b)
    assert shop.at()["serving"]["deployment"]["bundle"] == shop.b["bundle"]


@pytest.mark.parametrize("what", ["statement.json", "outputs/bundle/manifest.json"])
def test_a_record_that_was_changed_is_named(shop, what):
    """Its statement, or the manifest of the bundle that was released: no way leads over it."""
    shop.deploy(shop.a)
    [made] = [one for one in shop.at()["serving"]["records"] if one["stage"] == "50_candidate"]
    path = shop.store.path / "records" / "50_candidate" / made["id"] / what
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"tiny", b"tinx"))
    with pytest.raises(IntegrityError):
        shop.at()


def test_a_record_that_is_elsewhere_is_named_as_missing(shop):
    """The ledger never listed it: the way ends there, and says so."""
    shop.deploy(shop.a)
    stranger = "ab" * 32
    intake = shop.store.records("10_intake")[0]
    made = shop.filler.lineage()
    made["55_release"] = shop.filler.record("55_release", [made["50_candidate"]], {"a": b"1"})
    statement = made["55_release"].path / "statement.json"
    statement.write_bytes(statement.read_bytes().replace(made["50_candidate"].digest.encode(),
                                                         stranger.encode()))  # fmt: skip
    changed = file_digest(statement)
    shop.filler.lines[-1] = shop.filler.lines[-1].replace(made["55_release"].digest.encode(),
                                                          changed.encode())  # fmt: skip
    body = {"usecase": "tiny", "bundle": "cd" * 32, "candidate": stranger, "record": changed,
            "approvals": []}  # fmt: skip
    shop.filler.enter("release", body)
    shop.deploy({"bundle": "cd" * 32, "record": changed})
    found = shop.at()["serving"]
    assert found["missing"] == [stranger] and intake.digest not in str(found)


def test_what_was_read_of_the_candidate_before_is_no_part_of_the_way(shop):
    """An input that is marked as the previous candidate's leads nowhere."""
    shop.deploy(shop.a)
    shop.filler.close()
    assert "30_adapt" in {one["stage"] for one in shop.at()["serving"]["records"]}
    found = shop.store.records("55_release")
    note = {"annotations": {"record": found[0].digest, registry.PREVIOUS: "of the one before"}}
    other = {"annotations": {"record": found[1].digest}}
    made = {"buildDefinition": {"resolvedDependencies": [note, other]}}
    assert registry._parents(made) == {found[1].digest}


def test_the_registry_speaks_of_the_same_files_as_the_rest():
    """It names them itself, as what it would import for them takes a second to load."""
    assert registry.MANIFEST == f"{inputs.OUTPUTS}{bundle.FOLDER}/{bundle.MANIFEST}"
    assert registry.PREVIOUS == inputs.PREVIOUS


# -- deploying a real release ---------------------------------------------------------------------


def deploy(lab, *more, by="Otto Operator", environment="production"):
    return lab.cli("deploy", "-e", environment, "--by", by, "--sign-with",
                   lab.keys / by.split()[0], *more)  # fmt: skip


def test_a_registered_release_is_deployed_asked_for_and_stopped(released, tmp_path):
    """By verbs: start, at with its page, over a period, stop; and the store verifies."""
    began = clock.now()
    told = deploy(released, "--json")
    assert told.code == 0, told.err
    found = released.cli("at", "-e", "production", "--json").json
    store = released.store("governed")
    candidate = bundle.find(store)
    assert found["serving"]["deployment"] == told.json
    assert told.json["bundle"] == candidate.digest == found["serving"]["bundle"]["sha256"]
    stages = {one["stage"] for one in found["serving"]["records"]}
    assert {"10_intake", "20_dataset", "30_adapt", "40_functional", "50_candidate",
            "55_release"} <= stages  # fmt: skip
    assert {one["name"] for one in found["serving"]["approvals"]} == {"Vera Validator", "Rita Risk"}
    page = tmp_path / "way.html"
    told = released.cli("at", "-e", "production", "--lineage", page)
    assert told.code == 0 and "Otto Operator" in told.out and candidate.digest[:12] in told.out
    assert candidate.digest[:12] in page.read_text() and "<script" not in page.read_text()
    assert deploy(released, "--action", "stop").code == 0
    told = released.cli("at", "-e", "production")
    assert told.code == 0 and "nothing served" in told.out
    ran = released.cli(
        "at", "-e", "production", "--from", began, "--to", clock.now(), "--json"
    ).json
    assert [bool(one["deployment"]) for one in ran] == [False, True, False]
    told = released.cli("at", "-e", "production", "--from", began, "--to", clock.now())
    assert candidate.digest[:12] in told.out and "nothing ran" in told.out
    assert released.cli("at", "-e", "production", "--from", began).code == 1
    assert verify_store(store).ok


def test_what_is_not_as_it_should_be_is_not_deployed(released):
    """Another role, another's key, what serves already, what does not serve, no such name."""
    assert deploy(released, by="Vera Validator").code == 1
    assert released.cli("deploy", "-e", "production", "--by", "Otto Operator", "--sign-with",
                        released.keys / "Rita").code == 1  # fmt: skip
    assert deploy(released, "--action", "stop").code == 1
    assert deploy(released, environment="Production!").code == 1
    assert released.store("governed").ledger.entries("deployment") == []
    assert deploy(released).code == 0 and deploy(released).code == 1
    assert len(released.store("governed").ledger.entries("deployment")) == 1


def test_what_nobody_registered_is_not_deployed(releasable):
    """A candidate alone is no release."""
    told = deploy(releasable)
    assert told.code == 3 and "not registered" in told.err


def test_a_release_whose_gates_no_longer_pass_does_not_start_but_stops(released):
    """An approver revoked: nothing starts on it any more, and what serves can be taken away."""
    assert deploy(released).code == 0
    store = released.store("governed")
    entry = store.ledger.entries("release")[0].body["approvals"][0]
    told = released.cli("release", "revoke", entry, "--reason", "a doubt", "--by", "Vera Validator",
                        "--sign-with", released.keys / "Vera")  # fmt: skip
    assert told.code == 0, told.err
    with pytest.raises(GateNotPassed, match="do not pass now"):
        registry.deploy(
            Project.load(released.usecase), store, bundle.find(store), "canary",
            action="start", by="Otto Operator", sign_with=released.keys / "Otto",
        )  # fmt: skip
    shown = registry.at(store, "production")["serving"]["approvals"]
    assert [bool(one["withdrawn"]) for one in shown] == [True, False]
    assert deploy(released, "--action", "stop").code == 0


def test_the_index_is_extended_not_made_anew(shop, monkeypatch):
    """After one more entry no old record is read again."""
    shop.deploy(shop.a)
    shop.at()
    monkeypatch.setattr(index, "rebuild", lambda store: pytest.fail("made anew"))
    shop.deploy(shop.b)
    assert shop.at()["serving"]["deployment"]["bundle"] == shop.b["bundle"]
