"""The plan file: the settings of a run and what it was planned for, read back strictly.

A writer prints it instead of writing (`docs/schemas/plan.schema.json`). It has no tensor's place:
the plan is made again from the same settings and the same headers, and is the same where its id is.
What may be replaced in a target is not in it: whoever applies a plan decides that.

Plan files may come from anybody, so nothing of one is believed before it was compared with the
source.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from shardctl.errors import FormatError, UsageError
from shardctl.formats.strict_json import (
    Density,
    InvalidJsonError,
    decode,
    parse_object,
    refuse_dense,
)
from shardctl.planning.digest import LAYOUT_VERSION
from shardctl.planning.keywords import WriteKeywords, options_from
from shardctl.planning.request import (
    LARGEST_BLOCK,
    Experts,
    Options,
    Replace,
    WriteOptions,
)
from shardctl.planning.saved import plan_keys as keys
from shardctl.planning.transform.expert_rules import parse_map
from shardctl.text import escape

#: The version of the documents, as they have it under this key.
VERSION_KEY, VERSION = "schema_version", 1
#: Characters for each list or object, each member and each value: a name takes more.
_DENSITY = Density(container=16, member=8, value=4)


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file that was read or is copied: its name, and its size in bytes.

    `header_sha256` is that of a weights file; empty for a companion, and for one of which another
    file says what it holds. `content` says how its bytes are recognised: "sample" and the digest of
    a few of its blocks, which is the same in every copy, or "version" and the mark that a server
    gave it (an ETag or a commit).
    """

    name: str
    size: int
    header_sha256: str
    content: tuple[str, str]


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """What one run was planned for; `recorded` are the options as the plan's id has them."""

    plan_id: str
    recorded: Options
    sources: tuple[PlannedFile, ...]
    companions: tuple[PlannedFile, ...]


@dataclass(frozen=True, slots=True)
class PlanFile:
    """A plan that was saved.

    `source` and `target` are paths or URLs as they were given. `runs` are by the names of a
    pipeline's components; without a pipeline there is one, named "". `beside` are the files of a
    pipeline that are in no component. `options` ask for the same bytes as the ones that the plan
    was made with, and for nothing to be replaced.
    """

    sources: tuple[str, ...]
    target: str
    options: WriteOptions
    runs: Mapping[str, PlannedRun]
    is_pipeline: bool = False
    beside: tuple[PlannedFile, ...] = ()

    def options_for(self, replace_what: Replace, *, replace_companions: bool) -> WriteOptions:
        """Return the options with what may be replaced in the target."""
        return replace(self.options, replace=replace_what, replace_companions=replace_companions)


def settings_of(options: WriteOptions) -> dict[str, Any]:
    """Return the settings that a plan file records: keywords of `options_from`, all of them.

    The layout is not among them, since the plan has decided it, nor is what may be replaced.
    """
    limits, chosen, conversion = options.limits, options.selection, options.conversion
    experts = options.experts
    rules = None if experts is None or experts.rules is None else experts.rules
    return {
        "max_shard_size": None if limits is None else limits.max_shard_bytes,
        "num_shards": None if limits is None else limits.num_shards,
        "single": limits is not None and limits.one_file,
        "strict_size": limits is not None and limits.strict,
        "format": options.format,
        "order": options.order,
        "name": options.stem,
        "variant": options.variant,
        "key": options.key,
        "include": list(chosen.include),
        "exclude": list(chosen.exclude),
        "strip_prefix": chosen.strip_prefix,
        "add_prefix": chosen.add_prefix,
        "rename": [list(rule) for rule in chosen.rename],
        "experts": None if experts is None else experts.action,
        "experts_map": None if rules is None else [[rule.stacked, *rule.parts] for rule in rules],
        "group_by": options.group_by,
        "dtype": None if conversion is None else conversion.dtype,
        "keep_dtype": [] if conversion is None else list(conversion.keep),
        "drop_non_tensors": options.drop_non_tensors,
        "tied": options.tied,
        "companions": options.companions,
        "read_back": options.read_back,
        "accept_damage": options.accept_damage,
        "checksums": options.checksums,
    }


def parse_plan_file(data: bytes, path: str) -> PlanFile:
    """Return the plan in the bytes of a file; `path` is for messages.

    Raises FormatError (`plan-invalid`) for everything that a writer of this version does not print.
    """
    try:
        text = decode(data)
        refuse_dense(text, _DENSITY)
        document = parse_object(text)
        return _plan_file(document)
    except InvalidJsonError as error:
        raise _invalid(path, error.message) from None
    except keys.WrongError as error:
        raise _invalid(path, str(error)) from None
    except UsageError as error:
        raise _invalid(path, f"asks for what cannot be: {error.message}") from None


