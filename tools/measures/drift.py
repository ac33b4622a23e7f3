"""Does the monitor cry wolf, and how soon does it see what it must?

Lines are drawn, with replacement, from a pool of 4,000 served lines. The pool's lengths, answers,
confidences and meanings are those of BANKING77's published test and training messages (where
WORKBENCH_REAL_DATA has them) as a small classifier, trained on the other half, answers them: TF-IDF
and logistic regression over the eight most frequent queues, sketches by TF-IDF's leading 64
directions under a fixed Gaussian projection to 16 numbers. What the model never saw, the other 69
queues, is the traffic that drifts in. Faults are Bernoulli draws at the shares that are stated.

Each stream has 2,000 requests and, beside them, 2,000 sentinel cases; a change begins at a request
between 500 and 1,000. The reference is a rehearsal of 400 lines from the same pool and 40 cases, 13
of which failed offline. All signals are watched, with the starter pack's thresholds where it has
them. Delays count the requests of the kind that shows the change.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from measures.duplicates import DATA

from workbench.policy.monitoring import profile as profiles
from workbench.policy.monitoring.detect import Watch
from workbench.policy.monitoring.martingales import Rate
from workbench.policy.operations import Monitor
from workbench.policy.statistics import clopper_pearson

STREAMS, REQUESTS, WITHIN, POINTS = 200, 2000, 300, 0.10
CASES, KNOWN, REHEARSED = 40, 13, 400
BORNE = {"silent": 0.50, "regression": 0.40, "rule": 0.05, "errors": 0.02, "slow": 0.05}
SOUND = {"silent": 0.15, "rule": 0.01, "errors": 0.003, "slow": 0.01}
Line = dict[str, Any]


def monitor() -> Monitor:
    """Five distributions and a rate that report, four rates that roll back."""
    why = {"harm": "h", "why": "w"}
    watched = {"length": "length", "shape": "shape", "meaning": "meaning", "mix": "answers",
               "confidence": "confidence"}  # fmt: skip
    rates = {"silent": {"watch": "abstained"}, "regression": {"watch": "sentinel"},
             "rule": {"watch": "guard", "rule": "polite"}, "errors": {"watch": "error"}}  # fmt: skip
    signals = [{"id": name, "watch": watch, "psi": 0.25} | why for name, watch in watched.items()]
    signals += [{"id": name, "at_most": BORNE[name], "then": "roll_back"} | one | why
                for name, one in rates.items()]  # fmt: skip
    slow = {"id": "slow", "watch": "latency", "slower_than_ms": 500, "at_most": BORNE["slow"]}
    return Monitor.parse({"signals": [*signals, slow | why]})


def pools() -> tuple[list[Line], list[Line]]:
    """Lines of known and of unknown queues."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    rows = [row for name in ("train", "test")
            for row in csv.DictReader((DATA / f"{name}.csv").open(encoding="utf-8", newline=""))]  # fmt: skip
    chance = np.random.Generator(np.random.PCG64(0))
    rows = [rows[place] for place in chance.permutation(len(rows))]
    known = {name for name, _ in Counter(row["category"] for row in rows).most_common(8)}
    own = [row for row in rows if row["category"] in known]
    fit, held = own[::2], own[1::2]
    vectors = TfidfVectorizer(sublinear_tf=True).fit([row["text"] for row in fit])
    model = LogisticRegression(C=10, max_iter=500)
    model.fit(vectors.transform([row["text"] for row in fit]), [row["category"] for row in fit])
    space = TruncatedSVD(64, random_state=0).fit(vectors.transform([row["text"] for row in fit]))
    projection = chance.normal(size=(64, 16))

    def lines(some: list[dict[str, str]]) -> list[Line]:
        matrix = vectors.transform([row["text"] for row in some])
        shares, sketches = model.predict_proba(matrix), space.transform(matrix) @ projection
        return [{"shape": {"chars": len(row["text"]), "language": "en", "missing": 0,
                           "ascii": sum(c < "\x80" for c in row["text"]) / len(row["text"])},
                 "sketch": sketch.round(3).tolist(), "confidence": {"label": float(share.max())},
                 "answer": {"label": str(model.classes_[share.argmax()])}}
                for row, share, sketch in zip(some, shares, sketches, strict=True)]  # fmt: skip

    return lines(held), lines([row for row in rows if row["category"] not in known][:2000])


