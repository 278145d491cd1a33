"""Small changes of the code: which are made, which are tried, and which tests judge them."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

from tests.support.program import ROOT
from tools.mutants.__main__ import main
from tools.mutants.operators import mutations
from tools.mutants.selection import HARMLESS, Harmless, Mutant, harmless, mutants, sample
from tools.mutants.suites import stages
from tools.mutants.tree import changed_modules, modules

#: A module whose test below notices all changes but those of `LIMIT` and of what comes of it.
MODULE = '''"""A module."""

LIMIT = 7


def is_small(number: int) -> bool:
    """Whether a number is small."""
    return number < LIMIT
'''
TEST = """from shardctl.small import is_small


def test_small():
    assert is_small(0) is True
    assert is_small(9) is False
"""


def changes(text: str) -> set[tuple[str, str]]:
    """Every change of a text: what is there, and what is put in its place."""
    return {(each.before, each.after) for each in mutations(text)}


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [
        ("x = a < b", "a < b", "a <= b"),
        ("x = a >= b", "a >= b", "a > b"),
        ("x = a == b", "a == b", "a != b"),
        ("x = a is None", "a is None", "a is not None"),
        ("x = a in b", "a in b", "a not in b"),
        ("x = a < b < c", "a < b < c", "a < b <= c"),
        ("x = a and b", "a and b", "a or b"),
        ("x = not a", "not a", "(a)"),
        ("x = not (a or b) + 1", "not (a or b) + 1", "((a or b) + 1)"),
        ("x = a + b", "a + b", "a - b"),
        ("x = a % b", "a % b", "a // b"),
        ("x = 4096", "4096", "4097"),
        ("x = True", "True", "False"),
        ("if a:\n    b()", "a", "(not a)"),
        ("while a():\n    b()", "a()", "(not a())"),
        ("x = [a for a in b if a.c]", "a.c", "(not a.c)"),
        ("def f():\n    return a", "return a", "return None"),
        ("a()\n", "a()", "pass"),
        ("a += b", "a += b", "pass"),
        ("a.b = c", "a.b = c", "pass"),
        ("del a[b]", "del a[b]", "pass"),
        ("raise a", "raise a", "pass"),
        ("while a:\n    break", "break", "pass"),
        ("x = f(a, b=c, d=e)", "b=c,", ""),
        ("x = f(a, b=c, d=e)", ", d=e", ""),
        ("x = f(b=c)", "b=c", ""),
        ("x = 'é' + f(a < b)", "a < b", "a <= b"),
    ],
)
def test_changes(text: str, before: str, after: str) -> None:
    """Comparisons, conditions, arithmetic, constants, results, arguments and statements change."""
    assert (before, after) in changes(text)


@pytest.mark.parametrize(
    "text",
    [
        '"""A docstring."""',
        "def f():\n    ...",
        "x: Literal[1]",
        "def f(x: Literal[1] = a) -> Literal[2]:\n    pass",
        "x = f'{a < b} {1}'",
        "x = 'text'",
        "x = a",
        "def f():\n    return None",
        "def f():\n    return",
        "@slotted(slots=True)\nclass A:\n    pass",
        "class A(Protocol):\n    def f(self):\n        return 1",
        "if TYPE_CHECKING:\n    x = 1",
    ],
)
def test_left_alone(text: str) -> None:
    """Annotations, docstrings, messages, decorators and protocols are left as they are."""
    assert not changes(text)


def test_every_change_is_python() -> None:
    """Each change of a real module gives another module that can be parsed."""
    text = (ROOT / "shardctl/planning/grouping/packing.py").read_text(encoding="utf-8")
    tree = ast.dump(ast.parse(text))
    for mutation in mutations(text):
        assert ast.dump(ast.parse(mutation.apply(text))) != tree, mutation


def test_place() -> None:
    """A change knows the number and the text of its line."""
    (found,) = mutations("class A:\n    def f(self):\n        return self.g\n")
    assert (found.line, found.source) == (3, "return self.g")


def test_tests_of_a_module(tmp_path: Path) -> None:
    """The test file of a module comes first, then those of its package, then other suites."""
    for name in ("torch/zip/test_reader.py", "pickle/test_machine.py", "test_index.py"):
        file = tmp_path / "tests/unit/formats" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (tmp_path / "tests/conformance").mkdir()
    (tmp_path / "tests/conformance/test_formats.py").touch()
    (tmp_path / "tests/unit/test_sizes.py").touch()

    assert stages(tmp_path, "shardctl/formats/torch/zip/reader.py") == [
        ("tests/unit/formats/torch/zip/test_reader.py",),
        ("tests/unit/formats/pickle/test_machine.py", "tests/unit/formats/test_index.py"),
        ("tests/conformance/test_formats.py",),
    ]
    assert stages(tmp_path, "shardctl/formats/pickle/opcodes.py")[0] == (
        "tests/unit/formats/pickle/test_machine.py",
    )
    assert stages(tmp_path, "shardctl/sizes.py")[0] == ("tests/unit/test_sizes.py",)


@pytest.mark.parametrize("package", ["engine", "planning", "source", "formats", "commands"])
def test_every_module_has_tests(package: str) -> None:
    """For each module of the core there are unit tests and a suite."""
    for module in modules(ROOT, [f"shardctl/{package}"]):
        assert len(stages(ROOT, module)) >= 2, module


def test_sample() -> None:
    """A sample depends on the seed alone, and has no change that is listed as harmless."""
    every = mutants(ROOT, ["shardctl/sizes.py"])
    first = every[0].mutation
    entry = Harmless(every[0].path, first.source, first.before, first.after, "a reason")

    assert sample(every, [], 9, seed=1) == sample(every, [], 9, seed=1)
    assert sample(every, [], 9, seed=1) != sample(every, [], 9, seed=2)
    assert every[0] in sample(every, [], len(every), seed=1)
    assert every[0] not in sample(every, [entry], len(every), seed=1)


def test_harmless_changes_exist() -> None:
    """Each entry of the list is exactly one change that is still made, and has a reason."""
    for entry in harmless(ROOT):
        assert sum(map(entry.covers, mutants(ROOT, [entry.file]))) == 1, entry
        assert entry.reason, entry


def test_only_modules_are_named() -> None:
    """Only modules and directories of the package are taken."""
    for path in ("README.md", "tests", "shardctl/nothing.py"):
        with pytest.raises(ValueError, match="is not a module"):
            modules(ROOT, [path])


def git(root: Path, *arguments: str) -> None:
    """Run git as an author who needs no configuration."""
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository of one module and its test, and a branch in which both are new."""
    root = tmp_path / "repository"
    files = {
        "shardctl/__init__.py": "",
        "shardctl/small.py": MODULE,
        "tests/unit/test_small.py": TEST,
        HARMLESS: "harmless = []\n",
    }
    root.mkdir()
    git(root, "init", "--initial-branch=main")
    git(root, "commit", "--allow-empty", "--message=Begin")
    git(root, "checkout", "-b", "branch")
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_changed_modules(repository: Path) -> None:
    """What differs from the base is found, whether it is committed or not."""
    assert changed_modules(repository, "main") == ["shardctl/__init__.py", "shardctl/small.py"]
    git(repository, "add", ".")
    git(repository, "commit", "--message=Add")
    assert changed_modules(repository, "main") == ["shardctl/__init__.py", "shardctl/small.py"]
    assert changed_modules(repository, "branch") == []


