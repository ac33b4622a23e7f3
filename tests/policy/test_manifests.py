"""An environment as manifests: what was declared, run by nobody special, or refused."""

from __future__ import annotations

import copy
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from workbench.errors import InputError
from workbench.policy.environment import Environment
from workbench.policy.manifests import FILES, faults, render
from workbench.policy.operations import Operations

ROOT = Path(__file__).parents[2] / "templates"
TEMPLATES = {name: (ROOT / "environments" / name).read_text(encoding="utf-8") for name in FILES}
DECLARED: dict[str, Any] = {
    "name": "production",
    "compute": {"memory_bytes": 2**31},
    "python": "3.11.7",
    "wheels": {"lock": "requirements/lock.txt", "sha256": "ab" * 32, "records": "ef" * 32},
    "variables": {"OMP_NUM_THREADS": "2", "HF_HOME": "$SCRATCH/home", "ODD": 'a "b": $c',
                  "HUB_TOKEN": "reference:vault/hub"},
    "egress": ["10.1.0.0/16:443"],
    "identity": {"user": "user", "capabilities": [], "server_key": "ssh-ed25519 AAAA"},
    "limits": {"cpus": 1.5, "processes": 200, "files": 1024},
    "serving": {"threads": 2, "timeout_s": 3},
}  # fmt: skip


def operations() -> Operations:
    path = ROOT / "usecases" / "intent-routing" / "operations.yaml"
    return Operations.parse(yaml.safe_load(path.read_text(encoding="utf-8")))


def rendered(**changes: Any) -> dict[str, str]:
    declared = Environment.parse(DECLARED | changes)
    return render(TEMPLATES, declared, operations(), "intent-routing")


def kubernetes(**changes: Any) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(rendered(**changes)["kubernetes.yaml"]))


def pod(documents: list[dict[str, Any]]) -> dict[str, Any]:
    return documents[1]["spec"]["template"]["spec"]


# ---- against the schemas of those who read them --------------------------------------------------


@pytest.fixture(scope="module")
def compose_schema() -> Any:
    """The compose specification's own schema, as check-jsonschema ships it."""
    jsonschema = pytest.importorskip("jsonschema")
    found = importlib.util.find_spec("check_jsonschema")
    if found is None:
        pytest.skip("check-jsonschema is not installed")
    folder = Path(found.submodule_search_locations[0]) / "builtin_schemas" / "vendor"
    return jsonschema.Draft7Validator(json.loads((folder / "compose-spec.json").read_bytes()))


@pytest.mark.parametrize("changes", [{}, {"egress": []}, {"image": "r/w@sha256:aa"}])
def test_the_compose_file_is_one(compose_schema, changes):
    """Against the specification's schema, offline; and the schema would say so if it were none."""
    found = yaml.safe_load(rendered(**changes)["compose.yaml"])
    assert list(compose_schema.iter_errors(found)) == []
    found["services"]["gateway"]["read_only"] = ["yes"]
    assert list(compose_schema.iter_errors(found))


@pytest.mark.parametrize("changes", [{}, {"egress": []}, {"variables": {}}])
def test_the_kubernetes_documents_are_some(changes):
    """Each against the schema of its kind, strictly: an unknown field is an error."""
    known = pytest.importorskip("kubernetes_validate")
    documents = kubernetes(**changes)
    kinds = [one["kind"] for one in documents]
    assert kinds == ["ConfigMap", "Deployment", "Service", "NetworkPolicy", "NetworkPolicy"]
    for one in documents:
        known.validate(one, known.latest_version(), strict=True)


def test_an_invalid_kubernetes_document_is_refused_by_its_schema():
    """A misspelt field, and a number of replicas that is none."""
    known = pytest.importorskip("kubernetes_validate")
    for change in ({"replicas": "many"}, {"replica": 1}):
        document = copy.deepcopy(kubernetes()[1])
        document["spec"] |= change
        with pytest.raises(known.ValidationError):
            known.validate(document, known.latest_version(), strict=True)


# ---- what they say -------------------------------------------------------------------------------


def test_a_pod_is_nobody_special_and_can_write_its_volumes_alone():
    """The rules of `faults`, seen in the documents themselves."""
    found = pod(kubernetes())
    (box,) = found["containers"]
    assert found["securityContext"]["runAsNonRoot"] and found["securityContext"]["runAsUser"] > 0
    assert found["automountServiceAccountToken"] is False
    assert box["securityContext"]["readOnlyRootFilesystem"]
    assert box["resources"]["limits"] == {"cpu": "1.5", "memory": str(2**31)}
    assert [one["name"] for one in box["volumeMounts"] if not one.get("readOnly")] == [
        "served", "tmp"]  # fmt: skip


def test_the_network_is_closed_but_for_what_is_declared():
    """Deny all first; then callers by label, and the declared addresses."""
    closed, opened = (one["spec"] for one in kubernetes()[3:])
    assert closed == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert opened["egress"] == [{"to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}],
                                 "ports": [{"protocol": "TCP", "port": 443}]}]  # fmt: skip
    assert kubernetes(egress=[])[4]["spec"]["egress"] == []
    compose = {one: yaml.safe_load(rendered(egress=one and ["10.1.0.0/16:443"])["compose.yaml"])
               for one in ((), (1,))}  # fmt: skip
    assert [one["networks"]["inside"]["internal"] for one in compose.values()] == [True, False]