class Streams:
    """Draws streams from the pools."""

    def __init__(self, seed: int, known: list[Line], unknown: list[Line]) -> None:
        self.chance = np.random.Generator(np.random.PCG64(seed))
        self.known, self.unknown = known, unknown
        self._draws = iter(())

    def draw(self) -> float:
        """An even number from 0 to 1; drawn in bulk, as a call for each would take the most time."""
        for one in self._draws:
            return one
        self._draws = iter(self.chance.random(10_000).tolist())
        return next(self._draws)

    def line(self, drift: float = 0.0, **shares: float) -> Line:
        """A request; with the chance `drift` about what nobody validated."""
        pool = self.unknown if drift and self.draw() < drift else self.known
        odd = {name: self.draw() < share for name, share in (SOUND | shares).items()}
        return pool[int(self.draw() * len(pool))] | {
            "kind": "traffic", "sentinel": None, "bundle": "b", "time": "",
            "abstained": odd["silent"], "reason": "timeout" if odd["errors"] else "",
            "latency_ms": 900.0 if odd["slow"] else 40.0,
            "verdicts": {"polite": "fail" if odd["rule"] else "pass"},
        }  # fmt: skip

    def sentinel(self, new: float = 0.0) -> Line:
        """A case at random; a share `new` of all cases are answered otherwise than rehearsed."""
        name = int(self.draw() * CASES)
        changed = self.draw() < new / (1 - KNOWN / CASES)
        return self.known[0] | {
            "kind": "sentinel", "sentinel": f"c{name:02d}", "time": "", "reason": "",
            "answer": {"label": "another" if changed else f"a{name}"}, "verdicts": {},
        }  # fmt: skip

    def profile(self) -> dict[str, Any]:
        rows = [self.line() | {"sentinel": f"row-{i}"} for i in range(REHEARSED)]
        cases = [self.known[i] | {"sentinel": f"c{i:02d}", "bundle": "b",
                                  "answer": {"label": f"a{i}"}} for i in range(CASES)]  # fmt: skip
        return profiles.build([*rows, *cases], {f"c{i:02d}": i >= KNOWN for i in range(CASES)})

    def both(self, changed: Callable[[int], tuple[dict, float]], start: int) -> Iterator[Line]:
        """Requests and cases by turns; `changed` (requests since `start`) -> shares, new failures."""
        for place in range(REQUESTS):
            shares, new = changed(place - start) if place >= start else ({}, 0.0)
            yield self.line(**shares)
            yield self.sentinel(new)


NEW = BORNE["regression"] - KNOWN / CASES + POINTS
REPORTS = {one.id for one in monitor().signals if one.then == "report"}
UNSAFE = {one.id for one in monitor().signals} - REPORTS
ALARMS = monitor().false_alarms
KINDS: dict[str, tuple[set[str], Callable[[int], tuple[dict, float]]]] = {
    "no drift": (set(), lambda n: ({}, 0.0)),
    "gradual drift: to 60 % unknown queues over 500 requests; reported": (
        REPORTS, lambda n: ({"drift": min(0.6, 0.6 * n / 500)}, 0.0)),
    "sudden regression: sentinel failures 10 points above what is borne": (
        {"regression"}, lambda n: ({}, NEW)),
    "gradual regression: the same, over 300 requests": (
        {"regression"}, lambda n: ({}, NEW * min(1.0, n / 300))),
    "refusal regression: replies that break the rule 10 points above what is borne": (
        {"rule"}, lambda n: ({"rule": BORNE["rule"] + POINTS}, 0.0)),
}  # fmt: skip


