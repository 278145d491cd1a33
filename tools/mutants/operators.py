"""The small changes that are made to a file, as replacements of its text.

Left alone is what no test can or need notice: annotations, docstrings, the wording of messages
(texts and f-strings), decorators, and members of protocols.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
}
#: Statements that are left out one at a time. An assignment to a plain name is none of them: the
#: next use of the name would fail, which says nothing about the tests.
_REMOVABLE = (ast.Expr, ast.AugAssign, ast.Raise, ast.Delete, ast.Continue, ast.Break)


@dataclass(frozen=True, slots=True)
class Mutation:
    """One change of a text: `after` in place of the characters from `start` to `end`."""

    line: int
    source: str
    """That line, without the blanks around it."""
    before: str
    after: str
    start: int
    end: int

    def apply(self, text: str) -> str:
        """Return the text with this change."""
        return text[: self.start] + self.after + text[self.end :]


def mutations(text: str) -> list[Mutation]:
    """Return every change of a module's text, in the order of the text."""
    collector = _Collector(text)
    collector.visit(ast.parse(text))
    return sorted(collector.found, key=lambda found: (found.start, found.end, found.after))


class _Collector(ast.NodeVisitor):
    """Walks a module and notes what can be changed."""

    def __init__(self, text: str) -> None:
        self.found: list[Mutation] = []
        self._text = text
        self._lines = text.splitlines(keepends=True)
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line))

    # What is left alone, and where it would be met.

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Leave f-strings alone: they are messages, and their parts have no usable positions."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """Change the value, not the annotation."""
        if node.value is not None:
            self.visit(node.value)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """Go into a class, unless it is a protocol."""
        if not any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases):
            self._visit_all(node.body)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """Go into the defaults and the body of a function."""
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                self.visit(default)
        self._visit_all(node.body)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - (the same)

    def _visit_all(self, body: list[ast.stmt]) -> None:
        for statement in body:
            self.visit(statement)

    # What is changed.

    def visit(self, node: ast.AST) -> None:
        """Note the changes of one node, then go on to its parts."""
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.stmt):
            for kept in _statements(node):
                self._note(node, kept)
        elif isinstance(node, ast.expr):
            for changed in _expressions(node):
                self._note(node, changed)
        for condition in _conditions(node):
            self._note(condition, ast.UnaryOp(ast.Not(), condition))
        if isinstance(node, ast.keyword) and node.arg is not None:
            self._leave_out(node)
        super().visit(node)

    def _leave_out(self, keyword: ast.keyword) -> None:
        """Note that an argument of a call is left out, with the comma after or before it."""
        start, end = self._place(keyword)
        if comma := re.compile(r"\s*,").match(self._text, end):
            end = comma.end()
        elif comma := re.search(r",\s*$", self._text[:start]):
            start = comma.start()
        self._add(keyword.value.lineno, start, end, "")

    def _note(self, node: ast.stmt | ast.expr, changed: ast.AST) -> None:
        start, end = self._place(node)
        after = ast.unparse(ast.fix_missing_locations(changed))
        if isinstance(changed, ast.expr) and type(changed) is not type(node):
            after = f"({after})"  # it may bind less tightly than what it replaces
        self._add(node.lineno, start, end, after)

    def _add(self, line: int, start: int, end: int, after: str) -> None:
        source, before = self._lines[line - 1].strip(), self._text[start:end]
        self.found.append(Mutation(line, source, before, after, start, end))

    def _place(self, node: ast.stmt | ast.expr | ast.keyword) -> tuple[int, int]:
        """Return the characters of a node; `ast` counts columns in bytes of UTF-8."""
        if node.end_lineno is None or node.end_col_offset is None:
            raise ValueError("a node without an end was not made by the parser")
        first, last = self._lines[node.lineno - 1], self._lines[node.end_lineno - 1]
        start = len(first.encode()[: node.col_offset].decode())
        end = len(last.encode()[: node.end_col_offset].decode())
        return self._starts[node.lineno - 1] + start, self._starts[node.end_lineno - 1] + end


def _statements(node: ast.stmt) -> Iterator[ast.stmt]:
    """Yield what a statement is replaced by."""
    match node:
        case ast.Expr(value=ast.Constant()):
            return  # a docstring, or the `...` of an empty body
        case ast.Return(value=value) if value is not None:
            if not isinstance(value, ast.Constant) or value.value is not None:
                yield ast.Return(ast.Constant(None))
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()
        case _ if isinstance(node, _REMOVABLE):
            yield ast.Pass()


def _expressions(node: ast.expr) -> Iterator[ast.expr]:
    """Yield what an expression is replaced by."""
    match node:
        case ast.Compare(ops=ops):
            for place, operator in enumerate(ops):
                changed = copy.deepcopy(node)
                changed.ops[place] = _COMPARISONS[type(operator)]()
                yield changed
        case ast.BoolOp(op=op, values=values):
            yield ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            yield ast.BinOp(left, _ARITHMETIC[type(op)](), right)
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() as value):
            yield ast.Constant(value + 1)


def _conditions(node: ast.AST) -> Iterator[ast.expr]:
    """Yield the conditions of a node that no other change turns round."""
    match node:
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            tests = [test]
        case ast.comprehension(ifs=ifs):
            tests = ifs
        case _:
            return
    for test in tests:
        if not isinstance(test, ast.Compare | ast.BoolOp | ast.Constant) and not (
            isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
        ):
            yield test
