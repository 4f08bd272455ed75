"""The page itself: what the template gets, and the file that it becomes."""

import base64
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dyntransnet.scoring.report import charts, curves, tables
from dyntransnet.scoring.report.contents import Contents, Picture
from dyntransnet.scoring.report.words import digits_of, name_of, range_of, rule_of, shown
from dyntransnet.scoring.scoretext import INTERVAL
from dyntransnet.scoring.statistics import LEAST_PATIENTS
from dyntransnet.scoring.summary import HOW

PAGE = Path(__file__).parent / "page"
HEADLINES = ("dice", "nsd", "hd95_mm")


def write_page(contents: Contents, path: Path) -> None:
    """Write the page as one file that needs no other.

    Args:
        contents: what it shows.
        path: HTML file to write.
    """
    path.write_text(page_of(contents), encoding="utf-8")


def page_of(contents: Contents) -> str:
    """The page as HTML."""
    environment = Environment(
        loader=FileSystemLoader(PAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"shown": shown, "data_uri": _data_uri}
    environment.globals |= {
        "name_of": name_of,
        "digits_of": digits_of,
        "range_of": range_of,
        "rule_of": rule_of,
    }
    return environment.get_template("page.html").render(
        contents=contents,
        summary=contents.summary,
        headlines=HEADLINES,
        tables=_tables(contents),
        charts=_charts(contents),
        how=HOW,
        interval=INTERVAL,
        least_patients=LEAST_PATIENTS,
    )


def _tables(contents: Contents) -> dict[str, Any]:
    summary, model = contents.summary, contents.model
    seen = model.fingerprint if model else None
    return {
        "summary": [
            tables.summary_table(name, scores, contents.nsd_mm[name])
            for name, scores in summary.scores.items()
        ],
        "counts": tables.counts_table(summary),
        "definitions": tables.definition_table(summary),
        "lesions": tables.lesion_table(summary),
        "cases": tables.case_table(contents.cases),
        "calibration": contents.calibration and tables.calibration_table(contents.calibration),
        "fingerprint": [tables.fingerprint_table(seen), tables.intensity_table(seen)]
        if seen
        else [],
    }


def _charts(contents: Contents) -> dict[str, Any]:
    return {
        "boxes": charts.box_charts(contents.cases),
        "lesions": curves.lesion_chart(contents.summary.lesions),
        "learning": curves.learning_charts(contents.learning) if contents.learning else [],
        "calibration": curves.reliability_charts(contents.calibration or {}),
    }


def _data_uri(picture: Picture) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture.png).decode()}"
