"""Workbench: retrain an open model in a regulated field, and prove what you did.

The architecture on one page
    A stage of the model's life is a **notebook** (`templates/stages`). The engine
    (`execution.engine`) runs it through Papermill in an isolated kernel; the engine, not the
    notebook, captures what went in and what came out, computes the verdicts from the per-case
    tables (`policy.gates`) and seals all of it into a **record** that never changes
    (`record.store`). Records name their inputs by digest, so they form one graph from raw data
    to production. A **ledger** gives their order and holds the failures too. People act on the
    graph by **signing** (`record.person`). Everything verifies offline with public keys alone.

Rooms, and which way imports go
    cli, widgets → evidence, execution → policy → record
    record      digests, statements, signatures, ledger, store: what is trusted, and why
    policy      rules without I/O: use case, tiers, classes, envelope, domain, statistics, gates
    execution   runs notebooks: schema, engine, isolation, inputs, runner, pipeline, replay
    methods     what notebooks call (torch and pandas live here); imported by nothing else
    evidence    what people read: tables, figures, progress
    cli         verbs: parse, call, print, exit code

Names below are loaded on first use, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PUBLIC = {
    "Graph": "record.lineage",
    "Pipeline": "execution.pipeline",
    "Policy": "policy.criteria",
    "Project": "execution.project",
    "Record": "record.store",
    "Store": "record.store",
    "UseCase": "policy.usecase",
    "verify_record": "record.verify",
    "verify_store": "record.verify",
}
__all__ = list(_PUBLIC)  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
