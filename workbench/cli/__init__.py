"""The command line: verbs only. Parse, call, print, exit code. `jupyter workbench` is the same."""

from . import (
    approvals,
    assurance,
    audit,
    causes,
    data,
    drill,
    findings,
    incident,
    lifecycle,
    people,
    preprod,
    records,
    registry,
    release,
    replay,
    serve,
)
from .program import main

__all__ = [
    "approvals",
    "assurance",
    "audit",
    "causes",
    "data",
    "drill",
    "findings",
    "incident",
    "lifecycle",
    "main",
    "people",
    "preprod",
    "records",
    "registry",
    "release",
    "replay",
    "serve",
]
