"""Talking to servers of others: bounded in time and size, never past the host the user named.

`Client` is all that scorers and generators see. A server that hangs, drips, lies about its length, answers
with a web page, or sends the request elsewhere costs a bounded time and ends in one of two errors:
`Unavailable` (for now) or `BadReply` (it will not get better by itself).
"""

from rm_monitor.http.client import Client
from rm_monitor.http.failures import BadReply, HTTPFailure, Unavailable
from rm_monitor.http.limits import Clock, Limits
from rm_monitor.http.parallel import in_order

__all__ = ["BadReply", "Client", "Clock", "HTTPFailure", "Limits", "Unavailable", "in_order"]