def test_variables_are_the_declared_ones_with_places_of_the_image():
    """What is kept elsewhere is named and never written; signs of the formats do no harm."""
    gateway = yaml.safe_load(rendered()["compose.yaml"])["services"]["gateway"]["environment"]
    assert gateway == {"OMP_NUM_THREADS": "2", "HF_HOME": "/served/home", "ODD": 'a "b": $$c',
                       "HUB_TOKEN": "${HUB_TOKEN:?reference:vault/hub}"}  # fmt: skip
    given = {one["name"]: one for one in pod(kubernetes())["containers"][0]["env"]}
    assert given["ODD"]["value"] == 'a "b": $c'
    assert given["HUB_TOKEN"]["valueFrom"]["secretKeyRef"]["key"] == "HUB_TOKEN"


def test_the_gateway_is_told_what_was_declared():
    """The declared settings, in the file and in the ConfigMap alike."""
    told = json.loads(rendered()["spec.json"])
    assert told == json.loads(kubernetes()[0]["data"]["spec.json"])
    assert told["operations"]["serving"]["timeout_s"] == 3
    assert Operations.parse(told["operations"]).fallback == operations().fallback
    assert (told["usecase"], told["environment"]) == ("intent-routing", "production")


def test_every_manifest_says_that_no_image_was_built():
    """And names what was hashed in its place; the base image has to be given by digest."""
    found = rendered()
    for name in ("Dockerfile", "compose.yaml", "kubernetes.yaml"):
        assert "No image was built here." in found[name]
        assert "ab" * 32 in found[name] and "ef" * 32 in found[name]
    assert "ARG BASE\nFROM ${BASE}\n" in found["Dockerfile"]
    assert re.search(
        r"sha256sum --check.*\\\n && pip install .*--require-hashes", found["Dockerfile"]
    )
    assert re.search(r"^USER 10001:10001$", found["Dockerfile"], re.MULTILINE)


def test_an_image_by_digest_is_used_where_it_is_declared():
    """As it stands there."""
    image = "registry.example/workbench@sha256:" + "aa" * 32
    assert pod(kubernetes(image=image))["containers"][0]["image"] == image


# ---- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"identity": DECLARED["identity"] | {"user": "root"}}, "nothing runs as root"),
        ({"identity": DECLARED["identity"] | {"capabilities": ["net_admin"]}}, "capabilities"),
        ({"identity": DECLARED["identity"] | {"capabilities": None}}, "capabilities"),
        ({"compute": {"memory_bytes": "unlimited"}}, "memory_bytes"),
        ({"limits": {"cpus": 1, "files": 9}}, "processes"),
        ({"egress": ["*"]}, "10.1.0.0/16:443"),
        ({"egress": ["hub.example:443"]}, "no host by name"),
        ({"egress": None}, "egress"),
        ({"serving": None}, "serving"),
        ({"wheels": {"lock": "l", "sha256": "s"}}, "records"),
    ],
)  # fmt: skip
def test_a_declaration_that_says_too_little_or_too_much_makes_no_manifest(changes, says):
    """What is missing is never made up, and root is never quietly another."""
    with pytest.raises(InputError) as refused:
        rendered(**changes)
    assert says in str(refused.value) and "environments/production.yaml" in str(refused.value)


FAULTS = [
    (("securityContext", "runAsNonRoot"), False, "runAsNonRoot"),
    (("securityContext", "runAsUser"), 0, "may run as root"),
    (("securityContext", "seccompProfile"), {"type": "Unconfined"}, "seccompProfile"),
    (("automountServiceAccountToken",), True, "automountServiceAccountToken"),
    (("containers", 0, "securityContext", "readOnlyRootFilesystem"), False, "readOnly"),
    (("containers", 0, "securityContext", "allowPrivilegeEscalation"), True, "Escalation"),
    (("containers", 0, "securityContext", "capabilities"), {"add": ["NET_RAW"]}, "capabilities"),
    (("containers", 0, "securityContext", "privileged"), True, "may run as root"),
    (("containers", 0, "securityContext", "runAsUser"), 0, "may run as root"),
    (("containers", 0, "resources"), {}, "no limits"),
    (("containers", 0, "livenessProbe"), {}, "livenessProbe"),
    (("containers", 0, "readinessProbe", "httpGet", "path"), "/", "readinessProbe"),
]


@pytest.mark.parametrize(("path", "value", "says"), FAULTS)
def test_a_pod_that_breaks_a_rule_is_found(path, value, says):
    """Each rule by itself, in documents that keep all others."""
    documents = kubernetes()
    assert faults(documents) == []
    *above, last = path
    inner: Any = pod(documents)
    for step in above:
        inner = inner[step]
    inner[last] = value
    (found,) = faults(documents)
    assert says in found


def test_without_a_deployment_or_a_closed_network_the_documents_are_at_fault():
    """An open policy is no denial."""
    documents = kubernetes()
    assert faults(documents[:3]) == ["no NetworkPolicy denies all"]
    assert faults(documents[2:]) == ["no Deployment"]
    documents[3]["spec"]["egress"] = [{}]
    assert faults(documents) == ["no NetworkPolicy denies all"]


def test_a_changed_template_that_runs_as_root_is_refused():
    """The check is of what is written, not of what was meant."""
    templates = TEMPLATES | {
        "kubernetes.yaml": TEMPLATES["kubernetes.yaml"].replace("runAsUser: $user", "runAsUser: 0")
    }
    with pytest.raises(InputError, match="not safe"):
        render(templates, Environment.parse(DECLARED), operations(), "u")
