"""The arrows of the design, and a few rules of the house that no other tool holds."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import werkbund

SOURCE = Path(werkbund.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))

ALLOWED: dict[str, set[str]] = {
    "core": set(),
    "data": {"core"},
    "partition": {"core", "data"},
    "trees.arithmetic": {"core"},
    "learner": {"core"},
    "trees.rows": {"core", "learner", "trees.arithmetic"},
    "model": {"core", "data", "learner", "trees.arithmetic"},
    "selection": {"core"},
    "aggregation": {"core"},
    "privacy": {"core"},
    "engine": {"core", "learner", "selection", "aggregation", "privacy"},
    "trees.protocol": {"core", "learner", "engine", "trees.arithmetic", "trees.rows"},
    "trees": set(),
    "evaluation": {"core"},
    "report": {"core", "evaluation"},
    "config": {"core", "aggregation"},
    "draft": {"core", "data", "config"},
}
"""Room -> what it may import of ours, beside itself. A room is a folder, or a folder in a folder that has a row."""
ALLOWED["federation"] = set(ALLOWED) - {"draft", "trees"}
ALLOWED["bench"] = {*ALLOWED["federation"], "federation"}
ALLOWED["plant"] = {*ALLOWED["federation"], "federation"} - {"report", "partition"}
ALLOWED["server"] = {*ALLOWED["plant"], "plant", "report"}
ALLOWED["flower"] = set()
ALLOWED["flower.machine"] = {"core"}
ALLOWED["flower.wire"] = {"core"}
ALLOWED["flower.plant"] = {"core", "config", "federation", "plant", "flower.machine", "flower.wire"}
ALLOWED["flower.server"] = {"core", "config", "engine", "federation", "server", "flower.machine", "flower.wire"}
ALLOWED["flower.provision"] = {"core", "config", "federation"}
ALLOWED["flower.trial"] = {"core", "config", "federation", "flower.provision", "flower.server"}
ALLOWED["cli"] = set(ALLOWED)

GENERATORS = {"Generator", "BitGenerator", "PCG64", "SeedSequence", "default_rng"}
"""What `numpy.random` offers without a state that everybody shares."""

TORCH_DRAWS = {"rand", "randn", "randint", "randperm", "bernoulli", "normal", "multinomial"}


def _room(path: Path) -> str:
    """Return the room in which a file lies; empty for the files beside all rooms."""
    folders = path.relative_to(SOURCE).parts[:-1]
    nested = ".".join(folders[:2])
    return nested if nested in ALLOWED else folders[0] if folders else ""


def _module(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(["werkbund", *(parts[:-1] if parts[-1] == "__init__" else parts)])


TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
MODULES = {_module(path): path for path in FILES}
ROOMS = sorted({_room(path) for path in FILES} - {""})


def _imports(path: Path) -> Iterator[str]:
    """Yield every module that a file imports, wherever in the file it does so."""
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(path, node)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield inner if inner in MODULES else base


def _absolute(path: Path, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parts = [*path.relative_to(SOURCE.parent).parent.parts]
    parts = parts[: len(parts) - node.level + 1]
    return ".".join([*parts, *([node.module] if node.module else [])])


def _ours(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (module, room) of each import of ours."""
    for name in _imports(path):
        if name.split(".")[0] == "werkbund":
            yield name, _room(MODULES[name]) if name in MODULES else ""


def _where(path: Path, node: ast.AST | None = None) -> str:
    line = f":{node.lineno}" if isinstance(node, ast.stmt | ast.expr) else ""
    return f"{path.relative_to(SOURCE.parent)}{line}"


def _calls(path: Path) -> Iterator[tuple[ast.Call, str]]:
    """Yield each call with the dotted name that is called."""
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


def test_every_room_has_a_row() -> None:
    assert set(ROOMS) <= set(ALLOWED)
    assert len(FILES) > 50


@pytest.mark.parametrize("room", ROOMS)
def test_imports_go_one_way(room: str) -> None:
    broken = [
        f"{_where(path)}: {room} -> {target} ({name}); {room} may import {sorted(ALLOWED[room])}"
        for path in FILES
        if _room(path) == room
        for name, target in _ours(path)
        if target not in {room, ""} | ALLOWED[room] or (target == "" and name != "werkbund._version")
    ]
    assert not broken, "\n".join(broken)


