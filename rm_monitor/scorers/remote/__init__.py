"""Reward models behind a server: one scorer, a small codec for each kind of server.

The URL says where, a codec says how that server is asked, `render` says who turns a conversation into
tokens (we do, whenever the reward model's tokenizer is given), and `canaries` notice that the server hides
its scores behind a sigmoid or has another model than before.
"""

from rm_monitor.scorers.remote.load import load_remote
from rm_monitor.scorers.remote.scorer import RemoteScorer

__all__ = ["RemoteScorer", "load_remote"]
