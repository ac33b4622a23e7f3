"""A folder that names its own files: `manifest.json` lists them, and its digest names the folder."""

from __future__ import annotations

from pathlib import Path

from workbench.errors import InputError, WorkbenchError
from workbench.record.digest import entries, file_digest, read_canonical, scan
from workbench.record.problem import Problem

MANIFEST = "manifest.json"


def digest_of(folder: Path) -> str:
    """The name of a bundle: SHA-256 of its manifest's bytes. InputError where there is none."""
    try:
        return file_digest(folder / MANIFEST)
    except OSError as error:
        raise InputError("no bundle in this folder", where=folder, expected=MANIFEST) from error


def check(folder: Path) -> list[Problem]:
    """What of a bundle is not as its manifest says: a file that is missing, changed or extra."""
    try:
        manifest = read_canonical((folder / MANIFEST).read_bytes())
        wanted = {one["path"]: (one["sha256"], one["size"]) for one in manifest["files"]}
    except (OSError, WorkbenchError, KeyError, TypeError) as error:
        return [Problem(MANIFEST, "not a manifest", found=str(error).split("\n")[0])]
    paths, refused = scan(folder)
    held = {one.path: (one.sha256, one.size) for one in entries(folder, paths)}
    del held[MANIFEST]
    found = [Problem(path, reason) for path, reason in refused]
    for path in wanted.keys() | held.keys():
        what = "missing" if path not in held else "changed" if path in wanted else "extra"
        if wanted.get(path) != held.get(path):
            expected, given = (of.get(path, ("",))[0] for of in (wanted, held))
            found.append(Problem(path, what, expected, given))
    return sorted(found, key=lambda problem: problem.where)
