"""Where the records of finished runs are kept: the user's state directory."""

from __future__ import annotations

import os

from platformdirs import user_state_dir

from shardctl.engine.journal.records import Forgetting, Records, StoredRecords
from shardctl.stores.local.store import LocalStore


def records(*, keep: bool) -> Records:
    """Return the records of this user; with `keep` false the next run's is removed, not kept."""
    directory = os.path.join(user_state_dir("shardctl", appauthor=False), "records")
    stored = StoredRecords(LocalStore(), directory, os.path.realpath)
    return stored if keep else Forgetting(stored)
