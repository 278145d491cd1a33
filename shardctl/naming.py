"""The names of weights files and their indexes: patterns, variants, numbers, both ways.

Nothing here reads a file. The forms are those that huggingface_hub, transformers, diffusers,
accelerate and the original releases of some models write; a variant (`fp16`) has several places,
and all of them are read. The suffixes of weights files depend on the formats, so they are passed
in.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

#: The directory in a target where a run has its own files until it ends.
STAGING = ".shardctl"

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

#: Of these, the stems of adapters, which are loaded beside a model and never for one.
ADAPTER_STEMS = ("adapter_model", "pytorch_lora_weights")

#: The five digits of a shard's number have room for no more.
MAX_SHARDS = 99_999

#: Where a file's number is: nowhere; `model-1-of-2.bin` or `model_1-of-2.bin`;
#: `model.bin-1-of-2.bin`; `model-1-of-2.fp16.bin`; `consolidated.00.pth` (counted from 0, without
#: the count); in a "series", wherever the names of several files differ
#: (`source.directory.series`).
NumberStyle = Literal["none", "shard", "after-suffix", "before-variant", "rank", "series"]

#: What accelerate calls an index whose name says nothing about its shards.
PLAIN_INDEX = "weight_map.index.json"

# Of formats that are not read. Their files are weights too, so they are not copied as companions.
_OTHER_WEIGHTS_SUFFIXES = (
    ".h5",
    ".msgpack",
    ".gguf",
    ".onnx",
    ".onnx_data",
    ".ot",
    ".tflite",
    ".mlmodel",
    ".keras",
    ".nemo",
    ".pdparams",
    ".npz",
)
# Stems that all formats use under the same name.
_COMMON_STEMS = (
    "diffusion_pytorch_model",
    "adapter_model",
    "pytorch_lora_weights",
    "learned_embeds",
)
# Stems of open_clip: the usual ones with a prefix.
_OPEN_CLIP = "open_clip_"
_OPEN_CLIP_STEMS = ("open_clip_model", "open_clip_pytorch_model")

# Some programs write more digits than are needed (`-of-000163`).
_NUMBER = r"[-_](?P<number>[0-9]{1,12})-of-(?P<count>[0-9]{1,12})"
_VARIANT = r"\.(?P<variant>[A-Za-z0-9_-]+)"
_ANY_INDEX = re.compile(r".+\.index(?:\.[^.]+)?\.json", re.DOTALL)

# A scheduler's configuration (`scheduler_config.json`) and code (`optimizer.py`) belong to the
# model, so such files do not count.
_TRAINING_STATE = re.compile(
    r"(?:(?:optimizer|scheduler|rng_state|random_states|sampler).*"
    r"(?<!\.json)(?<!\.py)(?<!\.md)(?<!\.txt)"
    r"|optimizer.*\.index\.json|training_args\.bin|scaler\.pt|.*_optim_states\.pt"
    r"|(?:optim|extra_state)_world_size_[0-9]+_rank_[0-9]+\.pt"
    r"|trainer_state\.json|custom_checkpoint_[0-9]+\.pkl|dl_state_dict\.bin"
    r"|latest|zero_to_(?:fp32|torch)\.py)",
    re.DOTALL,
)
_DRIVE = re.compile(r"[A-Za-z]:")
_TRY = re.compile("~[0-9a-f]{32}")
_MAX_NAME_BYTES = 255


@dataclass(frozen=True, slots=True)
class WeightsName:
    """What a weights file's name says: `number` of `count`, None where the name has none."""

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
    """What an index's name says.

    `suffix` is that of its shards, empty where the name does not say it; `variant_first`: the
    variant is before the suffix, where the hub's library puts it.
    """

    stem: str
    variant: str | None
    suffix: str
    variant_first: bool = field(default=False, compare=False)


def try_name() -> str:
    """Return a name, like no other, for a file of which several may be written for one task."""
    return f"~{secrets.token_hex(16)}"


def is_try_name(name: str) -> bool:
    """Whether `try_name` may have made a name."""
    return _TRY.fullmatch(name) is not None


def shard_filename(stem: str, suffix: str, variant: str | None, number: int, count: int) -> str:
    """Return the name of file `number` (from 1) of `count`; an only file has no number."""
    name = stem if variant is None else f"{stem}.{variant}"
    return f"{name}{suffix}" if count == 1 else f"{name}-{number:05d}-of-{count:05d}{suffix}"


def index_filename(
    stem: str, suffix: str, variant: str | None, *, variant_first: bool = False
) -> str:
    """Return the index's name, with a variant where transformers and diffusers put it.

    With `variant_first` it is where the hub's library puts it.
    """
    if variant is None:
        return f"{stem}{suffix}.index.json"
    if variant_first:
        return f"{stem}.{variant}{suffix}.index.json"
    return f"{stem}{suffix}.index.{variant}.json"


@dataclass(frozen=True, slots=True)
class _Patterns:
    """The forms of names, for one set of suffixes; of those of weights, the first match counts."""

    weights: tuple[tuple[NumberStyle, re.Pattern[str]], ...]
    index: re.Pattern[str]


