"""From the clean renders to the data set: a seed makes the sensor's noise.

The layout is ``NAME/scene_XX/background/{color,depth}_%03d.png``,
``scene_XX/test/{color,depth,alpha}_%02d.png`` and ``scene_XX/scene.json``; depth is 16-bit
millimetres, 0 where it is unknown; numbers start at 0.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import EvaluationError
from dart_ros.simulation import sensor_noise, sensors
from dart_ros.simulation.sensor_noise import SensorNoise

BACKGROUND_FRAMES = 100
_SOURCES = (Path(__file__), Path(sensor_noise.__file__), Path(sensors.__file__))
_COPIED = ("K", "width", "height", "tags", "sensor", "people", "credits")
_OPTIONAL = ("fps",)
_ASKED = ("noise_seed", "empty")


def expand(clean: Path, output: Path, seed: int, frames: int = BACKGROUND_FRAMES) -> None:
    """Write the data set; scenes that are complete are kept.

    A scene whose clean files or whose code of the noise have changed since is made again.

    Args:
        clean: Folder of ``scene_XX`` as :func:`benchmark.sim_rgbd.render.render` writes them.
        output: Folder of the data set, made if missing.
        seed: Of all noise; the same seed gives the same bytes.
        frames: Empty frames of each scene.

    Raises:
        EvaluationError: A clean picture is missing or broken, the output holds the data set of
            another seed or length, or it can't be written.
    """
    from tqdm import tqdm

    scenes = sorted(clean.glob("scene_*"))
    if not scenes:
        raise EvaluationError(f"{clean} holds no scene_XX: give the folder of the clean renders.")
    # None: only on a terminal.
    for number, scene in enumerate(tqdm(scenes, unit="scene", leave=False, disable=None)):
        wanted = _description(scene, seed, number, frames)
        target = output / scene.name
        file = target / "scene.json"
        try:
            there = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
            if there == wanted:
                continue
            if there is not None and any(there.get(key) != wanted[key] for key in _ASKED):
                raise EvaluationError(
                    f"{file} is of another seed or number of empty frames: choose another folder."
                )
            part = output / f".{scene.name}.part"
            shutil.rmtree(part, ignore_errors=True)
            _expand_scene(scene, part, wanted, number, frames)
            (part / "scene.json").write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")
            if there is not None:
                shutil.rmtree(target)
            os.replace(part, target)
        except (OSError, ValueError, AttributeError) as error:
            raise EvaluationError(
                f"{target} can't be written ({error}): check the space and the rights, or remove "
                "what is there."
            ) from error


def _description(scene: Path, seed: int, number: int, frames: int) -> dict[str, Any]:
    """The ``scene.json`` of the data set; ``number`` is the scene's, from 0."""
    file = scene / "scene.json"
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        copied = {key: content[key] for key in _COPIED}
        return (
            copied
            | {key: content[key] for key in _OPTIONAL if key in content}
            | {
                "noise_seed": seed,
                "empty": frames,
                "made_from": _digest(scene, number),
            }
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EvaluationError(
            f"{file} can't be used ({type(error).__name__}: {error}): check out the file again."
        ) from error


def _digest(scene: Path, number: int) -> str:
    """Changes with the clean files, with the code of the noise and with the scene's number."""
    digest = hashlib.sha256(str(number).encode())
    clean = sorted(file for file in scene.iterdir() if file.is_file())
    for file in (*_SOURCES, *clean):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"\n{file.name} {content}".encode())
    return digest.hexdigest()


def _expand_scene(
    scene: Path, target: Path, about: dict[str, Any], number: int, frames: int
) -> None:
    noise = SensorNoise(about["sensor"], 1000 * about["noise_seed"] + number)
    (target / "background").mkdir(parents=True)
    (target / "test").mkdir()
    size = (about["height"], about["width"])
    color = _read(scene / "background_color.webp", cv2.IMREAD_COLOR, np.uint8, size)
    depth = _read(scene / "background_depth.png", cv2.IMREAD_UNCHANGED, np.uint16, size)
    for k in range(frames):
        _save(target / "background", f"{k:03d}", noise, color, depth, (0, k))
    for file in sorted(scene.glob("color_*.webp")):
        name = file.stem.removeprefix("color_")
        color = _read(file, cv2.IMREAD_COLOR, np.uint8, size)
        depth = _read(scene / f"depth_{name}.png", cv2.IMREAD_UNCHANGED, np.uint16, size)
        alpha = _read(scene / f"alpha_{name}.png", cv2.IMREAD_UNCHANGED, np.uint8, size)
        _save(target / "test", name, noise, color, depth, (1, int(name)))
        _write(target / "test" / f"alpha_{name}.png", alpha)


def _read(file: Path, flags: int, dtype: type, size: tuple[int, int]) -> NDArray[Any]:
    try:
        image = cv2.imdecode(np.frombuffer(file.read_bytes(), np.uint8), flags)
    except (OSError, cv2.error):
        image = None
    if image is None or image.dtype != dtype or image.shape[:2] != size:
        raise EvaluationError(
            f"{file} is missing, broken or not {size[1]}x{size[0]} of {np.dtype(dtype)}: check out "
            "the file again."
        )
    return np.asarray(image)


def _save(
    folder: Path,
    name: str,
    noise: SensorNoise,
    bgr: NDArray[np.uint8],
    millimetres: NDArray[np.uint16],
    index: tuple[int, int],
) -> None:
    """One noisy frame."""
    color = np.ascontiguousarray(bgr[..., ::-1])
    depth = np.where(millimetres > 0, millimetres * np.float32(1e-3), np.float32(-1))
    noisy = noise.depth(depth, color, index)
    _write(folder / f"color_{name}.png", noise.color(color, index)[..., ::-1])
    stored = np.where(noisy > 0, np.rint(np.clip(noisy, 0, 65.0) * 1000), 0).astype(np.uint16)
    _write(folder / f"depth_{name}.png", stored)


def _write(file: Path, pixels: NDArray[Any]) -> None:
    # Noise doesn't compress: the fastest level costs little space.
    quick = [cv2.IMWRITE_PNG_COMPRESSION, 1]
    file.write_bytes(cv2.imencode(".png", np.ascontiguousarray(pixels), quick)[1].tobytes())
