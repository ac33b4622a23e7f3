"""The command line: verbs only. Parse, call, print, exit code. `jupyter workbench` is the same."""

from . import approvals, data, lifecycle, people, records, replay
from .program import main

__all__ = ["approvals", "data", "lifecycle", "main", "people", "records", "replay"]
