"""The arrows of the design, and a few rules of the house that no other tool holds."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import werkbund
from werkbund.flower.wire.codec import WHO
from werkbund.plant.leaving import ANY, KINDS

SOURCE = Path(werkbund.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))

ALLOWED: dict[str, set[str]] = {
    "core": set(),
    "ledger": {"core"},
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
    "baselines": {"core", "data", "evaluation", "partition"},
    "attack": {"core", "data", "partition", "aggregation", "engine"},
    "report": {"core", "evaluation"},
    "config": {"core", "aggregation"},
    "draft": {"core", "data", "config"},
}
"""Room -> what it may import of ours, beside itself. A room is a folder, or a folder in a folder that has a row."""
ALLOWED["federation"] = set(ALLOWED) - {"draft", "ledger", "trees"}
ALLOWED["inference"] = {"core", "data", "evaluation", "model"}
ALLOWED["estimator"] = {"core", "config", "data", "federation", "model"}
ALLOWED["bench"] = {*ALLOWED["federation"], "federation"}
ALLOWED["plant"] = {*ALLOWED["federation"], "federation", "ledger"} - {"report"}
ALLOWED["server"] = {*ALLOWED["plant"], "plant", "report"}
ALLOWED["audit"] = {*ALLOWED["plant"], "plant"}
ALLOWED["dashboard"] = {"core", "evaluation", "report"}
ALLOWED["flower"] = set()
ALLOWED["flower.machine"] = {"core"}
ALLOWED["flower.wire"] = {"core", "ledger"}
ALLOWED["flower.plant"] = {"core", "config", "federation", "plant", "flower.machine", "flower.wire"}
ALLOWED["flower.server"] = {"core", "config", "engine", "evaluation", "federation", "ledger", "plant", "server"}
ALLOWED["flower.server"] |= {"flower.machine", "flower.wire"}
ALLOWED["flower.provision"] = {"core", "config", "federation"}
ALLOWED["flower.trial"] = {
    "core",
    "config",
    "evaluation",
    "federation",
    "flower.machine",
    "flower.provision",
    "flower.server",
    "plant",
}
ALLOWED["cli"] = set(ALLOWED)

GENERATORS = {"Generator", "BitGenerator", "PCG64", "PCG64DXSM", "SeedSequence", "default_rng"}
"""What `numpy.random` offers without a state that everybody shares."""

FOR_ALL = ("werkbund._version", "werkbund._lazy")
"""What lies beside all rooms and every room may import."""

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
        if target not in {room, ""} | ALLOWED[room] or (target == "" and name not in FOR_ALL)
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


def test_onnx_runtime_is_imported_in_one_place() -> None:
    """It reports to its maker unless `werkbund/__init__.py` came first, which every module of ours sees to."""
    importing = {path for path in FILES for name in _imports(path) if name.split(".")[0] == "onnxruntime"}
    assert importing == {SOURCE / "model" / "onnx" / "running.py"}
    calls = {name for node in TREES[SOURCE / "__init__.py"].body for name in [ast.unparse(node)]}
    assert "keep_silent()" in calls


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


def test_no_leaf_module_is_shorter_than_30_lines() -> None:
    """A module that is no package's front; the files beside all rooms are the front of the whole."""
    leaves = [path for path in FILES if path.name != "__init__.py" and path.parent != SOURCE]
    lengths = {_where(path): len(path.read_text(encoding="utf-8").splitlines()) for path in leaves}
    assert not {name: length for name, length in lengths.items() if length < 30}


