"""An environment's spec as Dockerfile, compose file and Kubernetes manifests (E2).

The gateway runs as nobody special, on a root filesystem that can't be written, without privileges,
and reaches what is declared and nothing else; the authority runs elsewhere and writes its leases
onto the volume `served`. What the declaration leaves open, or states otherwise, is refused and not
made up: a manifest that differs from it would be a second truth.

No image is built here, so none is named by digest unless the declaration does; what pins it until
then is the lock and the digest of what is installed, and every file says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_network
from string import Template
from typing import Any

import yaml

from ..errors import InputError
from .environment import ELSEWHERE, Environment
from .operations import Operations

Json = dict[str, Any]
USER, PORT = 10001, 8000
FILES = ("Dockerfile", "compose.yaml", "kubernetes.yaml", "spec.json")
INSIDE = {"$SCRATCH": "/served", "$WORKBENCH": "/opt/workbench", "$PYTHON": "/usr/local",
          "$PYTHON_BASE": "/usr/local"}  # fmt: skip
"""What stands for a place of this machine -> that place in the image."""
POD: Json = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
CONTAINER: Json = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                   "capabilities": {"drop": ["ALL"]}}  # fmt: skip
PROBES = {"livenessProbe": "/healthz", "readinessProbe": "/readyz"}


def render(
    templates: Mapping[str, str], declared: Environment, operations: Operations, usecase: str
) -> dict[str, str]:
    """File name -> text, from the templates of `FILES`. InputError lists what the declaration must
    state first, or what of the templates breaks a rule of `faults`."""
    if wrong := list(_open(declared)):
        raise InputError(
            f"The environment {declared.name} can't be written as manifests yet.",
            given="; ".join(wrong),
            next_step=f"State it in environments/{declared.name}.yaml.",
        )
    facts = _facts(declared, usecase)
    served = operations.model_copy(update={"serving": declared.serving})
    facts["operations"] = json.dumps(served.plain())
    facts["spec"] = json.dumps(Template(templates["spec.json"]).substitute(facts))
    found = {name: Template(templates[name]).substitute(facts) for name in FILES}
    if wrong := faults(list(yaml.safe_load_all(found["kubernetes.yaml"]))):
        raise InputError("The template of the manifests is not safe.", given="; ".join(wrong))
    return found


def _open(declared: Environment) -> Iterator[str]:
    """What a manifest needs and the declaration doesn't state, or states so that no pod may."""
    identity, limits = declared.identity, declared.limits
    if identity.user != "user" or identity.capabilities != []:
        yield "identity: user `user`, capabilities []; nothing runs as root"
    wanted = (declared.compute.memory_bytes, limits.cpus, limits.files, limits.processes)
    if not all(isinstance(one, (int, float)) for one in wanted):
        yield "compute.memory_bytes, limits.cpus, files and processes, as numbers"
    if declared.egress is None or not all(map(_peer, declared.egress)):
        yield "egress: [], or addresses such as 10.1.0.0/16:443; a policy knows no host by name"
    if None in (declared.serving, declared.variables, declared.python, identity.server_key):
        yield "serving, variables, python and identity.server_key"
    if None in (declared.wheels.lock, declared.wheels.sha256, declared.wheels.records):
        yield "wheels: lock, sha256 and records"


def _peer(place: str) -> Json | None:
    """A declared `CIDR:PORT` as a rule of egress; None where it is none."""
    block, _, port = place.rpartition(":")
    try:
        found = {"to": [{"ipBlock": {"cidr": str(ip_network(block))}}]}
        return found | {"ports": [{"protocol": "TCP", "port": int(port)}]}
    except ValueError:
        return None


def _facts(declared: Environment, usecase: str) -> dict[str, Any]:
    """Word of a template -> what stands for it; lists and mappings as JSON, which is YAML too."""
    app, places = f"{usecase}-{declared.name}", re.compile(r"\$[A-Z_]+")
    named = sorted((declared.variables or {}).items())
    values = {n: places.sub(lambda at: INSIDE.get(at[0], at[0]), v) for n, v in named}
    kept = {name for name, value in named if value.startswith(ELSEWHERE)}
    stated = {n: f"${{{n}:?{v}}}" if n in kept else v.replace("$", "$$") for n, v in values.items()}
    asked = [
        {"name": n, "valueFrom": {"secretKeyRef": {"name": f"{app}-variables", "key": n}}}
        if n in kept else {"name": n, "value": v}
        for n, v in values.items()
    ]  # fmt: skip
    egress = declared.egress or []
    return {
        "name": declared.name, "usecase": usecase, "app": app, "user": USER, "port": PORT,
        "image": declared.image or f"workbench-{app}", "python": declared.python,
        "server_key": declared.identity.server_key, "memory": declared.compute.memory_bytes,
        "variables": json.dumps(stated), "references": json.dumps(asked),
        "egress": json.dumps([_peer(one) for one in egress]), "internal": json.dumps(not egress),
        **declared.limits.model_dump(), **declared.wheels.model_dump(exclude={"installed"}),
    }  # fmt: skip


# ---- the check -----------------------------------------------------------------------------------


def faults(documents: Sequence[Json]) -> list[str]:
    """What of Kubernetes documents, ours or another's, breaks a rule; empty for nothing."""
    policies = [one["spec"] for one in documents if one["kind"] == "NetworkPolicy"]
    closed = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    found = [] if closed in policies else ["no NetworkPolicy denies all"]
    pods = [one["spec"]["template"]["spec"] for one in documents if one["kind"] == "Deployment"]
    return found + [fault for pod in pods for fault in _pod(pod)] + ["no Deployment"] * (not pods)


def _pod(pod: Json) -> Iterator[str]:
    if pod.get("automountServiceAccountToken") is not False:
        yield "automountServiceAccountToken is not false"
    held = pod.get("securityContext", {})
    yield from (f"the pod's {one} is not {POD[one]}" for one in POD if held.get(one) != POD[one])
    for box in (*pod.get("initContainers", ()), *pod["containers"]):
        name, own = box["name"], box.get("securityContext", {})
        wrong = [one for one in CONTAINER if own.get(one) != CONTAINER[one]]
        yield from (f"{name}: {one} is not {CONTAINER[one]}" for one in wrong)
        user = own.get("runAsUser", held.get("runAsUser"))
        if not user or own.get("runAsNonRoot", True) is False or own.get("privileged"):
            yield f"{name}: may run as root"
        if {"cpu", "memory"} - box.get("resources", {}).get("limits", {}).keys():
            yield f"{name}: no limits of cpu and memory"
        asked = {probe: box.get(probe, {}).get("httpGet", {}).get("path") for probe in PROBES}
        yield from (
            f"{name}: no {one} at {PROBES[one]}" for one in PROBES if asked[one] != PROBES[one]
        )
