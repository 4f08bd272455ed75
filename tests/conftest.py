"""Every test runs with the package's shape annotations checked."""

from jaxtyping import install_import_hook

install_import_hook("dyntransnet", "beartype.beartype")
