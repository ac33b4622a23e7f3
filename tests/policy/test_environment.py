"""An environment as code: every declared field must equal what is observed."""

from __future__ import annotations

import copy
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from workbench.errors import InputError
from workbench.policy.environment import (
    Difference,
    Environment,
    Pin,
    compare,
    pins,
    undeclared,
    unlike,
)

WHOLE: dict[str, Any] = {
    "name": "training",
    "purpose": "Retraining.",
    "compute": {
        "architecture": "x86_64",
        "vendor": "V",
        "accelerator": "cuda",
        "gpu_models": ["G"],
        "driver": "550.1",
        "cpu_features": ["avx2", "fma"],
        "threads": 2,
        "dtype": "float32",
        "domain": "native",
        "memory_bytes": 2**34,
        "loaded": ["libtorch_cpu.so"],
    },
    "image": "w@sha256:aa",
    "os": {"id": "debian", "version": "12"},
    "python": "3.11.7",
    "wheels": {
        "lock": "lock.txt",
        "sha256": "ab",
        "unlike": {},
        "installed": {"torch": "2.13.0"},
        "records": "ef",
    },
    "variables": {"LANG": "C.UTF-8", "HUB_TOKEN": "reference:vault/hub"},
    "mounts": [{"place": "$SCRATCH", "read_only": False}, {"place": "/data", "read_only": True}],
    "egress": [],
    "identity": {"user": "user", "engine_key": "k", "server_key": "ssh-ed25519 A",
                 "capabilities": [], "no_new_privileges": True, "seccomp": "filter"},
    "limits": {"cpus": 2, "processes": 500, "files": 1024},
    "components": {"search": "sha256:ab"},
    "tokens": {"desk": "caller"},
    "digests": {"code": "c", "templates": "t", "model": "m", "policy": "p", "operations": "o"},
    "isolation": "namespace",
    "zone": {"name": "here", "holds": "personal"},
    "serving": {"threads": 2},
    "expires": "2030-01-01",
}  # fmt: skip


def changed(path: str, value: Any) -> Environment:
    """WHOLE with another value at a dotted path."""
    facts = copy.deepcopy(WHOLE)
    *groups, name = path.split(".")
    inner = facts
    for group in groups:
        inner = inner[group]
    inner[name] = value
    return Environment.parse(facts)


whole = Environment.parse(WHOLE)


def test_what_is_as_declared_does_not_differ():
    """Name, purpose and zone are a person's statement; nothing observes them."""
    assert compare(whole, whole) == []
    observed = whole.model_copy(update={"name": "observed", "purpose": "", "zone": None})
    assert compare(whole, observed) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("compute.architecture", "aarch64"),
        ("compute.vendor", "W"),
        ("compute.accelerator", "none"),
        ("compute.gpu_models", ["G", "G"]),
        ("compute.driver", "551.0"),
        ("compute.cpu_features", ["avx2"]),
        ("compute.threads", 1),
        ("compute.dtype", "bfloat16"),
        ("compute.domain", "portable"),
        ("compute.memory_bytes", 2**33),
        ("image", "w@sha256:bb"),
        ("os.id", "ubuntu"),
        ("os.version", "13"),
        ("python", "3.12.0"),
        ("wheels.lock", "uv.lock"),
        ("wheels.sha256", "cd"),
        ("wheels.unlike", {"numpy": "1.0, pinned to 2.0"}),
        ("mounts", [{"place": "$SCRATCH", "read_only": False}]),
        ("mounts", [{"place": "$SCRATCH", "read_only": False}, {"place": "/data", "read_only": False}]),
        ("egress", ["hub.example"]),
        ("egress", ["*"]),
        ("identity.user", "root"),
        ("identity.engine_key", "j"),
        ("isolation", "none"),
        ("identity.capabilities", ["net_admin"]),
        ("identity.no_new_privileges", False),
        ("identity.seccomp", "off"),
        ("limits.files", "unlimited"),
        ("limits.cpus", 4),
        ("components.search", "sha256:cd"),
        ("tokens.desk", "operator"),
        ("digests.model", "n"),
        ("wheels.records", "gh"),
        ("compute.loaded", ["libtorch_cpu.so", "libopenblas.so"]),
        ("serving.threads", 3),
    ],
)  # fmt: skip
def test_every_field_that_differs_is_named_with_both_values(path, value):
    """And no other field is."""
    (found,) = compare(whole, changed(path, value))
    assert found.field == path
    assert found.declared != found.observed


