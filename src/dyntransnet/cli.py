"""One short command per stage, then segment, score, serve and demo.

Only this module turns a package error into one line and exit code 1.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from dyntransnet import study
from dyntransnet.config import Params
from dyntransnet.errors import DynTransNetError, InputError
from dyntransnet.repository import MAX_BATCH_SIZE
from dyntransnet.runtimes.plan_file import Precision, Target
from dyntransnet.scoring.convention import Convention

app = typer.Typer(
    help=__doc__.splitlines()[0],
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _existing(path: Path) -> Path:
    if not path.exists():
        raise InputError(f"{path}: must exist (dvc repro makes it), got nothing there")
    return path


Source = Annotated[Path, typer.Argument(show_default=False, callback=_existing)]
Out = Annotated[Path, typer.Option(help="Where the result goes.", show_default=False)]
ReportFolder = Annotated[
    Path, typer.Option(help="Folder for the stage's report.", show_default=False)
]
PatientFile = Annotated[Path, typer.Option(help="What split wrote.", show_default=False)]
RunFile = Annotated[Path, typer.Option(help="run.json of the training.", show_default=False)]


@app.command()
def ingest(
    source: Source,
    out: Out,
    manifest: Out,
    problems: Annotated[Path | None, typer.Option(help="JSON file for all that is wrong.")] = None,
) -> None:
    """Take a dataset in: read, check, store one way."""
    from dyntransnet.stages import ingest as stage

    params = study.load().ingest
    stage.run(source, cases=out, manifest=manifest, problems=problems, params=params)


@app.command()
def split(manifest: Source, out: Out) -> None:
    """Choose by patient who trains, validates and tests."""
    from dyntransnet.stages import split as stage

    stage.run(manifest, out, study.load().split)


@app.command()
def preprocess(cases: Source, out: Out) -> None:
    """Bring every case to the grid the network sees."""
    from dyntransnet.stages import preprocess as stage

    stage.run(cases, out, study.load().preprocess)


@app.command()
def train(
    cache: Source,
    splits: Source,
    manifest: Source,
    out: Out,
    report: ReportFolder,
    resume: Out,
    variant: Annotated[str | None, typer.Option(help="Of a study's params.yaml.")] = None,
    seed: Annotated[int, typer.Option(help="With --variant.", min=0)] = 0,
    fold: Annotated[int, typer.Option(help="With --variant.", min=0)] = 0,
) -> None:
    """Train the network; every run is in MLflow. Under torchrun, on several processes."""
    from dyntransnet.stages import train as stage

    files = {"out": out, "report": report, "resume": resume}
    if variant is None:
        params = Params.load()
        stage.run(
            cache, splits, manifest, **files, network=params.network, params=params.train, study={}
        )
        return
    many = study.load_study()
    network, training = many.training(variant, seed=seed, fold=fold)
    tags = {"study": many.study, "variant": variant, "seed": str(seed), "fold": str(fold)}
    stage.run(cache, splits, manifest, **files, network=network, params=training, study=tags)


@app.command()
def evaluate(
    checkpoint: Source,
    cases: Source,
    splits: Source,
    training: Source,
    out: Out,
    fold: Annotated[
        int | None, typer.Option(help="Score this fold's validation cases, not the test cases.")
    ] = None,
    masks: Annotated[Path | None, typer.Option(help="Folder for the masks themselves.")] = None,
) -> None:
    """Segment held-out scans as serving would, and score them."""
    from dyntransnet.stages import evaluate as stage

    params = study.load().evaluate
    stage.run(checkpoint, cases, splits, training, out=out, params=params, fold=fold, masks=masks)


@app.command()
def export(
    checkpoint: Source,
    cache: Source,
    cases: Source,
    splits: Source,
    out: Out,
    report: ReportFolder,
) -> None:
    """Write ONNX and OpenVINO's own, and prove that each gives the same masks."""
    from dyntransnet.stages import export as stage

    files = {"out": out, "report": report}
    stage.run(checkpoint, cache, cases, splits, **files, params=Params.load().export)


@app.command()
def register(
    model: Source,
    evaluation: Source,
    parity: Source,
    cases: Source,
    patients: PatientFile,
    run: RunFile,
    out: Out,
) -> None:
    """Put the model into the registry; the gate decides who is champion."""
    from dyntransnet.stages import register as stage

    files = {"patients": patients, "run": run, "out": out}
    stage.run(model, evaluation, parity, cases, **files, params=Params.load().register_)


@app.command()
def publish(
    receipt: Source,
    out: Out,
    engine: Annotated[
        Path | None, typer.Option(help="What build-engine wrote, for publish.backend tensorrt.")
    ] = None,
) -> None:
    """Write the registry's champion into Triton's model repository."""
    from dyntransnet.stages import publish as stage

    stage.run(receipt, out, Params.load().publish, engine=engine)


