"""Rows of text as CSV, Markdown and LaTeX."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """A heading, column heads and rows of as many cells.

    Attributes:
        title: stands above it.
        head: names of the columns.
        rows: cells, the row's name first.
        note: stands below it.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "\N{EN DASH}": "--",
    "<": r"$<$",
    ">": r"$>$",
}


def to_csv(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Comma-separated; None is an empty cell."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return stream.getvalue()


def to_markdown(tables: Sequence[Table]) -> str:
    """One after another, each with its heading and note."""
    return "\n".join(_markdown(table) for table in tables)


def to_latex(tables: Sequence[Table]) -> str:
    """One ``table`` environment each, as wide as the page; needs booktabs and graphicx."""
    return "\n".join(_latex(table) for table in tables)


def _markdown(table: Table) -> str:
    lines = [table.head, ["---"] * len(table.head), *table.rows]
    body = "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    )
    note = f"\n{table.note}\n" if table.note else ""
    return f"## {table.title}\n\n{body}\n{note}"


def _latex(table: Table) -> str:
    head, *rows = (" & ".join(map(_escaped, line)) + r" \\" for line in (table.head, *table.rows))
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{_escaped(' '.join((table.title + '.', table.note)).strip())}}}",
            rf"\resizebox{{\textwidth}}{{!}}{{\begin{{tabular}}{{l{'r' * (len(table.head) - 1)}}}",
            r"\toprule",
            head,
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table}",
            "",
        ]
    )


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)
