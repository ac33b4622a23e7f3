"""Who is let in, and how often."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest

from workbench.methods.operate import tokens
from workbench.methods.operate.tokens import Caller, Rates, Tokens


@pytest.fixture
def known(tmp_path):
    path = tmp_path / "tokens.json"
    names = {"a": "caller", "b": "operator", "c": "metrics"}
    path.write_text(json.dumps({hashlib.sha256(one.encode()).hexdigest(): {"name": one, "role": role}
                                for one, role in names.items()}))  # fmt: skip
    return path


def test_every_token_is_compared_in_constant_time(known, monkeypatch):
    """The first that fits ends nothing, so the time tells nobody which it was, or how near."""
    seen, compare = [], hmac.compare_digest
    monkeypatch.setattr(
        tokens.hmac, "compare_digest", lambda *two: seen.append(two) or compare(*two)
    )
    assert Tokens(known).who("Bearer a") == Caller("a", "caller")
    assert Tokens(known).who("Bearer x") is None
    assert len(seen) == 6


@pytest.mark.parametrize(
    "header", [None, "", "a", "Bearer", "Basic a", "Bearer a b", "bearer\x00a"]
)
def test_what_is_no_bearer_token_is_nobody_s(known, header):
    """No other scheme, nothing beside the token."""
    assert Tokens(known).who(header) is None


@pytest.mark.parametrize("held", [None, "", "[]", '{"x": 1}', '{"x": {"name": "n"}}'])
def test_a_file_that_can_t_be_read_knows_nobody(known, held):
    """Also those that it knew before."""
    found = Tokens(known)
    assert found.who("Bearer a")
    known.unlink() if held is None else known.write_text(held)
    assert found.who("Bearer a") is None


def test_a_minute_holds_so_many_requests(monkeypatch):
    """Of each caller; the wait ends when the first of them is a minute old."""
    now = [100.0]
    monkeypatch.setattr(tokens.time, "monotonic", lambda: now[0])
    rates = Rates(2)
    assert [rates.wait("a"), rates.wait("a"), rates.wait("b")] == [0, 0, 0]
    now[0] += 20
    assert rates.wait("a") == 40
    now[0] += 40
    assert rates.wait("a") == 0
