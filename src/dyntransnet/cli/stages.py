"""The pipeline, one command for each stage of dvc.yaml."""

from pathlib import Path
from typing import Annotated

import typer

from dyntransnet import study
from dyntransnet.cli.arguments import (
    REPOSITORY,
    Cache,
    Cases,
    CasesFolder,
    Checkpoint,
    ClientCert,
    ClientKey,
    ControlKeyFile,
    Dataset,
    Evaluation,
    Manifest,
    ManifestOut,
    Model,
    Out,
    Parity,
    ReportFolder,
    ResumeFolder,
    RunFile,
    Runs,
    ServersCa,
    Splits,
    SplitsFile,
    Training,
    address_of,
    existing,
    given,
)
from dyntransnet.config import Params


def ingest(
    source: Dataset,
    out: Out,
    manifest: ManifestOut,
    problems: Annotated[Path | None, typer.Option(help="JSON file for all that is wrong.")] = None,
) -> None:
    """Take a dataset in: read, check, store one way."""
    from dyntransnet.stages import ingest as stage

    params = study.load().ingest
    stage.run(source, cases=out, manifest=manifest, problems=problems, params=params)


def split(manifest: Manifest, out: Out) -> None:
    """Choose by patient who trains, validates and tests."""
    from dyntransnet.stages import split as stage

    stage.run(manifest, out, study.load().split)


def preprocess(cases: Cases, out: Out) -> None:
    """Bring every case to the grid the network sees."""
    from dyntransnet.stages import preprocess as stage

    stage.run(cases, out, study.load().preprocess)


def train(
    cache: Cache,
    splits: Splits,
    manifest: Manifest,
    out: Out,
    report: ReportFolder,
    resume: ResumeFolder,
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


def evaluate(
    checkpoint: Checkpoint,
    cases: Cases,
    splits: Splits,
    training: Training,
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


def export(
    checkpoint: Checkpoint,
    cache: Cache,
    cases: Cases,
    splits: Splits,
    out: Out,
    report: ReportFolder,
) -> None:
    """Write ONNX and OpenVINO's own, and prove that each gives the same masks."""
    from dyntransnet.stages import export as stage

    files = {"out": out, "report": report}
    stage.run(checkpoint, cache, cases, splits, **files, params=Params.load().export)


def register(
    model: Model,
    evaluation: Evaluation,
    parity: Parity,
    cases: Cases,
    patients: SplitsFile,
    run: RunFile,
    out: Out,
) -> None:
    """Put the model into the registry; the gate decides who is champion."""
    from dyntransnet.stages import register as stage

    files = {"patients": patients, "run": run, "out": out}
    stage.run(model, evaluation, parity, cases, **files, params=Params.load().register_)


def publish(
    receipt: Annotated[
        Path | None, typer.Argument(help="What register wrote; not needed with --to.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Triton's model repository.")] = REPOSITORY,
    engine: Annotated[
        Path | None, typer.Option(help="What build-engine wrote, for publish.backend tensorrt.")
    ] = None,
    to: Annotated[
        str | None, typer.Option(help="HOST:PORT of a server that runs on it: swap without a gap.")
    ] = None,
    alias: Annotated[str | None, typer.Option(help="With --to, instead of params.yaml's.")] = None,
    control_key_file: ControlKeyFile = None,
    tls_ca: ServersCa = None,
    tls_cert: ClientCert = None,
    tls_key: ClientKey = None,
) -> None:
    """Write the registry's champion into Triton's model repository, or swap it in."""
    params = Params.load()
    if to is None:
        from dyntransnet.stages import publish as stage

        stage.run(existing(given(receipt)), out, params.publish, engine=engine)
        return
    from dyntransnet.rollout import live

    live.publish(
        params.register_.model,
        alias or params.register_.alias,
        repository=existing(out),
        address=address_of(to, control_key_file, tls_ca, tls_cert, tls_key),
        params=params.publish,
        min_dice=params.export.limits[params.publish.precision].min_dice,
        engine=engine,
    )


def compare(
    runs: Runs,
    splits: SplitsFile,
    cases: CasesFolder,
    out: Out,
) -> None:
    """Turn a study's trainings into tables, tests and figures."""
    from dyntransnet.stages import compare as stage

    stage.run(runs, splits=splits, cases=cases, out=out, params=study.load_study().compare)
