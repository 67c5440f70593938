"""The report: one HTML file with tables and pictures, readable without anything else."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.evaluation.results import Results, Row, machine, versions
from dart_ros.evaluation.run import alpha_file, read_alpha
from dart_ros.evaluation.scenes import LabelledScene

WIDTH = 320
"""Width of the pictures in pixels."""

CROP = 0.25
"""Side of the crops as a share of the picture's height."""

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 1360px; padding: 0 1em;
  color: #222; background: #fff; }
table { border-collapse: collapse; margin: 1em 0; }
th, td { padding: .3em .8em; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; }
td.best { font-weight: 600; background: #e8f4e8; }
.tags span { background: #e6eaf2; border-radius: 1em; padding: .1em .7em; font-size: 13px;
  margin-right: .4em; }
.pictures { display: flex; flex-wrap: wrap; gap: 8px; margin: .3em 0 1em; }
figure { margin: 0; } img { display: block; }
figcaption { font-size: 13px; color: #555; }
h3 { margin: 1.2em 0 .2em; font-size: 15px; }
"""


def html_report(results: Results, scenes: Sequence[LabelledScene], output: Path, title: str) -> str:
    """The whole report as one HTML page.

    For each scene one test frame is shown, the one on which the first method errs most: input,
    depth and truth, and for each method alpha, its error and the region where that is largest.

    Args:
        results: what was found.
        scenes: the scenes of the results.
        output: folder in which :func:`dart_ros.evaluation.run.evaluate` kept the alphas.
        title: what was evaluated on.
    """
    rows = results.rows()
    facts = ", ".join(f"{name} {number}" for name, number in versions().items())
    fit = f"{results.fit_seconds:g} s to each scene" if results.fit_seconds else "none"
    parts = [
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{escape(title)}</title>",
        f"<style>{_STYLE}</style><h1>{escape(title)}</h1>",
        f"<p>Frames: {rows[0].frames}, scenes: {len(scenes)}. Fit: {fit}. Less is better; the "
        "best of each column is marked. SAD and Conn are in thousands of pixels, MSE in "
        "thousandths.</p>",
        _overall(rows),
    ]
    if results.tags():
        parts += ["<h2>SAD by tag</h2>", _by_tag(results)]
    parts += [f"<p>{escape(machine())}<br>{escape(facts)}</p>"]
    for scene in scenes:
        parts += _scene(results, scene, output)
    return "\n".join(parts) + "\n"


def _overall(rows: Sequence[Row]) -> str:
    names = ("SAD", "MSE", "Grad", "Conn", "false foreground, %", "dtSSD", "ms a frame")
    values: list[list[float | None]] = []
    for row in rows:
        s = row.scores
        scores = (s.sad, s.mse, s.grad, s.conn, 100 * s.false_foreground) if s else (None,) * 5
        values.append([*scores, row.flicker, row.milliseconds])
    return _table(names, [row.method for row in rows], values)


def _by_tag(results: Results) -> str:
    columns = [results.rows(tag) for tag in results.tags()]
    values = [
        [None if (s := rows[i].scores) is None else s.sad for rows in columns]
        for i in range(len(results.titles))
    ]
    return _table(results.tags(), [row.method for row in results.rows()], values)


def _table(
    names: Sequence[str], titles: Sequence[str], values: Sequence[Sequence[float | None]]
) -> str:
    """A table whose columns without any value are left out."""
    kept = [k for k in range(len(names)) if any(line[k] is not None for line in values)]
    best = {k: min(v for line in values if (v := line[k]) is not None) for k in kept}
    lines = ["<table><tr><th>method" + "".join(f"<th>{escape(names[k])}" for k in kept)]
    for title, line in zip(titles, values, strict=True):
        cells = [f"<tr><td>{escape(title)}"]
        for k in kept:
            value = line[k]
            mark = " class='best'" if value == best[k] else ""
            cells.append(f"<td{mark}>" + ("–" if value is None else f"{value:.2f}"))
        lines.append("".join(cells))
    return "\n".join([*lines, "</table>"])


def _scene(results: Results, scene: LabelledScene, output: Path) -> list[str]:
    number = _shown(results, scene)
    frame, truth = scene.frame(number), scene.alpha(number)
    tags = "".join(f"<span>{escape(tag)}</span>" for tag in scene.tags)
    pictures = {"input": frame.color, "depth": _depth_picture(frame.depth, scene.max_depth)}
    if truth is not None:
        pictures["true alpha"] = truth
    parts = [
        f"<h2>{escape(scene.name)}, frame {number}</h2><p class='tags'>{tags}</p>",
        _figures(pictures),
    ]
    for method, title in results.titles.items():
        alpha = read_alpha(alpha_file(output, method, scene.name, number))
        scores = results.pairs[method, scene.name].frames[number]
        said = f", SAD {scores.sad:.2f}" if scores is not None else ""
        parts.append(f"<h3>{escape(title)}{said}</h3>")
        shown = {"alpha": alpha}
        if truth is not None:
            error = np.asarray(cv2.absdiff(alpha, truth), np.uint8)
            shown["error"] = error
            worst = _worst(error)
            crops = {"input": frame.color, "alpha": alpha, "true alpha": truth}
            strip = np.hstack([_enlarged(_rgb(image[worst])) for image in crops.values()])
            shown["worst region: input, alpha, true alpha"] = strip
        parts.append(_figures(shown))
    return parts


def _shown(results: Results, scene: LabelledScene) -> int:
    """The frame on which the first method errs most, or the first one."""
    first = next(iter(results.titles))
    errors = [s.sad if s is not None else -1.0 for s in results.pairs[first, scene.name].frames]
    return int(np.argmax(errors))


def _worst(error: NDArray[np.uint8]) -> tuple[slice, slice]:
    """The square in which the error is largest in sum."""
    height, width = error.shape
    side = max(1, min(round(CROP * height), width))
    sums = cv2.integral(error)
    boxes = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    y, x = np.unravel_index(int(np.argmax(boxes)), boxes.shape)
    return slice(int(y), int(y) + side), slice(int(x), int(x) + side)


def _depth_picture(depth: NDArray[np.float32], max_depth: float) -> NDArray[np.uint8]:
    """Near is bright, unknown is black."""
    known = depth > 0
    far = float(np.percentile(depth[known], 99)) if known.any() else max_depth
    level = np.clip(255 - 215 * depth / far, 40, 255)
    colors = cv2.applyColorMap(level.astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    colors[~known] = 0
    return np.asarray(cv2.cvtColor(colors, cv2.COLOR_BGR2RGB), np.uint8)


def _rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if image.ndim == 3:
        return image
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), np.uint8)


def _enlarged(crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(crop, (200, 200), interpolation=cv2.INTER_NEAREST), np.uint8)


def _figures(pictures: Mapping[str, NDArray[Any]]) -> str:
    figures = []
    for caption, image in pictures.items():
        rgb = _rgb(image)
        height, width = rgb.shape[:2]
        if width > WIDTH and not caption.startswith("worst"):
            size = (WIDTH, max(1, round(WIDTH * height / width)))
            rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
        bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
        data = cv2.imencode(".webp", bgr, [cv2.IMWRITE_WEBP_QUALITY, 85])[1].tobytes()
        source = "data:image/webp;base64," + base64.b64encode(data).decode()
        figures.append(
            f"<figure><img src='{source}' alt='{escape(caption)}'>"
            f"<figcaption>{escape(caption)}</figcaption></figure>"
        )
    return "<div class='pictures'>" + "".join(figures) + "</div>"
