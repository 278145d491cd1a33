"""What TARGET means, what is in the way there, and what is replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardctl.commands.companions import companion_names
from shardctl.commands.replace import superseded
from shardctl.commands.target import (
    KeptChecksums,
    Route,
    Target,
    kept_checksums,
    resolve_target,
    same_bytes,
)
from shardctl.errors import TargetExistsError, UsageError
from shardctl.planning.request import Limits, Replace, Request
from shardctl.source.locate import find_source
from shardctl.stores.base import Store
from shardctl.stores.local import LocalStore
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put, sample, weights

DIGEST = "0" * 64


REQUEST = Request(Limits(), "safetensors", ".safetensors", "model")


def route(store: Store, target: str, source: str = "m") -> Route:
    """From a source to a target in the same store."""
    place = resolve_target(store, target, one_file=True)
    return Route(store, find_source(store, source), store, place)


def giving_way(
    store: MemoryStore,
    target: str,
    replace: Replace,
    names: tuple[str, ...] = ("model.safetensors",),
) -> tuple[str, ...]:
    """The files that these names replace where `m` is the source."""
    return superseded(route(store, target), REQUEST, names, replace)


@pytest.mark.parametrize("text", ["new", "new/", "m", "a.b"])
def test_a_directory(text: str) -> None:
    """A directory that exists, and any new name without a weights suffix, is a directory."""
    store = MemoryStore()
    sample(store)
    place = resolve_target(store, text, one_file=False)
    assert (place.directory, place.filename, place.format) == (text, None, None)


@pytest.mark.parametrize(
    ("text", "container"), [("out/x.safetensors", "safetensors"), ("x.bin", "bin")]
)
def test_a_file(text: str, container: str) -> None:
    """A weights suffix makes it a file in a directory."""
    store = MemoryStore()
    place = resolve_target(store, text, one_file=True)
    directory, name = store.split(text)
    assert place == Target(directory, name)
    assert place.format == container


def test_a_directory_with_a_weights_suffix_is_a_directory() -> None:
    """What is there counts more than how it is called."""
    store = MemoryStore()
    store.make_directory("odd.bin")
    assert resolve_target(store, "odd.bin", one_file=False).filename is None


def test_a_file_for_several_is_refused() -> None:
    """One file cannot hold what may be several, and the hint says how to get one."""
    with pytest.raises(UsageError, match="may be several") as caught:
        resolve_target(MemoryStore(), "x.safetensors", one_file=False)
    assert "`write(single=True)`" in caught.value.hint
    assert caught.value.file == "x.safetensors"


def test_any_other_file_is_refused() -> None:
    """A file that exists and has no weights suffix is not a target."""
    store = MemoryStore()
    put(store, "notes.txt", b"mine")
    with pytest.raises(UsageError, match="is a file") as caught:
        resolve_target(store, "notes.txt", one_file=True)
    assert caught.value.file == "notes.txt"


def test_a_link_to_nothing_is_refused(tmp_path: Path) -> None:
    """A link that leads to nothing is neither a directory nor a file to write."""
    link = tmp_path / "out"
    link.symlink_to("gone")
    with pytest.raises(UsageError, match="does not exist") as caught:
        resolve_target(LocalStore(), str(link), one_file=True)
    assert caught.value.file == str(link)


def test_in_place() -> None:
    """The source's directory and its file are the source itself; another file beside it is not."""
    store = MemoryStore()
    sample(store)
    for text, itself in (
        ("m", True),
        ("m/", True),
        ("m/model.safetensors", True),
        ("m/x.bin", False),
        ("n", False),
    ):
        assert route(store, text).in_place is itself


def test_in_place_through_a_link(tmp_path: Path) -> None:
    """A link to the source's directory is the source itself."""
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.safetensors").write_bytes(weights({"a": b"1"}))
    (tmp_path / "link").symlink_to(tmp_path / "m")
    store = LocalStore()
    assert route(store, str(tmp_path / "link"), str(tmp_path / "m")).in_place


def test_the_source_itself_needs_replace() -> None:
    """In place without --replace is refused; with it the files that were read go."""
    store = MemoryStore()
    sample(store)
    with pytest.raises(TargetExistsError, match="source itself"):
        giving_way(store, "m", "nothing")
    assert giving_way(store, "m", "same", ("other.safetensors",)) == ("model.safetensors",)


def test_in_place_takes_the_set_that_was_read_in_any_container() -> None:
    """A `.bin` that is read is replaced by safetensors with plain --replace."""
    store = MemoryStore()
    put(store, "m/pytorch_model.bin", weights({"a": b"1"}, "bin"))
    assert giving_way(store, "m", "same") == ("pytorch_model.bin",)


@pytest.mark.parametrize("how", ["nothing", "same"])
@pytest.mark.parametrize("name", ["model.fp16.safetensors", "pytorch_model.bin"])
def test_another_variant_or_format_needs_replace_all(name: str, how: Replace) -> None:
    """A checkpoint of another variant or format is replaced with "all", and the hint says so."""
    store = MemoryStore()
    sample(store)
    put(store, f"t/{name}", weights({"a": b"1"}, "bin" if name.endswith("bin") else "safetensors"))
    with pytest.raises(TargetExistsError, match=name) as caught:
        giving_way(store, "t", how)
    assert '`replace="all"`' in caught.value.hint
    assert giving_way(store, "t", "all") == (name,)


