"""The evaluation as one page that a browser opens."""

from collections.abc import Mapping, Sequence
from html import escape
from string import Template

from dyntransnet.scoring.definitions import DEFINITIONS, dice_definitions
from dyntransnet.scoring.overlap import CLASSES, Row
from dyntransnet.scoring.records import CASE_COLUMNS

PAGE = Template("""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Evaluation</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0 2rem }
th, td { padding: .3rem .8rem; text-align: right }
th { border-bottom: 2px solid #444 } td { border-bottom: 1px solid #ddd }
td:first-child, th:first-child { text-align: left }
img { width: 100%; margin: .5rem 0 1.5rem } .note { color: #666 }
</style>
<h1>Evaluation on $count test cases</h1>
<p class="note">Liver is the whole liver, tumors included. Dice is not defined where truth and
prediction are both empty, surface distances where either is: such cases are counted, not averaged.
Nothing here says anything about clinical use.</p>
<h2>Summary</h2>$summary
<h2>Dice by definition</h2>$definitions
<h2>Cases</h2>$cases
<h2>Pictures</h2>$pictures
</html>
""")

SUMMARY_COLUMNS = (
    "dice", "dice_median", "dice_min", "precision", "recall", "volume_error_ml",
    "absolute_volume_error_ml", "hd95_mm", "nsd", "assd_mm", "no_surface", "scored", "both_empty",
    "false_positive_cases",
)  # fmt: skip


def evaluation_page(
    summary: Mapping[str, Mapping[str, float | int | None]],
    cases: Mapping[str, Mapping[str, Row]],
    pictures: Sequence[str],
) -> str:
    """The page as HTML.

    Args:
        summary: what ``summarize`` gave.
        cases: case id to what ``score_case`` gave, surfaces included.
        pictures: paths of images, relative to the page.
    """
    summary_rows = [
        [name, *(summary[name][column] for column in SUMMARY_COLUMNS)] for name in CLASSES
    ]
    defined = dice_definitions(list(cases.values()))
    case_rows = [
        [case, name, *(scores[name][column] for column in CASE_COLUMNS)]
        for case, scores in cases.items()
        for name in CLASSES
    ]
    return PAGE.substitute(
        count=len(cases),
        summary=_table(["class", *SUMMARY_COLUMNS], summary_rows),
        definitions=_table(
            ["name", "Dice", "meaning"],
            [[name, defined[name], meaning] for name, meaning in DEFINITIONS.items()],
        ),
        cases=_table(["case", "class", *CASE_COLUMNS], case_rows),
        pictures="".join(f'<img src="{escape(path)}" alt="{escape(path)}">' for path in pictures),
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    cells = "".join(f"<th>{escape(name.replace('_', ' '))}</th>" for name in head)
    body = "".join(
        f"<tr>{''.join(f'<td>{_shown(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    return f"<table><tr>{cells}</tr>{body}</table>"


def _shown(cell: object) -> str:
    if cell is None or cell != cell:
        return "–"  # noqa: RUF001
    return f"{cell:.3f}" if isinstance(cell, float) else escape(str(cell))
