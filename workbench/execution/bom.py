"""The signed bill of materials and the data card that a run leaves beside its outputs (D9)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from ..errors import IntegrityError, RunError
from ..policy import bom, data_card
from ..policy.bom import BomFacts, Run, SealedFile
from ..policy.governance import SETS
from ..policy.usecase import Data
from ..record import jsf
from ..record.digest import canonical, file_digest, read_canonical, tree
from ..record.signing import EngineKey
from .governance import count_rows
from .inputs import OUTPUTS, SEALED_SUFFIX, Input

CARD = "DATA_CARD.md"
LACKS = "The bill of materials lacks what the stage should have left."
TOLD = ("manifest.json", "figures.json", "labels.json")


def write(
    outputs: Path, name: str, run: Run, inputs: dict[str, Input], encrypted: dict, key: EngineKey
) -> Path:
    """Write the bill of a run under the name that its stage declares as `bom`; returns where.

    A stage with an input `bom` extends that one by its adapter; any other describes the dataset in
    `outputs`, after encryption, and gets a data card. `encrypted` says path -> snapshot, plaintext
    digest. RunError where an output is missing, IntegrityError where the bill that came in is not
    what this key signed, or names other rows.
    """
    if "bom" in inputs:
        document = _adapter(run, outputs, inputs, key)
    else:
        facts = _facts(run, outputs, inputs, encrypted)
        document = bom.dataset(facts)
        (outputs / CARD).write_text(data_card.render(facts), encoding="utf-8")
    (outputs / name).write_bytes(canonical(jsf.sign(document, key)))
    return outputs / name


def read(path: Path, public_keys: Iterable[str]) -> bom.Json:
    """A bill without its signature; IntegrityError unless one of these keys signed these bytes."""
    bill = read_canonical(path.read_bytes())
    jsf.verify(bill, public_keys)
    return {name: value for name, value in bill.items() if name != "signature"}


def _facts(run: Run, outputs: Path, inputs: dict[str, Input], encrypted: dict) -> BomFacts:
    frozen = json.loads(inputs["facts"].path.read_bytes())
    steps, figures, labels = (json.loads(_left(outputs, name).read_bytes()) for name in TOLD)
    data, snapshot = Data.frozen(frozen), Path(frozen["path"]).name

    def sealed(name: str, file: str, rows: int | None) -> SealedFile:
        path = _left(outputs, file + SEALED_SUFFIX, file)
        place = OUTPUTS + path.relative_to(outputs).as_posix()
        if rows is None:
            raise RunError(LACKS, where=f"figures.json: rows_{name}")
        keyed = encrypted.get(place, {}).get("plaintext")
        return SealedFile(name, place, file_digest(path), rows, keyed)

    raw = sealed(snapshot, f"raw/{snapshot}", count_rows(inputs["data"].path, data.format))
    sets = [sealed(s, f"{s}.parquet", figures.get(f"rows_{s}", {}).get("value")) for s in SETS]
    return BomFacts(run, data, labels, raw, sets, steps)


def _left(outputs: Path, *names: str) -> Path:
    """The first of these outputs that is there; RunError where the stage left none."""
    found = next((outputs / name for name in names if (outputs / name).is_file()), None)
    if found is None:
        raise RunError(LACKS, where=OUTPUTS + names[-1])
    return found


def _adapter(run: Run, outputs: Path, inputs: dict[str, Input], key: EngineKey) -> bom.Json:
    bill = read(inputs["bom"].path, [key.public_pem])
    hashes = {one["bom-ref"]: one["hashes"] for one in bill["components"] if "hashes" in one}
    for ref in bom.LEARNED_FROM:
        item = inputs[ref.removeprefix("set:")]
        if hashes.get(ref) != bom.hashes(item.digest):
            raise IntegrityError("learned from other rows than the bill names", where=item.uri)
    files = {f"{OUTPUTS}adapter/{e.path}": e.sha256 for e in tree(outputs / "adapter")}
    return bom.model(bill, run, inputs["base"].digest, files)
