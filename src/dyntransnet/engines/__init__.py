"""Plans of TensorRT and TensorRT for RTX, built from a model folder."""
