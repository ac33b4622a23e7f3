"""Hyperparameters of a training, with bounds; the change envelope bounds the same names."""

from __future__ import annotations

from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workbench.errors import InputError

UPDATE = frozenset({"rank", "alpha", "dropout", "last_layers", "target_modules"})
"""Options that shape an update beside frozen weights; not every method reads all of them."""
READ = {
    "lora": UPDATE,
    "dora": UPDATE,
    "ia3": frozenset({"target_modules"}),
    "vera": UPDATE - {"alpha"},
    "frozen": frozenset(),
    "full": frozenset(),
}
"""method -> which of the options in `UPDATE` it reads."""


class TrainingOptions(BaseModel):
    """What both kinds of model share."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    method: Literal["lora", "dora", "ia3", "vera", "frozen", "full"] = "lora"
    """What may change: LoRA (arXiv:2106.09685), DoRA (arXiv:2402.09353), IA3 (arXiv:2205.05638) or
    VeRA (arXiv:2310.11454) beside the frozen base, the head alone, or every weight."""
    rank: int = Field(16, ge=1, le=256)
    """Rank of the update."""
    alpha: float = Field(32.0, gt=0, le=1024)
    """The update is scaled by alpha / rank."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout on the adapter's input while training."""
    target_modules: tuple[str, ...] = Field((), min_length=1)
    """Names of the linear layers that get an update."""
    last_layers: int = Field(0, ge=0, le=1024)
    """Adapt only this many of the last layers; 0 adapts all. Below them nothing is kept for the
    backward pass, which saves time."""
    learning_rate: float = Field(1e-3, gt=0, le=1)
    """Peak learning rate of AdamW."""
    epochs: int = Field(3, ge=1, le=1000)
    """Passes over the training rows, at most."""
    batch_size: int = Field(32, ge=1, le=4096)
    """Rows in a batch, over all processes."""
    accumulate: int = Field(1, ge=1, le=1024)
    """Batches per optimiser step."""
    patience: int = Field(3, ge=1, le=1000)
    """Stop after so many epochs that were not better on the validation rows."""
    warmup_share: float = Field(0.1, ge=0, lt=1)
    """Share of the steps in which the rate rises linearly; then it falls along a cosine."""
    weight_decay: float = Field(0.01, ge=0, le=1)
    """AdamW's decoupled decay."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Gradients are clipped to this norm."""
    max_length: int = Field(64, ge=8, le=8192)
    """Longest row in tokens."""
    seed: int = Field(7, ge=0, lt=2**31)
    """Seeds weights, dropout and the order of rows."""
    threads: int = Field(2, ge=1, le=256)
    """CPU threads of a process; part of the reproducibility domain, sums depend on it."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the training's products; weights, validation and evaluation stay in float32.
    In bfloat16 the numbers of a row depend on which rows share its batch, well beyond the 1e-5 of
    the largest logit that float32 keeps to."""
    domain: Literal["native", "portable"] = "native"
    """The reproducibility domain; the engine starts the kernel by it."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the training computes."""
    processes: int = Field(1, ge=1, le=64)
    """Processes that share each batch, on CUDA one a GPU. Their number belongs to the domain."""
    checkpoint_s: float = Field(60.0, ge=0)
    """Seconds between checkpoints, 0 for one at every step."""

    @property
    def read(self) -> list[str]:
        """Names of the options that the method reads, in order."""
        unread = UPDATE - READ[self.method]
        unread |= {"learning_rate"} if self.method == "frozen" else set()
        return [name for name in type(self).model_fields if name not in unread]


class ClassifierOptions(TrainingOptions):
    """Hyperparameters of the classifier; defaults were chosen on BANKING77's validation rows."""

    target_modules: tuple[str, ...] = Field(("query", "key", "value", "dense"), min_length=1)
    epochs: int = Field(5, ge=1, le=1000)
    max_length: int = Field(64, ge=8, le=8192)
    """Longer rows are cut to this many tokens."""
    head_rate: float = Field(1e-2, gt=0, le=1)
    """Peak learning rate of the head."""
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    """Share of the target spread over all labels; guards against disputed labels."""


class CausalOptions(TrainingOptions):
    """Hyperparameters of the causal trainer."""

    method: Literal["lora", "dora", "ia3", "vera", "full"] = "lora"
    """What may change; there is no head, so a frozen base would learn nothing."""
    target_modules: tuple[str, ...] = Field(
        ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"), min_length=1
    )
    learning_rate: float = Field(1.5e-3, gt=0, le=1)
    epochs: int = Field(2, ge=1, le=1000)
    last_layers: int = Field(16, ge=0, le=1024)
    """Adapt only this many of the last layers; 0 adapts all. Below them nothing is kept for the
    backward pass, which saves a quarter of the time."""
    batch_size: int = Field(4, ge=1, le=4096)
    max_length: int = Field(256, ge=16, le=8192)
    """Rows longer than this are refused, never cut: half an answer must not be learned."""
    free_weight: float = Field(0.1, ge=0, le=1)
    """Weight of a token of the free text beside 1 for a decided one: a reply has six times as
    many tokens as the three decisions, and would otherwise be most of what is learned."""


Kind = TypeVar("Kind", bound=TrainingOptions)


def checked(kind: type[Kind], given: Kind | dict | None) -> Kind:
    """`given` as options of `kind`; one InputError lists every field that is wrong."""
    if isinstance(given, kind):
        return given
    try:
        return kind(**(given or {}))
    except ValidationError as cause:
        wrong = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in cause.errors()]
        raise InputError(
            "training options are not valid",
            where=kind.__name__,
            expected=", ".join(kind.model_fields),
            given="; ".join(wrong),
        ) from cause
