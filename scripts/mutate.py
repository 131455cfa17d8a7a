"""Does a test notice? Changes one thing at a time in the gate, its parts, the cost terms and the
accounting, runs the tests of that file, and lists the changes that no test noticed.

    PYTHONPATH=. python scripts/mutate.py safevla_ros/safety/gate.py --most 60 --seed 0

A change is one of: a comparison turned or its equality moved, `and` for `or`, a `not` left out,
plus for minus, a number a little larger, True for False, a statement left out. Each runs in a child
of one process that has imported everything but the changed module, so that it costs no more than
the tests do. The files themselves are never touched. Docstrings and what is only said (details of
verdicts) are left alone.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.abc
import importlib.machinery
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS: dict[str, str] = {
    "gate": "gate_reasons gate_modes lookahead chunks debounce",
    "foresight": "gate_modes lookahead chunks debounce",
    "responses": "gate_reasons gate_modes debounce",
    "clock": "gate_reasons chunks debounce",
    "chunks": "chunks gate_reasons",
    "debounce": "debounce",
    "lookahead": "lookahead lookahead_body chunks debounce",
    "hazards": "lookahead lookahead_body debounce",
    "motion": "motion lookahead",
    "body": "lookahead_body chunks",
    "prediction": "lookahead lookahead_body chunks",
    "stopping": "gate_reasons lookahead",
    "limits": "gate_reasons",
    "sources": "gate_reasons",
    "signal_health": "gate_reasons",
    "accounting": "accounting clauses",
    "collision": "collision lookahead",
    "drop": "drop",
    "zone_intrusion": "zone_intrusion",
    "joint_limit": "limit_terms",
    "speed_limit": "limit_terms",
    "force_limit": "limit_terms",
    "self_collision": "limit_terms",
    "tilt_while_carrying": "limit_terms",
    "separation": "limit_terms",
    "corner": "contact_terms",
    "blind_spot": "contact_terms",
    "touch": "contact_terms",
}
"""Tests of a module, by its name; else all that name a term."""
OTHERS = "disturbance_terms limit_terms contact_terms"
TURNED = {
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
SWAPPED = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
LIMIT_S = 120
"""Tests that take longer hang, and that is noticed too."""


def mutants(tree: ast.Module) -> Iterator[tuple[int, str, int, int]]:
    """(line, what is changed, index of the node, kind of change) for every change there is."""
    talk = set(_talk(tree))
    for index, node in enumerate(ast.walk(tree)):
        for kind in range(2):
            changed = copy.deepcopy(node)
            if id(node) not in talk and _change(changed, kind):
                before, after = ast.unparse(node).splitlines(), ast.unparse(changed).splitlines()
                yield node.lineno, f"{before[0]}  ->  {after[0]}", index, kind


def mutated(tree: ast.Module, index: int, kind: int) -> ast.Module:
    """The tree with that change."""
    changed = copy.deepcopy(tree)
    _change(list(ast.walk(changed))[index], kind)
    return ast.fix_missing_locations(changed)


def _change(node: ast.AST, kind: int) -> bool:
    """Change a node in place, in one of two ways; whether there was anything to change."""
    if isinstance(node, ast.Compare) and kind == 0 and type(node.ops[0]) in TURNED:
        node.ops[0] = TURNED[type(node.ops[0])]()
    elif isinstance(node, ast.BoolOp) and kind == 0:
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif isinstance(node, ast.BinOp) and kind == 0 and type(node.op) in SWAPPED:
        if _is_text(node):
            return False
        node.op = SWAPPED[type(node.op)]()
    elif isinstance(node, ast.Constant) and kind == 0 and isinstance(node.value, bool):
        node.value = not node.value
    elif isinstance(node, ast.Constant) and kind == 0 and isinstance(node.value, (int, float)):
        node.value = node.value * 1.5 + 1 if isinstance(node.value, float) else node.value + 1
    elif isinstance(node, (ast.If, ast.IfExp)) and kind == 1:
        node.test = ast.UnaryOp(ast.Not(), node.test)
    elif kind == 1 and isinstance(node, (ast.Expr, ast.AugAssign)):
        if isinstance(node, ast.Expr) and not isinstance(node.value, ast.Call):
            return False
        node.__class__, node.__dict__ = (
            ast.Pass,
            {  # type: ignore[assignment]
                "lineno": node.lineno,
                "col_offset": node.col_offset,
            },
        )
    else:
        return False
    return True


def _is_text(node: ast.AST) -> bool:
    return any(
        isinstance(part, ast.JoinedStr)
        or (isinstance(part, ast.Constant) and isinstance(part.value, str))
        for part in ast.walk(node)
    )


def _talk(tree: ast.Module) -> Iterator[int]:
    """Ids of the nodes within texts and annotations."""
    for outer in ast.walk(tree):
        notes = [getattr(outer, "annotation", None), getattr(outer, "returns", None)]
        notes.append(outer if isinstance(outer, ast.JoinedStr) else None)
        for note in notes:
            yield from (id(part) for part in (ast.walk(note) if note is not None else ()))


class _Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the changed module under its own name."""

    def __init__(self, name: str, path: Path, tree: ast.Module) -> None:
        self._name, self._path, self._tree = name, path, tree

    def find_spec(self, name: str, path: object, target: object = None):
        if name != self._name:
            return None
        return importlib.machinery.ModuleSpec(name, self, origin=str(self._path))

    def create_module(self, spec: object) -> None:
        return None

    def exec_module(self, module) -> None:
        module.__file__ = str(self._path)
        exec(compile(self._tree, str(self._path), "exec"), module.__dict__)


