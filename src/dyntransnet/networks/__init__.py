"""Networks: windows in, logits out, each built by name from one registry."""
