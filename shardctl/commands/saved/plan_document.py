"""The plan file as a document: what a writer prints instead of writing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from shardctl.commands.documents import writing
from shardctl.commands.preparing.prepared import Prepared
from shardctl.commands.preparing.work import Work
from shardctl.commands.saved.planned import planned_beside, planned_companions, planned_sources
from shardctl.engine.space import Room
from shardctl.planning.digest import LAYOUT_VERSION
from shardctl.planning.request import options_of
from shardctl.planning.saved.plan_file import PlannedFile, settings_of
from shardctl.stores.base import Store

#: Data begins at a multiple of this many bytes in the compact layout of safetensors.
COMPACT_BLOCK = 8


def plan_document(
    command: str, work: Work, source_store: Store, target_store: Store
) -> dict[str, Any]:
    """Return the plan file, which a writer prints instead of writing."""
    document = writing(command, work, target_store, None)
    if work.pipeline is None:
        prepared = work.parts[0].prepared
        return {**document, "plan": _plan(prepared, source_store), "room": _room(work.room)}
    for part, component in zip(work.weights, document["components"], strict=True):
        component["document"]["plan"] = _plan(part.prepared, source_store)
        component["document"]["room"] = _room(part.prepared.room)
    beside = _companions(planned_beside(source_store, work))
    return {**document, "plan": {"companions": beside}, "room": _room(work.room)}


def _plan(prepared: Prepared, source_store: Store) -> dict[str, Any]:
    options = options_of(prepared.plan.request)
    read = planned_sources(source_store, prepared.located, prepared.checkpoint)
    return {
        "layout_version": LAYOUT_VERSION,
        "layout": options["layout"],
        "block_size": prepared.plan.request.block or COMPACT_BLOCK,
        "options": options,
        "settings": settings_of(prepared.options),
        "sources": [
            {
                "name": each.name,
                "size": each.size,
                "header_sha256": each.header_sha256,
                "content": list(each.content),
            }
            for each in read
        ],
        "companions": _companions(planned_companions(source_store, prepared)),
    }


def _companions(files: Iterable[PlannedFile]) -> list[dict[str, Any]]:
    return [{"name": each.name, "size": each.size, "content": list(each.content)} for each in files]


def _room(room: Room) -> dict[str, Any]:
    return {"needed": room.needed, "free": room.free}
