"""Triton on this machine, from the nvidia-pytriton wheel."""

from dyntransnet.server.access import Access, Tls
from dyntransnet.server.foreground import serve
from dyntransnet.server.triton import SHARED_MEMORY, TritonServer

__all__ = ["SHARED_MEMORY", "Access", "Tls", "TritonServer", "serve"]
