"""How patient a client is, and how soon it leaves a server alone."""

from dataclasses import dataclass, fields

from dyntransnet.errors import ServingError


@dataclass(frozen=True)
class Policy:
    """Retries and circuit breakers.

    Attributes:
        tries: most times one request is sent, over all servers.
        first_pause_s: longest pause before the second round of servers; it doubles with
            each round, and what is waited is drawn between 0 and that (full jitter).
        longest_pause_s: where doubling ends.
        spare_retries: retries that all calls of a client share, so that a server in
            trouble is not asked many times as often as one that is well.
        earned_retries: what each answer adds to them, up to ``spare_retries``.
        failures_to_open: so many failures of a server in a row open its circuit: it is
            asked nothing more.
        open_s: after that long it is asked whether it is ready, and used again if it is.
        probe_s: longest wait for that.
        patience_s: how long calls wait for servers that had answered and then went away,
            within their own deadlines; a server that never answered is not waited for.
    """

    tries: int = 8
    first_pause_s: float = 0.25
    longest_pause_s: float = 8.0
    spare_retries: int = 20
    earned_retries: float = 0.5
    failures_to_open: int = 3
    open_s: float = 5.0
    probe_s: float = 2.0
    patience_s: float = 30.0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ServingError: one is out of range.
        """
        for field in fields(self):
            value, least = getattr(self, field.name), LEAST.get(field.name, 0)
            if not least <= value < float("inf"):
                raise ServingError(f"policy: {field.name} must be at least {least}, got {value}")


LEAST = {"tries": 1, "failures_to_open": 1, "open_s": 0.01, "probe_s": 0.01}
"""Of the others 0."""
