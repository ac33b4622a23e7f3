"""Data bill of materials: what a dataset, or a model, was made of, as CycloneDX 1.7 JSON (D9).

https://cyclonedx.org/docs/1.7/json. Sources, the raw snapshot and the sets are components of type
`data`, each depending on what it was made from; the transformations are tasks of `formulation`.
Same facts, same bytes. Never a row's content; steps name the digest of their arguments only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from ..record.digest import canonical, digest
from .classes import is_encrypted_class, strictest
from .sources import OUR_OWN, DataSource, missing, stated
from .usecase import Data, UseCase

if TYPE_CHECKING:
    from .cards.facts import CardFacts

Json = dict[str, Any]
LEARNED_FROM = ("set:train", "set:dev")
TASKS = {"classifier": "text-classification", "generative": "text-generation"}
TASK = ("version", "code_sha256", "rows_in", "rows_out", "changed", "created")


@dataclass(frozen=True)
class Run:
    """The run that makes the bill, known before its record is sealed."""

    usecase: UseCase
    """Whose run it is."""
    stage: str
    """Stage that ran."""
    id: str
    """Run id, as the record's statement and the ledger name it."""
    time: str
    """When it started, ISO 8601 with offset."""
    version: str
    """Version of Workbench."""
    ledger_head: str | None = None
    """Root of the ledger when the run began, where it is known."""


@dataclass(frozen=True)
class SealedFile:
    """One file with rows, as the record holds it."""

    name: str
    """`train`; for the raw snapshot the name of the file."""
    path: str
    """In the record: `outputs/train.parquet.enc`."""
    sha256: str
    """Of the file as it is stored."""
    rows: int
    """How many rows."""
    keyed: str | None = None
    """HMAC-SHA256 of the plaintext by a key of the store, where the file is encrypted."""


@dataclass(frozen=True)
class BomFacts:
    """What the bill and the data card of a dataset are both written from."""

    run: Run
    """The run that made it."""
    data: Data
    """The declaration of the data, as the intake froze it."""
    labels: Sequence[str]
    """The label schema."""
    raw: SealedFile
    """The snapshot, as it came in."""
    sets: Sequence[SealedFile]
    """train, dev, locked."""
    steps: Sequence[Mapping[str, Any]]
    """The manifest: step, use, version, code_sha256, why, arguments, rows_in, rows_out, changed,
    created, and removed (reason -> rows)."""


def dataset(facts: BomFacts) -> Json:
    """The bill of a dataset: metadata names it, components are its sets, snapshot and sources."""
    raw, run = f"raw:{facts.raw.name}", facts.run
    sets = {f"set:{one.name}": one for one in facts.sets}
    sources = {f"source:{one.id}": one for one in facts.data.sources}
    parts = [_source(ref, one) for ref, one in sources.items()]
    parts += [_rows(facts, ref, one) for ref, one in ({raw: facts.raw} | sets).items()]
    columns = facts.data.model_dump(mode="json", include={"columns"}, exclude_none=True)["columns"]
    about = {"version": run.id, "description": run.usecase.title}
    about["properties"] = _properties({f"column:{name}": one for name, one in columns.items()})
    whole = _component("data", "dataset", f"{run.usecase.id} dataset", **about)
    depends = {"dataset": sets, raw: sources} | {ref: [raw] for ref in sets}
    made = _formula(run, [raw], sets, [_task(run, step) for step in facts.steps])
    return _document(run, whole, parts, _dependencies(depends), [made])


