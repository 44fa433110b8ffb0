"""Small strategies that random scenarios are made of."""

from hypothesis import strategies as st


def some(draw, chance=2):
    """One time in so many."""
    return draw(st.integers(1, chance)) == chance


@st.composite
def times(draw, low_s, high_s):
    """A distribution of times."""
    mean = draw(st.floats(low_s, high_s))
    if mean < 0.001 or some(draw):
        return mean
    return {"distribution_type": "exponential", "mean": mean}
