"""What loading a file would do is said with advice that is safe to take."""

from __future__ import annotations

import pytest

from shardctl.formats.hazards import (
    DO_NOT_LOAD,
    LAZY,
    hint_for,
    memory_finding,
    refused_finding,
    unread_finding,
    unsafe_finding,
)
from shardctl.model import NonTensor


@pytest.mark.parametrize("readable", [True, False])
def test_no_advice_is_to_load_the_file(*, readable: bool) -> None:
    """Where the tensors can be read they can be converted; otherwise the file is left alone."""
    finding = unsafe_finding(["os.system"], "m.bin", readable=readable)
    assert (finding.code, finding.severity, finding.file) == ("pickle-unsafe", "error", "m.bin")
    assert finding.hint.startswith("do not load it")
    assert (finding.hint == DO_NOT_LOAD) is not readable
    assert ("converted to safetensors" in finding.hint) is readable


@pytest.mark.parametrize(
    ("count", "more"), [(5, ""), (6, " and 1 more"), (1_005, " and 1,000 more")]
)
def test_five_names_are_shown(count: int, more: str) -> None:
    """Names are shortened and safe to print, and the others are counted."""
    names = ["\x1b" + "x" * 300, *(f"m.f{number}" for number in range(count - 1))]
    message = unsafe_finding(names, "m", readable=True).message
    assert "\x1b" not in message
    assert "x" * 200 not in message
    assert f"m.f3{more}: with `weights_only=False`" in message
    assert "m.f4" not in message


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["a.b", "transformers.training_args.TrainingArguments"], "the arguments of a Trainer"),
        (["sklearn.svm.SVC"], "a scikit-learn object"),
        (["sklearn"], "a scikit-learn object"),
        (["sklearnx.SVC"], None),
        (["my.sklearn.SVC"], None),
    ],
)
def test_what_the_file_holds_instead(names: list[str], what: str | None) -> None:
    """A known module says it, by its whole name, and only where no tensors can be read."""
    message = unsafe_finding(names, "m", readable=False).message
    assert message.startswith(f"the file holds {what}, not weights; " if what else "loading it")
    assert unsafe_finding(names, "m", readable=True).message.startswith("loading it")


def test_what_torch_refuses_is_a_warning() -> None:
    """Five of the reasons are shown."""
    finding = refused_finding([f"OP{number}" for number in range(6)], "m")
    assert (finding.code, finding.severity) == ("pickle-unsafe", "warning")
    assert finding.message.endswith("it uses OP0, OP1, OP2, OP3, OP4, …")
    assert refused_finding(["OP"], "m").message.endswith("it uses OP")


def test_memory_is_said_in_sizes() -> None:
    """The largest call comes first, and a size beyond any memory is not counted."""
    finding = memory_finding([("a", 1_000_000), ("b", (1 << 60) - 1), ("c", 1 << 60)], "m")
    assert (finding.code, finding.severity, finding.hint) == ("pickle-memory", "error", DO_NOT_LOAD)
    shown = finding.message.partition(": ")[2]
    assert shown.startswith("c (more than any memory), b (")
    assert shown.endswith("a (1.0 MB)")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (f"{LAZY} (conj)", "resolve_conj()"),
        ("torch.Tensor on the meta device", "weights loaded"),
        ("torch.sparse.FloatTensor", "to_dense()"),
        ("torch._utils._rebuild_qtensor", "dequantize()"),
        ("numpy.ndarray", "torch.from_numpy"),
        ("torch.distributed.tensor.DTensor", "full_tensor()"),
        ("x.ShardedTensor", "full_tensor()"),
        ("m.Model", "model.state_dict()"),
    ],
)
def test_what_to_do_about_what_is_not_read(kind: str, words: str) -> None:
    """Each kind has its own way, which is taken where the file was made."""
    value = NonTensor("w", kind, unread=True)
    assert words in hint_for(value)
    finding = unread_finding(value, "m")
    assert (finding.code, finding.severity, finding.tensor) == ("tensor-unread", "error", "w")
    assert "torch.load" not in finding.hint


def test_how_much_an_unread_entry_holds() -> None:
    """Storages are counted, with their bytes."""
    one = unread_finding(NonTensor("w", "m.C", unread=True, storages=1, nbytes=1_000), "m")
    assert "a m.C with 1 storage of 1,000 bytes, which" in one.message
    two = unread_finding(NonTensor("w", "m.C", unread=True, storages=2, nbytes=7), "m")
    assert "with 2 storages of 7 bytes" in two.message
    none = unread_finding(NonTensor("w", "m.C", unread=True), "m")
    assert "the entry is a m.C, which" in none.message