def is_noticed(path: Path, tree: ast.Module, tests: list[str]) -> bool:
    """Run the tests in a child that imports the changed module; whether they fail or hang."""
    child = os.fork()
    if child == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1), os.dup2(null, 2)
        signal.alarm(LIMIT_S)
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        sys.meta_path.insert(0, _Changed(name, path, tree))
        import pytest

        code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:rerunfailures", *tests])
        os._exit(int(code != 0))
    _, status = os.waitpid(child, 0)
    return status != 0


def tests_of(path: Path) -> list[str]:
    """The test files for a module."""
    names = TESTS.get(path.stem, OTHERS).split()
    return [str(ROOT / "test" / "unit" / "safety" / f"test_{name}.py") for name in names]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("files", nargs="+", type=Path, help="modules of safevla_ros/safety")
    parser.add_argument("--most", type=int, default=0, help="so many changes per file; 0: all")
    parser.add_argument("--seed", type=int, default=0, help="of which ones")
    options = parser.parse_args()
    # What the tests need, but nothing of the package: the changed module must be read by it anew.
    import hypothesis  # noqa: F401
    import numpy  # noqa: F401
    import pydantic  # noqa: F401
    import pytest  # noqa: F401
    import shapely  # noqa: F401
    import yaml  # noqa: F401

    survivors = total = 0
    for file in options.files:
        path = file.resolve()
        tree, tests = ast.parse(path.read_text(encoding="utf-8")), tests_of(path)
        if is_noticed(path, tree, tests):
            print(f"{file}: its tests fail without any change", file=sys.stderr)
            return 2
        found = list(mutants(tree))
        if options.most and len(found) > options.most:
            found = sorted(
                random.Random(options.seed).sample(found, options.most), key=lambda m: m[0]
            )
        begun_s, missed = time.monotonic(), 0
        for line, what, index, kind in found:
            if not is_noticed(path, mutated(tree, index, kind), tests):
                missed += 1
                print(f"{file}:{line}: not noticed: {what}", flush=True)
        survivors, total = survivors + missed, total + len(found)
        spent_s = time.monotonic() - begun_s
        print(
            f"{file}: {len(found) - missed} of {len(found)} changes noticed, {spent_s:.0f} s",
            flush=True,
        )
    print(f"{total - survivors} of {total} changes noticed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
