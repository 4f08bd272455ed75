"""What a person sees of a running training."""

from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

from dyntransnet.learning.checkpoint import Progress


def progress_bar(progress: Progress, *, visible: bool) -> tuple[ProgressBar, TaskID]:
    """A bar that starts where the run does; only the leading process shows it."""
    bar = ProgressBar(
        TextColumn("train"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[shown]}"),
        TimeRemainingColumn(),
        disable=not visible,
    )
    return bar, bar.add_task("train", total=progress.steps, completed=progress.step, shown="")


def latest(progress: Progress) -> str:
    """The newest loss and validation scores."""
    loss = f"loss {progress.losses[-1]['loss']:.3f}" if progress.losses else ""
    scores = progress.scores[-1] if progress.scores else {}
    shown = [
        f"{name.removeprefix('dice_')} {v:.3f}" for name, v in scores.items() if name != "step"
    ]
    return "  ".join([loss, *(["Dice " + " ".join(shown)] if shown else [])])


def line(progress: Progress) -> str:
    """The same as a line that stays."""
    return f"train: step {progress.step} of {progress.steps}  {latest(progress)}"
