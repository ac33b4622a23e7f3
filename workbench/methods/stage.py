"""The kernel's side of a stage: what it was given, and the one way by which results leave.

The engine (or `workbench open STAGE`, for work cell by cell) puts a `stage.json` into the working
folder: inputs by name with path, digest and origin, and the folder for outputs. Nothing here
decides anything: the engine computes the verdicts again from the files that this module writes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
import sys
from collections.abc import Callable, Hashable, Iterable
from fnmatch import fnmatch
from functools import cached_property, wraps
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import InputError
from ..policy import gates
from ..policy.criteria import Policy
from ..policy.figures import Figure
from ..policy.looks import ONLY, Looks
from ..record.digest import canonical, file_digest

STAGE_FILE = "stage.json"
TOUCHED = "touched.jsonl"  # which cell read and wrote what, for the engine


def open_stage(folder: Path | str = ".") -> Stage:
    """The stage that this notebook runs. InputError when the folder was not prepared for one."""
    path = Path(folder) / STAGE_FILE
    if not path.is_file():
        raise InputError(
            "This folder was not prepared for a stage.",
            where=path.resolve(),
            next_step="Run `workbench open STAGE` in the use case, and open the notebook it names.",
        )
    pd.set_option("display.max_colwidth", None, "display.max_rows", 200)  # evidence isn't cut short
    return Stage(Path(folder).resolve(), json.loads(path.read_text(encoding="utf-8")))


class Stage:
    """Inputs by name, outputs by name, figures that are claims until the engine agrees."""

    def __init__(self, folder: Path, facts: dict[str, Any]) -> None:
        self.folder = folder
        self.facts = facts
        self.outputs = folder / facts["outputs"]
        self.outputs.mkdir(parents=True, exist_ok=True)
        self._figures: dict[str, Any] = {}
        self._made: dict[Hashable, Any] = {}

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What `make` gives, the same at every later call: a notebook opens its models once."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    @property
    def name(self) -> str:
        return self.facts["stage"]

    @property
    def masked(self) -> bool:
        """Do this stage's rows speak of persons, so that a notebook shows them masked only?"""
        return bool(self.facts.get("masked"))

    @property
    def key(self) -> bytes:
        """For pseudonyms and digests of rows: a secret of this snapshot, forgotten with it."""
        return bytes.fromhex(self.facts["key"])

    def digest_of(self, text: str) -> str:
        """SHA-256 of a text in hex; keyed where it could speak of persons, so that none is guessed."""
        data = text.encode()
        if self.masked:
            return hmac.new(self.key, data, "sha256").hexdigest()
        return hashlib.sha256(data).hexdigest()

    @property
    def checkpoints(self) -> Path | None:
        """A folder that outlives a killed run, where the engine gave one."""
        given = self.facts.get("checkpoints")
        return self.folder / given if given else None

    # -- what came in ---------------------------------------------------------------------

    def has(self, name: str) -> bool:
        return name in self.facts["inputs"]

    def input(self, name: str) -> Path:
        """Path of a named input, read-only. InputError names those that there are."""
        if not self.has(name):
            raise InputError(
                f"The stage has no input `{name}`.",
                where=self.name,
                expected=", ".join(sorted(self.facts["inputs"])) or "none",
            )
        touch("inputs", name)
        return self.folder / self.facts["inputs"][name]["path"]

    def read_json(self, name: str) -> Any:
        return json.loads(self.input(name).read_text(encoding="utf-8"))

    def read_table(self, name: str) -> pd.DataFrame:
        return pd.read_parquet(self.input(name))

    def inputs(self) -> pd.DataFrame:
        """One row an input: name, where it came from, the start of its SHA-256."""
        rows = [
            {"input": name, "from": facts["uri"], "sha256": facts["digest"][:16] + "…"}
            for name, facts in sorted(self.facts["inputs"].items())
        ]
        return pd.DataFrame(rows, columns=["input", "from", "sha256"]).set_index("input")

    @cached_property
    def policy(self) -> Policy:
        """The criteria as they were sealed by the intake; never the file in the working tree."""
        return Policy.parse(self.read_json("criteria"), where="10_intake/criteria.json")

    # -- what goes out --------------------------------------------------------------------

    def output(self, name: str) -> Path:
        """A path below the outputs, its folder made."""
        path = self.outputs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        touch("outputs", name)
        return path

    def write_json(self, name: str, value: Any) -> Path:
        """Canonical JSON (RFC 8785), so that equal content has an equal digest."""
        path = self.output(name)
        path.write_bytes(canonical(value))
        return path

    def write_table(self, name: str, table: pd.DataFrame) -> Path:
        """Parquet without an index: one row a case."""
        path = self.output(name)
        table.reset_index(drop=True).to_parquet(path, index=False)
        return path

    def figure(self, name: str, figure: Figure | float | str) -> None:
        """Record one figure: glued into the notebook for readers, and into figures.json, the truth."""
        self._glue(name, figure.as_dict() if isinstance(figure, Figure) else {"value": figure})

    def _glue(self, name: str, value: dict[str, Any]) -> None:
        import scrapbook

        self._figures[name] = value
        scrapbook.glue(name, value)
        self.write_json("figures.json", self._figures)

    def plot(self, name: str, drawing: Any, data: pd.DataFrame) -> None:
        """Save a matplotlib figure as PNG with the CSV behind it, and show it."""
        import matplotlib.pyplot as plt
        from IPython.display import display

        data.to_csv(self.output(f"{name}.csv"), index=False, lineterminator="\n")
        drawing.savefig(self.output(f"{name}.png"), dpi=110, metadata={"Software": None})
        display(drawing)
        plt.close(drawing)

    # -- what a recomputation finds sealed ------------------------------------------------

    @property
    def recomputes(self) -> bool:
        """Was the stage executed before, so that only what follows from its tables is computed?"""
        return "sealed" in self.facts

    def sealed(self, name: str) -> Path:
        """A file that the stage left when it was executed. InputError when it left none."""
        path = self.folder / self.facts["sealed"] / name
        if not path.is_file():
            raise InputError("The record holds no such output.", where=self.name, expected=name)
        return path

    def take_over(self, leaves: Iterable[str], figures: Iterable[str]) -> None:
        """Leave the sealed outputs that match, and glue the sealed figures of these names."""
        top = self.folder / self.facts["sealed"]
        for path in sorted(one for one in top.rglob("*") if one.is_file()):
            name = path.relative_to(top).as_posix()
            if any(fnmatch(name, pattern) for pattern in leaves):
                shutil.copyfile(path, self.output(name))
        known = json.loads(self.sealed("figures.json").read_bytes()) if figures else {}
        for name in figures:
            self._glue(name, known[name])

    def sample(self, table: pd.DataFrame, personal: Iterable[str], n: int = 5) -> pd.DataFrame:
        """The first `n` rows for a reader; columns that speak of persons are masked."""
        head = table.head(n).copy()
        for column in personal:
            head[column] = head[column].map(mask)
        return head

    # -- what it comes to -----------------------------------------------------------------

    def preview(self) -> pd.DataFrame:
        """The gates of this stage as the engine will compute them, written down as claims."""
        touch("inputs", "criteria")  # also where another cell had read them before
        looks = ONLY
        if self.facts.get("looks"):  # a locked set is among the inputs
            looks = Looks(**self.facts["looks"])
            self.figure("look", looks.number)
            self.figure("look_budget", looks.budget)
        results = gates.judge(self.policy, self.name, self._rows, looks=looks)
        self.write_json("claims.json", [result.as_dict() for result in results])
        return gate_table([result.as_dict() for result in results])

    def _rows(self, table: str) -> list[dict[str, Any]] | None:
        path = self.outputs / table
        return pd.read_parquet(path).to_dict("records") if path.is_file() else None

    def recorded(self) -> pd.DataFrame:
        """What this stage leaves: file, size, start of its SHA-256."""
        files = sorted(p for p in self.outputs.rglob("*") if p.is_file())
        rows = [
            {
                "output": path.relative_to(self.outputs).as_posix(),
                "KiB": round(path.stat().st_size / 1024, 1),
                "sha256": self._shown_digest(path),
            }
            for path in files
        ]
        return pd.DataFrame(rows, columns=["output", "KiB", "sha256"]).set_index("output")

    def _shown_digest(self, path: Path) -> str:
        """Of rows that can be forgotten, nothing stays that could be guessed without a key."""
        name = path.relative_to(self.outputs)
        if self.masked and any(name.match(pattern) for pattern in self.facts.get("rows", [])):
            return "encrypted when sealed"
        return file_digest(path)[:16] + "…"


