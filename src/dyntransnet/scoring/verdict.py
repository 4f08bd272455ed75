"""The gate's verdict for people: one line, and a table in Markdown."""

from collections.abc import Iterator

from dyntransnet.scoring.gate import Finding, Verdict, how_bound, shown

LOSSES = 10
"""Cases that are listed one by one, the largest losses first."""

HEAD = (
    "| class | patients (cases) | baseline | candidate | difference | lowest possible | margin | |",
    "|---|--:|--:|--:|--:|--:|--:|---|",
)


def line(verdict: Verdict) -> str:
    """What happened, in one line."""
    if verdict.broken:
        return f"refused: {'; '.join(verdict.broken)}"
    told = [_summary(finding, verdict) for finding in verdict.findings]
    return "; ".join(["passed", *told])


def table(verdict: Verdict) -> str:
    """The whole verdict in Markdown, ready for a pull request."""
    parts = [f"### Dice gate: {'passed' if verdict.passed else 'refused'}", ""]
    if verdict.findings:
        parts += [*HEAD, *(_row(finding) for finding in verdict.findings), ""]
    parts += [f"- **{rule}**" for rule in verdict.broken]
    parts += [f"- {note}" for note in _notes(verdict)]
    losses = [*_losses(verdict)]
    if losses:
        parts += ["", "<details><summary>Largest losses, case by case</summary>", ""]
        parts += ["| case | class | baseline | candidate | difference |", "|---|---|--:|--:|--:|"]
        parts += [*losses, "", "</details>"]
    return "\n".join(parts) + "\n"


def not_comparable(reason: str) -> str:
    """What stands in the table's place where there is nothing to compare."""
    return f"### Dice gate: no verdict\n\n- **{_plain(reason)}**\n"


def _summary(finding: Finding, verdict: Verdict) -> str:
    if finding.bound is None:
        return f"{finding.name} not compared (0 patients)"
    return (
        f"{finding.name} {shown(finding.baseline)} -> {shown(finding.candidate)}, "
        f"{finding.bound.low:+.4f} {how_bound(finding, verdict.rules.confidence)}"
    )


def _row(finding: Finding) -> str:
    low, difference = finding.bound and finding.bound.low, finding.difference
    cells = (
        finding.name,
        f"{finding.patients} ({len(finding.pairs.compared)})",
        shown(finding.baseline),
        shown(finding.candidate),
        "" if difference is None else f"{difference:+.4f}",
        "" if low is None else f"{low:+.4f}",
        f"{finding.margin:g}",
        "refused" if finding.fell else "passed" if finding.patients else "not compared",
    )
    return f"| {' | '.join(cells)} |"


def _notes(verdict: Verdict) -> Iterator[str]:
    for finding in verdict.findings:
        if finding.bound is not None:
            yield (
                f"{finding.name}: the lowest possible difference is that "
                f"{_plain(how_bound(finding, verdict.rules.confidence))}"
            )
        if finding.pairs.alarms:
            yield (
                f"{finding.name}: marked where there is none, and was not before, in "
                f"{_plain(', '.join(finding.pairs.alarms))}: counted as a fall from 1 to 0"
            )
        if finding.pairs.empty:
            count = len(finding.pairs.empty)
            yield f"{finding.name}: {count} cases without any, in truth and masks, not compared"
    if not verdict.findings:
        yield "no baseline: only the least Dice was asked for"
    if verdict.parity is None:
        yield "parity: not asked for"
    else:
        yield f"parity with torch: {', '.join(verdict.parity.forms)}"
    if verdict.slowdown is None:
        yield "latency: not compared, the two were not timed side by side"
    else:
        yield (
            f"latency: {verdict.slowdown:.2f} times the baseline's seconds for a scan, at most "
            f"{verdict.rules.max_slowdown:g}"
        )


def _losses(verdict: Verdict) -> Iterator[str]:
    lost = [
        (one, finding.name)
        for finding in verdict.findings
        for one in finding.pairs.compared
        if one.difference < 0
    ]
    for one, name in sorted(lost, key=lambda entry: entry[0].difference)[:LOSSES]:
        numbers = f"{one.baseline:.4f} | {one.candidate:.4f} | {one.difference:+.4f}"
        yield f"| {_plain(one.case)} | {name} | {numbers} |"


def _plain(text: str) -> str:
    """Text that no table takes for its own."""
    return text.replace("|", "\\|")
