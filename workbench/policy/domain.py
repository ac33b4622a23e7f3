"""The reproducibility domain: what has to be equal for the same job to give the same bits (A4).

Two kinds. A `native` domain is one model of processor, whose fastest instructions are used. A
`portable` domain is every x86-64 processor of one vendor with AVX2 and FMA: PyTorch, oneDNN, MKL,
OpenBLAS and NumPy are held to those by environment variables that a kernel is started with.

Three things that the variables do not do, found by running the same training on emulated
processors (`make measure ONLY=domain`):

- MKL takes another path on another vendor's processors (there MKL_CBWR=AVX2 is read as AUTO), so
  the vendor is part of the domain. MKL_CBWR=COMPATIBLE is equal everywhere and costs about twice
  the time.
- MKL's vector functions of a contiguous tensor (`torch.sqrt`, `asin`, `acos`, `atan`) start from
  an estimate whose bits differ between processors of one vendor. AdamW needs `fused=True`, which
  takes the exact root instead.
- Sums depend on the number of threads, so one and two threads are two domains.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from pydantic import Field, PositiveInt, model_validator

from ..errors import InputError
from ..record.digest import digest
from .documents import Document

Kind = Literal["native", "portable"]
COMPUTING = ("accelerate", "numpy", "pandas", "peft", "pyarrow", "safetensors", "scikit-learn",
             "scipy", "tokenizers", "torch", "transformers")  # fmt: skip
"""Libraries whose version can change a figure or a weight."""
NEEDED = ("avx2", "fma")
"""What a processor of a portable domain must have."""
CAPS = {"aten": "avx2", "onednn": "AVX2", "mkl": "AVX2", "openblas": "Haswell",
        "numpy": "X86_V4 AVX512_ICL AVX512_SPR"}  # fmt: skip
"""Library -> the cap of a portable domain; NumPy's is what it may not use."""
CAPPED_BY = {"aten": "ATEN_CPU_CAPABILITY", "onednn": "ONEDNN_MAX_CPU_ISA", "mkl": "MKL_CBWR",
             "openblas": "OPENBLAS_CORETYPE", "numpy": "NPY_DISABLE_CPU_FEATURES"}  # fmt: skip
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Difference(NamedTuple):
    """A field in which two domains differ; None where one of them doesn't have it."""

    field: str
    a: Any
    b: Any


class Processor(Document):
    """The processor, as closely as the kind of domain asks."""

    architecture: str = Field(min_length=1)
    """As the kernel of the operating system calls it: `x86_64`, `aarch64`."""
    vendor: str = Field(min_length=1)
    """As the processor calls its maker: `AuthenticAMD`, `GenuineIntel`."""
    model: str | None = None
    """Its name; for a native domain."""
    features: list[str] | None = None
    """Its instruction sets, as far as libraries choose by them; for a native domain."""


class Accelerator(Document):
    """The GPUs that compute."""

    models: list[str] = Field(min_length=1)
    """A name per GPU, in order."""
    driver: str = Field(min_length=1)
    """Version of the driver."""


class Domain(Document):
    """What has to be equal for equal bits. The workbench's own code is not part of it: a job names
    that by its digest."""

    kind: Kind
    """This processor's own instructions, or those that every one of its vendor has."""
    device: Literal["cpu", "cuda"]
    """What computes."""
    threads: PositiveInt
    """Threads of the numeric libraries."""
    processes: PositiveInt
    """Training processes; gradients are summed over them."""
    dtype: str = Field(min_length=1)
    """Number format of the weights while they learn."""
    instruction_set: dict[str, str]
    """Library -> the cap that it is held to; empty for native."""
    cpu: Processor
    """The processor."""
    gpu: Accelerator | None = None
    """The GPUs; None on a CPU."""
    deterministic: bool = True
    """Are operations without a reproducible form refused?"""
    seed: int
    """Of weights, dropout and the order of rows."""
    hash_seed: str
    """$PYTHONHASHSEED of the kernel."""
    batches: str
    """How batches are composed."""
    python: str
    """Version of the interpreter."""
    libraries: dict[str, str]
    """Libraries that compute -> version."""
    build: dict[str, str]
    """Which build of PyTorch: version with its local part, digests of the files that compute."""

    @model_validator(mode="after")
    def _of_its_kind(self) -> Domain:
        portable = self.kind == "portable"
        if self.instruction_set != (CAPS if portable else {}):
            raise ValueError(f"an instruction_set of {CAPS if portable else {}} for {self.kind}")
        if portable == (self.cpu.model is not None or self.cpu.features is not None):
            raise ValueError("model and features of the cpu for native, and only for native")
        if (self.device == "cuda") != (self.gpu is not None):
            raise ValueError("a gpu for device cuda, and for no other")
        return self

    @property
    def libraries_digest(self) -> str:
        """One value for `libraries` and `build`."""
        return digest([self.libraries, self.build])


def differences(a: Domain, b: Domain) -> list[Difference]:
    """Every field in which they differ, by its dotted name."""
    one, other = leaves(a.model_dump()), leaves(b.model_dump())
    names = [*one, *(name for name in other if name not in one)]
    return [Difference(n, one.get(n), other.get(n)) for n in names if one.get(n) != other.get(n)]


def leaves(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values of nested mappings by dotted name."""
    found: dict[str, Any] = {}
    for name, value in nested.items():
        inner = leaves(value, f"{prefix}{name}.") if isinstance(value, Mapping) and value else {}
        found |= inner or {f"{prefix}{name}": value}
    return found


def require_same(a: Domain, b: Domain) -> None:
    """InputError when the domains differ: equal bits are promised within one only."""
    found = differences(a, b)
    if found:
        raise InputError(
            "Two reproducibility domains: equal bits are promised within one only.",
            where=", ".join(one.field for one in found),
            expected="; ".join(f"{one.field}: {one.a}" for one in found),
            given="; ".join(f"{one.field}: {one.b}" for one in found),
            next_step="Use the first one's machine, parameters and lock; or accept that figures "
            "are compared within a tolerance.",
        )


def variables(kind: str, threads: int) -> dict[str, str]:
    """What a kernel must be started with; set later, the libraries would not read it.

    InputError when the kind is not known.
    """
    if kind not in ("native", "portable"):
        raise InputError("No such kind of domain.", expected="native or portable", given=kind)
    caps = CAPS if kind == "portable" else {}
    return dict.fromkeys(THREADS, str(threads)) | {CAPPED_BY[k]: cap for k, cap in caps.items()}


def batches(batch_size: int, accumulate: int) -> str:
    """How batches are composed, in words."""
    return f"{batch_size} rows a step in {accumulate} parts, in an order drawn from the seed"
