from __future__ import annotations

import shlex
from pathlib import Path

from werkbund.report.folder import RunFolder, read_run
from werkbund.report.sections.provenance import card, methods, repeat


def test_all_that_it_takes_to_repeat_the_run_is_there(finished: Path) -> None:
    run = read_run(finished)
    section = repeat(run)
    facts = {row[0]: row[1] for row in section.tables[0].rows}
    assert facts["Seed"] == "7"
    assert facts["Data, sha256"] == run.about["data"]["sha256"]
    assert facts["Layout fingerprint"] == run.about["layout"]["fingerprint"]
    assert facts["Torch"] == "2.13.0"
    assert [block.text for block in section.code] == [run.about["command"], run.config.rstrip()]


def test_a_seed_of_zero_is_still_a_seed() -> None:
    assert ("Seed", "0") in repeat(RunFolder(Path(), {"seed": 0})).tables[0].rows


def test_a_command_in_pieces_can_be_pasted_into_a_shell() -> None:
    pieces = ["werkbund", "run", "--data", "my machine.csv"]
    assert shlex.split(repeat(RunFolder(Path(), {"command": pieces})).code[0].text) == pieces


def test_the_card_is_flattened_and_its_inputs_are_a_table(finished: Path) -> None:
    facts, inputs = card(read_run(finished)).tables
    assert ("Model, options, hidden", "32, 16") in facts.rows
    assert inputs.head[0] == "Inputs"
    assert [row[0] for row in inputs.rows] == ["Torque [Nm]", "Type"]


def test_methods_come_with_their_sources(finished: Path) -> None:
    run = read_run(finished)
    citations = run.about["citations"]
    assert methods(run).tables[0].rows == tuple((citation["what"], citation["source"]) for citation in citations)


def test_what_was_not_written_is_said_in_one_sentence() -> None:
    bare = RunFolder(Path(), {})
    for section in (card(bare), methods(bare), repeat(bare)):
        assert section.empty
        assert section.absent.endswith(".")
