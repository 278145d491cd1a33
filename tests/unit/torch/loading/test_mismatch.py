"""What does not fit is said in torch's own words, and what was changed is named."""

from __future__ import annotations

import pickle

import pytest

from shardctl.errors import FormatError, InputError
from shardctl.torch.loading.mismatch import MismatchError, mismatch, partly_loaded

torch = pytest.importorskip("torch")


def test_the_words_are_those_of_torch() -> None:
    """Missing and unexpected keys and shapes read as `load_state_dict` writes them."""
    model = torch.nn.Linear(2, 3)
    state = {"weight": torch.zeros(4, 2), "more": torch.zeros(1)}
    with pytest.raises(RuntimeError) as theirs:
        model.load_state_dict(state)
    ours = mismatch("Linear", ["bias"], ["more"], [("weight", (4, 2), (3, 2))])
    assert ours.message == str(theirs.value)
    assert isinstance(ours, RuntimeError)
    assert isinstance(ours, InputError)
    assert ours.code == "state-dict-mismatch"


def test_the_names_are_on_the_error() -> None:
    """For programs, which do not read messages; also after it was sent to another process."""
    error = mismatch("M", ["a"], ["b"], [("c", (1,), (2,))], ["said by a module"])
    for each in (error, pickle.loads(pickle.dumps(error))):
        assert isinstance(each, MismatchError)
        assert (each.missing_keys, each.unexpected_keys, each.mismatched) == (
            ("a",),
            ("b",),
            ("c",),
        )
        assert each.message.endswith("said by a module")
        assert "`strict=False`" in each.hint


@pytest.mark.parametrize(
    ("loaded", "partial", "words"),
    [
        ([], [], "0 of 20 tensors are new, the others"),
        (["a"], [], "1 of 20 tensors are new (a), the others"),
        ([], ["b\x1b"], "0 of 20 tensors are new, 1 in part (b\\x1b), the others"),
        ([f"t{n}" for n in range(11)], [], "11 of 20 tensors are new (t0, t1, "),
    ],
)
def test_what_was_changed_before_a_read_failed(
    loaded: list[str], partial: list[str], words: str
) -> None:
    """Names are counted and ten are shown; the place is that of the cause."""
    cause = FormatError("why", hint="x", code="c", file="f", tensor="t", offset=7)
    error = partly_loaded(cause, loaded, partial, 20)
    assert error.message.startswith("why; ")
    assert words in error.message
    assert ("…" in error.message) is (len(loaded) > 10)
    assert (error.code, error.file, error.tensor, error.offset) == ("partly-loaded", "f", "t", 7)
    assert (error.loaded, error.partial) == (tuple(loaded), tuple(partial))
    assert "sound checkpoint" in error.hint
