"""Compare two evaluations, say the verdict, and refuse what breaks a rule."""

from pathlib import Path

from dyntransnet.atomic import new_file
from dyntransnet.errors import InputError, ParamsError, QualityGateError
from dyntransnet.scoring import verdict as words
from dyntransnet.scoring.gate import Rules, Verdict, judge
from dyntransnet.scoring.pairing import read_evaluation
from dyntransnet.scoring.parity import Parity
from dyntransnet.scoring.records import read_patients


def run(
    baseline: Path,
    candidate: Path,
    rules: Rules,
    *,
    patients: Path | None = None,
    parity: Parity | None = None,
    slowdown: float | None = None,
    markdown: Path | None = None,
) -> None:
    """Hold one evaluation against another; print a table and a line.

    Args:
        baseline: what ``evaluate`` or ``score`` wrote of the model to be replaced: the
            folder, or its cases.csv.
        candidate: the same of the new model.
        rules: what it must keep.
        patients: JSON with each case's patient, as ``split`` writes it; None takes each
            case for a patient of its own.
        parity: of the exported candidate.
        slowdown: seconds for a scan over the baseline's.
        markdown: file for the table, also of a refusal.

    Raises:
        InputError: the two cannot be compared.
        ParamsError: a case has no patient.
        QualityGateError: the candidate is refused.
    """
    try:
        verdict = _judged(baseline, candidate, rules, patients, parity, slowdown)
    except (InputError, ParamsError) as error:
        _write(words.not_comparable(str(error)), markdown)
        raise
    text = words.table(verdict)
    _write(text, markdown)
    print(text)
    if not verdict.passed:
        raise QualityGateError(f"gate: {words.line(verdict)}")
    print(f"gate: {words.line(verdict)}")


def _judged(
    baseline: Path,
    candidate: Path,
    rules: Rules,
    patients: Path | None,
    parity: Parity | None,
    slowdown: float | None,
) -> Verdict:
    before, after = read_evaluation(baseline), read_evaluation(candidate)
    patient_of = read_patients(patients, after.scores) if patients else None
    return judge(before, after, rules, patient_of=patient_of, parity=parity, slowdown=slowdown)


def _write(text: str, markdown: Path | None) -> None:
    if markdown is not None:
        with new_file(markdown) as path:
            path.write_text(text)
