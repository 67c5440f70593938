from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dart_ros.session.foreground import FAINTEST, cutout, with_alpha, without_room
from dart_ros.values import Matte

SIDES = st.tuples(st.integers(1, 12), st.integers(1, 12))
# Most pixels of a real alpha are 0 or 255.
ALPHAS = st.one_of(st.sampled_from([0, 255]), st.integers(0, 255))


@st.composite
def mattes(draw: st.DrawFn) -> Matte:
    sides = draw(SIDES)
    foreground = draw(arrays.arrays(np.uint8, (*sides, 3)))
    alpha = draw(arrays.arrays(np.uint8, sides, elements=ALPHAS))
    return Matte(alpha, foreground, None)


@given(mattes())
def test_no_color_where_there_is_no_foreground(matte: Matte) -> None:
    assert matte.foreground is not None
    before = matte.foreground.copy()
    hidden = without_room(matte.foreground, matte.alpha)
    assert not hidden[matte.alpha < FAINTEST].any()
    shown = matte.alpha >= FAINTEST
    np.testing.assert_array_equal(hidden[shown], before[shown])
    np.testing.assert_array_equal(matte.foreground, before)


@given(mattes(), st.data())
def test_another_alpha_takes_its_colors_from_the_foreground(
    matte: Matte, data: st.DataObject
) -> None:
    alpha = data.draw(arrays.arrays(np.uint8, matte.alpha.shape, elements=ALPHAS))
    made = with_alpha(matte, alpha)
    old, new = matte.foreground, made.foreground
    assert old is not None and new is not None
    np.testing.assert_array_equal(made.alpha, alpha)
    sources = np.argwhere(matte.alpha >= FAINTEST)
    for row, column in np.ndindex(*alpha.shape):
        got = new[row, column]
        if alpha[row, column] < FAINTEST or not len(sources):
            continue
        if matte.alpha[row, column] >= FAINTEST:
            np.testing.assert_array_equal(got, old[row, column])
            continue
        away = np.hypot(*(sources - (row, column)).T)
        # OpenCV's distances with a 5x5 mask are within some per cent of the true ones.
        near = sources[away <= away.min() * 1.05 + 1e-9]
        assert any((got == old[tuple(source)]).all() for source in near)
    assert not new[alpha < FAINTEST].any()


def test_a_matte_without_foreground() -> None:
    matte = Matte(np.zeros((2, 3), np.uint8), None, None)
    assert with_alpha(matte, matte.alpha + 9).foreground is None
    with pytest.raises(ValueError, match="ask the Predictor"):
        cutout(matte)


def test_the_room_never_comes_back_with_another_alpha() -> None:
    """The network sees nothing where post-matting finds something: there is no color to take."""
    room = np.full((4, 5, 3), 77, np.uint8)
    made = with_alpha(Matte(np.zeros((4, 5), np.uint8), room, None), np.full((4, 5), 255, np.uint8))
    assert made.foreground is not None and not made.foreground.any()


def test_the_cutout_is_color_and_alpha() -> None:
    rng = np.random.default_rng(0)
    matte = Matte(
        rng.integers(0, 256, (5, 7), np.uint8), rng.integers(0, 256, (5, 7, 3), np.uint8), None
    )
    rgba = cutout(matte)
    np.testing.assert_array_equal(rgba[..., :3], matte.foreground)
    np.testing.assert_array_equal(rgba[..., 3], matte.alpha)
