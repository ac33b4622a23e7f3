"""Reproducibility domains: what has to be equal for equal bits, and that the caps take effect."""

from __future__ import annotations

import importlib.util
import platform
from pathlib import Path

import pytest

from workbench.errors import InputError
from workbench.policy.domain import (
    CAPPED_BY,
    CAPS,
    Difference,
    Domain,
    batches,
    differences,
    require_same,
    variables,
)

MEASURE = Path(__file__).resolve().parents[2] / "tools/measures/domain.py"
NATIVE = {
    "kind": "native",
    "device": "cpu",
    "threads": 2,
    "processes": 1,
    "dtype": "float32",
    "instruction_set": {},
    "cpu": {"architecture": "x86_64", "vendor": "V", "model": "V 1", "features": ["avx2"]},
    "seed": 7,
    "hash_seed": "0",
    "batches": batches(32, 1),
    "python": "3.11.7",
    "libraries": {"torch": "2.13.0", "numpy": "2.4.6"},
    "build": {"version": "2.13.0+cpu"},
}
PORTABLE = NATIVE | {
    "kind": "portable",
    "instruction_set": CAPS,
    "cpu": {"architecture": "x86_64", "vendor": "V"},
}


def domain(base=NATIVE, **changes) -> Domain:
    return Domain.parse(base | changes)


# ---- equal, or not -------------------------------------------------------------------------------


def test_a_domain_is_the_same_as_itself():
    """Also after a round trip through what a record holds."""
    again = Domain.parse(domain().model_dump(mode="json"))
    assert differences(domain(), again) == []
    require_same(domain(), again)
    assert again.libraries_digest == domain().libraries_digest


@pytest.mark.parametrize(
    ("field", "value", "differs"),
    [
        ("threads", 1, "threads"),
        ("processes", 2, "processes"),
        ("dtype", "bfloat16", "dtype"),
        ("seed", 8, "seed"),
        ("hash_seed", "1", "hash_seed"),
        ("deterministic", False, "deterministic"),
        ("batches", batches(32, 2), "batches"),
        ("python", "3.12.0", "python"),
        ("libraries", {"torch": "2.14.0", "numpy": "2.4.6"}, "libraries.torch"),
        ("libraries", {"torch": "2.13.0"}, "libraries.numpy"),
        ("libraries", {}, "libraries"),
        ("build", {"version": "2.13.0+cu130"}, "build.version"),
        ("cpu", NATIVE["cpu"] | {"model": "V 2"}, "cpu.model"),
        ("cpu", NATIVE["cpu"] | {"features": ["avx2", "avx512f"]}, "cpu.features"),
        ("cpu", NATIVE["cpu"] | {"vendor": "W"}, "cpu.vendor"),
    ],
)
def test_any_field_makes_another_domain_and_the_refusal_names_it(field, value, differs):
    """One and two threads are two domains, as are two processors, builds or seeds."""
    other = domain(**{field: value})
    assert differs in [one.field for one in differences(domain(), other)]
    with pytest.raises(InputError, match="Two reproducibility domains") as refused:
        require_same(domain(), other)
    assert differs in refused.value.where
    assert refused.value.next_step


def test_the_refusal_shows_both_values_of_every_field_that_differs():
    """Not only the first: a person sees at once how far apart they are."""
    other = domain(threads=1, seed=8)
    assert differences(domain(), other) == [Difference("threads", 2, 1), Difference("seed", 7, 8)]
    with pytest.raises(InputError) as refused:
        require_same(domain(), other)
    assert refused.value.where == "threads, seed"
    assert refused.value.expected == "threads: 2; seed: 7"
    assert refused.value.given == "threads: 1; seed: 8"


def test_a_portable_domain_and_a_native_one_are_two():
    """Their instructions differ, and so do their bits."""
    found = {one.field for one in differences(domain(), domain(PORTABLE))}
    assert {"kind", "cpu.model", "cpu.features", "instruction_set.mkl"} <= found


# ---- documents that contradict themselves --------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "changes"),
    [
        (PORTABLE, {"cpu": NATIVE["cpu"]}),
        (PORTABLE, {"instruction_set": {}}),
        (PORTABLE, {"instruction_set": CAPS | {"mkl": "AVX512"}}),
        (NATIVE, {"cpu": PORTABLE["cpu"]}),
        (NATIVE, {"instruction_set": CAPS}),
        (NATIVE, {"device": "cuda"}),
        (NATIVE, {"gpu": {"models": ["G"], "driver": "1"}}),
        (NATIVE, {"threads": 0}),
        (NATIVE, {"kind": "somewhere"}),
        (NATIVE, {"cpu": {"architecture": "x86_64"}}),
    ],
)
def test_a_domain_that_contradicts_itself_is_refused(base, changes):
    """A portable one names no model and holds every cap; a native one the reverse; a GPU is named
    exactly where it computes."""
    domain(base)
    with pytest.raises(InputError):
        domain(base, **changes)