def _offered() -> dict[str, dict[str, str]]:
    """Return for each package's front which name it takes from which module."""
    fronts = {_module(path): path for path in FILES if path.name == "__init__.py"}
    return {
        module: {
            alias.asname or alias.name: _absolute(path, node)
            for node in ast.walk(TREES[path])
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        for module, path in fronts.items()
    }


def _users() -> dict[str, set[str]]:
    """Return for each leaf module the other leaf modules that import it, by its own name or through a front."""
    offered = _offered()
    users: dict[str, set[str]] = {module: set() for module in MODULES if module not in offered}

    def origin(base: str, name: str) -> str:
        if f"{base}.{name}" in MODULES:
            return f"{base}.{name}"
        passed = set()
        while name in offered.get(base, {}) and base not in passed:
            passed.add(base)
            base = offered[base][name]
        return base

    for module in users:
        path = MODULES[module]
        for node in ast.walk(TREES[path]):
            used: list[str] = []
            if isinstance(node, ast.ImportFrom):
                used = [origin(_absolute(path, node), alias.name) for alias in node.names]
            elif isinstance(node, ast.Import):
                used = [alias.name for alias in node.names]
            for target in used:
                users.get(target, set()).add(module)
    return users


def test_few_modules_have_one_user() -> None:
    """What one other module alone uses belongs into that module, where both are one idea.

    The command line prints and holds no idea of its own: what a command calls is offered to everybody.
    """
    users = _users()
    alone = {module: next(iter(by)) for module, by in users.items() if len(by) == 1}
    splinters = {module: user for module, user in alone.items() if not user.startswith("werkbund.cli.")}
    share = len(splinters) / len(users)
    listed = "\n".join(f"{module} <- {user}" for module, user in sorted(splinters.items()))
    assert share < 0.13, f"{share:.1%} of {len(users)} modules have one user:\n{listed}"


def _bodies() -> Iterator[tuple[int, str]]:
    """Yield the length of each function's body without its docstring, and where it stands."""
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) is not None else node.body
                length = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
                yield length, f"{_where(path, node)} {node.name} has {length} lines"


def test_no_function_body_is_longer_than_40_lines() -> None:
    assert not [where for length, where in _bodies() if length > 40]


def test_nine_of_ten_function_bodies_have_15_lines_at_most() -> None:
    bodies = sorted(_bodies())
    over = [where for length, where in bodies if length > 15]
    assert len(over) <= 0.1 * len(bodies), "\n".join(over)


def test_no_function_imports_modules_of_ours() -> None:
    """Only the command line does, which must answer before anything heavy is loaded."""
    broken = [
        f"{_where(path, node)}: {ast.unparse(node)}"
        for path, tree in TREES.items()
        if _room(path) != "cli"
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if (isinstance(node, ast.ImportFrom) and _absolute(path, node).split(".")[0] == "werkbund")
        or (isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "werkbund" for alias in node.names))
    ]
    assert not broken, "\n".join(broken)


def _is_array_type(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Name | ast.Attribute) and ast.unparse(node).split(".")[-1] == "NDArray"


def test_types_of_arrays_stand_in_one_module() -> None:
    broken = []
    for path, tree in TREES.items():
        if path == SOURCE / "core" / "arrays.py":
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Subscript) and _is_array_type(node.value) and "np." in ast.unparse(node.slice):
                broken.append(f"{_where(path, node)} spells out {ast.unparse(node)}; core/arrays.py names it")
            value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
            if _is_array_type(value) or (isinstance(value, ast.Subscript) and _is_array_type(value.value)):
                broken.append(f"{_where(path, node)} names a type of arrays; core/arrays.py does")
    assert not broken, "\n".join(broken)


def test_the_federation_stays_below_4000_lines() -> None:
    lengths = {
        _where(path): len(path.read_text(encoding="utf-8").splitlines())
        for path in FILES
        if _room(path) == "federation"
    }
    assert sum(lengths.values()) < 4000, f"federation has {sum(lengths.values())} lines: {lengths}"


RECEIVING = {f"engine/{name}.py" for name in ("asking", "grid", "pacing", "secured", "world")}
"""Where a grid, or who asks it, is received from: who asks, rounds that close early, and grids around another."""


def test_grids_are_received_from_in_one_place() -> None:
    calls = [
        (path, call)
        for path in FILES
        for call, _ in _calls(path)
        if isinstance(call.func, ast.Attribute) and call.func.attr == "receive"
    ]
    assert {path.relative_to(SOURCE).as_posix() for path, _ in calls} == RECEIVING, [_where(*call) for call in calls]