@app.command()
def build_engine(
    model: Annotated[
        Path, typer.Argument(help="What export or publish wrote.", callback=_existing)
    ],
    out: Out,
    target: Annotated[Target, typer.Option(help="Whose plan it is.")] = "tensorrt",
    precision: Annotated[Precision, typer.Option(help="Of the heavy work.")] = "fp16",
    compute_capability: Annotated[
        list[int] | None, typer.Option(help="For tensorrt-rtx: 89 for 8.9; repeat for more.")
    ] = None,
    batch: Annotated[int, typer.Option(help="Most windows in one call.", min=1)] = MAX_BATCH_SIZE,
    cache: Annotated[
        Path | None, typer.Option(help="What preprocess wrote: real windows to check with.")
    ] = None,
    timing_cache: Annotated[
        Path | None, typer.Option(help="File of kernel timings to use and add to.")
    ] = None,
    version_compatible: Annotated[
        bool, typer.Option("--version-compatible", help="For later minor versions, too.")
    ] = False,
    stripped: Annotated[
        bool, typer.Option("--stripped", help="Without weights; loading puts them in.")
    ] = False,
) -> None:
    """Build a TensorRT plan: on the GPU that will serve, or anywhere for TensorRT for RTX."""
    from dyntransnet.engines import build
    from dyntransnet.engines.builder import Options

    options = Options(
        target=target,
        batch=batch,
        compute_capabilities=tuple(compute_capability or ()),
        version_compatible=version_compatible,
        stripped=stripped,
        timing_cache=timing_cache,
    )
    build.run(model, out, precision=precision, options=options, cache=cache)


@app.command()
def compare(
    runs: Source,
    splits: Annotated[Path, typer.Option(help="What split wrote.")],
    cases: Annotated[Path, typer.Option(help="What ingest wrote.")],
    out: Out,
) -> None:
    """Turn a study's trainings into tables, tests and figures."""
    from dyntransnet.stages import compare as stage

    stage.run(runs, splits=splits, cases=cases, out=out, params=study.load_study().compare)


@app.command()
def gate(
    baseline: Annotated[Path, typer.Argument(help="Evaluation to hold against, or its cases.csv.")],
    candidate: Annotated[Path, typer.Argument(help="Evaluation of the change, or its cases.csv.")],
    patients: Annotated[
        Path | None, typer.Option(help="JSON with each case's patient, as split writes it.")
    ] = None,
    parity: Annotated[
        Path | None, typer.Option(help="parity.json of the change, held to export's limits.")
    ] = None,
    models: Annotated[
        tuple[Path, Path] | None,
        typer.Option(help="Exported models of both, timed side by side.", metavar="OLD NEW"),
    ] = None,
    markdown: Annotated[Path | None, typer.Option(help="File for the table.")] = None,
) -> None:
    """Refuse a change that may have lowered Dice, by the rules of register."""
    from dyntransnet.scoring import gatekeeper
    from dyntransnet.scoring.gate import Rules
    from dyntransnet.scoring.parity import ParityLimits, read_parity

    params = Params.load()
    limits: dict[str, ParityLimits] = {
        name: ParityLimits(**limit.model_dump()) for name, limit in params.export.limits.items()
    }
    gatekeeper.run(
        baseline,
        candidate,
        Rules(**params.register_.model_dump(exclude={"model", "alias"})),
        patients=patients,
        parity=read_parity(parity, limits) if parity else None,
        slowdown=_slowdown(*models) if models else None,
        markdown=markdown,
    )


def _slowdown(baseline: Path, candidate: Path) -> float:
    from dyntransnet.runtimes.latency import slowdown

    return slowdown(baseline, candidate)


@app.command()
def regression(out: Out) -> None:
    """Train shortly on small phantoms, and score; for the gate."""
    from dyntransnet import regression as training

    training.run(out, Params.load())


@app.command()
def cases(source: Source) -> None:
    """List a dataset's cases, the patient of each, and where it lies; nothing is stored."""
    from dyntransnet.imaging.layouts import find_cases

    params = study.load().ingest
    for case in find_cases(source, params.layout, modality=params.modality):
        print(case.id, case.patient, case.origin, sep="\t")


@app.command()
def changes(
    old: Annotated[
        str,
        typer.Argument(help="A git revision, runs:/ID, models:/NAME@ALIAS, or a manifest's path."),
    ] = "HEAD",
    new: Annotated[
        str | None, typer.Argument(help="Likewise; without it, the manifest that lies here.")
    ] = None,
    manifest: Annotated[Path, typer.Option(help="What ingest writes.")] = Path(
        "data/manifest.json"
    ),
) -> None:
    """Say which cases differ between two versions of the dataset."""
    from dyntransnet import changes as versions

    for line in versions.run(old, new, manifest):
        print(line)


@app.command()
def phantoms(recipes: Source, out: Out) -> None:
    """Write synthetic scans with their masks, in LiTS layout."""
    from dyntransnet.imaging.phantom.recipes import read_recipes, write_phantoms

    write_phantoms(read_recipes(recipes), out)


