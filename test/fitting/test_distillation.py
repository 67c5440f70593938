from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax

from dart_ros.fitting.distillation import channel_divergence


@pytest.mark.parametrize("temperature", [0.25, 1.0, 4.0])
def test_divergence_equals_the_sum_written_out(temperature: float) -> None:
    student, teacher = np.random.default_rng(3).random((2, 2, 3, 4, 5))
    expected = []
    for image in range(2):
        for channel in range(3):
            ours = softmax(student[image, channel].ravel() / temperature)
            theirs = softmax(teacher[image, channel].ravel() / temperature)
            expected.append(temperature**2 * rel_entr(theirs, ours).sum())
    found = channel_divergence(torch.tensor(student), torch.tensor(teacher), temperature)
    assert float(found) == pytest.approx(np.mean(expected), rel=1e-4)


def test_the_teacher_gets_no_gradient_and_equals_diverge_by_nothing() -> None:
    student = torch.rand(1, 1, 4, 4, requires_grad=True)
    teacher = torch.rand(1, 1, 4, 4, requires_grad=True)
    channel_divergence(student, teacher, 1.0).backward()
    assert teacher.grad is None and student.grad is not None
    assert float(channel_divergence(student, student, 1.0)) == pytest.approx(0, abs=1e-6)
