"""Objects of the user's that an evaluation could disturb, each an animal of the zoo."""

from tests.faults.animals import data, modules, policies, training, trl
from tests.faults.animals.base import STEPS, TOKENIZER, ZOO, animal, policy, rows

__all__ = [
    "STEPS",
    "TOKENIZER",
    "ZOO",
    "animal",
    "data",
    "modules",
    "policies",
    "policy",
    "rows",
    "training",
    "trl",
]
