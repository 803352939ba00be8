"""Exit codes of the commands, as the documentation lists them."""

from mt_pipeline.system.interrupts import CANCELLED

FAILED = 1
WRONG_USAGE = 2

__all__ = ["CANCELLED", "FAILED", "WRONG_USAGE"]
