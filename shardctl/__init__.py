"""Split, merge, convert, inspect and verify model checkpoints.

What `__all__` lists is loaded when it is first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import sys
from types import ModuleType

from shardctl._version import __version__

# The type checkers' constant, without the import of `typing`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from shardctl.api.plans import apply, apply_part
    from shardctl.api.reading import components, diff, inspect, verify
    from shardctl.api.writing import Written, plan, reindex, write
    from shardctl.commands.diff import Change, Difference
    from shardctl.commands.index import Reindexed
    from shardctl.commands.inspect import Inspection
    from shardctl.engine.journal.receipts import Receipt
    from shardctl.engine.shared.share import PartDone
    from shardctl.errors import (
        FormatError,
        InputError,
        LockedError,
        MissingError,
        ShardctlError,
        SourceChangedError,
        StorageError,
        TargetError,
        TargetExistsError,
        UsageError,
    )
    from shardctl.findings import Finding
    from shardctl.planning.keywords import SelectionKeywords, WriteKeywords
    from shardctl.planning.plan import Plan, Shard
    from shardctl.planning.request import (
        Conversion,
        ExpertRule,
        Experts,
        Limits,
        Selection,
        WriteOptions,
    )
    from shardctl.streams.progress import Observer, Silent
    from shardctl.streams.statistics import Distance, Statistics
    from shardctl.verify.coverage import Coverage
    from shardctl.verify.run import Verdict

__all__ = [
    "Change",
    "Conversion",
    "Coverage",
    "Difference",
    "Distance",
    "ExpertRule",
    "Experts",
    "Finding",
    "FormatError",
    "InputError",
    "Inspection",
    "Limits",
    "LockedError",
    "MissingError",
    "Observer",
    "PartDone",
    "Plan",
    "Receipt",
    "Reindexed",
    "Selection",
    "SelectionKeywords",
    "Shard",
    "ShardctlError",
    "Silent",
    "SourceChangedError",
    "Statistics",
    "StorageError",
    "TargetError",
    "TargetExistsError",
    "UsageError",
    "Verdict",
    "WriteKeywords",
    "WriteOptions",
    "Written",
    "__version__",
    "apply",
    "apply_part",
    "components",
    "diff",
    "inspect",
    "plan",
    "reindex",
    "verify",
    "write",
]

#: The module that each public name is loaded from.
_HOMES = {
    **dict.fromkeys(("components", "diff", "inspect", "verify"), "api.reading"),
    **dict.fromkeys(("plan", "reindex", "write", "Written"), "api.writing"),
    **dict.fromkeys(("apply", "apply_part"), "api.plans"),
    **dict.fromkeys((name for name in __all__ if name.endswith("Error")), "errors"),
    **dict.fromkeys(("Observer", "Silent"), "streams.progress"),
    **dict.fromkeys(("Plan", "Shard"), "planning.plan"),
    **dict.fromkeys(("SelectionKeywords", "WriteKeywords"), "planning.keywords"),
    **dict.fromkeys(("Conversion", "ExpertRule", "Experts", "Limits"), "planning.request"),
    **dict.fromkeys(("Selection", "WriteOptions"), "planning.request"),
    **dict.fromkeys(("Change", "Difference"), "commands.diff"),
    **dict.fromkeys(("Distance", "Statistics"), "streams.statistics"),
    "Coverage": "verify.coverage",
    "Finding": "findings",
    "Inspection": "commands.inspect",
    "PartDone": "engine.shared.share",
    "Receipt": "engine.journal.receipts",
    "Reindexed": "commands.index",
    "Verdict": "verify.run",
}


class _Package(ModuleType):
    """The package as a module that loads its public names.

    A class, and not `__getattr__` alone, because of `verify`: the first import of a module below
    `shardctl.verify` sets that attribute to the subpackage, and here it stays the function.
    """

    def __getattr__(self, name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415 - importing must cost nothing

        value: object = getattr(import_module(f"{self.__name__}.{_HOMES[name]}"), name)
        setattr(self, name, value)
        return value

    def __setattr__(self, name: str, value: object) -> None:
        if name not in _HOMES or not isinstance(value, ModuleType):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *__all__})


sys.modules[__name__].__class__ = _Package
