"""Parity: what is declared, what was rehearsed and what serves must be one and the same."""

from __future__ import annotations

import copy
from datetime import UTC, date, datetime
from typing import Any

import pytest

from workbench.errors import InputError
from workbench.policy.environment import Environment
from workbench.policy.gates import GateVerdict
from workbench.policy.parity import Finding, Rules, Shape, gate, judge, shape

TODAY = date(2026, 11, 22)
WHOLE: dict[str, Any] = {
    "name": "production",
    "compute": {
        "architecture": "x86_64",
        "vendor": "V",
        "accelerator": "none",
        "gpu_models": [],
        "cpu_features": ["avx2", "fma"],
        "threads": 2,
        "domain": "native",
        "memory_bytes": 2**31,
        "loaded": ["libtorch_cpu.so"],
    },
    "os": {"id": "debian", "version": "12"},
    "python": "3.11.7",
    "wheels": {"lock": "lock.txt", "sha256": "ab", "unlike": {}, "records": "ef",
               "installed": {"torch": "2.13.0"}},
    "variables": {"LANG": "C.UTF-8", "HUB_TOKEN": "reference:vault/hub", "TZ": "UTC"},
    "mounts": [{"place": "/", "read_only": True}, {"place": "$SCRATCH", "read_only": False}],
    "egress": ["10.1.0.0/16:443"],
    "identity": {"user": "user", "capabilities": [], "no_new_privileges": True, "seccomp": "filter",
                 "server_key": "ssh-ed25519 A"},
    "isolation": "container",
    "limits": {"cpus": 2, "processes": 500, "files": 1024},
    "components": {"search": "2.1", "index": "sha256:ab"},
    "tokens": {"desk": "caller"},
    "digests": {"code": "c", "templates": "t", "model": "m", "policy": "p", "operations": "o"},
    "serving": {"threads": 2},
}  # fmt: skip
SHAPE: dict[str, Any] = {
    "texts": 400,
    "columns": {"chars": "int", "language": "str"},
    "ascii": 0.99,
    "chars": {"p05": 12, "p50": 60, "p95": 240},
    "language": {"en": 0.97, "unknown": 0.03},
    "missing": 0.0,
}
WHY = {"reason": "w"}
UNTIL = WHY | {"kind": "may_differ", "owner": "Olga Owner", "expires": "2026-11-22"}
OVER = UNTIL | {"expires": "2026-11-21"}
RULES: list[dict[str, Any]] = [
    WHY | {"field": "compute.driver", "kind": "not_applicable"},
    WHY | {"field": "compute.dtype", "kind": "not_applicable"},
    WHY | {"field": "identity.engine_key", "kind": "not_applicable"},
    WHY | {"field": "identity.server_key", "kind": "not_applicable"},
    WHY | {"field": "image", "kind": "not_applicable"},
    WHY | {"field": "variables.LD_PRELOAD", "kind": "forbidden"},
    WHY | {"field": "egress.0.0.0.0*", "kind": "forbidden"},
    UNTIL | {"field": "tokens.*"},
    UNTIL | {"field": "limits.cpus"},
    OVER | {"field": "limits.files"},
    OVER | {"field": "variables.TZ"},
    WHY | {"field": "shape.ascii", "kind": "must_equal", "tolerance": 0.05},
    WHY | {"field": "shape.missing", "kind": "must_equal", "tolerance": 0.02},
    WHY | {"field": "shape.language.*", "kind": "must_equal", "tolerance": 0.1},
    WHY | {"field": "shape.chars.*", "kind": "must_equal", "tolerance": 20},
]
D, P, L = range(3)  # declared, pre-production, live


