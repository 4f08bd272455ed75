"""Which of the package's files a module needs, read from its import statements."""

import ast
from pathlib import Path

import dyntransnet

PACKAGE = Path(dyntransnet.__file__).parent


def needed_files(module: Path) -> set[Path]:
    """The module and everything it imports from the package, at any depth."""
    found, waiting = set(), [module]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting.extend(_imported(path))
    return found


def _imported(path: Path) -> list[Path]:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [path for name in names if (path := _file_of(name))]


def _file_of(name: str) -> Path | None:
    parts = name.split(".")
    if parts[0] != "dyntransnet":
        return None
    path = PACKAGE.joinpath(*parts[1:])
    found = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in found if len(parts) > 1 and file.is_file()), None)
