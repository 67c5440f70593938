from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dart_ros.session.rays import Lens, pixel_rays
from dart_ros.values import Camera

CAMERA = Camera(97, 61, 70.0, 65.0, 47.0, 31.5)


def pinhole(camera: Camera) -> np.ndarray:
    rows, columns = np.mgrid[: camera.height, : camera.width]
    rays = np.stack([(columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy], axis=-1)
    return rays.reshape(-1, 2)


def projected(lens: Lens, rays: np.ndarray) -> np.ndarray:
    """Pixels of rays, by the formulas that CameraInfo names."""
    x, y = rays.astype(np.float64).T
    d = [*lens.coefficients, *[0.0] * 8]
    if lens.model == "equidistant":
        r = np.hypot(x, y)
        angle = np.arctan(r)
        bent = angle * (1 + d[0] * angle**2 + d[1] * angle**4 + d[2] * angle**6 + d[3] * angle**8)
        scale = np.divide(bent, r, out=np.ones_like(r), where=r > 1e-9)
        u, v = x * scale, y * scale
    else:
        k1, k2, p1, p2, k3, k4, k5, k6 = d[:8]
        r2 = x**2 + y**2
        radial = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
        u = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x**2)
        v = y * radial + p1 * (r2 + 2 * y**2) + 2 * p2 * x * y
    camera = lens.camera
    return np.stack([u * camera.fx + camera.cx, v * camera.fy + camera.cy], axis=-1)


@pytest.mark.parametrize("coefficients", [(), (0.0,) * 5])
def test_a_lens_without_distortion_is_a_pinhole(coefficients: tuple[float, ...]) -> None:
    lens = Lens(CAMERA, "whatever" if not coefficients else "plumb_bob", coefficients)
    assert lens.known and not lens.distorts
    np.testing.assert_allclose(pixel_rays(lens), pinhole(CAMERA), atol=1e-6)


small = st.floats(-0.05, 0.05)


@settings(max_examples=40)
@given(
    st.sampled_from([("plumb_bob", 5), ("rational_polynomial", 8), ("equidistant", 4)]),
    st.lists(small, min_size=8, max_size=8),
)
def test_what_a_pixel_sees_is_projected_into_it(
    model: tuple[str, int], values: list[float]
) -> None:
    name, count = model
    values[2:4] = [value / 8 for value in values[2:4]]  # tangential ones are small
    lens = Lens(CAMERA, name, tuple(values[:count]))
    rays = pixel_rays(lens)
    found = np.isfinite(rays).all(axis=1)
    assert found.mean() > 0.9
    pixels = projected(lens, rays[found])
    rows, columns = np.mgrid[: CAMERA.height, : CAMERA.width]
    wanted = np.stack([columns, rows], axis=-1).reshape(-1, 2)[found]
    # An eighth of this camera's width is much more of the picture than of a real one's.
    assert np.abs(pixels - wanted).max() < 1.0


def test_a_camera_of_real_size_is_exact() -> None:
    camera = Camera(1280, 720, 608.0, 608.0, 638.0, 366.0)
    kinect = (0.52, -2.61, 0.00071, -0.00025, 1.52, 0.4, -2.43, 1.45)
    lens = Lens(camera, "rational_polynomial", kinect)
    rays = pixel_rays(lens)
    rows, columns = np.mgrid[:720, :1280]
    wanted = np.stack([columns, rows], axis=-1).reshape(-1, 2)
    assert np.abs(projected(lens, rays) - wanted).max() < 0.05
    assert np.abs(rays - pinhole(camera)).max() > 0.01  # ten pixels: it matters


def test_where_distortion_cannot_be_undone_there_is_no_ray() -> None:
    lens = Lens(CAMERA, "plumb_bob", (-2.0, 0.0, 0.0, 0.0, 0.0))  # folds the image over
    rays = pixel_rays(lens).reshape(CAMERA.height, CAMERA.width, 2)
    assert np.isnan(rays[0, 0]).all() and np.isfinite(rays[31, 47]).all()


@pytest.mark.parametrize(
    ("model", "coefficients"),
    [
        ("unheard_of", (0.1, 0.0, 0.0, 0.0)),
        ("plumb_bob", (0.1,)),
        ("equidistant", (0.1,) * 5),
        ("plumb_bob", (float("nan"),) * 5),
    ],
)
def test_distortion_that_is_unknown_is_left_out(
    model: str, coefficients: tuple[float, ...]
) -> None:
    lens = Lens(CAMERA, model, coefficients)
    assert not lens.known
    np.testing.assert_allclose(pixel_rays(lens), pinhole(CAMERA), atol=1e-6)
