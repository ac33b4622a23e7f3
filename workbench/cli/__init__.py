"""The command line: verbs only. Parse, call, print, exit code. `jupyter workbench` is the same."""

from . import (
    approvals,
    assurance,
    audit,
    causes,
    data,
    drill,
    findings,
    lifecycle,
    people,
    records,
    registry,
    release,
    replay,
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
    "lifecycle",
    "main",
    "people",
    "records",
    "registry",
    "release",
    "replay",
]
