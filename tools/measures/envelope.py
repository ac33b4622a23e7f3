"""The change envelopes of the starter packs: runs drawn inside, and runs with one field outside."""

from __future__ import annotations

import math
import random
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import yaml

from workbench.policy.classes import ORDER
from workbench.policy.envelope import METHODS, Bound, Change, Envelope, decide

PACKS = Path(__file__).resolve().parents[2] / "templates" / "usecases"
NAMES = ("card-support", "intent-routing")
SEEDS = 20
WHOLE = {
    "rank",
    "last_layers",
    "epochs",
    "batch_size",
    "accumulate",
    "patience",
    "max_length",
    "rows",
}


def envelope(pack: str) -> Envelope:
    """The envelope of a pack."""
    path = PACKS / pack / "envelope.yaml"
    return Envelope.parse(yaml.safe_load(path.read_text(encoding="utf-8")), where=path)


def within(name: str, bound: Bound, chance: random.Random) -> Any:
    """A value inside: one listed, or each bound itself half of the time."""
    if bound.one_of:
        return chance.choice(bound.one_of)
    ends = (bound.at_least, bound.at_most)
    value = chance.choice([*ends, chance.uniform(*ends), chance.uniform(*ends)])
    return round(value) if name in WHOLE else value


def inside(found: Envelope, seed: int) -> Change:
    """A run inside, every field of it drawn."""
    chance, allowed = random.Random(seed), found.modifications
    base = chance.choice(allowed.base)
    some = {
        name: chance.sample(listed, chance.randint(1, len(listed)))
        for name in ("target_modules", "data_classes")
        if (listed := getattr(allowed, name).one_of)
    }
    return Change(
        name=base.name,
        revision=base.revision,
        sha256=base.sha256,
        method=within("method", allowed.method, chance),
        trainable_share=within("trainable_share", allowed.trainable_share, chance),
        hyperparameters={n: within(n, b, chance) for n, b in allowed.hyperparameters.items()},
        rows=within("rows", allowed.rows, chance),
        **some,
    )


def mutations(found: Envelope, seed: int) -> list[tuple[str, Change]]:
    """Every way to leave by one field, of the run that the seed draws: (field, run)."""
    chance, allowed, run = random.Random(-1 - seed), found.modifications, inside(found, seed)
    flipped = ("0" if run.sha256[0] != "0" else "1") + run.sha256[1:]
    made = [
        ("base.name", replace(run, name=f"{run.name}-v2")),
        ("base.revision", replace(run, revision=f"{run.revision}.1")),
        ("base.sha256", replace(run, sha256=flipped)),
        ("method", replace(run, method=_other(METHODS, allowed.method, chance))),
        ("target_modules", replace(run, target_modules=[*run.target_modules, "embed_tokens"])),
        ("data_classes", replace(run, data_classes=[*run.data_classes, _other(ORDER, allowed.data_classes, chance)])),
    ]  # fmt: skip
    for name in ("trainable_share", "rows"):
        steps = beyond(name, getattr(allowed, name))
        made += [(name, replace(run, **{name: value})) for value in steps]
    for name, bound in allowed.hyperparameters.items():
        for value in beyond(name, bound):
            changed = {**run.hyperparameters, name: value}
            made.append((f"hyperparameters.{name}", replace(run, hyperparameters=changed)))
    return [(f"modifications.{field}", change) for field, change in made]


def beyond(name: str, bound: Bound) -> list[Any]:
    """The least step out at each end; of a list, a value that is near one in it, and of another kind."""
    if bound.one_of:
        near = [f"{one}x" if isinstance(one, str) else one + 1 for one in bound.one_of]
        return [one for one in near if one not in bound.one_of]
    if name in WHOLE:
        return [round(bound.at_least) - 1, round(bound.at_most) + 1]
    return [math.nextafter(bound.at_least, -math.inf), math.nextafter(bound.at_most, math.inf)]


def _other(known: Any, bound: Bound, chance: random.Random) -> str:
    return chance.choice([str(one) for one in known if one not in bound.one_of])


def drawn(found: Envelope, seeds: range) -> list[tuple[str, Change]]:
    """One mutated run a seed; in turn over all kinds of fields, so that few seeds reach each."""
    kinds: dict[str, None] = dict.fromkeys(field for field, _ in mutations(found, 0))
    order = random.Random(0).sample(list(kinds), len(kinds))
    made = []
    for seed in seeds:
        field = order[seed % len(order)]
        ways = [one for one in mutations(found, seed) if one[0] == field]
        made.append(random.Random(seed).choice(ways))
    return made


def counts(pack: str, seeds: range) -> dict[str, int]:
    """Of one pack: runs inside accepted, mutated ones refused with exactly the field at fault."""
    found = envelope(pack)
    refused = [
        [one.field for one in decide(found, change)] == [field]
        for field, change in drawn(found, seeds)
    ]
    return {
        "fields": len({field for field, _ in drawn(found, seeds)}),
        "refused": sum(refused),
        "accepted": sum(not decide(found, inside(found, seed)) for seed in seeds),
        "n": len(seeds),
    }


def measure(folder: Path) -> list[str]:
    """A row a pack."""
    facts = len(fields(Change)) - 1
    lines = [
        f"Each run has {facts} facts and its hyperparameters; a mutated run leaves by one of them.",
        "",
        "| pack | fields that were left by | refused with exactly that field | inside, accepted |",
        "|---|---|---|---|",
    ]
    for pack in NAMES:
        for n in (SEEDS, 1000):
            c = counts(pack, range(n))
            lines.append(
                f"| {pack} | {c['fields']} | {c['refused']} of {n} | {c['accepted']} of {n} |"
            )
    return lines
