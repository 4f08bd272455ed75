"""What a client is told of an error besides words."""

STATUSES = {
    "INVALID_ARGUMENT": "INVALID_ARG",
    "CANCELLED": "CANCELLED",
    "UNAVAILABLE": "UNAVAILABLE",
    "INTERNAL": "INTERNAL",
}
"""gRPC's status to Triton's name for it. In a stream an answer has none, so there the front door's
messages of errors begin with it: ``INVALID_ARGUMENT: case: affine must be ...``."""
