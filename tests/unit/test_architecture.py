"""The layers of the package: imports go one way, and the core needs nothing but the standard
library.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import shardctl
from shardctl.formats.registry import all_suffixes, formats
from shardctl.testing.builders import safetensors_bytes

PACKAGE = Path(__file__).parents[2] / "shardctl"

#: The packages and modules from the ground up, in the order of the pipeline. Imports go one way:
#: each may import those above it, and itself.
LAYERS = (
    "_version",
    "errors",
    "model",
    "columns",
    "weight_map",
    "boxes",
    "text",
    "chains",
    "findings",
    "storages",
    "repeats",
    "sizes",
    "naming",
    "checksums",
    "layout",
    "stores",
    "formats",
    "streams",
    "source",
    "planning",
    "engine",
    "commands",
    "verify",
    "view",
    "report",
    "api",
    "plans",
    "torch",  # what the extra of that name adds
    "testing",  # for those who add a store or a format; the package never imports it
    "",  # the public API: shardctl/__init__.py
    "cli",
    "__main__",
)

#: The public API.
PUBLIC = {
    *("__version__", "inspect", "diff", "verify", "plan", "write", "reindex", "components"),
    *("apply", "apply_part", "PartDone"),
    *("Coverage", "Finding", "Inspection", "Plan", "Receipt", "Reindexed", "Shard", "Verdict"),
    *("WriteOptions", "Written", "Observer", "Silent", "SelectionKeywords", "WriteKeywords"),
    *("Conversion", "ExpertRule", "Experts", "Limits", "Selection"),
    *("Change", "Difference", "Distance", "Statistics"),
    *("ShardctlError", "UsageError", "InputError", "MissingError", "FormatError"),
    *("SourceChangedError", "TargetError", "TargetExistsError", "LockedError", "StorageError"),
}

#: What is not the standard library's, and the only places where it may be imported.
OUTSIDERS = {
    "humanfriendly": ("sizes",),
    "zlib_ng": ("checksums",),
    "typer": ("cli",),
    "rich": ("cli",),
    "jinja2": ("report.page",),
    "platformdirs": ("commands.preparing.records",),
    "safetensors": ("formats.safetensors.upstream",),
    "torch": ("formats.torch.upstream", "torch"),
    "numpy": ("streams",),
    "ml_dtypes": ("streams",),
    "huggingface_hub": ("stores.remote.hub",),
    "distributed": ("engine.workers.dask",),
    "obstore": ("stores.remote.cloud",),
    "botocore": ("stores.remote.s3",),
    "pytest": ("testing.suites",),
}

#: Modules of the standard library that reach outside the process, for the layers that must not.
REACHING_OUT = {
    "os",
    "io",
    "pathlib",
    "shutil",
    "socket",
    "subprocess",
    "tempfile",
    "glob",
    "mmap",
    "fcntl",
}
REACHING_LAYERS = {
    "stores",
    "verify",
    "commands",
    "report",
    "api",
    "plans",
    "torch",
    "cli",
    "__main__",
    "",
}


def modules() -> dict[str, Path]:
    """Every module of the package by its name below the package; the package itself is the empty
    name.
    """
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def layer_of(module: str) -> str:
    """The layer of a module: the package or module at the top that it lies in."""
    layer = module.partition(".")[0]
    assert layer in LAYERS, f"shardctl.{module} lies in no layer: give it a place in LAYERS"
    return layer


def imports_of(path: Path) -> Iterator[str]:
    """The absolute name of everything that a module imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(path: Path) -> set[str]:
    """The package's own modules that a module imports, by their names below the package."""
    known, found = modules(), set()
    for name in imports_of(path):
        package, _, below = name.partition(".")
        if package == "shardctl":
            found.add(below if below in known else below.rpartition(".")[0])
    return found


