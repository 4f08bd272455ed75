"""Liver and liver-tumor segmentation, from a scan to a served mask."""
