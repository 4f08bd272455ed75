"""A trained model at work."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from dyntransnet.cli.arguments import (
    REPOSITORY,
    Cases,
    ClientCert,
    ClientKey,
    ControlKeyFile,
    Out,
    Repository,
    ServersCa,
    Splits,
    address_of,
    existing,
)
from dyntransnet.contract import Modality
from dyntransnet.repository import MAX_BATCH_SIZE
from dyntransnet.runtimes.plan_file import Precision, Target

SERVER = "With a server"


def segment(
    scans: Annotated[
        list[Path],
        typer.Argument(help="Scans or folders of scans; folders or zips of DICOM series."),
    ],
    output: Annotated[
        Path, typer.Option(help="Mask file for one scan (.dcm: DICOM SEG), else a folder.")
    ],
    model: Annotated[Path | None, typer.Option(help="Model folder to run here instead.")] = None,
    precision: Annotated[
        str, typer.Option(help="With --model: fp32, bf16 or int8, as export.openvino made it.")
    ] = "fp32",
    report: Annotated[
        bool,
        typer.Option("--report", help="Write volumes and lesions too: JSON, with DICOM an SR."),
    ] = False,
    preview: Annotated[bool, typer.Option("--preview", help="Write a picture too.")] = False,
    fast: Annotated[bool, typer.Option("--fast", help="Fewer windows.")] = False,
    accurate: Annotated[
        bool, typer.Option("--accurate", help="More windows, mirrored where training did so.")
    ] = False,
    modality: Annotated[Modality, typer.Option(help="Of DICOM series: CT or MR.")] = "CT",
    again: Annotated[
        bool, typer.Option("--again", help="Do what is done, and replace masks that were changed.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object for each scan.")
    ] = False,
    url: Annotated[
        str, typer.Option(help="HOST:PORT; several with commas.", rich_help_panel=SERVER)
    ] = "127.0.0.1:8001",
    timeout_s: Annotated[
        float, typer.Option(help="Longest wait for one scan.", rich_help_panel=SERVER)
    ] = 120.0,
    parallel: Annotated[
        int, typer.Option(help="Most scans on their way at once.", min=1, rich_help_panel=SERVER)
    ] = 2,
    tls_ca: Annotated[
        Path | None, typer.Option(help="Certificates to trust (PEM).", rich_help_panel=SERVER)
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="Your certificate (PEM).", rich_help_panel=SERVER)
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(help="Its key (PEM).", rich_help_panel=SERVER)
    ] = None,
    metadata: Annotated[
        Path | None,
        typer.Option(help="File of lines NAME: VALUE to send along.", rich_help_panel=SERVER),
    ] = None,
    shared_memory: Annotated[
        bool,
        typer.Option("--shared-memory", help="To a server on this host.", rich_help_panel=SERVER),
    ] = False,
) -> None:
    """Label liver and tumors in scans, each on its own grid.

    In a folder, what is done is left alone, and a scan that fails does not stop the others.
    """
    from dyntransnet import batch, files
    from dyntransnet.cli import connecting, shown
    from dyntransnet.imaging.presets import Preset

    preset = Preset.of(fast=fast, accurate=accurate)
    jobs = files.plan_jobs(scans, output, report=report, preview=preview, modality=modality)
    connection = connecting.connection_of(
        ca=tls_ca, cert=tls_cert, key=tls_key, metadata=metadata, shared=shared_memory
    )
    with (
        shown.windows_of_one(len(jobs)) as listener,
        (
            files.here(model, precision, preset, listener=listener)
            if model
            else files.served(
                url, timeout_s=timeout_s, preset=preset, listener=listener, **connection
            )
        ) as segmenter,
    ):
        outcomes = batch.run_jobs(
            jobs,
            segmenter.ask,
            parallel=1 if model else parallel,
            records=batch.records_of(jobs, output, segmenter, again=again),
        )
        errors = shown.show(outcomes, len(jobs), as_json=as_json)
    if errors and len(jobs) == 1:
        raise errors[0]
    for error in errors:
        print(f"error: {error}", file=sys.stderr)
    if errors:
        raise typer.Exit(1)


def build_engine(
    model: Annotated[Path, typer.Argument(help="What export or publish wrote.", callback=existing)],
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


def serve(
    repository: Annotated[Path, typer.Argument(help="Triton's model repository.")] = REPOSITORY,
    grpc_port: Annotated[int, typer.Option(help="0: any free one.")] = 8001,
    http_port: Annotated[int, typer.Option(help="0: any free one.")] = 8000,
    metrics_port: Annotated[int, typer.Option(help="0: any free one.")] = 8002,
    tls_cert: Annotated[Path | None, typer.Option(help="The server's, PEM: gRPC with TLS.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Of --tls-cert.")] = None,
    tls_ca: Annotated[
        Path | None, typer.Option(help="Whose certificates clients must show: mutual TLS.")
    ] = None,
    control_key_file: ControlKeyFile = None,
) -> None:
    """Serve the published model on this machine until Ctrl-C."""
    from dyntransnet import server
    from dyntransnet.server.access import read_control_key, tls_of

    access = server.Access(tls_of(tls_cert, tls_key, tls_ca), read_control_key(control_key_file))
    ports = {"grpc_port": grpc_port, "http_port": http_port, "metrics_port": metrics_port}
    server.serve(repository, **ports, access=access)


def rollback(
    to: Annotated[str, typer.Option(help="HOST:PORT of the server.")] = "127.0.0.1:8001",
    out: Annotated[Path, typer.Option(help="Triton's model repository.")] = REPOSITORY,
    control_key_file: ControlKeyFile = None,
    tls_ca: ServersCa = None,
    tls_cert: ClientCert = None,
    tls_key: ClientKey = None,
) -> None:
    """Give a running server's traffic back to the version that had it before."""
    from dyntransnet.rollout import live

    live.rollback(existing(out), address_of(to, control_key_file, tls_ca, tls_cert, tls_key))


def demo(cases: Cases, splits: Splits, repository: Repository, out: Out) -> None:
    """Serve the published model and have a test scan segmented."""
    from dyntransnet import demo as whole_system

    whole_system.run(cases, splits, repository, out)