def test_survivors(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Changes that no test notices are printed and fail the run; the tree is as it was."""
    assert main(["--jobs=1"], repository) == 1
    assert capsys.readouterr().out.splitlines() == [
        "survived: shardctl/small.py:3: 7 -> 8",
        "survived: shardctl/small.py:8: number < LIMIT -> number <= LIMIT",
        "1 of 3 changes noticed (33 %; 0 by the time limit), at least 90 % required",
    ]
    assert (repository / "shardctl/small.py").read_text() == MODULE
    assert not list(repository.rglob("*.pyc"))


def test_enough_noticed(repository: Path) -> None:
    """A run whose only survivors are listed as harmless succeeds."""
    entries = [
        Harmless("shardctl/small.py", "LIMIT = 7", "7", "8", "no test here needs it"),
        Harmless(
            "shardctl/small.py",
            "return number < LIMIT",
            "number < LIMIT",
            "number <= LIMIT",
            "nor this",
        ),
    ]
    written = "".join(
        f'[[harmless]]\nfile = "{each.file}"\nline = "{each.line}"\nbefore = "{each.before}"\n'
        f'after = "{each.after}"\nreason = "{each.reason}"\n'
        for each in entries
    )
    (repository / HARMLESS).write_text(written)
    assert main(["--jobs=1"], repository) == 0


def test_time_limit(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A change that makes a loop endless is noticed by the time limit."""
    (repository / "shardctl/small.py").write_text(
        "def is_small(number):\n    while number < 7:\n        number += 1\n    return False\n"
    )
    (repository / "tests/unit/test_small.py").write_text(
        "from shardctl.small import is_small\n\n\ndef test_small():\n    assert not is_small(6)\n"
    )
    main(["--limit=4", "--jobs=2"], repository)
    assert "survived: shardctl/small.py:3: number += 1" not in (out := capsys.readouterr().out)
    assert "0 by the time limit" not in out


def test_failing_tests(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the tests fail without any change, nothing is said about changes."""
    (repository / "tests/unit/test_small.py").write_text("def test_small():\n    assert False\n")
    assert main([], repository) == 2
    assert "the tests fail without any change" in capsys.readouterr().err


def test_unknown_base(repository: Path) -> None:
    """An unknown base, and a path that is not a module, are errors."""
    assert main(["--base=nothing"], repository) == 2
    assert main(["tests"], repository) == 2


def test_text_of_a_mutant() -> None:
    """A mutant is shown with file, line, and what is put for what, each on one line."""
    left_out, changed = (Mutant("a.py", each) for each in mutations("x = f(b=\n  c)\ny = a < b\n"))
    assert str(left_out) == "a.py:2: b= c -> (left out)"
    assert str(changed) == "a.py:3: a < b -> a <= b"