# ---- what a kernel is started with ---------------------------------------------------------------


def test_threads_are_fixed_in_both_kinds_and_caps_only_in_one():
    """A library that reads its variable late would not see it, so they are the kernel's own."""
    native, portable = variables("native", 3), variables("portable", 3)
    assert set(native.values()) == {"3"} and len(native) == 3
    assert native.items() <= portable.items()
    assert {portable[CAPPED_BY[library]] for library in CAPS} == set(CAPS.values())


def test_an_unknown_kind_is_refused():
    """Never taken for native."""
    with pytest.raises(InputError, match="No such kind"):
        variables("Portable", 1)


# ---- with the real libraries ---------------------------------------------------------------------


def shown() -> dict[str, str]:
    return {"ONEDNN_VERBOSE": "1", "MKL_VERBOSE": "1"}


def isa(log: list[str]) -> str:
    """What oneDNN says that it uses."""
    return next(line.partition("isa:")[2] for line in log if "cpu,isa:" in line)


def reproducible(log: list[str]) -> str:
    """MKL's conditional numerical reproducibility, as its own log has it."""
    return next(line.partition("CNR:")[2].split()[0] for line in log if "CNR:" in line)


@pytest.fixture(scope="module")
def measure():
    """The training that docs/measures.md reports on."""
    spec = importlib.util.spec_from_file_location("measure_domain", MEASURE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def own_features() -> str:
    file = Path("/proc/cpuinfo")
    return file.read_text() if file.exists() else ""


wide = pytest.mark.skipif(
    "avx512f" not in own_features(), reason="this processor has nothing above the caps"
)


@pytest.fixture(scope="module")
def runs(measure):
    """The same training natively, with every cap, and with one alone."""
    full, threads = variables("portable", 1), variables("native", 1)
    given = {"native": threads, "all": full}
    given |= {name: threads | {CAPPED_BY[name]: CAPS[name]} for name in ("aten", "onednn", "mkl")}
    return {name: measure.trained(env | shown()) for name, env in given.items()}


@pytest.mark.slow
@wide
def test_every_cap_takes_effect(runs):
    """Each library says so itself: held to AVX2 in the portable domain, not so in the native."""
    native, capped = runs["native"], runs["all"]
    assert (native["aten"], capped["aten"]) == ("AVX512", "AVX2")
    assert "AVX-512" in isa(native["log"]) and isa(capped["log"]).strip() == "Intel AVX2"
    assert reproducible(native["log"]) == "OFF"
    assert reproducible(capped["log"]) == ("AVX2" if "GenuineIntel" in own_features() else "AUTO")
    assert native["openblas"] == ["SkylakeX"] and capped["openblas"] == ["Haswell"]
    assert "X86_V4" in native["numpy"] and capped["numpy"] == []
    assert native["weights"] != capped["weights"]


@pytest.mark.slow
@wide
@pytest.mark.parametrize("alone", ["aten", "onednn", "mkl"])
def test_one_cap_alone_is_not_enough(runs, alone):
    """The other libraries still choose by the processor, and the bits are not the portable ones."""
    one = runs[alone]
    held = {
        "aten": one["aten"] == "AVX2",
        "onednn": "AVX-512" not in isa(one["log"]),
        "mkl": reproducible(one["log"]) != "OFF",
    }
    assert held == {name: name == alone for name in held}
    everything = runs["all"]
    assert (one["weights"], one["operations"]) != (everything["weights"], everything["operations"])


@pytest.mark.slow
def test_the_same_domain_gives_the_same_bits_twice(measure):
    """A fresh process each; two threads may give others, and are another domain."""
    given = variables("portable", 2)
    first, second = (measure.trained(given, threads=2) for _ in range(2))
    assert first == second


@pytest.mark.prove
def test_a_portable_domain_is_the_same_on_other_processors(measure):
    """The same training on emulated processors of this vendor, without AVX-512 and with caches of
    their own: equal weights and equal operations of PyTorch and NumPy. Natively they differ."""
    processors, reason = measure.emulated()
    if reason:
        pytest.skip(reason)
    assert platform.machine() == "x86_64"
    here = measure.trained(variables("portable", 1))
    for processor in processors:
        assert measure.trained(variables("portable", 1), processor) == here, processor
    if "avx512f" in own_features():
        native = [measure.trained(variables("native", 1), one) for one in (None, processors[0])]
        assert native[0]["weights"] != native[1]["weights"]
