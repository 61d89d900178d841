"""Documents name what is there: paths, names, and on the page of the architecture the rooms and their arrows."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.test_architecture import ALLOWED, ROOMS
from werkbund.config.reading import valid_keys

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "werkbund"
PAGE = ROOT / "docs" / "architecture.md"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
FRONTS = {room for room in ALLOWED if any(other.startswith(f"{room}.") for other in ALLOWED)}
"""Folders that hold rooms, and nothing of their own."""


def _prose(page: Path) -> str:
    """Return a page without its examples."""
    text = re.sub(r"(?ms)^```.*?^```$", "", page.read_text(encoding="utf-8"))
    return "\n".join(line for line in text.splitlines() if not line.startswith((">>>", "...")))


def _quoted(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", text)


def _file(name: str) -> Path | None:
    """Return the file or folder that a page means: below the repository, or below its source."""
    return next((place / name for place in (ROOT, SOURCE) if (place / name).exists()), None)


def _is_file_name(word: str) -> bool:
    of_the_project = word.split("/")[0] in {"src", "tests", "docs", "examples", "benchmarks", *ALLOWED}
    return re.fullmatch(r"[\w./-]+\.(py|md)", word) is not None and "/" in word and of_the_project


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    prose = _prose(page)
    named = [word for word in _quoted(prose) if _is_file_name(word)]
    named += re.findall(r"(?<![\w/`.])tests/[\w/]+\.py", prose)
    assert not [name for name in named if _file(name) is None]
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", prose) if "://" not in link]
    assert not [link for link in links if link and not (page.parent / link).exists()]


def _shown_by(prose: str) -> list[tuple[str, str]]:
    """Return (file, test) for each test that a page names, by a path or by the short name that it says for one."""
    short = dict(re.findall(r"`(\w+)` (?:is|\|) `?(tests/[\w/]+\.py)", prose))
    return [(short.get(file, file), test) for file, test in re.findall(r"([\w./]+)::(test_\w+)", prose)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_a_page_names_is_in_its_file(page: Path) -> None:
    for file, test in _shown_by(_prose(page)):
        path = _file(file)
        assert path is not None, f"{file}::{test}"
        assert test in set(_defined_in(path)), f"{file}::{test}"


def test_what_the_page_on_security_says_without_exception_names_its_test() -> None:
    bold = re.compile(
        r"\b(never|only|all|every|any|exact|exactly|cannot|nothing|nobody|whatever|none|no)\b", re.IGNORECASE
    )
    told = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    sections = re.split(r"(?m)^## ", told.partition("\n## Threats\n")[2].partition("\n## What is not protected\n")[0])
    claims = [
        line for text in sections for line in text.splitlines() if line.startswith(("- ", "| ")) and bold.search(line)
    ]
    assert len(_shown_by(told)) > 80
    assert len(claims) > 40
    assert not [line for line in claims if "::test_" not in line]


def _defined_in(path: Path) -> Iterator[str]:
    """Yield what a module defines, each member of a class also as `Class.member`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = list(_names(node))
        yield from names
        if isinstance(node, ast.ClassDef):
            yield from (f"{node.name}.{name}" for member in node.body for name in _names(member))


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        yield node.name
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield node.target.id
    elif isinstance(node, ast.Assign):
        yield from (name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name))
    elif isinstance(node, ast.ImportFrom):
        yield from (alias.asname or alias.name for alias in node.names)


def test_every_name_on_the_page_of_the_architecture_is_defined() -> None:
    known = {name for path in [*SOURCE.rglob("*.py"), *(ROOT / "tests").rglob("*.py")] for name in _defined_in(path)}
    known |= {*ALLOWED, *valid_keys(), "flwr", "ALLOWED"}
    words = [word for word in _quoted(_prose(PAGE)) if re.fullmatch(r"[A-Za-z_]\w*(\.\w+)?", word)]
    unknown = {word for word in words if word not in known and importlib.util.find_spec(word.split(".")[0]) is None}
    assert len(words) > 100
    assert not unknown


def test_what_the_page_says_stands_in_a_file_stands_there() -> None:
    name, file = r"`[A-Za-z_][\w.]*`", r"`([\w/.]+\.py)`"
    claims = re.findall(rf"((?:{name}(?:, | and )?)+) (?:in|of|\() ?{file}", _prose(PAGE))
    claims += re.findall(rf"({name}) \({file}\)", _prose(PAGE))
    assert len(claims) > 30
    for names, stated in claims:
        path = _file(stated)
        assert path is not None
        assert not {*_quoted(names)} - {*_defined_in(path)}, f"not in {stated}"


def _section(title: str) -> str:
    """Return the text below a heading of the page of the architecture."""
    return _prose(PAGE).partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def _rows(title: str) -> list[list[str]]:
    lines = [line for line in _section(title).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def test_imports_go_down_the_picture_that_holds_every_room() -> None:
    lines = [line.split() for line in _section("The rooms").splitlines() if line.startswith("    ")]
    drawn = [room for line in lines for room in line]
    assert sorted(drawn) == sorted({*ROOMS} - FRONTS)
    height = {room: -number for number, line in enumerate(lines) for room in line}
    for room in drawn:
        assert not {target for target in ALLOWED[room] - FRONTS if height[target] >= height[room]}, room
    assert all(height[first] >= height[second] for first, second in pairwise(drawn))


def _imports(cell: str) -> set[str]:
    """Return the rooms that a cell of the table allows."""
    if cell == "everything":
        return set(ALLOWED) - {"cli"}
    allowed: set[str] = set()
    for word, room in re.findall(r"(as |without )?`([\w.]+)`", cell):
        rooms = {"as ": ALLOWED[room], "without ": set[str](), "": {room}}[word]
        allowed = allowed - {room} if word == "without " else allowed | rooms
    return allowed


def test_the_table_of_rooms_says_what_the_law_says() -> None:
    rows = {_quoted(room)[0]: _imports(cell) for room, _, cell in _rows("The rooms")}
    assert rows == {room: allowed for room, allowed in ALLOWED.items() if room not in FRONTS}


def test_each_thing_to_add_has_a_contract_an_example_and_a_test() -> None:
    rows = _rows("To add something, write one file")
    assert len(rows) >= 11
    for thing, contract, example, known, test in rows:
        assert "" not in (contract, example, known), thing
        assert all(word.startswith("tests/") and _file(word) is not None for word in _quoted(test)), thing