@pytest.mark.parametrize("module", modules())
def test_imports_go_one_way(module: str) -> None:
    """A module imports only from its own layer and from those above it in the list."""
    place = LAYERS.index(layer_of(module))
    wrong = [
        f"shardctl.{module} imports shardctl.{other}"
        for other in sorted(own_imports(modules()[module]))
        if LAYERS.index(layer_of(other)) > place
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("module", modules())
def test_the_package_does_not_import_its_testing(module: str) -> None:
    """What is for tests is imported by tests only."""
    if layer_of(module) != "testing":
        assert not [each for each in own_imports(modules()[module]) if layer_of(each) == "testing"]


@pytest.mark.parametrize("module", [name for name in modules() if layer_of(name) == "verify"])
def test_verify_does_not_need_what_writes(module: str) -> None:
    """Of the engine, `verify` imports only what finds unfinished runs."""
    needed = {each for each in own_imports(modules()[module]) if layer_of(each) == "engine"}
    assert needed <= {"engine.found", "engine.journal.interrupted"}


def test_no_module_imports_itself_in_a_cycle() -> None:
    """Inside a layer too, no chain of imports leads back to where it began."""
    needs = {module: own_imports(path) - {module} for module, path in modules().items()}
    # What needs nothing that is left, and what nothing that is left needs, is not in a cycle.
    while ends := {
        m
        for m in needs
        if not needs[m] & set(needs) or all(m not in needs[other] for other in needs)
    }:
        needs = {module: others for module, others in needs.items() if module not in ends}
    assert not needs, f"these import each other: {', '.join(sorted(needs))}"


@pytest.mark.parametrize("module", modules())
def test_nothing_but_the_standard_library(module: str) -> None:
    """Other packages are imported only in the one place that is theirs."""
    for name in imports_of(modules()[module]):
        package = name.partition(".")[0]
        if package != "shardctl" and package not in sys.stdlib_module_names:
            places = OUTSIDERS.get(package)
            assert places is not None, f"shardctl.{module} imports {name}"
            assert any(f"{module}.".startswith(f"{place}.") for place in places), (
                f"shardctl.{module} imports {name}, which is for {' and '.join(places)} only"
            )


@pytest.mark.parametrize(
    "module", [name for name in modules() if layer_of(name) not in REACHING_LAYERS]
)
def test_only_stores_reach_outside(module: str) -> None:
    """Plans, formats and the engine open no files: they get stores and readers."""
    reached = {
        name for name in imports_of(modules()[module]) if name.partition(".")[0] in REACHING_OUT
    }
    # Where tasks run is the one question that only the machine can answer.
    allowed = {"os"} if module == "streams.pool" else set()
    assert reached <= allowed, f"shardctl.{module} imports {', '.join(sorted(reached))}"


@pytest.mark.parametrize("module", [name for name in modules() if layer_of(name) != "formats"])
def test_formats_are_asked_and_never_named(module: str) -> None:
    """No module outside `formats` has the name or a suffix of a format as a value to
    compare with.
    """
    words = {known.name for known in formats()} | set(all_suffixes())
    tree = ast.parse(modules()[module].read_text(encoding="utf-8"))
    named = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)} & words
    assert not named, f"shardctl.{module} names {', '.join(sorted(map(str, named)))}"


#: How an option or a command of our own is spelled.
SPELLED = re.compile(r"(?<![\w-])--[a-z]|`shardctl ")
#: A command of another program, whole and in backquotes, with its own options; or these alone.
FOREIGN = re.compile(r"`(?!shardctl )[a-z]\w* [^`]*`|^ --(repo-type|revision) \{\}$")


@pytest.mark.parametrize(
    "module", [name for name in modules() if layer_of(name) not in ("cli", "__main__")]
)
def test_only_the_command_line_spells_options(module: str) -> None:
    """No text below the CLI spells an option or a command: `cli.guidance.remedies` adds them."""
    tree = ast.parse(modules()[module].read_text(encoding="utf-8"))
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert [text for text in texts if SPELLED.search(FOREIGN.sub("", text))] == []


HEAVY = ("torch", "numpy", "rich", "transformers", "safetensors")
REPORT = f"""
import atexit, sys
heavy = {HEAVY!r}
def report():
    print("loaded:", *[name for name in heavy if name in sys.modules], file=sys.stderr)
atexit.register(report)
"""


def loaded_by(program: str, *arguments: object) -> set[str]:
    """Which heavy packages a new interpreter has imported at the end of a program; its output goes
    into a pipe.
    """
    command = [sys.executable, "-c", REPORT + program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("loaded:"))
    return set(line.split()[1:])


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A safetensors file of two tensors."""
    path = tmp_path_factory.mktemp("source") / "model.safetensors"
    path.write_bytes(safetensors_bytes({name: ("F32", [1], bytes(4)) for name in "ab"}))
    return path


def test_importing_costs_nothing() -> None:
    """`import shardctl` loads two modules of the package, and nothing that every start of Python
    has not loaded or needs milliseconds for.
    """
    program = (
        "import sys; before = set(sys.modules); import shardctl; "
        "print(*sorted(set(sys.modules) - before))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert set(done.stdout.split()) - {"types"} == {
        "__future__",
        "shardctl",
        "shardctl._version",
    }


def test_using_the_library_needs_no_tensor_library(source: Path, tmp_path: Path) -> None:
    """The functions of the library import neither torch nor numpy, nor what draws."""
    program = (
        "import sys, shardctl\nsource, target = sys.argv[1:]\n"
        "shardctl.inspect(source); shardctl.verify(source); shardctl.write(source, target)"
    )
    assert loaded_by(program, source, tmp_path / "target") == set()


@pytest.mark.parametrize("command", ["split", "merge", "reshard", "inspect", "verify"])
def test_a_piped_run_draws_nothing(command: str, source: Path, tmp_path: Path) -> None:
    """With its output in a pipe a command imports neither torch nor numpy, nor rich, which only
    draws.
    """
    writes = command in ("split", "merge", "reshard")
    arguments = [command, source, *([tmp_path / "target"] if writes else [])]
    assert loaded_by("from shardctl.__main__ import main\nmain()", *arguments) == set()


def test_help_needs_no_tensor_library() -> None:
    """The help, which rich lays out, imports nothing else that is heavy."""
    assert loaded_by("from shardctl.__main__ import main\nmain()", "split", "--help") <= {"rich"}


def test_the_public_names_are_pinned() -> None:
    """What `shardctl` offers is what its `__all__` says, all of it is there, and a change of it is
    seen here.
    """
    assert set(shardctl.__all__) == PUBLIC
    assert all(getattr(shardctl, name) is not None for name in PUBLIC)
