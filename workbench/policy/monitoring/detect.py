"""One release's stream of served lines -> alarms.

1. A stream is what one release answered under one ledger entry, the canary's apart from the stable
   release's. It is watched from its first line; the order is the log's.
2. While nothing has changed, the chance that any signal of a stream that rolls back is ever an
   alarm is at most `false_alarms`: they share it equally (Bonferroni), and each keeps its share
   whenever it is looked at (Ville). Those that only report share as much again, among them.
3. For a rate, unchanged means: at most the share that is borne. For a distribution: exchangeable
   with the rehearsal. Traffic that comes in seasons is not; so to be an alarm a distribution must
   also be further from the reference than is borne, by the PSI of its last window.
4. Sentinel cases are drawn at random, so that a line's chance to fail is the share of cases that
   fail. What failed offline is known beforehand: evidence is new failures alone, against the share
   that is borne less the known ones.
5. An alarm is given once in a stream. Nothing takes it back but a new stream.
6. The detector sees the log of what was served, and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...errors import InputError
from ..figures import Figure
from ..gates import GateResult, GateVerdict
from ..operations import Monitor, Signal
from . import profile as profiles
from .watched import Alarm, Distribution, Line, Share, Watched

STAGE, GATE, EVERY = "80_monitor", "unsafe_drift", 50


class Watch:
    """All signals of a stream, in the monitor's order.

    `seed` breaks ties of conformal ranks; the same lines give the same alarms.
    """

    def __init__(self, monitor: Monitor, profile: Mapping[str, Any], seed: int = 0) -> None:
        """InputError for a profile that lacks what a signal that rolls back is held to."""
        asked = profiles.sentinels(profile, monitor.sentinels)
        self.signals: list[Watched] = []
        for place, one in enumerate(monitor.signals):
            needed = _needed(monitor, one)
            if one.rate:
                self.signals.append(Share(one, profile, needed, asked))
            else:
                self.signals.append(Distribution(one, profile, needed, seed + place))
            if self.signals[-1].blind and one.then == "roll_back":
                raise InputError(
                    "The profile lacks what a signal that rolls back is held to.",
                    where=one.id,
                    expected=f"{one.watch} in a rehearsal of this release",
                    next_step="workbench preprod rehearse",
                )

    def see(self, line: Line) -> list[Alarm]:
        """The alarms that this line gives; a line of a rehearsal gives none."""
        found = (one.see(line) for one in self.signals)
        return [alarm for alarm in found if alarm]

    @property
    def alarms(self) -> list[Alarm]:
        """All that were given."""
        return [one.alarm for one in self.signals if one.alarm]

    def report(self) -> list[dict[str, Any]]:
        """A row a signal: `lines`, `value` of the last window (share or PSI), what is `borne`, `ks`,
        `evidence` and what is `needed` (logarithms), `unscored`, `state` (quiet, alarm, blind)."""
        return [one.row() for one in self.signals]


def _needed(monitor: Monitor, signal: Signal) -> float:
    sharing = sum(one.then == signal.then for one in monitor.signals)
    return math.log(sharing / monitor.false_alarms)


def windows(watch: Watch, lines: Iterable[Line], every: int = EVERY) -> list[dict[str, Any]]:
    """Let a watch see all lines; its report after each `every` lines and the last, with `line`."""
    found: list[dict[str, Any]] = []
    number = 0
    for number, line in enumerate(lines, 1):
        watch.see(line)
        if number % every == 0:
            found += [{"line": number} | row for row in watch.report()]
    last = [] if found and number % every == 0 else watch.report()
    return found + [{"line": number} | row for row in last]


def gate(alarms: Sequence[Alarm], lines: int) -> GateResult:
    """Passed when no signal that rolls back is an alarm; without a line nothing was shown."""
    unsafe = [one for one in alarms if one.then == "roll_back"]
    verdict = GateVerdict.FAILED if unsafe else GateVerdict.PASSED
    told = "; ".join(map(str, unsafe)) or f"none in {lines} lines"
    return GateResult(
        GATE, STAGE, verdict if lines else GateVerdict.INSUFFICIENT_EVIDENCE,
        Figure("unsafe alarms", len(unsafe), n=lines, method="count", unit="alarms"),
        "none", told, "; ".join(dict.fromkeys(one.harm for one in unsafe)) or
        "A release that became unsafe serves on.", True, tuple(one.signal for one in unsafe),
    )  # fmt: skip
