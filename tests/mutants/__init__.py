"""Lines of ours that are broken one at a time: ``python -m tests.mutants [words] [--part 1/6]``."""

from pathlib import Path

from tests.mutants import of_files, of_records, of_training
from tests.mutants.mutant import Mutant

ROOT = Path(__file__).resolve().parents[2]
MUTANTS: tuple[Mutant, ...] = (*of_files.MUTANTS, *of_records.MUTANTS, *of_training.MUTANTS)

# Name -> why no test needs the line.
EXPLAINED: dict[str, str] = {}
