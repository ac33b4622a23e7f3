"""What a gateway does when something breaks: the declared fallback, never a wrong answer, and back."""

from __future__ import annotations

import json
import threading
import time

import psutil
import pytest

from workbench.policy.serving import Lease, arm
from workbench.record.decisions import TORN, verify_log

from ...a_gateway import Gateway, bundle, grant

HUMAN = {"label": "human"}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    home = tmp_path_factory.mktemp("g")
    with Gateway(home / "g", serving={"timeout_s": 2.0}) as found:
        found.bundle = grant(bundle(home / "b"))
        found.lease(found.bundle)
        found.start()
        yield found


@pytest.fixture(autouse=True)
def renewed(request):
    if "running" in request.fixturenames:
        found = request.getfixturevalue("running")
        found.lease(found.bundle)
        found.until(lambda: well(found))


def well(running):
    return running.predict("a card")["answer"] == {"label": "cards"}


def fell_back(told, reason):
    """The declared fallback, marked as such."""
    assert (told["answer"], told["outcome"], told["reason"]) == (HUMAN, "fallback", reason), told
    assert told["say"] == "A person will answer." and told["status"] == 200
    return True


def test_a_worker_that_is_killed_costs_fallbacks_and_no_wrong_answer(running):
    """Requests go on all the while; each is answered right or by the fallback, and within seconds
    by the model again."""
    found, over = [], threading.Event()

    def ask():
        while not over.is_set():
            found.append(running.predict("sleep=0.02 card"))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for one in threads:
        one.start()
    time.sleep(0.2)
    running.worker.kill()
    running.until(lambda: found[-1]["outcome"] == "fallback")
    recovery = running.until(lambda: well(running))
    over.set()
    for one in threads:
        one.join()
    assert recovery < 5
    assert {(one["outcome"], one["answer"]["label"]) for one in found} == {
        ("answered", "cards"), ("fallback", "human")}  # fmt: skip
    assert {one["reason"] for one in found} == {"", "worker"}


def test_a_worker_that_hangs_is_ended(running):
    """The caller has the fallback in time; the worker is started anew and answers."""
    before, begun = running.worker.pid, time.perf_counter()
    assert fell_back(running.predict("hang"), "timeout") and time.perf_counter() - begun < 3
    running.until(lambda: well(running))
    assert running.worker.pid != before and not psutil.pid_exists(before)


@pytest.mark.parametrize("text", ["break card", "alien card", "garble card"])
def test_what_a_worker_says_wrong_is_no_answer(running, text):
    """An error, another form, no protocol: the fallback, and then the model again."""
    fell_back(running.predict(text), "worker")
    running.until(lambda: well(running))


def test_what_is_taken_back_while_it_is_computed_is_not_answered(running):
    """The lease is looked at again when the reply is there; the reply is dropped, unlogged."""
    told = []
    asking = threading.Thread(target=lambda: told.append(running.predict("sleep=1.2 card")))
    asking.start()
    time.sleep(0.2)
    running.lease(None)
    asking.join()
    fell_back(told[0], "no lease")
    assert running.lines[-1]["answer"] == {} and running.lines[-1]["bundle"]
    fell_back(running.predict("a card"), "no lease")
    assert not running.client().ready()["ready"]
    running.lease(running.bundle, ledger=1)  # of a time when it was granted
    running.until(lambda: "the lease is of an older ledger" in running.client().ready()["why"])
    fell_back(running.predict("a card"), "no lease")


def test_when_nobody_renews_the_lease_the_answers_end(running):
    """By themselves, and they are back with the next lease."""
    running.lease(running.bundle, lasting=0.5)
    running.until(lambda: running.predict("a card")["reason"] == "no lease", 5)
    assert "ended" in running.client().ready()["why"][0]
    running.lease(running.bundle)
    assert running.until(lambda: well(running)) < 2


def test_a_log_that_is_full_ends_the_answers_until_it_takes_lines_again(running):
    """Neither answer nor fallback leaves without its line; nothing of the chain is lost."""
    size = max(path.stat().st_size for path in (running.home / "decisions").glob("*.jsonl"))
    process = psutil.Process(running.process.pid)
    before = process.rlimit(psutil.RLIMIT_FSIZE)
    process.rlimit(psutil.RLIMIT_FSIZE, (size + 100, before[1]))
    told = [running.predict("a card") for _ in range(3)]
    assert [(one["status"], one["answer"], one["reason"]) for one in told] == [
        (503, None, "log")
    ] * 3
    process.rlimit(psutil.RLIMIT_FSIZE, before)
    assert well(running) and verify_log(running.home / "decisions") == []


def test_a_release_that_is_not_whole_is_not_loaded(running, tmp_path):
    """A byte was changed on the disk: the stable release's share is answered by the fallback, a
    canary's by the stable release, and readiness says why."""
    other = grant(bundle(tmp_path / "b", weights={"knows": {}}), share=1.0)
    path = tmp_path / "b/adapter/weights.json"
    path.write_bytes(path.read_bytes().replace(b"0", b"1") + b" ")
    running.lease(running.bundle, other)
    why = f"{other.bundle[:12]}: The bundle is not as it was frozen."
    running.until(lambda: any(one.startswith(why) for one in running.client().ready()["why"]))
    told = running.predict("a card")
    assert (told["arm"], told["answer"]) == ("stable", {"label": "cards"})
    fell_back(running.predict("a card", "two", arm="canary"), "worker")
    running.lease(other)
    running.until(lambda: running.predict("a card")["reason"] == "worker")
    assert not running.client().ready()["ready"]


def test_a_gateway_that_is_killed_leaves_no_worker_and_a_log_that_goes_on(tmp_path):
    """The next one says that a line was torn, begins a file, goes on from the line before, and
    serves each subject as before. Without a declared fallback it refuses."""
    none = {"fallback": {"say": "Call us."}}
    with Gateway(tmp_path / "g", **none) as one:
        stable = grant(bundle(tmp_path / "a", **none))
        canary = grant(bundle(tmp_path / "b", weights={"knows": {}}, **none), share=0.5)
        one.lease(stable, canary)
        one.start()
        one.until(lambda: len(one.client().ready()["releases"]) == 2)
        subjects = [f"s{n}" for n in range(8)]
        before = [one.predict("a card", subject=who)["arm"] for who in subjects]
        worker = one.worker
        one.stop("kill")
        psutil.wait_procs([worker], 5)
        assert not worker.is_running()
        log = one.home / "decisions/000000.jsonl"
        log.write_bytes(log.read_bytes() + b'{"answer"')
        one.lease(stable, canary)
        one.start()
        one.until(lambda: len(one.client().ready()["releases"]) == 2)
        assert "000000.jsonl was torn; a new file is begun" in one.said.read_text()
        assert [one.predict("a card", subject=who)["arm"] for who in subjects] == before
        lease = Lease.parse(_statement(one))
        assert before == [arm(who, lease) for who in subjects] and len(set(before)) == 2
        assert [problem.what for problem in verify_log(one.home / "decisions")] == [TORN]
        one.lease(stable, canary)
        told = one.predict("die")
        assert (told["status"], told["answer"], told["outcome"]) == (503, None, "refused")
        assert told["say"] == "Call us." and told["reason"] == "worker"
        one.until(lambda: one.predict("a card")["outcome"] == "answered")
        worker = one.worker
        one.stop()
        assert one.process.returncode == 0 and not worker.is_running()


def _statement(running):
    return json.loads((running.home / "lease.json").read_bytes())["statement"]
