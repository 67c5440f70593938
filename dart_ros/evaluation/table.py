"""Results as Markdown tables."""

from __future__ import annotations

from collections.abc import Sequence

from dart_ros.evaluation.results import Results, Row


def markdown(results: Results, title: str) -> str:
    """A table over all scenes, and one of SAD for each tag where scenes have tags.

    Args:
        results: what was found.
        title: what was evaluated on, for the first line.
    """
    rows = results.rows()
    fitted = f", fitted for {results.fit_seconds:g} s" if results.fit_seconds else ""
    head = f"{title}, {rows[0].frames} frames{fitted}; less is better"
    parts = [head, overall(rows)]
    if results.tags():
        parts += ["SAD by tag", by_tag(results)]
    return "\n\n".join(parts)


def overall(rows: Sequence[Row]) -> str:
    """The rows with all metrics; dtSSD where frames are consecutive."""
    video = any(row.flicker is not None for row in rows)
    columns = ["method", "SAD", "MSE", "Grad", "Conn", "false foreground"]
    columns += ["dtSSD"] * video + ["ms a frame"]
    lines = []
    for row in rows:
        cells = [row.method, *_scores(row)]
        if video:
            cells.append("" if row.flicker is None else f"{row.flicker:.2f}")
        lines.append([*cells, f"{row.milliseconds:.1f}"])
    return table(columns, lines)


def by_tag(results: Results) -> str:
    """SAD of each method for each tag."""
    columns = {tag: results.rows(tag) for tag in results.tags()}
    titles = [row.method for row in results.rows()]
    lines = [
        [title, *(_scores(rows[index])[0] for rows in columns.values())]
        for index, title in enumerate(titles)
    ]
    return table(["method", *columns], lines)


def table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    rule = "|" + "---|" * len(columns)
    return "\n".join([_line(columns), rule, *(_line(cells) for cells in lines)])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _scores(row: Row) -> list[str]:
    s = row.scores
    if s is None:
        return ["–"] * 5
    figures = [f"{value:.2f}" for value in (s.sad, s.mse, s.grad, s.conn)]
    return [*figures, f"{s.false_foreground:.2%}"]
