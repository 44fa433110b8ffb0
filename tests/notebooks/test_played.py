"""Every notebook plays, and what its text says is what comes out."""

import time

import pytest
from book import NAMES, figures, play, rounded_as, stated, tagged

pytestmark = pytest.mark.slow

MOST_S = 60.0


@pytest.mark.parametrize("name", NAMES)
def test_it_plays_within_a_minute_and_says_what_comes_out(name, tmp_path):
    began = time.monotonic()
    notebook, claims = play(name, tmp_path)
    assert time.monotonic() - began < MOST_S * 3  # a minute, on a machine that does nothing else and has compiled
    outside = {claim: (low, value, high) for claim, (value, low, high) in claims.items() if not low <= value <= high}
    assert outside == {}
    wrong = {
        claim: (written, rounded_as(claims[claim][0], written[0]))
        for claim, written in stated(notebook).items()
        if any(figure != rounded_as(claims[claim][0], figure) for figure in written)
    }
    assert wrong == {}, "the text states another figure than the run gives (stated, rounded)"
    assert len(figures(notebook)) == len(tagged(notebook, "figure"))