def changed(whole: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The facts with another value at a dotted path; None there says that nobody knows."""
    facts = copy.deepcopy(whole)
    *groups, name = path.split(".")
    inner = facts
    for group in groups:
        inner = inner[group]
    inner[name] = value
    return facts


def judged(
    path: str = "", value: Any = None, where: int = L, *, rules: Any = RULES, today: date = TODAY
) -> list[Finding]:
    """The findings over three equal environments and shapes, but for one value of one of them."""
    environments, shapes = [WHOLE] * 3, [SHAPE] * 3
    if path.startswith("shape."):
        shapes[where] = changed(SHAPE, path.removeprefix("shape."), value)
    elif path:
        environments[where] = changed(WHOLE, path, value)
    three = [Environment.parse(one) for one in environments]
    taken = [Shape.parse(one) for one in shapes]
    return judge(*three, Rules.parse({"rules": rules}), today, taken)


def test_three_that_are_equal_pass():
    """Each field is listed with its values, its rule and why."""
    found = judged()
    assert {one.verdict for one in found} == {"pass"} and len(found) > 45
    assert gate(found).verdict is GateVerdict.PASSED
    one = next(one for one in found if one.field == "digests.model")
    assert (*one.values, one.rule, one.why) == ("m", "m", "m", "must_equal", "equal")


MUST_EQUAL = [
    ("compute.architecture", "aarch64", P, "compute.architecture"),
    ("compute.threads", 4, L, "compute.threads"),
    ("compute.memory_bytes", "unlimited", L, "compute.memory_bytes"),
    ("compute.cpu_features", ["avx2"], L, "compute.cpu_features.fma"),
    ("compute.loaded", ["libtorch_cpu.so", "libmkl_rt.so"], P, "compute.loaded.libmkl_rt.so"),
    ("os.version", "13", L, "os.version"),
    ("python", "3.12.0", D, "python"),
    ("wheels.sha256", "cd", P, "wheels.sha256"),
    ("wheels.records", "gh", L, "wheels.records"),
    ("wheels.installed", {"torch": "2.14.0"}, L, "wheels.installed.torch"),
    ("wheels.installed", {"torch": "2.13.0", "rich": "1"}, L, "wheels.installed.rich"),
    ("variables", {"LANG": "C", "HUB_TOKEN": "reference:x", "TZ": "UTC"}, L, "variables.LANG"),
    ("variables", {"LANG": "C.UTF-8", "TZ": "UTC"}, P, "variables.HUB_TOKEN"),
    ("mounts", [{"place": "/", "read_only": False}, WHOLE["mounts"][1]], L, "mounts./"),
    ("mounts", [*WHOLE["mounts"], {"place": "/root", "read_only": True}], L, "mounts./root"),
    ("egress", [], P, "egress.10.1.0.0/16:443"),
    ("identity.user", "root", L, "identity.user"),
    ("identity.capabilities", ["net_admin"], L, "identity.capabilities"),
    ("identity.no_new_privileges", False, L, "identity.no_new_privileges"),
    ("isolation", "namespace", P, "isolation"),
    ("components", {"search": "2.2", "index": "sha256:ab"}, L, "components.search"),
    ("components", {"search": "2.1", "index": "sha256:cd"}, P, "components.index"),
    ("digests.model", "n", L, "digests.model"),
    ("digests.policy", "q", P, "digests.policy"),
    ("serving", {"threads": 2, "timeout_s": 5}, L, "serving.timeout_s"),
    ("shape.ascii", 0.9, L, "shape.ascii"),
    ("shape.missing", 0.05, P, "shape.missing"),
    ("shape.language", {"en": 0.8, "unknown": 0.05, "de": 0.15}, L, None),
    ("shape.chars", {"p05": 12, "p50": 60, "p95": 900}, L, "shape.chars.p95"),
    ("shape.columns", {"chars": "float", "language": "str"}, L, "shape.columns.chars"),
]


@pytest.mark.parametrize(("path", "value", "where", "field"), MUST_EQUAL)
def test_a_field_that_must_equal_fails_when_one_of_three_differs(path, value, where, field):
    """It alone fails, whichever of the three it is, and the gate names it."""
    if field is None:  # one language more is another less
        found = {one.field for one in judged(path, value, where) if one.verdict == "fail"}
        assert found == {"shape.language.en", "shape.language.de"}
        return
    (found,) = [one for one in judged(path, value, where) if one.verdict == "fail"]
    assert (found.field, found.rule, found.why) == (field, "must_equal", "differs")
    assert found.values[where] not in [v for i, v in enumerate(found.values) if i != where]
    assert gate(judged(path, value, where)).failing == (field,)


ALLOWED = [
    ("tokens", {"desk": "caller", "app": "caller"}, L, "tokens.app", "allowed by Olga Owner"),
    ("limits.cpus", 8, P, "limits.cpus", "allowed by Olga Owner"),
    ("identity.server_key", "ssh-ed25519 B", L, "identity.server_key", "w"),
    ("compute.driver", "550.1", L, "compute.driver", "w"),
    ("shape.ascii", 0.96, L, "shape.ascii", "equal"),
    ("shape.chars", {"p05": 12, "p50": 60, "p95": 255}, L, "shape.chars.p95", "equal"),
    ("variables", {"LANG": "C.UTF-8", "HUB_TOKEN": "reference:set", "TZ": "UTC"}, L,
     "variables.HUB_TOKEN", "equal"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "where", "field", "why"), ALLOWED)
def test_a_difference_that_a_rule_allows_passes_and_says_why(path, value, where, field, why):
    """Owner and last day of an allowance, the reason of what does not apply, a tolerance."""
    found = judged(path, value, where)
    assert gate(found).verdict is GateVerdict.PASSED
    (one,) = [one for one in found if one.field == field]
    apart = len(set(map(str, one.values))) > 1  # where a secret is kept is nobody's business
    assert one.why.startswith(why) and apart == (field != "variables.HUB_TOKEN")


REFUSED = [
    ("limits.files", 99, L, "limits.files", "may_differ", "no more allowed"),
    ("variables", {"LANG": "C.UTF-8", "HUB_TOKEN": "reference:x", "TZ": "CET"}, P, "variables.TZ",
     "may_differ", "no more allowed"),
    ("variables", WHOLE["variables"] | {"LD_PRELOAD": "x.so"}, L, "variables.LD_PRELOAD",
     "forbidden", "forbidden, and there: production"),
    ("egress", ["10.1.0.0/16:443", "0.0.0.0/0:443"], D, "egress.0.0.0.0/0:443", "forbidden",
     "forbidden, and there: declared"),
    ("digests.code", None, P, "digests.code", "must_equal", "not known: preproduction"),
    ("limits.cpus", None, L, "limits.cpus", "may_differ", "not known: production"),
    ("tokens", None, D, "tokens.desk", "may_differ", "not known: declared"),
    ("components", None, P, "components.search", "must_equal", "not known: preproduction"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "where", "field", "kind", "why"), REFUSED)
def test_what_is_over_forbidden_or_unknown_fails(path, value, where, field, kind, why):
    """An allowance past its day, what must be nowhere, and what nobody knows, whatever the rule."""
    failing = [one for one in judged(path, value, where) if one.verdict == "fail"]
    one = next(one for one in failing if one.field == field)
    assert one.rule == kind and one.why.startswith(why)
    assert {one.field.partition(".")[0] for one in failing} == {field.partition(".")[0]}
    assert gate(failing).verdict is GateVerdict.FAILED


def test_forty_differences_of_one_field_and_more_are_judged_here():
    """The lists above are what the figure counts."""
    assert len(MUST_EQUAL) + len(ALLOWED) + len(REFUSED) >= 40


def test_without_a_rule_every_difference_and_everything_unknown_fails():
    """Rules only ever allow: nothing passes because nobody thought of it."""
    found = {one.field: one for one in judged("tokens", {"desk": "operator"}, rules=[])}
    assert found["tokens.desk"].why == "differs"
    assert found["image"].why == "not known: declared, preproduction, production"
    assert found["shape.chars.p50"].verdict == "pass"


def test_the_last_day_of_an_allowance_still_counts():
    """The day after, the field must equal again; one that does equal goes on passing."""
    late = date(2026, 11, 23)
    assert gate(judged("tokens", {"desk": "operator"})).verdict is GateVerdict.PASSED
    assert gate(judged("tokens", {"desk": "operator"}, today=late)).failing == ("tokens.desk",)
    assert gate(judged(today=late)).verdict is GateVerdict.PASSED


@pytest.mark.parametrize("where", [D, P, L])
def test_an_environment_whose_life_has_ended_fails_parity(where):
    """To the second where it ends at a moment; no rule allows it."""
    noon, rules = "2026-11-22T12:00:00Z", [*RULES, WHY | {"field": "*", "kind": "not_applicable"}]
    moment = datetime(2026, 11, 22, 11, 59, 59, tzinfo=UTC)
    assert gate(judged("expires", noon, where, today=moment)).verdict is GateVerdict.PASSED
    found = judged("expires", noon, where, today=moment.replace(hour=12), rules=rules)
    assert gate(found).failing == ("expires",)


def test_a_shape_that_nobody_took_fails_and_no_shapes_are_no_shapes():
    """Traffic is unknown before there is any, and whoever judges has to say what stands for it."""
    three = [Environment.parse(WHOLE)] * 3
    taken = [Shape.parse(SHAPE), Shape.parse(SHAPE), None]
    found = judge(*three, Rules.parse({"rules": RULES}), TODAY, taken)
    failing = {one.field for one in found if one.verdict == "fail"}
    assert failing == {one.field for one in judged() if one.field.startswith("shape.")}
    alone = judge(*three, Rules.parse({"rules": RULES}), TODAY)
    assert not any(one.field.startswith("shape") for one in alone)


def test_what_fails_stands_first_and_the_gate_says_what():
    """So that a reader of the diff sees it; a diff of nothing is no evaluation."""
    found = judged("digests.model", "n")
    assert found[0].field == "digests.model"
    result = gate(found)
    assert (result.criterion, result.blocking) == ("parity", True)
    assert "digests.model: differs" in result.reason and f"1 of {len(found)}" in result.reason
    assert gate([]).verdict is GateVerdict.NOT_EVALUATED


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"field": "python", "kind": "may_differ"}, "owner and expires"),
        ({"field": "python", "kind": "may_differ", "owner": "O"}, "owner and expires"),
        (UNTIL | {"field": "python", "kind": "forbidden"}, "owner and expires"),
        ({"field": "python", "kind": "forbidden", "tolerance": 0.1}, "tolerance"),
        ({"field": "variabels.LD_PRELOAD", "kind": "forbidden"}, "begins with one of"),
        ({"field": "expires", "kind": "not_applicable"}, "begins with one of"),
        ({"field": "python", "kind": "ignored"}, "not_applicable"),
    ],
)
def test_a_rule_that_says_too_little_or_too_much_is_refused(rule, says):
    """An allowance without an owner and a last day, and a field that there isn't."""
    with pytest.raises(InputError) as refused:
        Rules.parse({"rules": [WHY | rule]})
    assert says in str(refused.value)


def test_the_first_rule_that_fits_holds():
    """So an exception stands above the rule; a group's pattern is the group's, where it is unknown."""
    rules = Rules.parse({"rules": [WHY | {"field": "egress.*", "kind": "not_applicable"},
                                   WHY | {"field": "*", "kind": "forbidden"}]})  # fmt: skip
    assert [rules.rule(one).kind for one in ("egress.x", "egress", "python")] == [
        "not_applicable", "not_applicable", "forbidden"]  # fmt: skip


LINE = {"chars": 10, "words": 2, "language": "en", "ascii": 1.0, "missing": 0}


def test_the_shape_of_texts_is_counted_from_what_the_log_says_of_each():
    """Means, shares and the sample's own quantiles; a language that nobody could tell is a share."""
    lines = [LINE | {"chars": n} for n in range(1, 21)] + [
        LINE | {"language": None, "ascii": 0.0, "missing": 1, "chars": 0}
    ]
    found = shape(lines)
    assert (found.texts, found.chars) == (21, {"p05": 1, "p50": 10, "p95": 19})
    assert found.language == {"en": 20 / 21, "unknown": 1 / 21}
    assert (found.ascii, found.missing) == (20 / 21, 1 / 21)
    assert found.columns == {"chars": "number", "words": "number", "language": "str",
                             "ascii": "number", "missing": "number"}  # fmt: skip
    assert shape([]) is None


def test_a_share_that_canonical_json_writes_as_a_whole_number_is_no_other_schema():
    """A text all in ASCII has the share 1, and one that is not 0.98; both are numbers."""
    whole, part = ({"chars": 9, "language": "en", "ascii": a, "missing": 0} for a in (1, 0.98))
    assert shape([whole]).columns == shape([part]).columns


def test_another_schema_of_the_traffic_is_seen():
    """A field whose values became texts, and one that is new."""
    was, now = shape([LINE]), shape([LINE | {"chars": 10, "channel": "app"}])
    assert now.columns.items() - was.columns.items() == {("channel", "str")}
