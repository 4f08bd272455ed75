"""Build a plan of a model folder, and prove what can be proved of it on this machine."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx

from dyntransnet.atomic import new_folder, sha256_of
from dyntransnet.contract import CONTRACT_FILE, ONNX_FILE, Contract
from dyntransnet.engines.builder import Options, build_plan, known_capabilities
from dyntransnet.engines.graphs import read_model
from dyntransnet.engines.norms import with_whole_norms
from dyntransnet.engines.precision import with_halves
from dyntransnet.engines.probes import Windows, check_agreement, predictor, windows_for
from dyntransnet.engines.ranges import too_wide
from dyntransnet.engines.rounding import with_roundings
from dyntransnet.errors import EngineError
from dyntransnet.runtimes.choice import load
from dyntransnet.runtimes.plan_file import (
    PLAN_FILE,
    WEIGHTS_FILE,
    Gpu,
    PlanRecord,
    Precision,
)
from dyntransnet.runtimes.signed import signed
from dyntransnet.runtimes.toolkits import find_gpu, gpu_for, load_toolkit


def run(
    model: Path, out: Path, *, precision: Precision, options: Options, cache: Path | None
) -> None:
    """Build a plan; nothing is written when it, or its graph, strays from the model.

    Args:
        model: folder that ``export`` or ``publish`` wrote.
        out: engine folder to write: model.plan and plan.json, the model and its contract.
        precision: of the heavy work.
        options: for the builder.
        cache: what ``preprocess`` wrote, for real windows; None takes made-up ones.

    Raises:
        EngineError: the toolkit or a GPU is missing, or the toolkit refuses the model.
        ModelError: the model folder is incomplete, damaged or does not fit its contract.
        ParityError: the graph in this precision, or the plan, gives other logits.
    """
    path, contract = signed(model)
    toolkit = load_toolkit(options.target)
    gpu, options = _place(toolkit, options)
    original, windows = read_model(path), windows_for(contract, cache)
    graph = graph_of(original, precision, windows)
    tested = with_roundings(graph)
    strayed = check_agreement(
        predictor(original), predictor(tested), windows, who=f"{path} in {precision}"
    )
    print(f"build-engine: {precision} graph within {strayed:.1e} of the model's logits (rms)")
    with new_folder(out) as folder:
        (folder / PLAN_FILE).write_bytes(build_plan(toolkit, graph, contract, options))
        (folder / WEIGHTS_FILE).write_bytes(graph.SerializeToString())
        _record(folder, contract, precision, options, toolkit.__version__, gpu).save(folder)
        if not options.stripped:
            (folder / WEIGHTS_FILE).unlink()
        for name in (ONNX_FILE, CONTRACT_FILE):
            shutil.copyfile(model / name, folder / name)
        if gpu is not None:
            _check_plan(folder, predictor(original), windows)
    _tell(out, gpu, options)


def graph_of(model: onnx.ModelProto, precision: Precision, windows: Windows) -> onnx.ModelProto:
    """What the toolkit is given: whole norms, and halves where they are safe.

    Args:
        model: as exported.
        precision: fp32 changes norms alone.
        windows: shown to the network, to find what is too large for fp16.
    """
    whole = with_whole_norms(model)
    if precision == "fp32":
        return whole
    wide = too_wide(whole, windows) if precision == "fp16" else set()
    if wide:
        print(f"build-engine: {len(wide)} tensors are too large for fp16 and stay in fp32")
    return with_halves(whole, precision, wide)


def _place(toolkit: Any, options: Options) -> tuple[Gpu | None, Options]:
    """Where the plan will run: on this GPU, or on those that RTX is told of."""
    named = options.compute_capabilities
    if options.target == "tensorrt":
        if named:
            raise EngineError(
                f"--compute-capability must be left to --target tensorrt-rtx: tensorrt builds "
                f"for the GPU it runs on, got {named[0]}"
            )
        gpu = gpu_for(options.target)
        return gpu, replace(options, compute_capabilities=(gpu.compute_capability,))
    if options.timing_cache or options.version_compatible or options.stripped:
        raise EngineError(
            "--timing-cache, --version-compatible and --stripped must be left to "
            "--target tensorrt, got one for tensorrt-rtx"
        )
    known = known_capabilities(toolkit)
    here = find_gpu() if not named else None
    wanted = named or ((here.compute_capability,) if here else ())
    if not wanted or not set(wanted) <= set(known):
        found = ", ".join(map(str, wanted)) or "none, and no GPU here"
        raise EngineError(
            f"--compute-capability must be among {', '.join(map(str, known))}, got {found}"
        )
    return None, replace(options, compute_capabilities=wanted)


def _record(
    folder: Path,
    contract: Contract,
    precision: Precision,
    options: Options,
    version: str,
    gpu: Gpu | None,
) -> PlanRecord:
    return PlanRecord(
        target=options.target,
        toolkit_version=version,
        gpu=gpu,
        compute_capabilities=options.compute_capabilities,
        precision=precision,
        batch=options.batch,
        version_compatible=options.version_compatible,
        stripped=options.stripped,
        onnx_sha256=contract.model_sha256,
        graph_sha256=sha256_of(folder / WEIGHTS_FILE),
        plan_sha256=sha256_of(folder / PLAN_FILE),
    )


def _check_plan(folder: Path, reference: Any, windows: Windows) -> None:
    predict, _ = load(folder, "tensorrt")
    strayed = check_agreement(reference, predict, windows, who=str(folder / PLAN_FILE))
    print(f"build-engine: plan within {strayed:.1e} of the model's logits (rms)")


def _tell(out: Path, gpu: Gpu | None, options: Options) -> None:
    place = gpu or f"compute capability {', '.join(map(str, options.compute_capabilities))}"
    run = "" if gpu else ", which has not been run: that needs such a GPU"
    print(f"build-engine: {out / PLAN_FILE} for {place}{run}")
