from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from dart_ros.errors import FitError
from tools.datagen.furniture import Catalog, read_obj
from tools.datagen.rasterizer import Rasterizer
from tools.datagen.rooms import for_demo, furnish, look
from tools.datagen.textures import noise, paint

FURNITURE = Path("/usr/share/sweethome3d/furniture")
OBJ = """mtllib box.mtl
v 0 0 0
v 2 0 0
v 2 4 0
v 0 4 0
vt 0 0
vt 1 0
vt 1 1
vt 0 1
usemtl red
f 1/1 2/2 3/3 4/4
f -4 -3 -2
"""
MTL = "newmtl red\nKd 0.9 0.1 0.1\nKs 0.5 0.5 0.5\n"
CATALOG = """id#1=test
name#1=Chair
category#1=Office
model#1=/box.obj
width#1=50
depth#1=10
height#1=100
creator#1=Somebody
"""


def _library(folder: Path) -> Path:
    path = folder / "BlendSwap-CC-0.sh3f"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("box.obj", OBJ)
        archive.writestr("box.mtl", MTL)
        archive.writestr("PluginFurnitureCatalog.properties", CATALOG)
    return path


def test_obj_with_quads_and_negative_indices(tmp_path: Path) -> None:
    with zipfile.ZipFile(_library(tmp_path)) as archive:
        (mesh,) = read_obj(archive, "box.obj")
    assert len(mesh.triangles) == 3
    assert mesh.material.color == (0.9, 0.1, 0.1)
    assert np.allclose(np.abs(mesh.normals), [0, 0, 1])


def test_furniture_gets_its_catalog_size_and_stands_on_the_floor(tmp_path: Path) -> None:
    _library(tmp_path)
    catalog = Catalog(tmp_path)
    (piece,) = catalog.find("chair")
    assert piece.license == "CC0" and piece.creator == "Somebody"
    (mesh,) = catalog.load(piece)
    assert np.allclose(mesh.positions.min(0), [-0.25, 0.0, 0.0], atol=1e-6)
    assert np.allclose(mesh.positions.max(0), [0.25, 1.0, 0.0], atol=1e-6)


def test_says_where_furniture_comes_from(tmp_path: Path) -> None:
    with pytest.raises(FitError, match="sweethome3d-furniture"):
        Catalog(tmp_path)


def test_noise_tiles_without_a_seam() -> None:
    values = noise(np.random.default_rng(0), 1.5, size=128)
    seam = np.abs(values[:, 0] - values[:, -1]).mean()
    inside = np.abs(np.diff(values, axis=1)).mean()
    assert seam < 1.5 * inside
    assert values.std() == pytest.approx(1.0)


def test_paint_keeps_its_color() -> None:
    color = np.array([0.8, 0.5, 0.3])
    wall = paint(np.random.default_rng(1), color)
    assert np.allclose(wall[..., :3].mean((0, 1)) / 255, color, atol=0.01)
    assert (wall[..., 3] == 255).all()


def test_a_room_is_closed_and_its_things_stay_inside(renderer: Rasterizer) -> None:
    if not FURNITURE.is_dir():
        pytest.skip("Debian's sweethome3d-furniture is not installed")
    catalog = Catalog(FURNITURE)
    room = furnish(catalog, "booth", np.random.default_rng(4))
    assert not any(for_demo(piece) for piece in room.pieces)
    camera, view = look(room, np.random.default_rng(5), 80, 60)
    picture = renderer.draw(camera, view, room.meshes, room.lighting)
    assert (picture.coverage > 0.99).all()
    assert (picture.depth > 0.05).all()
    diagonal = np.linalg.norm([room.width, room.height, room.depth])
    assert float(picture.depth.max()) < diagonal
    assert (picture.foreground == 0).all()
