"""Tests of cutting to [0, 1]."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dart_ros.method.unit_range import cut_to_unit


@given(st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=20))
def test_values_are_those_of_clamp(values: list[float]) -> None:
    expected = [min(1.0, max(0.0, value)) for value in values]
    for learning in (False, True):
        cut = cut_to_unit(torch.tensor(values, requires_grad=learning))
        assert cut.tolist() == expected


@pytest.mark.parametrize(
    ("value", "gradient", "passed"),
    [
        (0.4, 2.0, 2.0),
        (0.4, -2.0, -2.0),
        (0.0, 2.0, 2.0),
        (1.0, -2.0, -2.0),
        (-0.3, -2.0, -2.0),  # a step against it goes up, back into the range
        (-0.3, 2.0, 0.0),
        (1.3, 2.0, 2.0),
        (1.3, -2.0, 0.0),
    ],
)
def test_gradient_passes_where_it_leads_back(value: float, gradient: float, passed: float) -> None:
    image = torch.tensor([value], requires_grad=True)
    cut_to_unit(image).backward(torch.tensor([gradient]))
    assert image.grad is not None
    assert image.grad.item() == passed


@settings(max_examples=25, deadline=None)
@given(st.floats(-2, 3, width=32), st.floats(0, 1, width=32))
def test_descent_reaches_every_truth_from_everywhere(start: float, truth: float) -> None:
    """With clamp alone it would stay where it started, wherever that is out of the range."""
    image = torch.tensor([start], requires_grad=True)
    for _ in range(400):
        (cut_to_unit(image) - truth).abs().sum().backward()
        with torch.no_grad():
            image -= 0.01 * image.grad
        image.grad = None
    assert cut_to_unit(image.detach()).item() == pytest.approx(truth, abs=0.011)
