"""An ONNX graph through TensorRT's builder; the same calls for TensorRT 10, 11 and RTX."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from dyntransnet.atomic import new_file
from dyntransnet.contract import Contract
from dyntransnet.errors import EngineError
from dyntransnet.runtimes.plan_file import Target
from dyntransnet.runtimes.toolkits import listener, said


@dataclass(frozen=True)
class Options:
    """How a plan is built.

    Attributes:
        target: the toolkit.
        batch: most windows in one call; kernels are chosen for as many.
        compute_capabilities: GPUs that TensorRT for RTX builds for; TensorRT builds for the
            one it is run on.
        version_compatible: whether later versions of the same major version may run it.
        stripped: whether weights are left out, and put in when it is loaded.
        timing_cache: file of kernel timings to start from and to add to, of TensorRT alone.
    """

    target: Target
    batch: int
    compute_capabilities: tuple[int, ...] = ()
    version_compatible: bool = False
    stripped: bool = False
    timing_cache: Path | None = None


def build_plan(toolkit: Any, model: onnx.ModelProto, contract: Contract, options: Options) -> bytes:
    """Parse a graph and build a plan of it.

    Args:
        toolkit: the Python module of ``options.target``.
        model: its types are those that the plan computes in.
        contract: names and sizes of the tensors.
        options: what else the builder is told.

    Raises:
        EngineError: the toolkit cannot parse or build the graph, or does not know a GPU.
    """
    log = listener(toolkit)
    builder = toolkit.Builder(log)
    # Strong types: without them, TensorRT 10 would choose precisions of its own.
    strong = 1 << int(toolkit.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(strong)
    parser = toolkit.OnnxParser(network, log)
    if not parser.parse(model.SerializeToString()):
        raise EngineError(f"{options.target} must parse the model, got {_refusal(parser)}")
    config = _configured(toolkit, builder, contract, options)
    cache = _timings(config, options.timing_cache)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(f"{options.target} must build the model, got {said(log)}")
    if options.timing_cache is not None:
        with new_file(options.timing_cache) as path:
            path.write_bytes(bytes(cache.serialize()))
    return bytes(plan)


def known_capabilities(toolkit: Any) -> tuple[int, ...]:
    """The GPUs that TensorRT for RTX can build for, 89 for compute capability 8.9."""
    names = toolkit.ComputeCapability.__members__
    return tuple(int(name[2:]) for name in names if name.startswith("SM"))


def _refusal(parser: Any) -> str:
    """What a parser has against a model, on one line."""
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    found = [f"{error.node_operator()}: {error.desc()}" for error in errors]
    return " ".join("; ".join(found).split())[:300] or "no reason"


def _configured(toolkit: Any, builder: Any, contract: Contract, options: Options) -> Any:
    config, flags = builder.create_builder_config(), toolkit.BuilderFlag
    # TF32 keeps 10 of 23 bits: fp32 is meant where a graph says fp32.
    config.clear_flag(flags.TF32)
    if options.version_compatible:
        config.set_flag(flags.VERSION_COMPATIBLE)
    if options.stripped:
        config.set_flag(flags.STRIP_PLAN)
        config.set_flag(flags.REFIT_IDENTICAL)
    if options.target == "tensorrt-rtx":
        config.num_compute_capabilities = len(options.compute_capabilities)
        for index, capability in enumerate(options.compute_capabilities):
            named = getattr(toolkit.ComputeCapability, f"SM{capability}")
            config.set_compute_capability(named, index)
    profile = builder.create_optimization_profile()
    window, most = (1, *contract.patch_size), options.batch
    profile.set_shape(contract.input_name, (1, *window), (most, *window), (most, *window))
    config.add_optimization_profile(profile)
    return config


def _timings(config: Any, path: Path | None) -> Any:
    """Give a builder the timings of earlier builds on this kind of GPU."""
    if path is None:
        return None
    cache = config.create_timing_cache(path.read_bytes() if path.is_file() else b"")
    if cache is None or not config.set_timing_cache(cache, False):  # False: no other GPU's
        raise EngineError(f"{path}: must be a timing cache of this GPU and version, got another")
    return cache
