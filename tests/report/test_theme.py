from __future__ import annotations

import re

from werkbund.report.theme import CONTENDERS, DARK, LIGHT, blank, contender, mode_colour, night


def test_no_two_names_share_a_light_colour() -> None:
    assert len(set(LIGHT.values())) == len(LIGHT)


def test_every_colour_has_a_dark_counterpart() -> None:
    assert set(DARK) == set(LIGHT)
    assert set(night()) == set(LIGHT.values())


def test_contenders_differ_in_colour() -> None:
    assert len({appearance.colour for appearance in CONTENDERS.values()}) == len(CONTENDERS)


def test_an_unknown_contender_keeps_its_name() -> None:
    assert contender("pooled_trees").label == "pooled trees"


def test_mode_colours_repeat_after_six() -> None:
    assert [mode_colour(k) for k in range(6)] == [mode_colour(k + 6) for k in range(6)]
    assert len({mode_colour(k) for k in range(6)}) == 6


def test_a_figure_uses_no_colour_that_the_dark_page_cannot_swap() -> None:
    used = set(re.findall(r"#[0-9a-fA-F]{3,8}", blank(100).to_json()))
    assert used <= set(LIGHT.values())
