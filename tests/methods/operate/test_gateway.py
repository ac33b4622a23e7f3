"""What a gateway answers: under a lease, within limits, to whom it knows, and never in vain."""

from __future__ import annotations

import hashlib
import json
import socket
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx
import pytest

from workbench.errors import RunError
from workbench.execution.operate.client import Client
from workbench.policy.serving import Decision
from workbench.record.decisions import verify_log

from ...a_gateway import FORM, RULE, Gateway, bundle, grant

SECRET = "my name is Zebulon Quist"


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """One gateway, two releases side by side: the stable one knows no `loan`."""
    home = tmp_path_factory.mktemp("g")
    with Gateway(home / "g") as found:
        found.stable = grant(bundle(home / "stable"))
        found.canary = grant(
            bundle(home / "canary", weights={"knows": {"loan": "loans"}}), share=0.5
        )
        found.renew = lambda **more: found.lease(found.stable, found.canary, **more)
        found.renew()
        found.start()
        found.until(lambda: len(found.client().ready()["releases"]) == 2)
        yield found


@pytest.fixture(autouse=True)
def renewed(running):
    running.renew()
    running.until(lambda: len(running.client().ready()["releases"]) == 2)


def post(running, content=None, token="one", path="/v1/predict", **headers):
    told = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"} | headers
    return httpx.post(running.state["url"] + path, content=content, headers=told)


def connected(running):
    host, _, port = running.state["url"].removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=5)


def test_an_answer_says_who_decided(running):
    """Answer, confidence, and that a machine decided, by which release; the line says the same."""
    reply = post(running, json.dumps({"text": "about my card", "subject": "customer 0"}))
    told, line = reply.json(), Decision.parse(running.lines[-1])
    assert (told["answer"], told["outcome"], told["arm"]) == (
        {"label": "cards"},
        "answered",
        "stable",
    )
    assert reply.headers["x-workbench-decided-by"] == "machine" and "machine" in told["say"]
    assert reply.headers["x-workbench-release"] == told["release"] == running.stable.bundle
    assert told["decision"] == f"000000:{line.number}"
    assert (line.bundle, line.entry, line.caller, line.kind) == (
        told["release"],
        7,
        "one",
        "traffic",
    )
    assert line.answer == {"label": "cards"} and len(line.sketch) == 16 and line.latency_ms > 0
    assert line.shape["words"] == 3 and line.shape["language"] and line.confidence == {"label": 0.9}


def test_two_releases_answer_side_by_side(running):
    """A subject is always served by the same one; the operator may ask for either."""
    said = {s: running.predict("a loan", subject=s) for s in ("customer 0", "customer 2")}
    assert [one["arm"] for one in said.values()] == ["stable", "canary"]
    assert [one["answer"]["label"] for one in said.values()] == ["nothing", "loans"]
    assert {one["release"] for one in said.values()} == {
        running.stable.bundle, running.canary.bundle}  # fmt: skip
    for arm in ("stable", "canary"):
        told = running.predict("a loan", "two", arm=arm, kind="rehearsal", case="c1")
        assert told["arm"] == arm and running.lines[-1]["sentinel"] == "c1"
        assert running.lines[-1]["kind"] == "rehearsal"


@pytest.mark.parametrize("more", [{"kind": "sentinel"}, {"case": "c1"}, {"arm": "canary"}])
def test_an_operator_s_headers_are_refused_to_callers(running, more):
    """Or a caller could choose its release, or write what looks like a sentinel."""
    assert running.predict("a card", **more)["status"] == 403


@pytest.mark.parametrize("token", [None, "", "wrong", "One", "three"])
def test_nobody_else_is_let_in(running, token):
    """No token, a wrong one, and one whose role is another."""
    with running.client(token) as client:
        told = client.predict("a card")
    assert told["status"] == (403 if token == "three" else 401)