@pytest.mark.parametrize(
    "path", ["compute.driver", "image", "os.version", "python", "variables", "mounts", "egress",
             "isolation", "serving", "wheels.sha256", "wheels.installed"],
)  # fmt: skip
def test_what_could_not_be_observed_differs_from_anything_declared(path):
    """Unknown is never taken for equal."""
    found = compare(whole, changed(path, None))
    assert found and all(one.field.startswith(path) and one.observed is None for one in found)


def test_variables_are_compared_one_by_one_and_none_may_be_added():
    """A variable that nobody declared can change a result as well as one that changed."""
    more = changed("variables", {"LANG": "C", "MKL_CBWR": "AVX2"})
    assert compare(whole, more) == [
        Difference("variables.LANG", "C.UTF-8", "C"),
        Difference("variables.HUB_TOKEN", "reference:vault/hub", None),
        Difference("variables.MKL_CBWR", None, "AVX2"),
    ]


def test_a_processor_may_have_more_and_more_may_be_installed():
    """What is declared is what must be there."""
    assert compare(whole, changed("compute.cpu_features", ["fma", "avx2", "avx512f"])) == []
    assert compare(whole, changed("wheels.installed", {"torch": "2.13.0", "rich": "1"})) == []
    (found,) = compare(whole, changed("wheels.installed", {"torch": "2.14.0"}))
    assert found == Difference("wheels.installed.torch", "2.13.0", "2.14.0")


def test_the_order_of_mounts_means_nothing():
    """Two lists of the same places are equal."""
    assert compare(whole, changed("mounts", WHOLE["mounts"][::-1])) == []


def test_what_is_left_open_is_not_compared_but_listed():
    """A declaration of almost nothing holds anywhere, and says how little it asks."""
    bare = Environment(name="training")
    assert compare(bare, whole) == []
    assert {"compute.threads", "image", "mounts", "wheels.installed", "zone"} <= set(
        undeclared(bare)
    )
    assert undeclared(whole) == []
    assert undeclared(changed("egress", [])) == []  # declared: no host


def test_an_expired_environment_differs():
    """The last day still counts; without a day asked about nothing expires."""
    assert compare(whole, whole, date(2030, 1, 1)) == []
    (found,) = compare(whole, whole, date(2030, 1, 2))
    assert found == Difference("expires", date(2030, 1, 1), date(2030, 1, 2))


def test_a_life_may_end_at_a_moment():
    """Of a disposable environment; asked for a day, its last day still counts."""
    short = changed("expires", "2030-01-01T12:00:00Z")
    noon = datetime(2030, 1, 1, 12, tzinfo=UTC)
    assert not short.expired(noon - timedelta(seconds=1)) and short.expired(noon)
    assert not short.expired(date(2030, 1, 1)) and short.expired(date(2030, 1, 2))
    assert not whole.expired(noon) and whole.expired(noon + timedelta(hours=12))
    with pytest.raises(InputError, match="expires"):
        changed("expires", "2030-01-01T12:00:00")  # in no zone


def test_a_secret_is_never_declared():
    """Its place is."""
    with pytest.raises(InputError, match="variables|whole"):
        changed("variables", {"HUB_TOKEN": "hf_abc"})
    changed("variables", {"TOKENIZERS_PARALLELISM": "false"})  # promises no secret


def test_a_misspelt_field_is_refused_with_the_nearest():
    """As in every document."""
    with pytest.raises(InputError, match="did you mean `variables`"):
        Environment.parse({"name": "training", "variable": {}})


# ---- the lock ------------------------------------------------------------------------------------

LOCK = """\
# made by a tool
Torch==2.13.0 \\
    --hash=sha256:aa
typing_extensions==4.1 ; python_version < "3.9" \\
    --hash=sha256:bb
fsspec[http]==2026.2.0 \\
    # via torch==9.9
"""


def test_pins_are_read_with_their_markers():
    """Hashes, comments and extras are no pins."""
    assert pins(LOCK) == {
        "torch": Pin("2.13.0", False),
        "typing-extensions": Pin("4.1", True),
        "fsspec": Pin("2026.2.0", False),
    }


def test_what_is_installed_otherwise_than_locked_is_said():
    """Another version, or missing; a pin for another Python may be missing."""
    assert unlike(pins(LOCK), {"torch": "2.13.0", "FSSpec": "2026.2.0", "more": "1"}) == {}
    assert unlike(pins(LOCK), {"torch": "2.12.0"}) == {
        "fsspec": "missing, pinned to 2026.2.0",
        "torch": "2.12.0, pinned to 2.13.0",
    }
    wrong = {"torch": "2.13.0", "fsspec": "2026.2.0", "typing_extensions": "4.2"}
    assert list(unlike(pins(LOCK), wrong)) == ["typing-extensions"]
