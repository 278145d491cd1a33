"""What `apply --part` prints: the state of every shard, and what is missing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

from shardctl.cli.output.render import tabbed
from shardctl.sizes import format_size
from shardctl.text import escape, plural

if TYPE_CHECKING:
    from shardctl.commands.preparing.prepared import Prepared
    from shardctl.commands.saved.sharing import Share
    from shardctl.engine.shared.share import PartDone

#: Names of missing shards that a message lists.
_MOST_MISSING = 10


def rows(prepared: Prepared, done: PartDone) -> Iterator[str]:
    """Return the rows of a part: every shard of the run, and what has become of it."""
    states = done.states(shard.filename for shard in prepared.plan.shards)
    rows = ((shard.filename, shard.size, states[shard.filename]) for shard in prepared.plan.shards)
    return tabbed(itertools.chain([("shard", "size", "state")], rows))


def summary(share: Share, prepared: Prepared, done: PartDone) -> Iterator[str]:
    """Yield the closing lines of a part: what it did, and what is missing."""
    total, missing = len(prepared.plan.shards), done.missing
    size = format_size(sum(receipt.nbytes for receipt in done.written))
    yield (
        f"part {share.number}/{share.count}: wrote {plural(len(done.written), 'shard')} ({size}), "
        f"kept {len(done.kept):,}; {total - len(missing):,} of {total:,} are done"
    )
    if missing:
        more = ", …" if len(missing) > _MOST_MISSING else ""
        yield f"missing: {', '.join(map(escape, missing[:_MOST_MISSING]))}{more}"
    else:
        yield "every shard is done: finish the run with `shardctl apply PLAN --commit`"