def model(bill: Json, run: Run, base_digest: str, files: Mapping[str, str]) -> Json:
    """The bill of an adapter: the dataset's own, extended by the base model and the training run.

    `base_digest` is the digest over the base model's files, `files` the adapter's: path -> SHA-256.
    """
    base, made_of = run.usecase.base, ["base", *LEARNED_FROM]
    about = {"version": base.revision, "licenses": licences(base.licence)}
    about["properties"] = _properties({"source": base.source, "files-sha256": base_digest})
    # BOM-Link to the bill of the dataset (ECMA-424)
    link = f"urn:cdx:{bill['serialNumber'].removeprefix('urn:uuid:')}/{bill['version']}"
    more = {"version": run.id, "externalReferences": [{"type": "bom", "url": link}]}
    more["components"] = [_component("file", p, p, hashes=hashes(files[p])) for p in sorted(files)]
    adapter = _component("machine-learning-model", "model", f"{run.usecase.id} adapter", **more)
    parts = [bill["metadata"]["component"], *bill["components"]]
    parts.append(_component("machine-learning-model", "base", base.name, **about))
    depends = bill["dependencies"] + _dependencies({"model": made_of})
    formulas = [*bill["formulation"], _formula(run, made_of, ["model"], [])]
    return _document(run, adapter, parts, depends, formulas)


def candidate(bill: Json, run: Run, facts: CardFacts) -> Json:
    """The bill of a candidate (ML-BOM): that of its adapter, with a model card.

    https://cyclonedx.org/docs/1.7/json/#components_items_modelCard.
    """
    link = f"urn:cdx:{bill['serialNumber'].removeprefix('urn:uuid:')}/{bill['version']}"
    subject = bill["metadata"]["component"] | {
        "name": f"{run.usecase.id} {facts.identity['name']}",
        "version": str(facts.identity["number"]),
        "externalReferences": [{"type": "bom", "url": link}],
        "modelCard": _model_card(bill, facts),
    }
    return _document(run, subject, bill["components"], bill["dependencies"], bill["formulation"])


def _model_card(bill: Json, facts: CardFacts) -> Json:
    """Base, what was learned from, what was measured with its interval, and the limits."""
    usecase, base = facts.usecase, {f"base:{name}": one for name, one in facts.base.items()}
    known = {one["bom-ref"] for one in bill["components"]}
    measured = [one for one in facts.verdicts if (one.get("figure") or {}).get("value") is not None]
    return {
        "bom-ref": "card",
        "modelParameters": {
            "approach": {"type": "supervised"}, "task": TASKS[usecase.kind],
            "modelArchitecture": facts.base.get("architecture") or facts.base["name"],
            "datasets": [{"ref": ref} for ref in LEARNED_FROM if ref in known],
        },
        "quantitativeAnalysis": {"performanceMetrics": [_metric(one) for one in measured]},
        "considerations": {
            "useCases": [usecase.decision], "ethicalConsiderations": [{"name": usecase.harm}],
            "technicalLimitations": list((facts.validation or {}).get("not_shown", [])),
        },
        "properties": _properties(dict(sorted(base.items()))),
    }  # fmt: skip


def _metric(verdict: Mapping[str, Any]) -> Json:
    """A gate's figure as a performance metric; CycloneDX writes numbers as text."""
    figure = verdict["figure"]
    found = {"type": verdict["criterion"], "value": _text(figure["value"])}
    found["slice"] = f"{verdict['stage']}: {verdict['threshold']}, {verdict['verdict']}"
    if figure.get("low") is not None:
        bounds = {"lowerBound": _text(figure["low"]), "upperBound": _text(figure["high"])}
        found["confidenceInterval"] = bounds
    return found


def licences(text: str | None) -> list[Json]:
    """`licenses` of a component: an SPDX id or expression, or the name of any other licence."""
    try:
        name = canonicalize_license_expression(text or "")
    except InvalidLicenseExpression:
        return [{"license": {"name": text}}] if text else []
    compound = name.startswith("LicenseRef-") or not set(name).isdisjoint(" +(")
    return [{"expression": name} if compound else {"license": {"id": name}}]


def hashes(sha256: str) -> list[Json]:
    """`hashes` of a component."""
    return [{"alg": "SHA-256", "content": sha256}]


def _document(run: Run, subject: Json, parts: list, depends: list, formulas: list) -> Json:
    about = {"usecase": run.usecase.id, "stage": run.stage, "run": run.id}
    tool = _component("application", "workbench", "workbench", version=run.version)
    metadata = {"timestamp": run.time, "tools": {"components": [tool]}, "component": subject}
    metadata["properties"] = _properties(about | {"ledger-head": run.ledger_head})
    body = {"bomFormat": "CycloneDX", "specVersion": "1.7", "version": 1, "formulation": formulas}
    body |= {"metadata": metadata, "components": parts, "dependencies": depends}
    return body | {"serialNumber": f"urn:uuid:{uuid5(NAMESPACE_URL, digest(body))}"}


