"""The names of experts' tensors: those of known families, and those of a user's map."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping

from shardctl.errors import UsageError
from shardctl.planning.request import ExpertRule
from shardctl.text import escape

_MOST_DIGITS = 9
#: What errors advise.
SEE_NAMES = "see the names with `inspect`"
OTHER_RULES = "describe the names with `experts_map`"


def _family(module: str, *inner: str, down: str) -> tuple[ExpertRule, ...]:
    """Return the rules of experts in a module, for their weights and for the scales of FP8."""
    joined = "gate_up_proj" if len(inner) == 2 else "up_proj"
    return tuple(
        ExpertRule(
            f"{module}.{name}{after}", tuple(f"{module}.*.{part}.weight{after_each}" for part in of)
        )
        for after, after_each in (("", ""), ("_scale_inv", "_scale_inv"))
        for name, of in ((joined, inner), ("down_proj", (down,)))
    )


#: The names of the families that are known. Source: the table of transformers 5.23
#: (`conversion_mapping.py`, whose names are in the comments) and the parameters of its models, such
#: as `MixtralExperts.gate_up_proj`; for scales `integrations/finegrained_fp8.py`. Names of modules
#: around the experts stay as they are: transformers reads `block_sparse_moe` and `ffn` as `mlp`.
KNOWN = (
    # mixtral, minimax, minimax_m2, phimoe
    *_family("block_sparse_moe.experts", "w1", "w3", down="w2"),
    # qwen2_moe, and those that follow it: qwen3_moe, qwen3_next, deepseek_v2, deepseek_v3, olmoe,
    # glm4_moe, ernie4_5_moe, dots1, hunyuan_v1_moe, and more
    *_family("mlp.experts", "gate_proj", "up_proj", down="down_proj"),
    # jamba, and lfm2_moe, whose stacked names are the same
    *_family("feed_forward.experts", "gate_proj", "up_proj", down="down_proj"),
    *_family("feed_forward.experts", "w1", "w3", down="w2"),
    # nemotron_h
    *_family("mixer.experts", "up_proj", down="down_proj"),
    # deepseek_v4
    *_family("ffn.experts", "w1", "w3", down="w2"),
)
#: Stacked names that families with other names of single experts have in memory, too: they are
#: split by the rules above.
_OF_SEVERAL = ("mlp.experts.gate_up_proj", "mlp.experts.down_proj")


def are_of_several_families(names: Iterable[str]) -> bool:
    """Whether stacked tensors are among those that transformers 5 names alike in memory."""
    return any(before_end(name, end) is not None for name in names for end in _OF_SEVERAL)


def as_part(name: str, rule: ExpertRule) -> tuple[str, int, int] | None:
    """Return what comes before a rule's names in the name of a single expert's tensor.

    With it come the expert's number, and that of the part; None for any other name.
    """
    for place, part in enumerate(rule.parts):
        before, _, after = part.partition("*")
        if not name.endswith(after):
            continue
        head, dot, number = name[: len(name) - len(after)].rpartition(".")
        prefix = before_end(head + dot, before)
        if prefix is not None and _is_canonical(number):
            return prefix, int(number), place
    return None


def before_end(name: str, end: str) -> str | None:
    """Return what of a name comes before its end, which begins after a dot; None for others."""
    if not name.endswith(end):
        return None
    prefix = name[: len(name) - len(end)]
    return prefix if not prefix or prefix.endswith(".") else None


def _is_canonical(number: str) -> bool:
    """Whether a text is how a number is written, so that the name can be found again."""
    return (
        number.isascii()
        and number.isdecimal()
        and len(number) <= _MOST_DIGITS
        and (number == "0" or number[0] != "0")
    )


def parse_map(text: str) -> tuple[ExpertRule, ...]:
    """Return the rules of a map, in JSON or TOML.

    It has the end of each stacked tensor's name, and a list of those of the parts; a single part
    needs no list. Tables within it are joined by dots, as TOML has them for names without quotes.
    Raises UsageError for any other text.
    """
    try:
        document = json.loads(text) if text.lstrip()[:1] == "{" else tomllib.loads(text)
        rules = tuple(_rules("", document))
    except (ValueError, RecursionError) as error:
        raise _no_map(str(error) or "it is nested too deep") from error
    parts = [part for rule in rules for part in rule.parts]
    if not rules or len(set(parts)) < len(parts):
        raise _no_map("two parts are equal" if rules else "it is empty")
    return rules


def _rules(prefix: str, value: object) -> Iterator[ExpertRule]:
    """Yield the rules of a value in a map; `prefix` is the name that leads to it."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _rules(f"{prefix}.{key}" if prefix else key, inner)
        return
    parts = [value] if isinstance(value, str) else value
    if not prefix or not isinstance(parts, list) or not parts:
        raise ValueError(f"'{escape(prefix)}' has no list of names")
    for part in parts:
        if not isinstance(part, str) or part.split(".").count("*") != 1 or part.count("*") != 1:
            raise ValueError(
                f"'{escape(str(part))}' has no single '*' between dots for the expert's number"
            )
    if "*" in prefix:
        raise ValueError(f"'{escape(prefix)}' is a stacked tensor, and has a '*'")
    yield ExpertRule(prefix, tuple(parts))


def _no_map(reason: str) -> UsageError:
    return UsageError(
        f"`experts_map` cannot be used: {reason}",
        hint='write it in JSON or TOML, for example {"mlp.experts.down_proj": '
        '["mlp.experts.*.down_proj.weight"]}',
    )
