"""The command line: verbs only. Parse, call, print, exit code. `jupyter workbench` is the same."""

from . import data, lifecycle, people, records
from .program import main

__all__ = ["data", "lifecycle", "main", "people", "records"]
