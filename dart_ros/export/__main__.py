"""``python -m dart_ros.export``: writes the graphs that ship anew, for the weights that ship."""

from __future__ import annotations

from dart_ros.export.graph_files import write_graphs
from dart_ros.runtime.graphs import GRAPHS
from dart_ros.runtime.weights import load_weights

if __name__ == "__main__":
    write_graphs(load_weights().config, GRAPHS)
