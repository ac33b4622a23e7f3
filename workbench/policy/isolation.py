"""The standing gate over a stage that tried to break out of its sandbox (A7).

The notebook says what came of each attempt; the engine, outside, counts who reached the services
that it had opened, whether the folder that it laid out was touched, and which processes outlived
the kernel. The rules, in order:

1. An attempt that reached its target, by the notebook's word or by the engine's count: `failed`,
   and the attempt is named. Where the two differ, the engine is right.
2. No rows, an attempt left out, twice or unknown, or one that the engine did not watch over:
   `not_evaluated`. So is an attempt that was not made, but for the one that level none can't undo.
3. `passed`. It blocks, except at level none, where nothing is promised.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from .figures import Figure, Rows
from .gates import GateResult, GateVerdict

GATE, TABLE = "isolation", "isolation.parquet"
NAMED = 50  # reasons that the table proves nothing; a hostile one may give millions
HARM = "A training run reads what it must not learn from, sends rows away, or changes evidence."
HELD, REACHED, NOT_TRIED, LEFT = "held", "reached", "not tried", "for the engine to see"
TCP, UDP, SOCKET = (f"reach a service of the host by {way}" for way in ("TCP", "UDP", "socket"))
SCRATCH, PROCESS = "open another run's scratch", "leave a process behind"
REMOUNT = "remount an input"  # on the host's own files it could not be undone
WATCHED = (TCP, UDP, SOCKET, SCRATCH, PROCESS)
"""What the engine sees for itself, whatever the notebook says."""
ATTEMPTS = {
    "send out by TCP": "test addresses (RFC 5737, RFC 3849)",
    "send out by UDP": "the same addresses",
    "look up a name": "the system's resolver",
    TCP: "one that the engine opened for this run",
    UDP: "one that the engine opened for this run",
    SOCKET: "an abstract Unix socket of the engine",
    "reach a container daemon": "its sockets, where they usually are",
    "write to an input": "each file of each input",
    "change an input's mode": "each file of each input",
    "move an input": "each file of each input",
    REMOUNT: "each input, in a user namespace of its own",
    "write to an input at its origin": "each input, where the host keeps it",
    "change the base": "its weights, by their SHA-256",
    "open the locked set": "as an input of this stage",
    "read the signing key": "where the engine keeps it",
    "read the store": "its sealed records",
    SCRATCH: "a folder that the engine laid out",
    "attach to the engine": "its process, by number and start, as a debugger would",
    PROCESS: "detached, in a session of its own",
}
"""Every attempt that is asked for, and at what."""


def judge(rows: Rows | None, seen: Mapping[str, int], level: str, stage: str) -> GateResult:
    """The verdict over the rows (attempt, outcome) and the engine's counts by attempt."""
    outcomes = {str(row.get("attempt")): str(row.get("outcome")) for row in rows or ()}
    faults = [_fault(name, outcomes.get(name), seen.get(name, 0)) for name in ATTEMPTS]
    reached = [fault for fault in faults if fault]
    odd = [f"there is no {TABLE}"] if rows is None else _odd(rows, seen, level)[:NAMED]
    verdict = GateVerdict.NOT_EVALUATED if odd else GateVerdict.PASSED
    verdict = GateVerdict.FAILED if reached else verdict
    reason = (
        "; ".join(reached + odd) or "no attempt reached its target, by the engine's own count too"
    )
    if level == "none":
        reason = f"level none isolates nothing, and this gate does not block: {reason}"
    figure = Figure(GATE, len(reached), n=len(ATTEMPTS), method="count", unit="attempts")
    figure = None if verdict == GateVerdict.NOT_EVALUATED else figure
    asked, named = f"no attempt reaches its target (level {level})", tuple(reached + odd)
    return GateResult(GATE, stage, verdict, figure, asked, reason, HARM, level != "none", named)


def _fault(name: str, outcome: str | None, count: int) -> str | None:
    """Why an attempt did not hold; where the notebook and the engine differ, both are named."""
    if not count:
        return f"{name}: reached" if outcome == REACHED else None
    told = "" if outcome in (REACHED, LEFT) else f", the notebook says {outcome or 'nothing'}"
    return f"{name}: the engine counted {count}{told}"


def _odd(rows: Rows, seen: Mapping[str, int], level: str) -> list[str]:
    """What keeps the gate from being computed."""
    said = Counter(str(row.get("attempt")) for row in rows)
    odd = [f"{name}: {said[name]} rows, one is asked for" for name in ATTEMPTS if said[name] != 1]
    odd += [f"{name}: the engine did not watch" for name in WATCHED if name not in seen]
    for row in rows:
        name, outcome = str(row.get("attempt"))[:80], str(row.get("outcome"))[:80]
        allowed = {HELD, REACHED} | ({LEFT} if name == PROCESS else set())
        allowed |= {NOT_TRIED} if (name, level) == (REMOUNT, "none") else set()
        if name not in ATTEMPTS or outcome not in allowed:
            odd.append(f"{name}: {outcome}")
    return odd
