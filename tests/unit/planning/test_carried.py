"""What of a source does not reach the target, and how that is said."""

from __future__ import annotations

from shardctl.model import Checkpoint, File, NonTensor, Version
from shardctl.planning.carried import NotCarried, left_of, notes_on


def test_notes_are_one_for_each_reason() -> None:
    """Names with one reason are in one note, with their sizes; a directory ends in a slash."""
    left = [
        NotCarried("a", "file", "training state", 1),
        NotCarried("git", "directory", "hidden", 2000),
        NotCarried("b", "file", "training state", None),
        NotCarried("os.system", "import", "'f' would import it"),
    ]
    assert list(notes_on(left)) == [
        "not copied (training state): a (1 B), b",
        "not copied (hidden): git/ (2.0 KB)",
        "left out: 'f' would import os.system",
    ]


def test_notes_stay_short() -> None:
    """Of many names the first are listed, and of many reasons the first have a note."""
    (note,) = notes_on(NotCarried(f"n{number}", "entry", "why") for number in range(25))
    assert note.endswith("n19, and 5 more")
    *_, last = notes_on(NotCarried("n", "entry", f"why {number}") for number in range(25))
    assert last == "left out for other reasons: 5 more names"


def test_names_cannot_reach_a_terminal() -> None:
    """Control characters in names and kinds are escaped."""
    (note,) = notes_on([NotCarried("a\x1b", "entry", "not a tensor: b\x1b")])
    assert note.isprintable()


def test_what_is_left_of_files() -> None:
    """Entries, what lies beside a key, metadata of one file only, and imports are all listed."""

    def file(path: str, **metadata: str) -> File:
        names = ("os.system",)
        return File(path, "bin", Version(1, ""), {}, metadata, unsafe_globals=names)

    checkpoint = Checkpoint(
        "bin",
        (file("f", kept="1"), file("g", odd="12", tied="kept")),
        (),
        metadata={"kept": "1"},
        aliases={"tied": "kept"},
        non_tensors=(NonTensor("step", "builtins.int"),),
        beside=(NonTensor("ema", "dict", storages=1, nbytes=8),),
    )
    assert list(left_of(checkpoint)) == [
        NotCarried("step", "entry", "not a tensor: builtins.int"),
        NotCarried("ema", "entry", "beside the chosen key", 8),
        NotCarried("odd", "metadata", "of another form in other files of the set", 2),
        NotCarried("os.system", "import", "'f' would import it"),
    ]
