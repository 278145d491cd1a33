"""The names of weights files and their indexes: patterns, variants, numbers, both ways. Nothing here reads a file.

The forms are those that huggingface_hub, transformers, diffusers, accelerate and the original
releases of some models write; a variant (`fp16`) stands in several places, and all of them are
read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

#: What loaders look for by name, longest first where one begins another.
KNOWN_STEMS = (
    "diffusion_pytorch_model",
    "pytorch_lora_weights",
    "pytorch_model_fsdp",
    "pytorch_model",
    "adapter_model",
    "consolidated",
    "model",
)

#: The five digits of a shard's number have room for no more.
MAX_SHARDS = 99_999

#: Where a file's number stands: nowhere; `model-1-of-2.bin`; `model.bin-1-of-2.bin`;
#: `model-1-of-2.fp16.bin`; `consolidated.00.pth` (counted from 0, the count is not told).
NumberStyle = Literal["none", "shard", "after-suffix", "before-variant", "rank"]

WEIGHTS_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
_OTHER_WEIGHTS_SUFFIXES = (
    ".h5",
    ".msgpack",
    ".gguf",
    ".onnx",
    ".onnx_data",
    ".ot",
    ".tflite",
    ".mlmodel",
)
# Stems that both containers use under the same name.
_COMMON_STEMS = ("diffusion_pytorch_model", "adapter_model")

_SUFFIX = r"(?P<suffix>\.(?:safetensors|bin|pt|pth|ckpt))"
_NUMBER = r"-(?P<number>[0-9]{1,5})-of-(?P<count>[0-9]{1,5})"
_VARIANT = r"\.(?P<variant>[A-Za-z0-9_-]+)"
_FORMS: tuple[tuple[NumberStyle, re.Pattern[str]], ...] = (
    ("after-suffix", re.compile(rf"(?P<base>.+)\.[a-z]+{_NUMBER}{_SUFFIX}", re.DOTALL)),
    ("shard", re.compile(rf"(?P<base>.+){_NUMBER}{_SUFFIX}", re.DOTALL)),
    ("before-variant", re.compile(rf"(?P<base>.+){_NUMBER}{_VARIANT}{_SUFFIX}", re.DOTALL)),
    ("rank", re.compile(rf"(?P<base>consolidated)\.(?P<number>[0-9]{{2,3}}){_SUFFIX}")),
    ("none", re.compile(rf"(?P<base>.+){_SUFFIX}", re.DOTALL)),
)
_INDEX = re.compile(rf"(?P<base>.+){_SUFFIX}\.index(?:{_VARIANT})?\.json", re.DOTALL)
_ANY_INDEX = re.compile(r".+\.index(?:\.[^.]+)?\.json", re.DOTALL)

# A scheduler's configuration (`scheduler_config.json`) belongs to the model, so files of JSON are
# no such state.
_TRAINING_STATE = re.compile(
    r"(?:(?:optimizer|scheduler|rng_state|random_states|sampler).*(?<!\.json)"
    r"|optimizer.*\.index\.json|training_args\.bin|scaler\.pt|.*_optim_states\.pt)",
    re.DOTALL,
)
_DRIVE = re.compile(r"[A-Za-z]:")
_MAX_NAME_BYTES = 255


@dataclass(frozen=True, slots=True)
class WeightsName:
    """What a weights file's name says: `number` of `count` as they stand there, None where they do not."""

    stem: str
    variant: str | None
    suffix: str
    number: int | None = None
    count: int | None = None
    style: NumberStyle = "none"

    @property
    def known(self) -> bool:
        """Whether loaders look for this stem by name."""
        return self.stem in KNOWN_STEMS


@dataclass(frozen=True, slots=True)
class IndexName:
    """What an index's name says; `suffix` is that of its shards."""

    stem: str
    variant: str | None
    suffix: str


