"""TensorRT as far as this package calls it, computing with ONNX Runtime on the CPU.

What it stands in for is the shape of the API: names and enum values are those of the real bindings
(tensorrt_api.json), and memory is read and written at the addresses that it is given. It knows
nothing of kernels, GPUs or what the real builder accepts.
"""

import ctypes
import json
from enum import IntEnum
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime

from dyntransnet.engines.rounding import with_roundings
from dyntransnet.runtimes.plan_file import Gpu

API = json.loads((Path(__file__).parent / "tensorrt_api.json").read_text())
VERSIONS = [version for version in API if version != "made_by"]
L4 = Gpu(name="NVIDIA L4", compute_capability=89, driver="580.12")
MAGIC = b"fake plan\n"


class HostMemory(bytes):
    """What the real one gives through the buffer protocol."""

    @property
    def nbytes(self) -> int:
        return len(self)


class Profile:
    def set_shape(self, input, min, opt, max):  # noqa: A002  # the real names
        if not all(low <= mid <= high for low, mid, high in zip(min, opt, max, strict=True)):
            raise ValueError("shapes must rise")
        self._range = input, tuple(min), tuple(max)


class TimingCache:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def serialize(self) -> HostMemory:
        return HostMemory(self._content + b"timed\n")


class BuilderConfig:
    def __init__(self, flags) -> None:
        self._set = {flags.TF32}
        self._profiles = []
        self._cache = None

    def set_flag(self, flag) -> None:
        self._set.add(flag)

    def clear_flag(self, flag) -> None:
        self._set.discard(flag)

    def add_optimization_profile(self, profile: Profile) -> int:
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> TimingCache:
        return TimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
        self._cache = cache
        return ignore_mismatch or not cache._content.startswith(b"other GPU")


class Network:
    def __init__(self, flags: int) -> None:
        self._flags = flags
        self._model = None


class OnnxParser:
    def __init__(self, network: Network, logger) -> None:
        self._network, self._errors = network, []

    def parse(self, model: bytes) -> bool:
        try:
            self._network._model = onnx.load_from_string(model)
            onnx.checker.check_model(self._network._model, full_check=True)
        except Exception as error:  # noqa: BLE001  # whatever the checker finds
            self._errors.append(str(error))
        return not self._errors

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int):
        return SimpleNamespace(desc=lambda: self._errors[index], node_operator=lambda: "Some")


class Context:
    def __init__(self, engine) -> None:
        self._engine, self._at = engine, {}
        self._shape = ()

    def set_input_shape(self, name: str, shape: tuple) -> bool:
        expected, least, most = self._engine._range
        self._shape = shape
        return name == expected and all(
            low <= edge <= high for low, edge, high in zip(least, shape, most, strict=True)
        )

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._at[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        session = onnxruntime.InferenceSession(
            with_roundings(self._engine._model).SerializeToString(),
            providers=["CPUExecutionProvider"],
        )
        given, asked = session.get_inputs()[0].name, session.get_outputs()[0].name
        size = int(np.prod(self._shape))
        values = np.ctypeslib.as_array((ctypes.c_float * size).from_address(self._at[given]))
        (logits,) = session.run([asked], {given: values.reshape(self._shape)})
        ctypes.memmove(self._at[asked], np.ascontiguousarray(logits).ctypes.data, logits.nbytes)
        return True


class Engine:
    def __init__(self, model: onnx.ModelProto, shapes) -> None:
        self._model, self._range = model, shapes

    def create_execution_context(self) -> Context:
        return Context(self)


class Refitter:
    def __init__(self, engine: Engine, logger) -> None:
        self._engine, self._weights = engine, []

    def refit_cuda_engine(self) -> bool:
        self._engine._model.graph.initializer.extend(self._weights)
        return True


class OnnxParserRefitter:
    def __init__(self, refitter: Refitter, logger) -> None:
        self._refitter = refitter

    def refit_from_file(self, model: str) -> bool:
        self._refitter._weights = onnx.load(model).graph.initializer
        return True


class Runtime:
    def __init__(self, logger) -> None:
        self._logger = logger
        self.engine_host_code_allowed = False

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Engine | None:
        head, _, model = serialized_engine.removeprefix(MAGIC).partition(b"\n")
        known = json.loads(head)
        if known["compatible"] and not self.engine_host_code_allowed:
            self._logger.log(self._logger.Severity.ERROR, "host code\n is not allowed")
            return None
        return Engine(onnx.load_from_string(model), known["range"])


def fake_tensorrt(version: str) -> SimpleNamespace:
    """The module ``tensorrt`` of a version of ``VERSIONS``."""
    known = API[version]
    flags = IntEnum("BuilderFlag", known["enums"]["BuilderFlag"])
    creation = IntEnum("NetworkDefinitionCreationFlag", known["enums"][
        "NetworkDefinitionCreationFlag"])  # fmt: skip

    class ILogger:
        Severity = IntEnum("Severity", known["severity"])

        def log(self, severity, msg) -> None:
            raise NotImplementedError

    class Builder:
        def __init__(self, logger) -> None:
            self._logger = logger

        def create_network(self, flags: int = 0) -> Network:
            return Network(flags)

        def create_builder_config(self) -> BuilderConfig:
            return BuilderConfig(flags)

        def create_optimization_profile(self) -> Profile:
            return Profile()

        def build_serialized_network(self, network, config) -> HostMemory | None:
            toolkit.built.append((network, config))
            if network._flags != 1 << creation.STRONGLY_TYPED or not config._profiles:
                self._logger.log(self._logger.Severity.ERROR, "no strong types,\n or no profile")
                return None
            model = onnx.ModelProto()
            model.CopyFrom(network._model)
            if flags.STRIP_PLAN in config._set:
                del model.graph.initializer[:]
            head = {
                "compatible": flags.VERSION_COMPATIBLE in config._set,
                "range": config._profiles[0]._range,
            }
            return HostMemory(MAGIC + json.dumps(head).encode() + b"\n" + model.SerializeToString())

    toolkit = SimpleNamespace(
        __version__=version,
        built=[],
        Builder=Builder,
        BuilderFlag=flags,
        IBuilderConfig=BuilderConfig,
        ICudaEngine=Engine,
        IExecutionContext=Context,
        IHostMemory=HostMemory,
        ILogger=ILogger,
        INetworkDefinition=Network,
        IOptimizationProfile=Profile,
        ITimingCache=TimingCache,
        NetworkDefinitionCreationFlag=creation,
        OnnxParser=OnnxParser,
        OnnxParserRefitter=OnnxParserRefitter,
        Refitter=Refitter,
        Runtime=Runtime,
    )
    return toolkit
