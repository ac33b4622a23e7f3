"""Stage templates: what each notebook declares about itself, and the graph that follows.

A stage notebook carries `metadata.workbench`:

    stage      its name, `NN_word`; the number is the order of reading
    question   the question it answers
    inputs     name -> source. A source is `STAGE/path` (an output of another stage),
               `usecase:FIELD` (a file that the use case names) or `base:source`;
               or `previous:STAGE/path` (an output that the last other frozen candidate stands on);
               `ledger:release` is what people signed, as the engine collected it;
               a trailing `?` marks it optional, a trailing `!` as a locked set: each run is a look
    rows       globs of outputs that hold rows of persons, encrypted when the data class asks; a stage
               that reads such rows must declare it, [] where its outputs hold none
    commits    ledger kind -> output: entered into the ledger by digest when the record is sealed
    anew       true: its gates judge what each run measures anew; nothing in its tables is of a locked
               set, so that no look at one is paid for
    reuses     output -> names of the inputs that alone determine it
    inspects   runs before the data is classified: it proposes the classes
    governs    `data`: leaves a dataset, over which the standing gates of `policy.governance` are judged
    adapts     leaves an adapted model: judged against the change envelope
    probes     tries to break out: the engine lays bait, and judges `isolation` by what it saw
    layer      of validation that its gates show, by the names of `policy.layers`
    volatile   globs of outputs that differ with each run by their nature (times); no replay compares them
    bom        output into which the engine writes the signed bill of materials
    continues  a gate that does not pass here is left to the deciding stage
    decides    this stage reads every verdict before it and seals a candidate, or a refusal
    releases   no part of a run: `workbench release register` runs it, over what it collected
    kinds      use-case kinds that have this stage (all, when absent)
    checkpoints  true: finds a folder that outlives a killed run, and goes on from what is in it;
               it holds weights and the optimiser's state, never rows of persons
    run_s, cell_s   time limits
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..policy.usecase import UseCase
from ..record.digest import digest
from .engine import Limits
from .schema import Schema


@dataclass(frozen=True)
class Source:
    """Where an input comes from."""

    origin: str
    path: str
    optional: bool = False
    locked: bool = False

    @classmethod
    def parse(cls, text: str) -> Source:
        bare = text.rstrip("?!")
        marks = text[len(bare) :]
        separator = ":" if bare.startswith(("usecase:", "base:", "previous:", "ledger:")) else "/"
        origin, _, path = bare.partition(separator)
        return cls(origin, path, "?" in marks, "!" in marks)

    @property
    def from_stage(self) -> bool:
        return self.origin not in ("usecase", "base", "previous", "ledger")


@dataclass(frozen=True)
class Stage:
    """One stage template."""

    notebook: Path
    facts: dict[str, Any]

    @classmethod
    def load(cls, notebook: Path) -> Stage:
        import nbformat  # its schemas take seconds to load

        try:
            facts = nbformat.read(notebook, as_version=4).metadata.get("workbench")
        except Exception as error:  # nbformat raises many kinds; all mean the same to the reader
            raise InputError(
                "The stage notebook cannot be read.", where=notebook, given=error
            ) from None
        if not facts or "stage" not in facts:
            raise InputError(
                "The notebook does not say which stage it is.",
                where=notebook,
                expected="metadata.workbench.stage",
                next_step="See docs/adding.md.",
            )
        for pattern in facts.get("rows", []):
            if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
                raise InputError(
                    "A pattern of `rows` leaves the outputs.", where=notebook, given=pattern
                )
        return cls(notebook, dict(facts))

    @property
    def name(self) -> str:
        return self.facts["stage"]

    @cached_property
    def inputs(self) -> dict[str, Source]:
        return {name: Source.parse(text) for name, text in self.facts.get("inputs", {}).items()}

    @cached_property
    def schema(self) -> Schema:
        return Schema.from_notebook(self.notebook)

    @cached_property
    def source_digest(self) -> str:
        """Digest of what the notebook says and does: cells and declaration, outputs left out."""
        import nbformat

        cells = nbformat.read(self.notebook, as_version=4).cells
        return digest([self.facts, [[cell.cell_type, cell.source] for cell in cells]])

    @property
    def limits(self) -> Limits:
        return Limits(run_s=self.facts.get("run_s", 7200), cell_s=self.facts.get("cell_s", 3600))

    def needs(self) -> set[str]:
        return {source.origin for source in self.inputs.values() if source.from_stage}

    def applies_to(self, usecase: UseCase) -> bool:
        wanted = self.facts.get("when", [])
        kinds = self.facts.get("kinds", [usecase.kind])
        return usecase.kind in kinds and all(getattr(usecase, field, None) for field in wanted)


def templates_root() -> Path:
    """The templates: inside an installed wheel, or beside the package in a checkout."""
    package = Path(__file__).resolve().parent.parent
    shipped = package / "templates"
    return shipped if shipped.is_dir() else package.parent / "templates"


def stages_for(root: Path, usecase: UseCase) -> list[Stage]:
    """The stages of a use case in the order in which they run; its own `stages/` come over ours."""
    notebooks = {p.name: p for p in sorted((templates_root() / "stages").glob("*.ipynb"))}
    notebooks |= {p.name: p for p in sorted((root / "stages").glob("*.ipynb"))}
    loaded = [Stage.load(path) for path in notebooks.values()]
    return order(_distinct(stage for stage in loaded if stage.applies_to(usecase)))


def _distinct(stages: Iterable[Stage]) -> list[Stage]:
    found: dict[str, Stage] = {}
    for stage in stages:
        if stage.name in found:
            raise InputError(
                f"Two notebooks say that they are the stage {stage.name}.",
                where=stage.notebook,
                given=found[stage.name].notebook,
                next_step="Give one another name; to replace a shipped stage, use its file name.",
            )
        found[stage.name] = stage
    return list(found.values())


def order(stages: Iterable[Stage]) -> list[Stage]:
    """Stages so that each follows what it needs, by name where free. InputError on a circle."""
    waiting = sorted(stages, key=lambda stage: stage.name)
    known, done = {stage.name for stage in waiting}, []
    while waiting:
        settled = {stage.name for stage in done}
        ready = next((s for s in waiting if not (s.needs() & known) - settled), None)
        if ready is None:
            raise InputError(
                "The stages need each other in a circle.",
                given=", ".join(stage.name for stage in waiting),
            )
        waiting.remove(ready)
        done.append(ready)
    return done
