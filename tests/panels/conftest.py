"""What all tests of panels need."""

import pytest

from adnlib.panels.selection import ImagePanel


@pytest.fixture(autouse=True)
def no_choice():
    """The panels of a kernel share one choice, those of two tests must not."""
    ImagePanel.choice = ()
    ImagePanel.panels.clear()