def test_the_same_variant_and_format_needs_replace() -> None:
    """A checkpoint of the same stem, variant and format is replaced, and the hint says how."""
    store = MemoryStore()
    sample(store)
    put(store, "t/model.safetensors", weights({"a": b"1"}))
    with pytest.raises(TargetExistsError, match="'t' already holds a checkpoint") as caught:
        giving_way(store, "t", "nothing")
    assert caught.value.file == "t"
    assert '`replace="same"`' in caught.value.hint
    assert giving_way(store, "t", "same") == ("model.safetensors",)


def test_the_current_directory_is_named() -> None:
    """Where TARGET is a file of the current directory, the error names that as `.`."""
    store = MemoryStore()
    sample(store)
    put(store, "model.safetensors", weights({"a": b"1"}))
    with pytest.raises(TargetExistsError, match=r"'\.' already holds a checkpoint") as caught:
        giving_way(store, "pytorch_model.bin", "nothing", ("pytorch_model.bin",))
    assert caught.value.file == "."


def test_a_name_that_nothing_may_replace() -> None:
    """Where neither way would replace what is there, the hint offers another name."""
    store = MemoryStore()
    sample(store)
    put(store, "t/own.safetensors", weights({"a": b"1"}))
    for how in ("nothing", "same", "all"):
        with pytest.raises(TargetExistsError) as caught:
            giving_way(store, "t", how, ("own.safetensors",))
        assert "another `name`" in caught.value.hint


def test_a_file_in_the_way_of_a_new_name() -> None:
    """A file of a new name, weights or not, is replaced only with --replace, a directory never."""
    store = MemoryStore()
    sample(store)
    put(store, "t/extra.json", b"{}")
    with pytest.raises(TargetExistsError, match=r"extra\.json") as caught:
        giving_way(store, "t", "nothing", ("extra.json",))
    assert caught.value.file == "t/extra.json"
    assert giving_way(store, "t", "same", ("extra.json",)) == ("extra.json",)
    store.make_directory("u/model.safetensors")
    with pytest.raises(TargetExistsError, match="already exists"):
        giving_way(store, "u", "all")


def test_a_file_target_leaves_its_neighbours_alone() -> None:
    """Other checkpoints in the directory of a target file are not in its way."""
    store = MemoryStore()
    sample(store)
    put(store, "t/pytorch_model.bin", weights({"a": b"1"}, "bin"))
    assert giving_way(store, "t/x.safetensors", "nothing", ("x.safetensors",)) == ()


def test_companions() -> None:
    """Config and tokenizer are copied; weights, training state, sums and staging are not."""
    store = MemoryStore()
    sample(store)
    for name in (
        "tokenizer.json",
        "README.md",
        "optimizer.pt",
        "SHA256SUMS",
        "tf_model.h5",
    ):
        put(store, f"m/{name}", b"x")
    store.make_directory("m/onnx")
    named = companion_names(store, find_source(store, "m"))
    assert named == ["README.md", "config.json", "tokenizer.json"]


def test_companions_that_are_links_to_files(tmp_path: Path) -> None:
    """A link to a file is copied, as caches have them; one to a directory or to nothing is not."""
    (tmp_path / "model.safetensors").write_bytes(weights({"a": b"1"}))
    (tmp_path / "blob").mkdir()
    (tmp_path / "blob" / "1").write_bytes(b"{}")
    for name, target in (("config.json", "blob/1"), ("directory", "blob"), ("gone", "nowhere")):
        (tmp_path / name).symlink_to(tmp_path / target)
    store = LocalStore()
    assert companion_names(store, find_source(store, str(tmp_path))) == ["config.json"]


def test_kept_checksums() -> None:
    """Only lines of files that go are removed; other files, and other forms, are left alone."""
    store = MemoryStore()
    place = resolve_target(store, "t", one_file=False)
    assert kept_checksums(store, place, (), wanted=False) == KeptChecksums(None)
    assert kept_checksums(store, place, (), wanted=True) == KeptChecksums(b"")
    put(store, "t/SHA256SUMS", f"# mine\r\n{DIGEST}  ./a\n{DIGEST} *b".encode())
    assert kept_checksums(store, place, {"c"}, wanted=False) == KeptChecksums(None)
    kept = f"# mine\r\n{DIGEST} *b\n".encode()
    assert kept_checksums(store, place, {"a"}, wanted=False) == KeptChecksums(kept)
    for text in (f"SHA256 (a) = {DIGEST}", "-----BEGIN PGP SIGNED MESSAGE-----\n"):
        put(store, "t/SHA256SUMS", text.encode())
        assert kept_checksums(store, place, {"a"}, wanted=True) == KeptChecksums(None, foreign=True)


def test_same_bytes() -> None:
    """Files are the same where size and every byte are, past the first piece that is compared."""
    store = MemoryStore()
    data = bytes(1024 * 1024) + b"end"
    for name, content in (
        ("a", data),
        ("b", data),
        ("c", data[:-1] + b"!"),
        ("d", data[:-1]),
        ("e", b""),
    ):
        put(store, name, content)
    assert same_bytes(store, "a", store, "b")
    assert same_bytes(store, "e", store, "e")
    assert not any(same_bytes(store, "a", store, other) for other in "cde")