@app.command()
def segment(
    scans: Annotated[list[Path], typer.Argument(help="Scans, or folders of scans.")],
    output: Annotated[Path, typer.Option(help="Mask file for one scan, else a folder.")],
    url: Annotated[str, typer.Option(help="Server to ask, HOST:PORT.")] = "127.0.0.1:8001",
    model: Annotated[Path | None, typer.Option(help="Model folder to run here instead.")] = None,
    precision: Annotated[
        str, typer.Option(help="With --model: fp32, bf16 or int8, as export.openvino made it.")
    ] = "fp32",
    report: Annotated[
        bool, typer.Option("--report", help="Write volumes and lesions too.")
    ] = False,
    preview: Annotated[bool, typer.Option("--preview", help="Write a picture too.")] = False,
    timeout_s: Annotated[float, typer.Option(help="Longest wait for one scan.")] = 120.0,
    fast: Annotated[bool, typer.Option("--fast", help="Fewer windows.")] = False,
    accurate: Annotated[
        bool, typer.Option("--accurate", help="More windows, mirrored where training did so.")
    ] = False,
) -> None:
    """Label liver and tumors in scans, each on its own grid."""
    from dyntransnet import files
    from dyntransnet.imaging.presets import Preset

    preset = Preset.of(fast=fast, accurate=accurate)
    jobs = files.plan_jobs(scans, output, report=report, preview=preview)
    with files.segmenter(
        url, model, precision=precision, timeout_s=timeout_s, preset=preset
    ) as segment_scan:
        for job, found in files.run_jobs(jobs, segment_scan):
            ml = {name: found.report[f"{name}_ml"] for name in ("liver", "tumor")}
            print(f"{job.mask}: liver {ml['liver']:.0f} ml, tumor {ml['tumor']:.1f} ml")


@app.command()
def score(
    truth: Annotated[Path, typer.Argument(help="Folder of reference masks, or one.")],
    predicted: Annotated[Path, typer.Argument(help="Folder of masks of the same names, or one.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for tables, their summary and report.html.")
    ] = None,
    convention: Annotated[
        Convention, typer.Option(help="Whose rules: this project's, or the LiTS challenge's.")
    ] = Convention.PROJECT,
    patients: Annotated[
        Path | None, typer.Option(help="JSON with each case's patient, as split writes it.")
    ] = None,
    nsd_liver_mm: Annotated[float, typer.Option(help="Of the surface Dice.", min=0)] = 3.0,
    nsd_tumor_mm: Annotated[float, typer.Option(help="Of the surface Dice.", min=0)] = 2.0,
) -> None:
    """Score masks of any tool against the truth."""
    from dyntransnet.scoring import scorecard

    nsd_mm = {"liver": nsd_liver_mm, "tumor": nsd_tumor_mm}
    scorecard.run(
        truth, predicted, out=out, convention=convention, patients=patients, nsd_mm=nsd_mm
    )


@app.command()
def recipe(name: Annotated[str, typer.Argument(help="A file of recipes/: base, tiny ...")]) -> None:
    """Write a recipe's settings into params.yaml."""
    from dyntransnet import recipes

    recipes.use(name)
    print(f"params.yaml: now as recipes/{name}.yaml says")


@app.command()
def plan(
    manifest: Annotated[
        Path,
        typer.Argument(
            help="What ingest wrote, or a model's fingerprint.json.", callback=_existing
        ),
    ],
    memory: Annotated[str, typer.Option(help="Of the device that trains, as 16GB.")],
    network: Annotated[str | None, typer.Option(help="Instead of params.yaml's.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Put it into params.yaml.")] = False,
) -> None:
    """Propose grid, values, patch and batch for a dataset and a memory budget."""
    from dyntransnet.plan import proposal

    for line in proposal.run(manifest, memory, network=network, write=write):
        print(line)


@app.command()
def networks(out: Out) -> None:
    """Write the table of all networks: parameters, cost, origin."""
    from dyntransnet.atomic import new_file
    from dyntransnet.learning.cost import document

    with new_file(out) as path:
        path.write_text(document())


@app.command()
def serve(
    repository: Annotated[Path, typer.Argument(help="Triton's model repository.")] = Path(
        "model_repository"
    ),
    grpc_port: Annotated[int, typer.Option(help="0: any free one.")] = 8001,
    http_port: Annotated[int, typer.Option(help="0: any free one.")] = 8000,
    metrics_port: Annotated[int, typer.Option(help="0: any free one.")] = 8002,
) -> None:
    """Serve the published model on this machine until Ctrl-C."""
    from dyntransnet import server

    server.serve(repository, grpc_port=grpc_port, http_port=http_port, metrics_port=metrics_port)


@app.command()
def demo(cases: Source, splits: Source, repository: Source, out: Out) -> None:
    """Serve the published model and have a test scan segmented."""
    from dyntransnet import demo as whole_system

    whole_system.run(cases, splits, repository, out)


def main() -> None:
    """Run a command; a package error becomes one line on stderr and exit code 1."""
    try:
        app()
    except DynTransNetError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