def _invalid(path: str, what: str) -> FormatError:
    return FormatError(
        f"the plan '{escape(path)}' {what}",
        hint="make the plan again with this version, by `plan(save=path)`",
        code="plan-invalid",
        file=path,
    )


def _plan_file(document: Mapping[str, Any]) -> PlanFile:
    version = document.get(VERSION_KEY)
    if type(version) is not int or version != VERSION:
        what = "no version" if version is None else f"the version {escape(str(version))[:40]}"
        raise keys.WrongError(f"has {what}, and this version of shardctl reads {VERSION}")
    head = {VERSION_KEY: lambda value: value == VERSION}
    if "components" not in document:
        whole = keys.checked(document, {**head, **keys.RUN}, "", {"more_sources": keys.is_texts})
        run, options = _run(whole, "")
        names = (whole["source"], *whole.get("more_sources", ()))
        return PlanFile(names, whole["target"], options, {"": run})
    whole = keys.checked(document, {**head, **keys.PIPELINE}, "")
    runs: dict[str, PlannedRun] = {}
    asked: dict[str, WriteOptions] = {}
    for each in whole["components"]:
        name = keys.checked(each, keys.COMPONENT, " in 'components'")["name"]
        where = f" in '{escape(name)}'"
        if not name or name in runs:
            raise keys.WrongError("has a component without a name, or two of one name")
        runs[name], asked[name] = _run(
            keys.checked(each["document"], {**head, **keys.RUN}, where), where
        )
    first = next(iter(asked.values()), None)
    if first is None or any(each != first for each in asked.values()):
        raise keys.WrongError("has no components, or different settings for them")
    plan = keys.checked(whole["plan"], keys.BESIDE, " in 'plan'")
    beside = tuple(_planned_file(each, keys.COMPANION, "") for each in plan["companions"])
    return PlanFile(
        (whole["source"],), whole["target"], first, runs, is_pipeline=True, beside=beside
    )


def _run(document: Mapping[str, Any], where: str) -> tuple[PlannedRun, WriteOptions]:
    plan = keys.checked(document["plan"], keys.PLAN, f" in 'plan'{where}")
    if plan["layout_version"] != LAYOUT_VERSION:
        raise keys.WrongError(
            f"is for layout {plan['layout_version']}, and this version of shardctl writes "
            f"{LAYOUT_VERSION}"
        )
    run = PlannedRun(
        document["plan_id"],
        plan["options"],
        tuple(_planned_file(each, keys.SOURCE, where) for each in plan["sources"]),
        tuple(_planned_file(each, keys.COMPANION, where) for each in plan["companions"]),
    )
    settings = keys.checked(plan["settings"], keys.SETTINGS, f" in 'settings'{where}")
    block = None if plan["layout"] == "compact" else plan["block_size"]
    if block is not None and block > LARGEST_BLOCK:
        raise keys.WrongError(
            f"has blocks of {block:,} bytes, and the largest are {LARGEST_BLOCK:,}"
        )
    return run, _options(settings, block)


def _planned_file(value: object, checks: keys.Checks, where: str) -> PlannedFile:
    file = keys.checked(value, checks, f" in a file of 'plan'{where}")
    how, mark = file["content"]
    return PlannedFile(file["name"], file["size"], file.get("header_sha256", ""), (how, mark))


def _options(settings: Mapping[str, Any], block: int | None) -> WriteOptions:
    """Return the options; raises UsageError as `options_from` does, and for experts' rules."""
    given = dict(settings)
    action, rules = given.pop("experts"), given.pop("experts_map")
    if action not in (None, "stack", "split") or (action is None and rules is not None):
        raise keys.WrongError("has an invalid value for 'experts' in 'settings'")
    if action is not None:
        named = None if rules is None else {stacked: parts for stacked, *parts in rules}
        given["experts"] = Experts(action, None if named is None else parse_map(json.dumps(named)))
    given["rename"] = [(old, new) for old, new in given["rename"]]
    given["layout"] = "compact" if block is None else "reflink"
    keywords: WriteKeywords = given  # type: ignore[assignment] # its keys were checked
    return replace(options_from(keywords), block=block)
