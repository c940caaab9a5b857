"""Errors that users may catch.

::

    RMMonitorError                 anything this package raises on purpose, apart from wrong arguments
    |-- ScorerError                a reward model cannot be used, or did not give usable scores
    |   `-- ScorerUnavailable      ... for now: a server is down or slow; the evaluation is skipped
    |-- GenerationError            the checkpoint could not answer the prompts
    |-- StoreError                 a file of ours cannot be used
    |   `-- StoreLockedError       ... because another run is writing there
    |       `-- StoreBusyError     ... or was, a moment ago, on another machine: ask again
    |-- NotFoundError              what was asked for is not there: a run, a step, a best checkpoint
    |-- FirstEvaluationError       the first evaluation of a run failed: refused before anything is lost
    |-- TemplateError              a chat template does not end, or eats the memory: it is rendered nowhere
    |-- RanksLostError             another process of the run did not come to agree; monitoring ends
    `-- UnsupportedSetupError      the distributed set-up cannot be served safely; the message has the way out

Wrong arguments raise ``ValueError`` or ``TypeError`` where they are given: the message names the
argument, the rule, the value that was got, and the way out.
"""

__all__ = [
    "FirstEvaluationError",
    "GenerationError",
    "NotFoundError",
    "RMMonitorError",
    "RanksLostError",
    "ScorerError",
    "ScorerUnavailable",
    "StoreBusyError",
    "StoreError",
    "StoreLockedError",
    "TemplateError",
    "UnsupportedSetupError",
    "is_out_of_memory",
]


class RMMonitorError(Exception):
    """Base of everything this package raises on purpose, apart from wrong arguments."""


class ScorerError(RMMonitorError):
    """A reward model cannot be used, or did not give usable scores."""


class ScorerUnavailable(ScorerError):
    """A remote scorer is down or slow; the evaluation is skipped and the curve has a gap."""


class GenerationError(RMMonitorError):
    """The checkpoint could not answer the prompts."""


class StoreError(RMMonitorError):
    """A file of ours cannot be used."""


class StoreLockedError(StoreError):
    """Another run is writing to the same directory."""


class StoreBusyError(StoreLockedError):
    """Another run, on another machine, was writing to the same directory a moment ago and may be gone.

    Args:
        said: What is known.
        again: Seconds after which it can be told.
    """

    def __init__(self, said: str, *, again: float) -> None:
        super().__init__(said)
        self.again = again


class NotFoundError(RMMonitorError):
    """What was asked for is not there: a run, a step, a best checkpoint. The command line exits 1."""


class TemplateError(RMMonitorError):
    """A chat template does not end, or needs memory without bounds: it is rendered nowhere."""


class RanksLostError(RMMonitorError):
    """Another process of the run did not come to agree: it died, or is stuck. Monitoring ends."""


class UnsupportedSetupError(RMMonitorError):
    """This distributed set-up cannot be served safely; the message has the way out."""


_OUT_OF_MEMORY = (
    "can't allocate memory",  # a CPU
    "out of memory",  # CUDA, ROCm, XPU, NPU, MPS and NCCL outside torch's allocator
    "STATUS_ALLOC_FAILED",  # cuBLAS, cuDNN, cuSOLVER
)


class FirstEvaluationError(RMMonitorError):
    """The first evaluation of a run failed: nothing is lost yet, and nothing would be seen later."""


def is_out_of_memory(problem: BaseException) -> bool:
    """Whether a smaller batch may help: torch's own error, and how libraries and other devices say the same.

    Example:
        >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("shapes do not match"))
        (True, False)
    """
    if isinstance(problem, MemoryError) or type(problem).__name__ == "OutOfMemoryError":
        return True
    return isinstance(problem, RuntimeError) and any(said in str(problem) for said in _OUT_OF_MEMORY)