def shard_filename(stem: str, suffix: str, variant: str | None, number: int, count: int) -> str:
    """The name of file `number` (from 1) of `count`; an only file has no number."""
    name = stem if variant is None else f"{stem}.{variant}"
    return f"{name}{suffix}" if count == 1 else f"{name}-{number:05d}-of-{count:05d}{suffix}"


def index_filename(stem: str, suffix: str, variant: str | None) -> str:
    """The index's name, with a variant where transformers and diffusers put it."""
    return (
        f"{stem}{suffix}.index.json" if variant is None else f"{stem}{suffix}.index.{variant}.json"
    )


def parse_weights_name(name: str) -> WeightsName | None:
    """What the name of a weights file says; None for a name without a weights suffix."""
    for style, form in _FORMS:
        match = form.fullmatch(name)
        if match is not None:
            return _weights_name(style, match)
    return None


def parse_index_name(name: str) -> IndexName | None:
    """What the name of an index says, wherever its variant stands; None for any other name."""
    match = _INDEX.fullmatch(name)
    if match is None:
        return None
    if match["variant"] is not None:
        return IndexName(match["base"], match["variant"], match["suffix"])
    stem, variant = _split_variant(match["base"])
    return IndexName(stem, variant, match["suffix"])


def is_training_state(name: str) -> bool:
    """Whether a name is that of an optimizer's, scheduler's or random generator's state: no weights."""
    return _TRAINING_STATE.fullmatch(name) is not None


def is_weights_or_index(name: str) -> bool:
    """Whether a name is that of weights, or of an index of weights, in any container."""
    return (
        name.endswith(WEIGHTS_SUFFIXES + _OTHER_WEIGHTS_SUFFIXES)
        or _ANY_INDEX.fullmatch(name) is not None
    )


def default_stem(container: str, source_stem: str | None) -> str:
    """The stem of what is written, where the user names none: the one that loaders of `container` look for."""
    if source_stem in _COMMON_STEMS:
        return source_stem
    return "model" if container == "safetensors" else "pytorch_model"


def check_shard_name(name: str, suffix: str | None = None) -> str | None:
    """Why a shard's name in an index cannot be trusted as a path below the index's folder; None where it can.

    `suffix` is that of the index's own name: an index of safetensors lists nothing but safetensors,
    and the reverse, because a loader that was promised safetensors must never be led to a pickle.
    """
    reason = _check_path(name)
    if reason is not None or suffix is None:
        return reason
    if name.endswith(".safetensors") != (suffix == ".safetensors"):
        return f"it is not a {suffix} file"
    return None


def _weights_name(style: NumberStyle, match: re.Match[str]) -> WeightsName:
    found = match.groupdict()
    stem, variant = _split_variant(match["base"])
    number, count = found.get("number"), found.get("count")
    return WeightsName(
        stem=stem,
        variant=found.get("variant") or variant,
        suffix=match["suffix"],
        number=None if number is None else int(number),
        count=None if count is None else int(count),
        style=style,
    )


def _split_variant(base: str) -> tuple[str, str | None]:
    """A known stem and what follows its dot; a base with another stem is a stem as it is."""
    stem, dot, variant = base.partition(".")
    return (stem, variant) if dot and variant and stem in KNOWN_STEMS else (base, None)


def _check_path(name: str) -> str | None:
    parts = name.split("/")
    checks = (
        (not name, "it is empty"),
        ("\0" in name, "it has a NUL character"),
        ("\\" in name, "it has a backslash"),
        (name.startswith("/"), "it is an absolute path"),
        (_DRIVE.match(name), "it names a drive"),
        (".." in parts, "it leads out of the folder"),
        ("" in parts or "." in parts, "it has an empty part"),
        (
            any("\ud800" <= character <= "\udfff" for character in name),
            "it has half a surrogate pair",
        ),
    )
    for breached, reason in checks:
        if breached:
            return reason
    if max(len(part.encode()) for part in parts) > _MAX_NAME_BYTES:
        return f"it is longer than {_MAX_NAME_BYTES} bytes"
    return None
