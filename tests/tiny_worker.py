"""A worker in a second: the protocol of `workbench.methods.operate.worker`, without a model.

    python tests/tiny_worker.py SOCKET [--threads N] [--batch N]

It answers for an adapter/weights.json {"knows": {last word: label}, "p": 0.9, "says": {field:
value}}: `says` for a form, else the label of the text's last word. A text may hold a word that
makes something fail: `sleep=S`, `hang` (nothing is read any more), `die`, `break` (an error),
`garble` (no JSON), `alien` (a label that nobody knows, in no form), `unsure` (p = 0.1).
"""

from __future__ import annotations

import hashlib
import json
import os
import socketserver
import sys
import threading
import time
from pathlib import Path
from typing import Any

STOPPED, PARENT = threading.Event(), os.getppid()
HELD: dict[str, dict[str, Any]] = {}
FIELD = "label"


def load(asked: dict[str, Any]) -> dict[str, Any]:
    folder = Path(asked["folder"])
    weights = json.loads((folder / "adapter" / "weights.json").read_bytes())
    usecase = json.loads((folder / "usecase.json").read_bytes())
    HELD[asked["bundle"]] = weights
    return {"ok": True, "kind": usecase["kind"], "fields": list(weights.get("says", [FIELD]))}


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    weights, text = HELD[asked["bundle"]], asked["text"]
    words = text.split()
    for word in words:
        if word.startswith("sleep="):
            time.sleep(float(word[6:]))
    if "hang" in words:
        STOPPED.set()
    if "die" in words:
        os._exit(1)
    if "break" in words:
        return {"error": "it broke, as it was asked to"}
    p = 0.1 if "unsure" in words else weights.get("p", 0.9)
    said = weights.get("says") or {
        FIELD: weights["knows"].get(words[-1] if words else "", "nothing")
    }
    if "alien" in words:
        said = {"other": "?"}
    held = hashlib.sha256(text.encode()).digest()
    return {
        "answer": said,
        "confidence": {field: p for field in said},
        "raw": {field: p for field in said},
        "sketch": [round(byte / 255 - 0.5, 3) for byte in held[:16]],
        "tokens": len(words),
        "seconds": 0.0,
    }


def reply(asked: dict[str, Any]) -> dict[str, Any]:
    try:
        if asked["op"] == "load":
            return load(asked)
        if asked["op"] == "unload":
            HELD.pop(asked["bundle"], None)
            return {"ok": True}
        if asked["op"] == "ping":
            return {"ok": True, "bundles": list(HELD), "rss": 1}
        return answer(asked)
    except (OSError, KeyError, ValueError) as error:
        return {"error": repr(error)}


class Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        lock = threading.Lock()
        for line in self.rfile:
            while STOPPED.is_set() and os.getppid() == PARENT:
                time.sleep(0.1)
            threading.Thread(target=self._one, args=(json.loads(line), lock), daemon=True).start()
        os._exit(0)  # whoever started it is gone

    def _one(self, asked: dict[str, Any], lock: threading.Lock) -> None:
        found = {"id": asked["id"]} | reply(asked)
        data = json.dumps(found) if "garble" not in asked.get("text", "").split() else "not JSON"
        if not STOPPED.is_set():
            with lock:
                self.wfile.write(data.encode() + b"\n")


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


if __name__ == "__main__":
    Server(sys.argv[1], Handler).serve_forever()
