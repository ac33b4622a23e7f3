from __future__ import annotations


def test_smoke(done):
    print(done.cli("ls").out)
    told = done.cli("run")
    print(told.out, told.err)
    assert told.code == 0
    assert done.plaintext() == []
    for e in done.ledger(): print(e.kind, e.body)
