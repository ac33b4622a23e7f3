"""What went wrong where a release serves is signed, taught to the next, and bars this one (M2)."""

from __future__ import annotations

import dataclasses
import io
import json

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import yaml

from workbench.errors import GateNotPassed, InputError, IntegrityError
from workbench.execution import bundle, gating, preflight
from workbench.execution.operate import deploying, incidents, machines, places
from workbench.execution.project import Project
from workbench.execution.release import registry
from workbench.record import decisions, person
from workbench.record.digest import canonical
from workbench.record.statement import build
from workbench.record.verify import verify_store

HERE = "production"
TEXT = "please look at no 7 about my card"
WORDS = ["--what", "A card stayed open.", "--severity", "near_miss", "--text", TEXT,
         "--expect", "label=cards"]  # fmt: skip


class Shop:
    """A use case with two releases and a library folder, in which people report."""

    def __init__(self, lab):
        self.lab, self.store = lab, lab.store("governed")
        file = lab.usecase / "usecase.yaml"
        file.write_text(
            yaml.safe_dump(yaml.safe_load(file.read_text()) | {"scenarios": "scenarios"})
        )
        (lab.usecase / "scenarios").mkdir()
        self.file = lab.usecase / "scenarios" / "incidents.yaml"
        self.first, self.second = bundle.candidates(self.store)

    @property
    def project(self):
        return Project.load(self.lab.usecase)

    @property
    def here(self):
        return self.project, self.store

    def by(self, name):
        return {"by": name, "sign_with": self.lab.keys / name.split()[0]}

    def deploy(self, candidate, action="start", environment=HERE, **more):
        return registry.deploy(*self.here, candidate, environment, action=action,
                               **self.by("Otto Operator") | more)  # fmt: skip

    def back(self, environment=HERE):
        return registry.take_back(*self.here, environment, reason="it answers another way",
                                  **self.by("Otto Operator"))  # fmt: skip

    def say(self, verb, *words, name="Olga Owner"):
        key = self.lab.keys / name.split()[0]
        return self.lab.cli("incident", verb, *words, "--by", name, "--sign-with", key)

    def open(self, *words, **more):
        told = self.say("open", *[*WORDS, *(words or ("-e", HERE))], **more)
        assert told.code == 0, told.err
        return incidents.read(self.store, "tiny")[0][-1]

    def serves(self):
        held = registry.state(self.store, "tiny", HERE)
        return held.stable and not list(deploying.faults(*self.here, held.stable, held))

    def asked(self, *rows, stage=incidents.STAGE):
        """A candidate like the second, under a sealed 42_scenarios with these rows."""
        run = self.store.begin(stage, "somebody")
        (run.record / "outputs").mkdir()
        parquet.write_table(
            pa.Table.from_pylist(list(rows)), run.record / "outputs/scenarios.parquet"
        )
        record = self.store.publish(run, build(
            stage=stage, parameters={}, usecase="tiny", track="governed", outcome="succeeded",
            started="2026-01-01T00:00:00Z", finished="2026-01-01T00:00:01Z",
        ))  # fmt: skip
        held = [one for one in self.second.manifest["records"] if one["stage"] != stage]
        held.append({"stage": stage, "digest": record.digest})
        manifest = self.second.manifest | {"records": held}
        return dataclasses.replace(self.second, manifest=manifest)


@pytest.fixture
def shop(paired):
    return Shop(paired)


def row(one, label="cards", **more):
    """What a candidate answered to the text of an incident."""
    return {"case_id": one.scenario, "model": "candidate", "text": TEXT, "label": label} | more


# ---- opened --------------------------------------------------------------------------------------


