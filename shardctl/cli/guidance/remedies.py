"""Say what errors, findings and notes advise in terms of the command line.

Below the CLI a text names a setting or a function as a program would use it, in backquotes: "add
`key`". Here, and nowhere else, that becomes the option or the command to type: "add --key".
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shardctl.findings import Finding
    from shardctl.verify.coverage import Coverage

#: What to type for each setting and function that a text may name.
SPELLINGS = {
    "accept_damage": "--accept-damage",
    "add_prefix": "--add-prefix",
    "against": "--against",
    "apply": "`shardctl apply PLAN`",
    "apply_part": "`shardctl apply PLAN --part I/N`",
    "checksums": "--checksums",
    'companions="none"': "--companions none",
    "deep": "--deep",
    "drop_non_tensors": "--drop-non-tensors",
    "dtype": "--dtype",
    "exclude": "--exclude",
    "experts": "--experts",
    "experts_map": "--experts-map",
    "format": "--to",
    'format="bin"': "--to bin",
    "group_by": "--group-by",
    "include": "--include",
    "inspect": "`shardctl inspect`",
    "jobs": "--jobs",
    "keep_dtype": "--keep-dtype",
    "key": "--key",
    'key="module"': "--key module",
    "layout": "--layout",
    "load": "--load",
    "max_shard_size": "--max-shard-size",
    "name": "--name",
    "num_shards": "--num-shards",
    "order": "--order",
    "plan": "--dry-run or --check",
    "plan(save=path)": "--dry-run --json",
    "reindex": "`shardctl index`",
    'replace="all"': "--replace-all",
    'replace="same"': "--replace",
    "read_back": "--verify",
    "rename": "--rename",
    "replace_companions": "--replace-companions",
    "restart": "--restart",
    "scheduler": "--scheduler",
    "single": "--single",
    "strict_size": "--strict-size",
    "strip_prefix": "--strip-prefix",
    "tied": "--tied",
    'tied="expand"': "--tied expand",
    "variant": "--variant",
    "verify(against=...)": "`shardctl verify --against`",
    "verify(deep=True)": "`shardctl verify --deep`",
    "write": "`shardctl reshard`",
    "write(single=True)": "`shardctl merge`",
}
_QUOTED = re.compile("`([^`]+)`")


def spelled(text: str) -> str:
    """Return a message or a hint with options and commands instead of settings."""
    return _QUOTED.sub(lambda quoted: SPELLINGS.get(quoted[1], quoted[0]), text)


def spelled_finding(finding: Finding) -> Finding:
    """Return a finding whose message and hint name options and commands."""
    return replace(finding, message=spelled(finding.message), hint=spelled(finding.hint))


def spelled_coverage(coverage: Coverage) -> Coverage:
    """Return what was checked, and what was not, with options and commands in their texts."""
    unchecked = (
        replace(each, what=spelled(each.what), reason=spelled(each.reason))
        for each in coverage.unchecked
    )
    return replace(coverage, checked=spelled(coverage.checked), unchecked=tuple(unchecked))
