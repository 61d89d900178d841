"""The page of configuration keys is what the sections say."""

from __future__ import annotations

from pathlib import Path

from werkbund.config.reference import configuration_reference


def test_the_page_in_the_documents_lists_every_key_with_its_default() -> None:
    page = Path(__file__).parents[2] / "docs" / "configuration.md"
    assert page.read_text() == configuration_reference(), "write it anew from configuration_reference()"
