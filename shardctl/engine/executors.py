"""Where tasks run. An executor is a `concurrent.futures.Executor`; threads do, since system calls release the lock."""

from __future__ import annotations

import os
from concurrent.futures import Executor, ThreadPoolExecutor


def default_jobs() -> int:
    """Files written at once: enough to keep an ordinary disk busy while another file is synced."""
    return max(2, min(4, os.cpu_count() or 1))


def threads(jobs: int) -> Executor:
    """That many tasks at once, in this process."""
    return ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="shard")
