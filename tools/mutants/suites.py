"""Which tests are run for a change of a module: the nearest first, so that most end early."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

_UNIT = "tests/unit"

#: What else is run for a module of a package, once the unit tests of the package have passed.
_SUITES: dict[str, tuple[str, ...]] = {
    "cli": ("tests/cli",),
    "formats": (
        "tests/corruption/test_safetensors_corpus.py",
        "tests/corruption/test_torch_corpus.py",
        "tests/corruption/test_index_corpus.py",
        "tests/corruption/test_pickle_structures.py",
        "tests/unit/verify",
        "tests/conformance/test_formats.py",
        "tests/conformance/test_random_checkpoints.py",
    ),
    "source": (
        "tests/corruption/test_directory_corpus.py",
        "tests/unit/verify",
        "tests/unit/commands",
        "tests/cli/test_inspect.py",
        "tests/cli/test_verify.py",
    ),
    "verify": ("tests/corruption/test_directory_corpus.py", "tests/cli/test_verify.py"),
    "view": ("tests/cli",),
    "report": ("tests/cli",),
}
#: The same for the packages that only writers use.
_WRITERS = (
    "tests/unit/engine",
    "tests/unit/commands",
    "tests/unit/verify",
    "tests/cli/test_writers.py",
    "tests/conformance/test_random_checkpoints.py",
    "tests/properties",
)


def stages(root: Path, module: str) -> list[tuple[str, ...]]:
    """Return the tests of a module, in stages: its own file, those of its package, other suites.

    `module` is a path below `root`, with slashes. No test is in two stages, and a stage of no
    tests is left out.
    """
    package, *names = PurePosixPath(module).with_suffix("").parts[1:]
    unit = _UNIT if not names else f"{_UNIT}/{package}"
    own = _own(root, unit, names or [package])
    rest = _files(root, unit if names else f"{_UNIT}/test_*.py") - own
    others = set().union(*(_files(root, suite) for suite in _SUITES.get(package, _WRITERS)))
    return [tuple(sorted(stage)) for stage in (own, rest, others - own - rest) if stage]


def _own(root: Path, unit: str, names: list[str]) -> set[str]:
    """Return the test file of a module, which lies where the module does: `zip/test_writer.py`.

    Where it has none, those of the inner package that it is in.
    """
    *inner, name = names
    directory = "/".join([unit, *inner])
    test = f"{directory}/test_{name}"
    own = _files(root, f"{test}.py") | _files(root, f"{test}_*.py")
    return own or (_files(root, directory) if inner and (root / directory).is_dir() else set())


def _files(root: Path, pattern: str) -> set[str]:
    """Return the test files of a directory, of a pattern, or the one file that is named."""
    pattern = f"{pattern}/**/test_*.py" if (root / pattern).is_dir() else pattern
    return {path.relative_to(root).as_posix() for path in root.glob(pattern)}
