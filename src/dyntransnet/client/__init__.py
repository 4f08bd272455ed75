"""A scan in, its mask and report out, over Triton's gRPC: blocking, or with asyncio.

Needs the extra ``client`` and neither torch nor MONAI; tritonclient is imported at the
first connection.
"""

from dyntransnet.client.aio import AsyncSegmentationClient
from dyntransnet.client.channel import Tls
from dyntransnet.client.policy import Policy
from dyntransnet.client.progress import Phase, Progress
from dyntransnet.client.sync import SegmentationClient

__all__ = [
    "AsyncSegmentationClient",
    "Phase",
    "Policy",
    "Progress",
    "SegmentationClient",
    "Tls",
]
