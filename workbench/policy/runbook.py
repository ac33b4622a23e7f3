"""The runbook of an environment: who does what, when, by which command (E5).

Generated from `operations.yaml` and from what serves, so that it can't be out of date: whoever is
called at night reads what holds now.
"""

from __future__ import annotations

from .deployment import State
from .operations import Operations, Signal

WHO = "an operator or the owner of the use case"


def render(usecase: str, environment: str, operations: Operations, held: State) -> str:
    """The runbook as Markdown."""
    asked = operations.deployments.get(environment)
    sign = "--by NAME --sign-with KEY"
    deploy = f"workbench deploy -e {environment} {sign}"
    window = asked.window if asked else None
    when = (f"{', '.join(window.days)}, {window.start:%H:%M} to {window.end:%H:%M} {window.zone}"
            if window else "at any time")  # fmt: skip
    canary = asked.canary if asked else None
    lines = [
        f"# Runbook: {usecase} in {environment}",
        "",
        f"Operations, version {operations.version}. All commands run in the folder of the use case.",
        "",
        "## What serves",
        "",
        *(_serving(held) or ["- nothing"]),
        "",
        "## Something is wrong: take it back",
        "",
        "Needs no window and no approval. A canary is halted; else the last release that served all",
        "before and is still approved serves again; else nothing does, and the fallback answers.",
        "",
        f"    {deploy} --action roll_back --reason WHY",
        "",
        f"Who: {WHO}; the monitor does it by itself for the signals marked below. What was taken",
        "back serves again only under new approvals. Nothing shall answer at all:",
        "",
        f"    {deploy} --action stop --reason WHY",
        "",
        f"Then say what happened: `workbench incident open -e {environment}`.",
        "",
        "## A new release",
        "",
        f"When: {when}. Who: {WHO}.",
        "",
        *(["1. Rehearse: `workbench preprod up`, `workbench preprod rehearse`."]
          if asked and asked.rehearsed else []),
        *([f"1. Canary of {canary.share:.0%}: `{deploy} --action canary`.",
           f"1. After {canary.minutes:g} minutes and {canary.requests} answers: "
           f"`{deploy} --action promote`, if:",
           *(f"    - {one.id}: {one.figure} {one.asked}. {one.harm}" for one in operations.promotion)]
          if canary else [f"1. `{deploy}`."]),
        "",
        "## What is watched",
        "",
        *(f"- {one.id}: {_threshold(one)}. {one.harm}" for one in operations.monitor.signals),
        "",
        "## What is there",
        "",
        f"    workbench serve --status -e {environment}",
        f"    workbench at -e {environment}",
        f"    workbench monitor -e {environment} --once",
        "",
        f"Where the model must not answer, the caller is told: {operations.fallback.say}",
        "",
    ]  # fmt: skip
    return "\n".join(lines)


def _serving(held: State) -> list[str]:
    return [
        f"- {'canary' if one is held.canary else 'stable'}: bundle {one.bundle[:12]}, by {one.by}, "
        f"since {one.time[:19]}Z, ledger entry {one.entry}"
        + (f", share {one.share:.0%}" if one.share else "")
        for one in held.serving
    ]


def _threshold(one: Signal) -> str:
    asked = f"at most {one.at_most:.0%}" if one.rate else f"a shift below PSI {one.psi:g}"
    slow = f" slower than {one.slower_than_ms:g} ms" if one.slower_than_ms else ""
    then = "taken back by itself" if one.then == "roll_back" else "reported"
    return f"{asked}{slow}, else {then}"