def _names_of_kinds() -> dict[str, Path]:
    """Return the name of each kind of task, and the file that declares it."""
    known = {kind.name for kind in (*KINDS, ANY, WHO)}
    declared = [
        (call.args[0].value, path)
        for path in FILES
        for call, name in _calls(path)
        if name == "Kind" and call.args and isinstance(call.args[0], ast.Constant)
    ]
    for name in known:
        assert [each for each, _ in declared].count(name) == 1, f"{name} must be declared in one place"
    return {str(name): path for name, path in declared if name in known}


AMBIGUOUS = {"any", "centroids", "loss", "train"}
"""Names of kinds that are other words of the field too; they are amiss only where a kind is meant."""

OTHER_MEANING = {
    ("federation/preparing.py", "survey"): "the counts of all clients, as files of a run name them",
    ("flower/server/grid.py", "evaluate"): "Flower's own word for a type of message",
    ("trees/protocol/kinds.py", "evaluate"): "an array of a task, whose name travels as it always has",
    ("trees/rows/counts.py", "squares"): "a count of a regression: summed squares of its errors",
}
"""(file, name of a kind) -> why it is no kind there."""


def _meant_as_kinds(tree: ast.Module) -> Iterator[ast.Constant]:
    """Yield texts at the places where a kind belongs: made, compared with, asked for, or handled."""
    for node in ast.walk(tree):
        places: list[ast.AST | None] = []
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("Kind", "Tasks", "Replies"):
            places += node.args[:1]
        if isinstance(node, ast.Call):
            places += [word.value for word in node.keywords if word.arg in ("asks", "kind")]
        if isinstance(node, ast.Compare) and any(_is_of_a_kind(side) for side in (node.left, *node.comparators)):
            places += [node.left, *node.comparators]
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "Worker":
            places += [key for table in node.args if isinstance(table, ast.Dict) for key in table.keys]
        if isinstance(node, ast.FunctionDef) and "handler" in node.name:
            places += [key for table in ast.walk(node) if isinstance(table, ast.Dict) for key in table.keys]
        for place in places:
            inside = ast.walk(place) if place is not None else ()
            yield from (text for text in inside if isinstance(text, ast.Constant))


def _is_of_a_kind(node: ast.expr) -> bool:
    """Say whether something is called a kind, or is the name of one."""
    return ast.unparse(node).split(".")[-1] == "kind" or ast.unparse(node).endswith("kind.name")


def _stated_names(tree: ast.Module) -> set[ast.AST]:
    """Return the texts of `__all__`, which are names of Python."""
    return {
        text
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        for text in ast.walk(node)
    }


def test_the_name_of_a_kind_is_written_where_it_is_declared_alone() -> None:
    kinds, used, broken = _names_of_kinds(), set(), []
    for path, tree in TREES.items():
        file, stated = path.relative_to(SOURCE).as_posix(), _stated_names(tree)
        amiss = {text for text in _meant_as_kinds(tree) if text.value in kinds}
        amiss |= {
            text
            for text in ast.walk(tree)
            if isinstance(text, ast.Constant) and text.value in kinds.keys() - AMBIGUOUS and text not in stated
        }
        for text in amiss:
            name = str(text.value)
            if (file, name) in OTHER_MEANING:
                used.add((file, name))
            elif kinds[name] != path:
                broken.append(f"{_where(path, text)} writes {name!r}; {_where(kinds[name])} declares that kind")
    assert not broken, "\n".join(broken)
    assert used == set(OTHER_MEANING), "an exception is not needed any more"


SAME_NAME = {
    "Card": "each of the two rooms of methods has its own, and an own method takes it from its room",
}
"""Name of classes that stands in several modules -> why."""


def test_no_public_class_has_the_name_of_another() -> None:
    modules: dict[str, list[str]] = {}
    for path, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                modules.setdefault(node.name, []).append(_where(path, node))
    twice = {name: where for name, where in modules.items() if len(where) > 1}
    assert twice.keys() == SAME_NAME.keys(), twice


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
