"""What a curve says: degraded or not, and what is seen beside its headline."""

from rm_monitor.verdict.alarm import judge

__all__ = ["judge"]
