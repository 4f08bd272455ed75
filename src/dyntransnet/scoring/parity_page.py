"""Parity as a page of its own: it is known after the scores, whose page is then written."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dyntransnet.contract import Contract
from dyntransnet.scoring.parity import ParityLimits

PAGE = Path(__file__).parent / "report" / "page"
"""Where the look of all pages lies."""

NOTHING = "\N{EN DASH}"


def write_parity_page(
    contract: Contract,
    parity: Mapping[str, Mapping[str, Any]],
    limits: Mapping[str, ParityLimits],
    path: Path,
) -> None:
    """Write the page as one file that needs no other.

    Args:
        contract: of the exported model.
        parity: form to its row of parity.json.
        limits: what was allowed.
        path: HTML file to write.
    """
    environment = Environment(
        loader=FileSystemLoader(PAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("parity.html").render(
        contract=contract,
        forms=_table(
            "Each form against torch in fp32; limits in brackets",
            ("", "Floats in", "Logits, relative", "Largest", "Mean", "Voxels changed",
             "Lowest Dice", "Liver", "Tumor"),
            [_form(name, row, limits[row["precision"]]) for name, row in parity.items()],
        ),
        scans=_table(
            "Each scan, whole",
            ("", "Form", "Voxels changed", "Dice liver", "Dice tumor", "Liver", "Tumor"),
            [_scan(case, name, row) for name, form in parity.items()
             for case, row in form["scans"].items()],
        ),
    )  # fmt: skip
    path.write_text(page, encoding="utf-8")


def _form(name: str, row: Mapping[str, Any], limits: ParityLimits) -> tuple[str, ...]:
    windows, changes = row["windows"], row["dice_change"]
    return (
        name,
        row["computed_in"],
        f"{row['relative_difference']:.1e} ({limits.relative_difference:g})",
        f"{row['max_difference']:.1e}",
        f"{row['mean_difference']:.1e}",
        f"{windows['changed']:,} of {windows['voxels']:,}",
        f"{row['dice_min']:.5f} ({limits.min_dice:g})",
        *(f"{_signed(changes[one])} ({limits.max_dice_change:g})" for one in ("liver", "tumor")),
    )


def _scan(case: str, form: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    dices = (row["dice"][one] for one in ("liver", "tumor"))
    return (
        case,
        form,
        f"{row['changed']:,} of {row['voxels']:,}",
        *(NOTHING if dice is None else f"{dice:.5f}" for dice in dices),
        *(_signed(row["dice_change"][one]) for one in ("liver", "tumor")),
    )


def _signed(change: float | None) -> str:
    return NOTHING if change is None else f"{change:+.5f}"


def _table(caption: str, heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> dict[str, Any]:
    """As the macro of all pages takes it."""
    cells = [[{"text": text, "value": ""} for text in row] for row in rows]
    return {
        "caption": caption,
        "heads": heads,
        "rows": [{"kind": "", "cells": row} for row in cells],
    }