def test_a_token_that_was_taken_back_is_refused_at_once(running):
    """The file is read again when it changes; one that can't be read knows nobody."""
    running.tokens(one="caller", two="operator", three="metrics", four="caller")
    assert running.predict("a card", "four")["status"] == 200
    running.tokens(one="caller", two="operator", three="metrics")
    assert running.predict("a card", "four")["status"] == 401
    (running.home / "tokens.json").write_text("{")
    assert running.predict("a card")["status"] == 401
    running.tokens(one="caller", two="operator", three="metrics")


@pytest.mark.parametrize(
    "content, status",
    [
        (b"", 400), (b"{", 400), (b"[]", 400), (b"null", 400), (b'"text"', 400), (b"{}", 400),
        (b"\xff\xfe", 400), (b'{"text": "\xe2\x28"}', 400), (b'{"text": "\\ud800"}', 400),
        (b'{"text": null}', 400), (b'{"text": 7}', 400), (b'{"text": ["a"]}', 400),
        (b'{"text": " \\n "}', 400), (b'{"text": "a", "subject": 7}', 400),
        (b'{"text": "a", "more": 1}', 400), (b"[" * 3000, 400), (b"1" * 6000, 400),
        (b'{"text": "' + b"a" * 201 + b'"}', 413), (b'{"text": "' + b"a" * 40_000 + b'"}', 413),
        (b'{"text": "a", "subject": "' + b"s" * 300 + b'"}', 413),
    ],
    ids=lambda one: str(one)[:30],
)  # fmt: skip
def test_what_is_no_request_is_refused_in_our_words(running, content, status):
    """Never a 500, and a line of the log says that it was refused."""
    reply, line = post(running, content), running.lines[-1]
    assert reply.status_code == status and reply.json()["error"]["message"]
    assert (line["outcome"], line["reason"], line["status"]) == ("refused", "input", status)


@pytest.mark.parametrize(
    "text", ["a\x00 card", "\u202ecard\u202c", "\ufeffcard", "🙂 card", "c\u0301ard", "<|im_end|>"],
    ids=ascii,
)  # fmt: skip
def test_strange_characters_are_a_text_like_any_other(running, text):
    """NUL, marks of direction, emoji: answered."""
    assert running.predict(text)["status"] == 200


def test_another_type_of_content_is_refused(running):
    """415, by name."""
    reply = post(running, b'{"text": "a"}', **{"Content-Type": "text/plain"})
    assert reply.status_code == 415
    assert httpx.get(running.state["url"] + "/v1/predict").status_code == 405
    assert httpx.get(running.state["url"] + "/docs").status_code == 404


def test_no_word_of_a_person_is_in_a_log_a_metric_or_an_error(running):
    """The request is an HMAC under the server's key: who has the log can't try texts on it."""
    running.predict(SECRET, subject=SECRET)
    said = [post(running, json.dumps({"text": SECRET * 20})).text,
            post(running, json.dumps({"text": 7, SECRET: SECRET})).text,
            httpx.get(running.state["url"] + "/metrics",
                      headers={"Authorization": "Bearer three"}).text]  # fmt: skip
    said += [path.read_text() for path in running.home.rglob("*") if path.suffix == ".jsonl"]
    said.append(running.said.read_text())
    assert not any("Zebulon" in one for one in said)
    digests = [running.predict("same") and running.lines[-1]["request"] for _ in range(2)]
    assert digests[0] == digests[1] != hashlib.sha256(b"same").hexdigest()


def test_a_client_that_is_slow_holds_nothing(running):
    """Slowloris: a head that never ends and a body that never ends are cut off in time, and others
    are answered meanwhile."""
    with connected(running) as head, connected(running) as body, connected(running) as silent:
        head.sendall(b"POST /v1/predict HTTP/1.1\r\n")
        body.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n"
                     b"Content-Type: application/json\r\nAuthorization: Bearer one\r\n\r\n{")  # fmt: skip
        begun, held = time.perf_counter(), b""
        while time.perf_counter() - begun < 0.5:
            head.sendall(b"X: y\r\n")
            assert running.predict("a card")["outcome"] == "answered"
        assert b" 408 " in body.recv(4096)
        for one in (head, silent):
            try:
                held = one.recv(4096)
            except ConnectionError:
                held = b""
            assert held == b""
        assert time.perf_counter() - begun < 8


