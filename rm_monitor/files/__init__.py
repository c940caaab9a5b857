"""Files of ours: replaced whole or not at all, JSON lines with a checksum, one writer a folder."""

from rm_monitor.files.atomic import remove, replace, settle, sync

__all__ = ["remove", "replace", "settle", "sync"]
