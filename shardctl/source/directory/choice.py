"""Which of several checkpoints in a directory is meant: the one that the model's loader takes.

Source: the order of names in transformers 5.23 (`_get_resolved_checkpoint_files`): safetensors
before torch, a single file before an index, no variant unless it is asked for. diffusers 0.42 looks
for the index before the single file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shardctl.formats.registry import formats, promised_by
from shardctl.naming import KNOWN_STEMS
from shardctl.source.directory.candidates import Candidate
from shardctl.text import escape

#: The stem of an original release beside the converted one: the same weights under other names.
_ORIGINAL = "consolidated"
#: The stem for which diffusers looks.
_DIFFUSERS = "diffusion_pytorch_model"

_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Choice:
    """The one that is `taken`, None where nothing decides it; `others` are the rest."""

    taken: Candidate | None
    others: Sequence[Candidate]
    variant: str | None = None

    def note(self, directory: str) -> str | None:
        """Return what to tell the user about the others, None without others."""
        if self.taken is None or not self.others:
            return None
        titles = ", ".join(candidate.title for candidate in self.others[:_SHOWN])
        more = ", …" if len(self.others) > _SHOWN else ""
        usual = self.variant is None and is_loaded(self.taken)
        return (
            f"'{escape(directory)}' also holds {titles}{more}; '{escape(self.taken.choice)}' is "
            f"read{', which loaders take' if usual else ''}"
        )


def choose(found: Sequence[Candidate], variant: str | None = None) -> Choice:
    """Choose one of some candidates: with `variant` among those of it, "" for those without one.

    Nothing decides between the stems of different loaders (`model`, `adapter_model`), nor between
    candidates of which no loader takes any.
    """
    asked = [each for each in found if variant is None or each.variant == (variant or None)]
    taken = _preferred(asked, any_variant=variant is not None)
    return Choice(taken, [each for each in found if each is not taken], variant)


def _preferred(found: Sequence[Candidate], *, any_variant: bool) -> Candidate | None:
    stems = {_loaded_as(each) for each in found if each.known}
    if len(stems) > 1:
        stems.discard(_ORIGINAL)
        found = [each for each in found if _loaded_as(each) != _ORIGINAL]
    if len(found) == 1:
        return found[0]
    if len(stems & set(KNOWN_STEMS)) > 1:
        return None
    loaded = [each for each in found if is_loaded(each) and (any_variant or each.variant is None)]
    return min(loaded, key=_rank, default=None)


def is_loaded(candidate: Candidate) -> bool:
    """Whether loaders look for this very name: a stem and suffix of its format, or their index."""
    promised = promised_by(candidate.suffix)
    if promised is None or candidate.suffix != promised.suffix or candidate.stale:
        return False
    stems = {known.default_stem for known in formats()}
    usual = candidate.stem == promised.default_stem or candidate.stem not in stems
    found = candidate.index is not None or candidate.style == "none"
    return usual and found and candidate.stem in KNOWN_STEMS


def is_looked_for_first(index: Candidate, taken: Candidate) -> bool:
    """Whether some loader looks for an index before it looks for the checkpoint that is taken.

    transformers does by its order; diffusers and the hub's library look for any index of the same
    format first.
    """
    if index.variant != taken.variant or _loaded_as(index) != _loaded_as(taken):
        return False
    by_order = is_loaded(index) and (not is_loaded(taken) or _rank(index) < _rank(taken))
    return by_order or index.suffix == taken.suffix


def _loaded_as(candidate: Candidate) -> str:
    """Return the stem, one for all those between which a loader chooses by the format."""
    stems = [known.default_stem for known in formats()]
    return stems[0] if candidate.stem in stems else candidate.stem


def _rank(candidate: Candidate) -> tuple[int, bool]:
    order = [known.suffix for known in formats()]
    single_first = candidate.stem != _DIFFUSERS
    return order.index(candidate.suffix), (candidate.index is not None) is single_first
