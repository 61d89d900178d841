"""The pages as a site: it is built without a warning or a foreign address, and its commands are ones that exist."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer
import yaml

from werkbund.cli import app

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
_FOREIGN = re.compile(r'<(?:script|link|img)[^>]+(?:src|href)="(https?:)?//')


def test_the_site_is_built_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("material")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    variables = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > len(list(DOCS.glob("*.md")))
    assert [page.name for page in pages if _FOREIGN.search(page.read_text(encoding="utf-8"))] == []


def test_every_page_has_a_place_in_the_site() -> None:
    written = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    placed = re.findall(r": ([\w/-]+\.md)$", written, re.MULTILINE)
    assert sorted(placed) == sorted({page.name for page in DOCS.glob("*.md")} | {"decisions/index.md"})
    assert yaml.safe_load(written)["theme"]["font"] is False


def test_the_list_of_decisions_has_all_of_them() -> None:
    listed = re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", (DOCS / "decisions" / "index.md").read_text(encoding="utf-8"))
    assert listed == sorted(path.name for path in (DOCS / "decisions").glob("[0-9]*.md"))


def _commands(page: Path) -> Iterator[list[str]]:
    """Yield the words of each command of ours in a page's code."""
    text = page.read_text(encoding="utf-8")
    lines = re.findall(r"^ {4}(werkbund (?:[^\n]*\\\n)*[^\n]*)$", text, re.MULTILINE)
    lines = [line for line in lines if not re.match(r"werkbund [\w ]+,", line)]  # words in a picture
    lines += re.findall(r"`(werkbund [^`\n]+)`", text)
    for line in lines:
        yield shlex.split(re.sub(r"\\\s*(\n|$)", " ", line), comments=True)[1:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_exist_and_know_their_options(page: Path) -> None:
    for words in _commands(page):
        command: click.Command = typer.main.get_command(app)
        while isinstance(command, click.Group) and words and words[0] in command.commands:
            command, words = command.commands[words[0]], words[1:]
        if isinstance(command, click.Group):
            assert not words or words[0].startswith("-") or words[0].isupper(), f"no command {words} in {page.name}"
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        named = {word.split("=")[0].strip("[]").split("|")[0] for word in words if word.strip("[").startswith("--")}
        assert named <= known | {"--help", "--version"}, f"{page.name}: {command.name} does not know {named - known}"
