"""The command line: verbs only. Parse, call, print, exit code. `jupyter workbench` is the same."""

from . import approvals, causes, data, lifecycle, people, records, replay
from .program import main

__all__ = ["approvals", "causes", "data", "lifecycle", "main", "people", "records", "replay"]
