"""Makes `modeling.py`: one file of torch alone that rebuilds any network from its `config.json`.

It is `worker/loader.py` with the sources of those modules of `models` that building a network needs. Each becomes
a module of its own again when the file is imported: what rebuilds a network is what built it, and two classes of
one name (the record `Residual` and the layer `Residual`) stay apart.
"""

import ast
import inspect
import pkgutil
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import import_module

import models
from worker import loader

ROOT = models.__name__


@cache
def modeling_text() -> str:
    """The text of `modeling.py`, the same for every network.

    Raises:
        ValueError: a source cannot be moved into it.
    """
    own = inspect.getsource(loader)
    needed = _own_imports(ast.parse(own).body)
    text = _without(own, needed)
    for name in _with_all_that_they_need(_modules_of(needed)):
        text += "\n\n"
        text += _packed(name, first_line=text.count("\n") + 1)
    return text + "\n\n" + "".join(_bindings(needed))


def _source(name: str) -> str:
    return inspect.getsource(import_module(name))


@cache
def _tree(name: str) -> ast.Module:
    return ast.parse(_source(name))


@cache
def _known() -> dict[str, bool]:
    """All modules of `models`, and whether each is a package."""
    found = pkgutil.walk_packages(models.__path__, f"{ROOT}.")
    return {ROOT: True} | {module.name: module.ispkg for module in found}


def _own_imports(nodes: Iterable[ast.AST]) -> list[ast.ImportFrom]:
    """Those among them that import from `models`."""
    imports = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    return [node for node in imports if node.module and node.module.partition(".")[0] == ROOT]


def _modules_of(imports: list[ast.ImportFrom]) -> Iterator[str]:
    """The modules that are imported, or from which something is."""
    for node in imports:
        for alias in node.names:
            member = f"{node.module}.{alias.name}"
            yield member if member in _known() else str(node.module)


def _with_all_that_they_need(names: Iterable[str]) -> list[str]:
    """The modules, their packages and what they import at their top, each after all that it needs itself."""
    order: list[str] = []

    def visit(name: str) -> None:
        if name in order:
            return
        if package := name.rpartition(".")[0]:
            visit(package)
        for needed in _modules_of(_own_imports(_tree(name).body)):
            visit(needed)
        order.append(name)

    for name in names:
        visit(name)
    return order


def _packed(name: str, first_line: int) -> str:
    """The call that makes the module of its source, with which it begins in `first_line` of the file."""
    source = _with_relative_imports(name)
    if "'''" in source:
        raise ValueError(f"The source of {name} holds ''', which ends it too early.")
    package = ", package=True" if _known()[name] else ""
    return f"_module(\"{name}\", {first_line}, r'''\n{source}'''{package})\n"


def _with_relative_imports(name: str) -> str:
    """The source of a module with imports that work wherever the package `models` is."""
    lines = _source(name).splitlines(keepends=True)
    depth = name.count(".") + _known()[name]
    for node in _own_imports(ast.walk(_tree(name))):
        module = str(node.module)
        line, begin = lines[node.lineno - 1], node.col_offset + len("from ")
        relative = "." * depth + module.removeprefix(ROOT).removeprefix(".")
        lines[node.lineno - 1] = line[:begin] + relative + line[begin + len(module) :]
    return "".join(lines)


def _without(source: str, statements: list[ast.ImportFrom]) -> str:
    left_out = {line for node in statements for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}
    lines = source.splitlines(keepends=True)
    return "".join(line for number, line in enumerate(lines, start=1) if number not in left_out)


def _bindings(imports: list[ast.ImportFrom]) -> Iterator[str]:
    """What stands in for the loader's own imports once the modules are there."""
    for node in imports:
        for alias in node.names:
            yield f'{alias.asname or alias.name} = _MODULES["{node.module}"].{alias.name}\n'
