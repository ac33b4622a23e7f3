"""The data card: the bill's facts for people, with the front matter that Hugging Face reads.

https://huggingface.co/docs/hub/datasets-cards. Written from `BomFacts` alone, so that card and bill
cannot differ; never a row's content.
"""

from __future__ import annotations

from collections.abc import Mapping

import yaml

from .bom import TASKS, BomFacts
from .cards.markdown import plain, sections, table
from .sources import missing

SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B")
HUB_LICENCES = {"apache-2.0", "mit", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0"}
ROLES = {"train": "learned from", "dev": "for choices", "locked": "judges; each look is recorded"}
LIMITS = """Classes are declared by column: what else a text holds, only detectors looked for.
What a source lacks is by the Data Provenance Standards 1.0.0 of the Data & Trust Alliance."""


def render(facts: BomFacts) -> str:
    """The card as Markdown with YAML front matter."""
    front = yaml.safe_dump(front_matter(facts), sort_keys=False, allow_unicode=True)
    usecase, data, raw = facts.run.usecase, facts.data, facts.raw
    columns = [{"column": name} | column.model_dump() for name, column in data.columns.items()]
    steps = [{**step, "removed": _reasons(step["removed"])} for step in facts.steps]
    sets = [vars(s) | {"use": ROLES[s.name], "encrypted": bool(s.keyed)} for s in facts.sets]
    sources = [one.model_dump() | {"lacks": ", ".join(missing(one))} for one in data.sources]
    parts = {
        f"# {plain(usecase.title)}: the data": f"What is decided: {plain(usecase.decision)}",
        "## Taken in": f"`{plain(raw.name)}`, {raw.rows} rows; classes by {plain(data.classified_by)}.",
        "## Classes": table("column class purpose owner legal_basis retention_days", columns),
        "## Steps": table("step use version why rows_in rows_out changed created removed", steps),
        "## Sets": table("name rows use encrypted", sets),
        "### Labels": ", ".join(map(plain, facts.labels)),
        "## Sources": table("id owner issuer licence approved_by approved_at lacks", sources),
        "## Limits": f"For this use only. When the model is wrong: {plain(usecase.harm)} {LIMITS}",
    }
    return sections(front, parts)


def front_matter(facts: BomFacts) -> dict:
    """What the hub reads: licence, languages, name, size, task, tags, sets."""
    digits = len(str(sum(one.rows for one in facts.sets)))
    size, usecase = SIZES[min(max(digits - 3, 0), len(SIZES) - 1)], facts.run.usecase
    found = _licence(sorted({one.licence or "" for one in facts.data.sources}))
    languages = sorted({code for one in facts.data.sources for code in one.language})
    found |= {"language": languages} if languages else {}
    found |= {"pretty_name": usecase.title, "size_categories": [size], "tags": ["data-bom"]}
    splits = [{"name": one.name, "num_examples": one.rows} for one in facts.sets]
    return found | {"task_categories": [TASKS[usecase.kind]], "dataset_info": {"splits": splits}}


def _licence(names: list[str]) -> dict:
    """The hub's id where all sources share one that it knows; `unknown` where one states none."""
    text = "; ".join(names)
    if text.lower() in HUB_LICENCES:
        return {"license": text.lower()}
    stated = {"license": "other", "license_name": text}
    return stated if text and all(names) else {"license": "unknown"}


def _reasons(removed: Mapping[str, int]) -> str:
    return "; ".join(f"{reason}: {n}" for reason, n in sorted(removed.items())) or "none"