@cache
def _patterns(suffixes: tuple[str, ...]) -> _Patterns:
    suffix = rf"(?P<suffix>{'|'.join(map(re.escape, suffixes))})"
    return _Patterns(
        weights=(
            ("after-suffix", re.compile(rf"(?P<base>.+)\.[a-z]+{_NUMBER}{suffix}", re.DOTALL)),
            ("shard", re.compile(rf"(?P<base>.+){_NUMBER}{suffix}", re.DOTALL)),
            ("before-variant", re.compile(rf"(?P<base>.+){_NUMBER}{_VARIANT}{suffix}", re.DOTALL)),
            ("rank", re.compile(rf"(?P<base>consolidated)\.(?P<number>[0-9]{{2,3}}){suffix}")),
            ("none", re.compile(rf"(?P<base>.+){suffix}", re.DOTALL)),
        ),
        index=re.compile(rf"(?P<base>.+){suffix}\.index(?:{_VARIANT})?\.json", re.DOTALL),
    )


def parse_weights_name(name: str, suffixes: tuple[str, ...]) -> WeightsName | None:
    """Parse the name of a weights file; None for a name that has none of the suffixes."""
    if not name.endswith(suffixes):
        return None
    for style, form in _patterns(suffixes).weights:
        match = form.fullmatch(name)
        if match is not None:
            return _weights_name(style, match)
    return None


def parse_index_name(name: str, suffixes: tuple[str, ...]) -> IndexName | None:
    """Parse the name of an index, wherever its variant is; None for any other name.

    `suffixes` are those that shards may have.
    """
    if name == PLAIN_INDEX:
        return IndexName(name.partition(".")[0], None, "")
    match = _patterns(suffixes).index.fullmatch(name) if name.endswith(".json") else None
    if match is None:
        return None
    if match["variant"] is not None:
        return IndexName(match["base"], match["variant"], match["suffix"])
    stem, variant = split_variant(match["base"])
    return IndexName(stem, variant, match["suffix"], variant_first=variant is not None)


def is_training_state(name: str) -> bool:
    """Whether a name is that of training state: of an optimizer, scheduler or random generator."""
    return _TRAINING_STATE.fullmatch(name) is not None


def is_weights_or_index(name: str, suffixes: tuple[str, ...]) -> bool:
    """Whether a name is that of weights, or of an index of weights, in any format.

    `suffixes` are those of the formats that are read.
    """
    return name.endswith(suffixes) or is_foreign_weights(name) or is_index(name)


def is_foreign_weights(name: str) -> bool:
    """Whether a name is that of weights in a format that is not read."""
    return name.endswith(_OTHER_WEIGHTS_SUFFIXES)


def is_index(name: str) -> bool:
    """Whether a name is that of an index of weights, in any format."""
    return _ANY_INDEX.fullmatch(name) is not None


def may_be_weights(name: str) -> bool:
    """Whether a file of another name than weights have is worth opening: `x.pth.tar`, `x.th`."""
    return not (
        name.startswith(".")
        or name.endswith((".json", ".txt", ".md", ".py", *_OTHER_WEIGHTS_SUFFIXES))
        or is_training_state(name)
    )


def default_stem(usual: str, source_stem: str | None) -> str:
    """Return the stem of what is written, where the user names none.

    It is the `usual` one, for which loaders of the format look, unless the source has a stem that
    other loaders look for: one that all formats use, or the usual one with the prefix of open_clip.
    """
    if source_stem in _COMMON_STEMS:
        return source_stem
    return _OPEN_CLIP + usual if source_stem in _OPEN_CLIP_STEMS else usual


def plain_shard_name(name: str) -> str:
    """Return the name of a shard as an index should list it: `a` for `./a`, and slashes only.

    Loaders join the name to the directory's, so parts that are a dot change nothing; backslashes
    come from Windows. Nothing is checked.
    """
    *directories, last = name.replace("\\", "/").split("/")
    return "/".join((*(part for part in directories if part != "."), last))


def check_shard_name(name: str) -> str | None:
    """Return why a name is unsafe as a path below the index's directory; None where it is safe."""
    parts = name.split("/")
    checks = (
        (not name, "it is empty"),
        ("\0" in name, "it has a NUL character"),
        ("\\" in name, "it has a backslash"),
        (name.startswith("/"), "it is an absolute path"),
        (_DRIVE.match(name), "it names a drive"),
        (".." in parts, "it leads out of the directory"),
        ("" in parts or "." in parts, "it has an empty part"),
        (
            any("\ud800" <= character <= "\udfff" for character in name),
            "it has a lone surrogate",
        ),
    )
    for breached, reason in checks:
        if breached:
            return reason
    if max(len(part.encode()) for part in parts) > _MAX_NAME_BYTES:
        return f"it is longer than {_MAX_NAME_BYTES} bytes"
    return None


def _weights_name(style: NumberStyle, match: re.Match[str]) -> WeightsName:
    found = match.groupdict()
    stem, variant = split_variant(match["base"])
    number, count = found.get("number"), found.get("count")
    return WeightsName(
        stem=stem,
        variant=found.get("variant") or variant,
        suffix=match["suffix"],
        number=None if number is None else int(number),
        count=None if count is None else int(count),
        style=style,
    )


def split_variant(base: str) -> tuple[str, str | None]:
    """Split a known stem from what follows its dot; a base with another stem is a stem as it is."""
    stem, dot, variant = base.partition(".")
    return (stem, variant) if dot and variant and stem in KNOWN_STEMS else (base, None)