def test_an_incident_names_what_served_and_becomes_a_scenario(shop):
    """Signed, with the release and its entry; the library is read as any other is."""
    entry = shop.deploy(shop.first).entry
    one = shop.open()
    said = one.opened
    assert (said.bundle, said.deployment) == (shop.first.digest, entry)
    assert (said.by, said.severity, said.decision) == ("Olga Owner", "near_miss", None)
    [library] = gating.libraries(shop.file.parent)
    assert [(s.id, s.text, s.origin) for s in library.scenarios] == [
        (one.scenario, TEXT, "near_miss")
    ]
    again = shop.open("-e", HERE, "--expect", "label=fees")
    assert len(gating.libraries(shop.file.parent)[0].scenarios) == 2 and again.id != one.id
    told = shop.lab.cli("incident", "ls")
    assert told.code == 0 and "2 of 2 incidents are open" in told.out and one.id in told.out
    rows = shop.lab.cli("incident", "ls", "--json").json["incidents"]
    assert [(r["state"], r["taught"]) for r in rows] == [("open", True)] * 2
    assert verify_store(shop.store).ok


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--text", "ask anna.berg@example.org"], "no person"), (["--expect", "label"], "its value"),
        (["-e", "staging"], "Nothing served"), (["--time", "2000-01-01T00:00:00Z"], "Nothing served"),
        (["--decision", "000000:0"], "no such decision"), (["--from-entry", "0"], "took nothing back"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_and_nothing_is_written(shop, words, says):
    """No entry, no library."""
    shop.deploy(shop.first)
    told = shop.say("open", *WORDS, "-e", HERE, *words)
    assert told.code == 1 and says in told.err, told.err
    assert shop.store.ledger.entries("incident") == [] and not shop.file.exists()


def test_without_a_place_or_a_library_it_says_what_is_needed(shop):
    shop.deploy(shop.first)
    assert "Where did it happen" in shop.say("open", *WORDS).err
    shop.lab.configure()
    told = shop.say("open", *WORDS, "-e", HERE)
    assert told.code == 1 and "no folder of scenarios" in told.err


def test_an_entry_that_can_not_be_made_leaves_the_library_as_it_was(shop, monkeypatch):
    """Byte for byte, or gone where there was none."""
    shop.deploy(shop.first)
    real = type(shop.store.ledger).append

    def full(self, kind, *more, **named):
        if kind == "incident":
            raise OSError(28, "No space left on device")
        return real(self, kind, *more, **named)

    for held in (None, "one"):
        if held:
            shop.open()
        before = shop.file.read_bytes() if held else None
        with monkeypatch.context() as patch:
            patch.setattr(type(shop.store.ledger), "append", full)
            assert shop.say("open", *WORDS, "-e", HERE, "--expect", "label=fees").code == 2
        assert (shop.file.read_bytes() if shop.file.exists() else None) == before
    assert len(gating.libraries(shop.file.parent)[0].scenarios) == 1


def test_beside_a_canary_the_decision_must_be_named(shop):
    """By its place in the log, which must verify; its line is named by digest."""
    shop.deploy(shop.first)
    canary = shop.deploy(shop.second, "canary", share=0.2)
    told = shop.say("open", *WORDS, "-e", HERE)
    assert told.code == 1 and "name the decision" in told.err
    folder = places.prepare(places.served(shop.project, HERE)) / places.DECISIONS
    line = {"number": 0, "previous": decisions.FIRST, "bundle": shop.second.digest,
            "entry": canary.entry, "time": canary.time}  # fmt: skip
    (folder / "000000.jsonl").write_bytes(canonical(line) + b"\n")
    one = shop.open("-e", HERE, "--decision", "000000:0")
    assert (one.opened.bundle, one.opened.deployment) == (shop.second.digest, canary.entry)
    assert len(one.opened.decision) == 64
    (folder / "000000.jsonl").write_bytes(canonical(line | {"number": 1}) + b"\n")
    with pytest.raises(IntegrityError, match="does not verify"):
        incidents.served(*shop.here, HERE, canary.time, "000000:0")


def test_what_was_taken_back_is_prefilled_from_its_entry(shop):
    """By a machine or a person: release, place, time, reason; a halted canary as well."""
    shop.deploy(shop.first)
    shop.deploy(shop.second)
    done = shop.back()
    assert done.action == "roll_back" and done.bundle == shop.first.digest
    words = [*WORDS[2:], "--from-entry", done.entry]
    assert shop.say("open", *words).code == 0
    [one], _ = incidents.read(shop.store, "tiny")
    assert one.opened.what == "it answers another way"
    assert (one.opened.bundle, one.opened.environment) == (shop.second.digest, HERE)
    assert (one.opened.taken_back, one.opened.happened) == (done.entry, done.time)


def test_the_monitor_reports_by_its_own_key_and_closes_nothing(shop):
    shop.deploy(shop.first)
    name, key = machines.create(*shop.here, HERE, "monitor", name="monitor-live",
                                **shop.by("Dora Data"))  # fmt: skip
    told = shop.lab.cli("incident", "open", *WORDS, "-e", HERE, "--by", name, "--sign-with", key)
    assert told.code == 0, told.err
    [one], _ = incidents.read(shop.store, "tiny")
    assert one.opened.by == name
    with pytest.raises(InputError, match="a machine closes no incident"):
        incidents.close(*shop.here, one.id, shop.second.digest, name, key)


# ---- what it means -------------------------------------------------------------------------------


def judged(shop, candidate):
    """The verdict of the gate, and why."""
    from workbench.execution.release import standing
    from workbench.policy.release import judge

    results = judge(standing.collect(*shop.here, candidate))
    return next((str(r.verdict), r.reason) for r in results if r.criterion == "incidents")


def test_the_release_goes_on_but_is_not_started_again_without_new_approvals(shop):
    """Whoever reports takes nothing away; a new start is a release event, for which the same
    people sign again, and the registry has it as a release of its own."""
    shop.deploy(shop.first)
    one = shop.open()
    assert shop.serves() and judged(shop, shop.second)[0] == "passed"
    verdict, why = judged(shop, shop.first)
    assert verdict == "insufficient_evidence" and one.id in why
    with pytest.raises(GateNotPassed, match="incidents"):
        shop.deploy(shop.first, environment="staging")
    asked = shop.lab.home / "again.json"
    shop.lab.ok("release", "request", shop.first.digest, "--to", asked)
    before = shop.store.ledger.entries("release")
    for who, role in (("Vera Validator", "model_validator"), ("Rita Risk", "risk_manager")):
        told = shop.lab.sign(who, role, asked=asked)
        assert told.code == 0, told.err
    shop.lab.commit()  # the scenario, as `incident open` asks
    shop.lab.ok("release", "register", shop.first.digest)
    [new] = shop.store.ledger.entries("release")[len(before) :]
    assert new.body["bundle"] == shop.first.digest
    assert min(new.body["approvals"]) > one.entry
    assert judged(shop, shop.first)[0] == "passed"
    assert shop.deploy(shop.first, environment="staging").action == "start"


def test_what_harmed_somebody_stays_out_while_that_is_open(shop):
    """Also as what one rolls back to: nothing serves then."""
    shop.deploy(shop.first)
    one = shop.open("-e", HERE, "--severity", "harm")
    assert judged(shop, shop.first)[0] == "failed" and one.id in judged(shop, shop.first)[1]
    shop.deploy(shop.second)
    assert shop.back().action == "stop" and not shop.serves()


def test_what_was_taken_back_anywhere_waits_for_new_approvals_everywhere(shop):
    """Without that anybody reported it."""
    shop.deploy(shop.first)
    shop.back()
    assert judged(shop, shop.first)[0] == "insufficient_evidence"
    with pytest.raises(GateNotPassed, match="taken back in production"):
        shop.deploy(shop.first, environment="staging")


def test_a_candidate_that_was_frozen_since_waits_until_it_is_shown(shop):
    """Whoever is asked to release it is told of the open incident."""
    shop.deploy(shop.first)
    one = shop.open()
    shop.lab.another()
    third = bundle.candidates(shop.store)[-1]
    assert judged(shop, third)[0] == "insufficient_evidence"
    told = shop.lab.cli("release", "status", third.digest)
    assert f"workbench incident close {one.id}" in told.out + told.err


@pytest.mark.parametrize("change", ["gone", "easier"])
def test_a_governed_run_is_refused_when_the_scenario_was_taken_out(shop, change):
    """Before a kernel starts; the signed entry says what it was."""
    shop.deploy(shop.first)
    one = shop.open()
    assert incidents.untaught(*shop.here) == []
    if change == "gone":
        shop.file.unlink()
    else:
        shop.file.write_text(shop.file.read_text().replace("- cards", "- cards\n      - fees"))
    missing = preflight.missing(*shop.here, [], {}, "namespace")
    assert [str(m) for m in missing if one.id in m.what]
    assert "NOT IN THE SCENARIOS" in shop.lab.cli("incident", "ls").out


# ---- closed --------------------------------------------------------------------------------------


@pytest.fixture
def closing(shop, monkeypatch):
    """close(rows of the candidate's 42_scenarios, by whom) of an incident that is open."""
    shop.deploy(shop.first)
    shop.one = shop.open()

    def close(*rows, name="Vera Validator", stage=incidents.STAGE):
        found = shop.asked(*rows, stage=stage)
        monkeypatch.setattr(bundle, "find", lambda *given: found)
        told = shop.say("close", shop.one.id, "--candidate", found.digest, name=name)
        return told.code, told.out + told.err

    shop.close = close
    return shop


def test_it_is_closed_by_a_candidate_that_answers_as_it_must(closing):
    """The record that shows it is named; what is closed stays closed."""
    code, said = closing.close(row(closing.one), row(closing.one, "fees", model="base"))
    assert code == 0, said
    [one], ignored = incidents.read(closing.store, "tiny")
    assert (one.state, ignored) == ("closed", [])
    assert closing.store.record(one.closed.record).stage == incidents.STAGE
    assert closing.close(row(closing.one))[0] == 1
    assert verify_store(closing.store).ok


def test_what_does_not_show_it_closes_nothing(closing):
    """Another answer, another text, another case, twice the same, the base's answer, no 42."""
    one = closing.one
    for rows, says in (
        ([row(one, "fees")], "fees"), ([row(one, text="hello")], "another text"),
        ([row(one, case_id="other")], "not asked"), ([row(one, model="base")], "not asked"),
        ([row(one), row(one)], "twice"),
    ):  # fmt: skip
        code, said = closing.close(*rows)
        assert code == 3 and says in said, said
    [held], _ = incidents.read(closing.store, "tiny")
    assert held.state == "open"


def test_who_built_the_candidate_or_holds_no_key_closes_nothing(closing):
    """Dora ran it."""
    code, said = closing.close(row(closing.one), name="Dora Data")
    assert code == 1 and "built what they would judge" in said
    assert incidents.read(closing.store, "tiny")[0][0].state == "open"


def test_a_forged_close_counts_for_nothing(closing):
    """Signed for another meaning, or by another than it names: the incident stays open."""
    said = {"act": "close", "usecase": "tiny", "by": "Vera Validator", "incident": closing.one.id,
            "time": "2026-01-01T00:00:00Z", "candidate": "c" * 64, "record": "d" * 64}  # fmt: skip
    for namespace, who in (("finding@workbench", "Vera"), ("incident@workbench", "Olga")):
        envelope = person.sign(said, namespace, closing.lab.keys / who)
        closing.store.ledger.append("incident", {"envelope": envelope})
    [one], ignored = incidents.read(closing.store, "tiny")
    assert one.state == "open" and len(ignored) == 2


def test_reading_encrypted_answers_to_close_is_a_ledger_entry(closing):
    """Rows of persons are never read outside a stage without it (E7)."""
    data = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist([row(closing.one)]), data)
    store, name = closing.store, "outputs/scenarios.parquet.enc"
    run = store.begin(incidents.STAGE, "somebody")
    (run.record / "outputs").mkdir()
    plain = run.folder / "plain"
    plain.write_bytes(data.getvalue())
    store.cipher.new_key("s1")
    store.cipher.encrypt(plain, run.record / name, "s1")
    record = store.publish(run, build(
        stage=incidents.STAGE, parameters={}, usecase="tiny", track="governed",
        outcome="succeeded", started="2026-01-01T00:00:00Z", finished="2026-01-01T00:00:01Z",
        encrypted={name: {"snapshot": "s1", "plaintext": "0" * 64}},
    ))  # fmt: skip
    before = len(store.ledger.entries("rows-read"))
    assert incidents.shown(store, record, closing.one, "Vera Validator") == ""
    [read] = store.ledger.entries("rows-read")[before:]
    assert read.body["who"] == "Vera Validator" and read.body["record"] == record.digest
    assert json.dumps(read.body).count(TEXT) == 0