def test_the_table_has_no_cycle() -> None:
    left = {room: set(may) for room, may in ALLOWED.items()}
    while left:
        free = {room for room, may in left.items() if not may & left.keys()}
        assert free, f"these rooms may import one another: {sorted(left)}"
        left = {room: may for room, may in left.items() if room not in free}


def test_no_modules_import_one_another_in_a_circle() -> None:
    edges = {_module(path): {name for name, _ in _ours(path) if name in MODULES} for path in FILES}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail[trail.index(module) :], module))
        if module not in done:
            for target in sorted(edges[module] - {module}):
                visit(target, (*trail, module))
            done.add(module)

    for module in sorted(edges):
        visit(module, ())


def test_flower_stays_in_its_folder() -> None:
    broken = [
        f"{_where(path)} imports {name}"
        for path in FILES
        if _room(path).partition(".")[0] != "flower"
        for name in _imports(path)
        if name.split(".")[0] in ("flwr", "flwr_datasets")
    ]
    assert not broken, "\n".join(broken)


def test_there_is_no_global_randomness() -> None:
    broken = [
        f"{_where(path)} imports the shared generator of {name}"
        for path in FILES
        for name in _imports(path)
        if name.split(".")[0] == "random"
    ]
    for path in FILES:
        if path.relative_to(SOURCE) == Path("learner/models.py"):
            continue
        for call, name in _calls(path):
            parts = name.split(".")
            shared = parts[0] in ("np", "numpy") and parts[1:2] == ["random"] and parts[-1] not in GENERATORS
            unseeded = parts[-1] == "default_rng" and not call.args and not call.keywords
            if shared or unseeded or parts[-1] in ("manual_seed", "seed_all", "manual_seed_all"):
                broken.append(f"{_where(path, call)} calls {name}")
            drawn = parts[0] == "torch" and parts[-1] in TORCH_DRAWS
            if drawn and not any(keyword.arg == "generator" for keyword in call.keywords):
                broken.append(f"{_where(path, call)} calls {name} without a generator")
    assert not broken, "\n".join(broken)


def test_nothing_is_drawn_while_a_module_is_imported() -> None:
    broken = []
    for path, tree in TREES.items():
        outside = [node for node in tree.body if not isinstance(node, ast.FunctionDef | ast.ClassDef)]
        for node in (inner for statement in outside for inner in ast.walk(statement)):
            name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if name.split(".")[-1] in ("default_rng", "generator", "Generator"):
                broken.append(f"{_where(path, node)} calls {name}")
    assert not broken, "\n".join(broken)


def test_only_the_edge_prints() -> None:
    broken = [
        f"{_where(path, call)} calls {name}"
        for path in FILES
        if _room(path) != "cli"
        for call, name in _calls(path)
        if name in ("print", "sys.stdout.write", "sys.stderr.write", "pprint")
    ]
    assert not broken, "\n".join(broken)


def test_no_module_is_longer_than_400_lines() -> None:
    lengths = {_where(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert not {name: length for name, length in lengths.items() if length > 400}


def test_no_function_body_is_longer_than_50_lines() -> None:
    broken = []
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            length = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
            if length > 50:
                broken.append(f"{_where(path, node)} {node.name} has {length} lines")
    assert not broken, "\n".join(broken)


def _public_names(path: Path) -> set[str]:
    """Return what a package's own file defines, and what it takes from its own modules, without underscore."""
    names: set[str] = set()
    own = _module(path)
    body = TREES[path].body
    for node in [*body, *(inner for outer in body if isinstance(outer, ast.If) for inner in outer.body)]:
        if isinstance(node, ast.ImportFrom) and _absolute(path, node).startswith(own):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return {name for name in names if not name.startswith("_")}


@pytest.mark.parametrize("room", ["", *ROOMS])
def test_all_is_exactly_the_public_names(room: str) -> None:
    path = SOURCE.joinpath(*room.split("."), "__init__.py")
    stated = importlib.import_module(_module(path)).__all__
    assert len(set(stated)) == len(stated), "a name stands twice"
    public, given = _public_names(path), {name for name in stated if not name.startswith("__")}
    # What a package's own file only puts to use, such as the entries of its registry, need not be offered.
    used = {node.id for node in ast.walk(TREES[path]) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    assert given <= public, f"__all__ names what is not there: {sorted(given - public)}"
    assert public - used <= given, f"__all__ lacks {sorted(public - used - given)}"


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_it_is(room: str) -> None:
    assert ast.get_docstring(TREES[SOURCE.joinpath(*room.split("."), "__init__.py")])