def _component(kind: str, ref: str, name: str, **more: Any) -> Json:
    """A component; what is None or empty is left out."""
    known = {key: value for key, value in more.items() if value}
    return {"type": kind, "bom-ref": ref, "name": name} | known


def _properties(facts: Mapping[str, Any]) -> list[Json]:
    """Name-value pairs of our namespace; a list gives one pair an item, None gives none."""
    lists = {n: v if isinstance(v, list) else [v] for n, v in facts.items() if v is not None}
    return [{"name": f"workbench:{n}", "value": _text(v)} for n in lists for v in lists[n]]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else canonical(value).decode()


def _dependencies(depends: Mapping[str, Iterable[str]]) -> list[Json]:
    return [{"ref": ref, "dependsOn": sorted(on)} for ref, on in sorted(depends.items()) if on]


def _source(ref: str, source: DataSource) -> Json:
    facts = {f"provenance:{name}": value for name, value in stated(source).items()}
    facts |= source.model_dump(mode="json", include=OUR_OWN) | {"missing": missing(source)}
    held = {"type": "dataset", "name": source.id, "contents": {"properties": _properties(facts)}}
    about = {"description": source.description, "licenses": licences(source.licence)}
    about["supplier"] = source.issuer and {"name": source.issuer}
    return _component("data", ref, source.title or source.id, data=[held], **about)


def _rows(facts: BomFacts, ref: str, file: SealedFile) -> Json:
    """A file with rows: what it holds, how it is classified, who answers for it."""
    data, keeper = facts.data, facts.run.usecase.owner
    kinds = [(name, column.data_class) for name, column in data.columns.items()]
    owners = sorted({column.owner for column in data.columns.values()})
    contents = {"rows": file.rows, "label": list(facts.labels), "file": file.path}
    held = {"type": "dataset", "name": file.name, "classification": str(strictest(data.classes))}
    held["contents"] = {"properties": _properties(contents)}
    held["sensitiveData"] = [f"{name}: {kind}" for name, kind in kinds if is_encrypted_class(kind)]
    held["governance"] = {"owners": [{"organization": {"name": name}} for name in owners]}
    held["governance"]["custodians"] = [{"contact": {"name": keeper.name, "email": keeper.email}}]
    held["governance"]["stewards"] = [{"contact": {"name": data.classified_by}}]
    about = {"hashes": hashes(file.sha256), "version": facts.run.id, "data": [held]}
    about["properties"] = _properties({"plaintext-hmac-sha256": file.keyed})
    return _component("data", ref, file.name, **about)


def _task(run: Run, step: Mapping[str, Any]) -> Json:
    facts = {name: step[name] for name in TASK}
    facts |= {"arguments-sha256": digest(step.get("arguments", {}))}
    facts |= {f"removed:{reason}": n for reason, n in sorted(step["removed"].items())}
    task = {"bom-ref": f"step:{step['step']}", "uid": f"{run.id}/{step['step']}"}
    task |= {"name": step["use"], "description": step["why"], "taskTypes": ["other"]}
    return task | {"properties": _properties(facts)}


def _formula(run: Run, taken: Iterable[str], made: Iterable[str], tasks: list[Json]) -> Json:
    """How a stage made its outputs, each task after the one before it."""
    names = [task["bom-ref"] for task in tasks]
    after = [{"ref": b, "dependsOn": [a]} for a, b in zip(names, names[1:], strict=False)]
    workflow = {"bom-ref": f"workflow:{run.stage}", "uid": run.id, "name": run.stage}
    workflow |= {"taskTypes": ["build"], "tasks": tasks, "taskDependencies": after}
    workflow["inputs"] = [{"resource": {"ref": ref}} for ref in taken]
    workflow["outputs"] = [{"type": "artifact", "resource": {"ref": ref}} for ref in made]
    return {"bom-ref": f"formula:{run.stage}", "workflows": [workflow]}