def touch(kind: str, name: str) -> None:
    """Tell the engine what the running cell reads, writes or asks; outside its kernel nobody."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None and Path(STAGE_FILE).is_file():
        cell = len(shell.history_manager.input_hist_parsed) - 1
        line = canonical({"cell": cell, "kind": kind, "name": name})
        with Path(TOUCHED).open("ab") as file:
            file.write(line + b"\n")


def sealed(
    table: str | Callable[..., Any], *, leaves: Iterable[str] = (), figures: Iterable[str] = ()
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """For a function of a stage that asks or trains a model: when the stage is recomputed, it gives
    what the record holds and asks nobody. Its progress is then not compared.

    `table` is the sealed table that the function gave, or reads it from the stage and the same
    arguments; `leaves` are globs of files, and `figures` names, that the function itself records.
    """

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def answer(stage: Stage, *args: Any, **named: Any) -> Any:
            touch("sealed", function.__name__)
            if not stage.recomputes:
                return function(stage, *args, **named)
            stage.take_over(leaves, figures)
            if isinstance(table, str):
                return pd.read_parquet(stage.sealed(table))
            return table(stage, *args, **named)

        return answer

    return wrap


def volatile(function: Callable[..., Any]) -> Callable[..., Any]:
    """For a function that gives something else at each run: what shows it can't be recomputed."""

    @wraps(function)
    def answer(*args: Any, **named: Any) -> Any:
        touch("volatile", function.__name__)
        return function(*args, **named)

    return answer


