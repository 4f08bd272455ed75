"""Triton's model repository: model names, tensor names and config.pbtxt.

The client, the Python backends and ``publish`` all take them from here.
"""

NETWORK = "dyntransnet"
"""Windows to logits; its backend is chosen when it is published."""

FRONT_DOOR = "liver_segmentation"
"""A whole scan to mask and report; calls ``NETWORK``."""