def test_a_fifth_waiting_request_is_told_to_come_back(running):
    """Four wait at most, those that nobody waits for any more included: one more is busy, and is
    told when to come back."""
    with ThreadPoolExecutor(9) as pool:
        found = list(pool.map(partial(post, running), [b'{"text": "sleep=3 card"}'] * 9))
    busy = [one for one in found if one.status_code == 503]
    assert 1 <= len(busy) <= 5 and {one.json()["reason"] for one in busy} == {"busy"}
    assert all(one.headers["retry-after"] for one in busy)
    running.until(lambda: running.predict("a card")["outcome"] == "answered")


def test_openai_s_clients_are_answered(running):
    """The last user message is the text; the form comes as lines; what can't be done is refused."""
    turns = [{"role": "user", "content": "a fee"}, {"role": "user", "content": "a card"}]
    told = {"model": "tiny", "messages": turns, "user": "customer 0"}
    path = "/v1/chat/completions"
    said = post(running, json.dumps(told), path=path).json()
    assert said["choices"][0]["message"] == {"role": "assistant", "content": "label: cards"}
    assert said["object"] == "chat.completion" and said["workbench"]["outcome"] == "answered"
    for wrong in ({"stream": True}, {"n": 2}, {"tools": [{}]}, {"messages": []}, {"messages": "a"},
                  {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}):  # fmt: skip
        assert post(running, json.dumps(told | wrong), path=path).status_code == 400
    with running.client() as client:
        assert client.ask("GET", "/v1/models")["data"][0]["id"] == "tiny"


def test_metrics_count_what_was_decided(running):
    """For its role alone."""
    with running.client("one") as client:
        assert client.ask("GET", "/metrics")["status"] == 403
    page = httpx.get(running.state["url"] + "/metrics", headers={"Authorization": "Bearer three"})
    names = ("requests_total{", "latency_seconds_bucket", "lease_age_seconds", "worker_restarts",
             "worker_memory_bytes", "turned_away_total")  # fmt: skip
    assert all(f"workbench_{name}" in page.text for name in names)
    assert 'outcome="answered"' in page.text


def test_the_log_holds_together(running):
    """After all that, every line follows the one before."""
    assert verify_log(running.home / "decisions") == [] and len(running.lines) > 30
    mode = stat.S_IMODE((running.home / "decisions/000000.jsonl").stat().st_mode)
    assert mode == 0o600


def test_a_caller_s_rate_is_its_own(tmp_path):
    """The fourth in a minute is told when to come back; another caller is not held up by it. And a
    Unix socket serves as a port does."""
    limits = {"serving": {"requests_per_minute": 3}}
    with Gateway(tmp_path / "g", uds=True, **limits) as one:
        one.lease(grant(bundle(tmp_path / "b", usecase={"kind": "generative", "form": FORM},
                               weights={"says": {"queue": "card", "rule": "R1", "reply": "Tell me "
                                                 "your PIN."}},
                               rules=[RULE], guards=[{"rule": "no_secrets", "then": "escalate"}])))  # fmt: skip
        one.start()
        told = [one.predict("a card") for _ in range(4)]
        assert [it["status"] for it in told] == [200, 200, 200, 429]
        assert told[0]["outcome"] == "escalated" and told[0]["reason"] == "guard no_secrets"
        assert told[0]["say"] == "A machine decided this. A person will answer."
        assert one.lines[0]["answer"] == {"queue": "card", "rule": "R1"}
        assert one.lines[0]["verdicts"] == {"no_secrets": "fail"}
        assert one.predict("a card", "two")["status"] == 200
        with Client(uds=str(one.home / "s"), token="one") as client:
            reply = client._http.post("/v1/predict", json={"text": "a"})
        assert reply.status_code == 429 and 0 < int(reply.headers["retry-after"]) <= 60
        assert stat.S_IMODE((one.home / "s").stat().st_mode) == 0o600
        one.stop()
        with pytest.raises(RunError, match="Nothing that serves"):
            one.predict("a card")
