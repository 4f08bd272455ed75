"""Triton inside the nvidia-pytriton wheel: what it needs to start."""

import os
import shutil
import sys
import sysconfig
from ctypes.util import find_library
from importlib.util import find_spec
from pathlib import Path

from dyntransnet.errors import ServingError

BINARY = "tritonserver"


def find_wheel() -> Path:
    """The folder of the pytriton package, found without importing it."""
    spec = find_spec("pytriton")
    if spec is None or not spec.submodule_search_locations:
        raise ServingError(
            "nvidia-pytriton must be installed (pip install 'dyntransnet[server]'), got none"
        )
    return Path(spec.submodule_search_locations[0])


def check_libpython() -> None:
    """The Python backend is linked to the interpreter's shared library; some have none."""
    version = sysconfig.get_python_version()
    library = Path(str(sysconfig.get_config_var("LIBDIR"))) / f"libpython{version}.so.1.0"
    if not library.exists() and find_library(f"python{version}") is None:
        raise ServingError(
            f"{library.name} must be installed (Debian: apt install libpython{version}), got none"
        )


def assemble(wheel: Path, work: Path) -> None:
    """Lay out the server and its Python backend as it looks for it."""
    triton, version = wheel / "tritonserver", sysconfig.get_python_version()
    backend = work / "backends" / "python"
    shutil.copytree(triton / "backends" / "python", backend)
    stub = backend / "triton_python_backend_stub"
    shutil.copyfile(triton / "python_backend_stubs" / version / stub.name, stub)
    shutil.copyfile(triton / "bin" / BINARY, work / BINARY)
    # Not every installer keeps a wheel's executable bits.
    for path in (stub, work / BINARY):
        path.chmod(0o700)


def environment_of(wheel: Path) -> dict[str, str]:
    """This process's environment, with the server's libraries and this interpreter first."""
    environment = dict(os.environ)
    libraries = (wheel.parent / "nvidia_pytriton.libs", sysconfig.get_config_var("LIBDIR"))
    # The backend takes its packages from the first `python` on PATH.
    for name, folders in {
        "LD_LIBRARY_PATH": libraries,
        "PATH": [Path(sys.executable).parent],
    }.items():
        parts = [*map(str, folders), environment.get(name)]
        environment[name] = os.pathsep.join(filter(None, parts))
    return environment