def streams(
    name: str, pools: tuple[list[Line], list[Line]]
) -> Iterator[tuple[int, dict[str, int]]]:
    """Start of the change, and request at which each signal gave its alarm, of each stream; a
    stream ends with the alarm that it must give."""
    watched, changed = KINDS[name]
    for seed in range(STREAMS):
        drawn = Streams(seed + 1000 * list(KINDS).index(name), *pools)
        watch, found = Watch(monitor(), drawn.profile(), seed), {}
        start = int(drawn.chance.integers(500, 1001)) if watched else REQUESTS
        for place, line in enumerate(drawn.both(changed, start)):
            found |= {one.signal: place // 2 for one in watch.see(line)}
            if any(found.get(signal, -1) >= start for signal in watched):
                break
        yield start, found


def measure(folder: Path) -> list[str]:
    """False alarms and delays of each kind of stream; what can be seen within 300 requests."""
    if not (DATA / "train.csv").is_file():
        return ["The public messages are not here (WORKBENCH_REAL_DATA)."]
    drawn = pools()
    return [
        f"{STREAMS} streams a kind, {REQUESTS:,} requests and as many sentinel cases each; "
        f"borne: {BORNE}; sound: {SOUND}, sentinel failures {KNOWN / CASES:.2f}.",
        "",
        "| stream | false alarms that roll back | false reports | found | within 300 requests | "
        "delay, median | 90 % |",
        "|---|---|---|---|---|---|---|",
        *(_row(name, list(streams(name, drawn))) for name in KINDS),
        "",
        limits(),
        "",
        *powers(),
    ]


def _row(name: str, found: list[tuple[int, dict[str, int]]]) -> str:
    watched = KINDS[name][0]
    cells = [name]
    for of in (UNSAFE, REPORTS):
        wrong = [{s for s, place in seen.items() if s in of and (s not in watched or place < start)}
                 for start, seen in found]  # fmt: skip
        cells.append(_share(sum(map(bool, wrong)), len(found)))
    if not watched:
        return "| " + " | ".join([*cells, "", "", "", ""]) + " |"
    waits = sorted(
        min([place - start + 1 for s, place in seen.items() if s in watched and place >= start],
            default=10**6) for start, seen in found)  # fmt: skip
    cells += [_share(sum(one <= most for one in waits), len(found)) for most in (REQUESTS, WITHIN)]
    return "| " + " | ".join([*cells, _delay(waits, 0.5), _delay(waits, 0.9)]) + " |"


def _delay(waits: list[int], share: float) -> str:
    value = waits[int(np.ceil(share * len(waits))) - 1]
    return f"{value}" if value <= REQUESTS else "later"


def _share(k: int, n: int) -> str:
    low, high = clopper_pearson(k, n)
    return f"{k}/{n} = {k / n:.1%} [{low:.1%}, {high:.1%}]"


def limits() -> str:
    """The worst that still counts as unchanged: every unsafe rate exactly at what is borne."""
    rates = {name: BORNE[name] - (KNOWN / CASES if name == "regression" else 0) for name in UNSAFE}
    wrong = 0
    for seed in range(STREAMS):
        draws = np.random.Generator(np.random.PCG64([seed, 7]))
        seen = {name: draws.random(REQUESTS) < share for name, share in sorted(rates.items())}
        wrong += any(_first(Rate(rates[name]), lines) < 10**6 for name, lines in seen.items())
    return (f"Streams in which every unsafe rate is exactly what is borne, {REQUESTS:,} lines each: "
            f"{_share(wrong, STREAMS)} with a false alarm that rolls back.")  # fmt: skip


def powers() -> list[str]:
    """Share of streams in which 10 points above what is borne are found within 300 requests."""
    sharing = len(UNSAFE)
    lines = ["10 points above what is borne, found within 300 requests after 1,500 quiet ones at a "
             f"third of what is borne ({sharing} signals share 5 %; {STREAMS} streams each):", "",
             "| borne | found | median | 90 % |", "|---|---|---|---|"]  # fmt: skip
    for borne in (0.0, 0.02, 0.05, 0.07, 0.10, 0.15, 0.20, 0.30, 0.40):
        waits = sorted(_wait(borne, seed) for seed in range(STREAMS))
        found = _share(sum(one <= WITHIN for one in waits), STREAMS)
        lines.append(f"| {borne:.2f} | {found} | {_delay(waits, 0.5)} | {_delay(waits, 0.9)} |")
    return lines


def _wait(borne: float, seed: int) -> int:
    draws = np.random.Generator(np.random.PCG64([seed, round(borne * 100)]))
    quiet, then = draws.random(1500) < borne / 3, draws.random(REQUESTS) < borne + POINTS
    return _first(Rate(borne), np.concatenate([quiet, then])) - len(quiet)


def _first(martingale: Rate, lines: np.ndarray) -> int:
    """The line at which there is enough evidence for one of the signals that share it."""
    needed = len(UNSAFE) / ALARMS
    for number, failed in enumerate(lines.tolist(), 1):
        if martingale.see(failed) >= needed:
            return number
    return 10**6