SYMBOLS = {"passed": "✓", "failed": "✗", "insufficient_evidence": "…", "not_evaluated": "?"}


def gate_table(results: list[dict[str, Any]]) -> pd.DataFrame:
    """Gates for a reader: the verdict as symbol and word, the figure with interval and n."""
    rows = [
        {
            "gate": result["criterion"],
            "verdict": f"{SYMBOLS[result['verdict']]} {result['verdict']}",
            "figure": readable(result.get("figure")),
            "asked": result.get("threshold", ""),
            "harm it bounds": result.get("harm", ""),
        }
        for result in results
    ]
    return pd.DataFrame(
        rows, columns=["gate", "verdict", "figure", "asked", "harm it bounds"]
    ).set_index("gate")


def readable(figure: dict[str, Any] | None) -> str:
    """`0.912 [0.884, 0.934], n=500`."""
    if not figure or figure.get("value") is None:
        return "not measured"
    if figure.get("method") == "count":
        return f"{figure['value']:g}"
    text = f"{figure['value']:.3f}"
    if figure.get("low") is not None:
        text += f" [{figure['low']:.3f}, {figure['high']:.3f}]"
    return f"{text}, n={figure['n']}" if figure.get("n") is not None else text


def mask(value: object) -> str:
    """How long it is and nothing else: the first words of a message are often a name."""
    words = len(str(value).split())
    return f"… ({words} word{'' if words == 1 else 's'})"
