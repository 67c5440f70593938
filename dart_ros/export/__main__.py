"""``python -m dart_ros.export``: writes the graph files that ship with the package anew."""

from __future__ import annotations

from dart_ros.export.graph_files import write_graphs
from dart_ros.runtime.graphs import SHIPPED, graphs_of

if __name__ == "__main__":
    write_graphs(SHIPPED, graphs_of(SHIPPED).folder)
