"""Guess what was meant by a command or an option that does not exist.

First by meaning (`--force` is `--replace` here), then by where it does exist, then by its letters.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

#: Options of other programs, and what they are here: the first that the command has is meant.
_OPTIONS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("--force", "-f", "--overwrite", "--clobber", "--yes", "-y"), ("--replace",)),
    **dict.fromkeys(
        ("--size", "--shard-size", "--max-size", "--chunk-size", "--split-max-size"),
        ("--max-shard-size",),
    ),
    **dict.fromkeys(
        ("--shards", "--n-shards", "--parts", "--pieces", "--count", "--number"), ("--num-shards",)
    ),
    **dict.fromkeys(("--one", "--one-file", "--single-file", "--merge"), ("--single",)),
    **dict.fromkeys(("--format", "--container", "--type", "--target-format", "-t"), ("--to",)),
    **dict.fromkeys(("--plan", "--simulate", "--pretend", "--no-op"), ("--dry-run",)),
    **dict.fromkeys(
        ("--threads", "--workers", "--num-workers", "--num-threads", "--parallel", "--processes"),
        ("--jobs",),
    ),
    "-s": ("--max-shard-size", "--quiet"),
    "--silent": ("--quiet",),
    **dict.fromkeys(("--no-progress", "--progress-bar", "--no-bar"), ("--progress",)),
    **dict.fromkeys(("--diff", "--compare", "--with", "--reference"), ("--against",)),
    **dict.fromkeys(
        ("--hash", "--hashes", "--sha256", "--sha256sum", "--checksum"), ("--checksums", "--deep")
    ),
    **dict.fromkeys(("--full", "--thorough", "--bytes", "--crc", "--read-data"), ("--deep",)),
    **dict.fromkeys(
        ("--glob", "--pattern", "--grep", "--match", "--name", "--tensor", "--include"),
        ("--filter", "--include"),
    ),
    **dict.fromkeys(("--limit", "--head", "--largest", "-n"), ("--top",)),
    **dict.fromkeys(("--level", "--levels", "--max-depth", "-L"), ("--depth",)),
    **dict.fromkeys(("--sort", "--sort-by", "--natural"), ("--order",)),
    **dict.fromkeys(("--prefix", "--basename", "--stem"), ("--name",)),
    # Where there is no TARGET; see `ARGUMENTS`.
    **dict.fromkeys(("--html", "--svg", "-o", "--output", "--out"), ("--report",)),
    **dict.fromkeys(("--subkey", "--state-dict", "--state-dict-key"), ("--key",)),
    **dict.fromkeys(("-V", "-version"), ("--version",)),
    **dict.fromkeys(("-?", "-help"), ("--help",)),
}
#: Options of other programs for what is an argument here.
ARGUMENTS: Mapping[str, str] = {
    **dict.fromkeys(
        ("-o", "--output", "--out", "--output-dir", "--outdir", "--target", "--dest", "--to-dir"),
        "TARGET",
    ),
    **dict.fromkeys(
        ("-i", "--input", "--in", "--source", "--model", "--path", "--checkpoint"), "SOURCE"
    ),
}
#: Commands of other programs, and what they are here.
_COMMANDS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("convert", "rename", "resize", "resplit", "transform", "copy"), ("reshard",)),
    **dict.fromkeys(
        ("info", "ls", "list", "show", "view", "describe", "stat", "tree", "dump", "print", "head"),
        ("inspect",),
    ),
    "cat": ("merge", "inspect"),
    **dict.fromkeys(
        ("join", "concat", "combine", "unite", "unshard", "unsplit", "consolidate"), ("merge",)
    ),
    **dict.fromkeys(("shard", "divide", "chunk", "cut"), ("split",)),
    **dict.fromkeys(("check", "validate", "test", "fsck", "audit", "scan", "lint"), ("verify",)),
    **dict.fromkeys(("compare", "cmp"), ("diff", "verify")),
    **dict.fromkeys(("reindex", "repair", "fix"), ("index",)),
    **dict.fromkeys(("completions", "complete", "autocomplete"), ("completion",)),
    "version": ("--version",),
}
#: How alike two words must be, from 0 to 1.
_ALIKE = 0.65


def commands_meant(word: str, commands: Sequence[str]) -> list[str]:
    """Return the commands that may be meant by a word, or `--version`; none if it is a riddle."""
    meant = [each for each in _COMMANDS.get(word.lower(), ()) if each in (*commands, "--version")]
    if meant:
        return meant if word == "cat" else meant[:1]
    return difflib.get_close_matches(word.lower(), commands, n=2, cutoff=_ALIKE)


def option_meant(word: str, options: Iterable[str], *, by_letters: bool) -> str | None:
    """Return the option that may be meant by one that a command does not have, or None.

    `by_letters`: one that is written nearly so counts too.
    """
    existing = list(options)
    for meant in _OPTIONS.get(word, ()):
        if meant in existing:
            return meant
    if not by_letters:
        return None
    if word.startswith("--"):
        near = difflib.get_close_matches(word, existing, n=1, cutoff=_ALIKE + 0.05)
        return near[0] if near else None
    # A long option with one dash too few, which is read as `-q` and more.
    return f"-{word}" if f"-{word}" in existing else None
