"""Every error this package raises on purpose.

DynTransNetError
├── ParamsError        params.yaml breaks a rule
├── InputError         a file that a command reads is not there
├── ScanError          a scan or mask cannot be used
│   └── DatasetError   some cases of a dataset cannot be used; all are listed
├── OutputError        a result cannot be written where it was asked for
├── WorkerError        a process that shared the work was killed
├── ModelError         a model folder is incomplete, damaged or does not fit
├── TrainingError      a training cannot go on; what it had learned is kept
├── QualityGateError   a model is not good enough to register
├── ParityError        an exported model disagrees with its source
└── ServingError       the server refused, failed or was late
    ├── UnreachableError   no server is there, or the connection to it broke
    ├── BusyError          its queue is full
    ├── NotReadyError      it is there without its models
    ├── DeadlineError      it did not answer in time
    └── RefusedError       it, or the client before it, does not take the request

A message names who, the rule and the value found: "must …, got …". The command
line prints it as it is and exits with code 1; any other exception is a bug.
"""

from collections.abc import Sequence


class DynTransNetError(Exception):
    """The root: catch this to catch everything below."""


class ParamsError(DynTransNetError):
    """params.yaml breaks a rule."""


class InputError(DynTransNetError):
    """A file that a command reads is not there."""


class ScanError(DynTransNetError):
    """A scan or mask cannot be used.

    Args:
        message: who, the rule and the value found.
        code: the rule's name, a key of ``imaging.checks.problems.RULES``.
    """

    def __init__(self, message: str, *, code: str = "unusable") -> None:
        super().__init__(message)
        self.code = code


class DatasetError(ScanError):
    """Some cases of a dataset cannot be used.

    Args:
        source: the dataset's folder or file.
        problems: one line for each problem, each naming its case.
        advice: lines on what to do.
        code: of the rule that all of them break, where it is one.
    """

    def __init__(
        self,
        source: object,
        problems: Sequence[str],
        advice: Sequence[str] = (),
        *,
        code: str = "unusable",
    ) -> None:
        self.problems = tuple(problems)
        lines = "".join(f"\n  {line}" for line in (*problems, *advice))
        said = f"{source}: {len(problems)} problem(s) found, nothing was written{lines}"
        super().__init__(said, code=code)


class OutputError(DynTransNetError):
    """A result cannot be written where it was asked for."""


class WorkerError(DynTransNetError):
    """A process that shared the work was killed."""


class ModelError(DynTransNetError):
    """A model folder is incomplete, damaged or does not fit."""


class EngineError(ModelError):
    """A plan cannot be built here, or was built for another model, GPU or toolkit."""


class TrainingError(DynTransNetError):
    """A training cannot go on; what it had learned is kept."""


class QualityGateError(DynTransNetError):
    """A model is not good enough to register."""


class ParityError(DynTransNetError):
    """An exported model disagrees with its source."""


class ServingError(DynTransNetError):
    """The server refused, failed or was late.

    Args:
        message: who, the rule and the value found.
        request_id: of the request at fault, as the server's log has it; empty where
            none was made.
    """

    def __init__(self, message: str, *, request_id: str = "") -> None:
        super().__init__(message)
        self.request_id = request_id


class UnreachableError(ServingError):
    """No server is there, or the connection to it broke."""


class BusyError(ServingError):
    """The server's queue is full."""


class NotReadyError(ServingError):
    """The server is there without its models."""


class DeadlineError(ServingError):
    """The server did not answer in time."""


class RefusedError(ServingError):
    """The server, or the client before it, does not take the request."""
