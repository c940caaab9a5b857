"""`make mutants` breaks one line at a time: each is still there, once."""

from tests.mutants import EXPLAINED, MUTANTS, ROOT


def test_every_mutant_still_finds_its_line_and_its_tests():
    for mutant in MUTANTS:
        source = (ROOT / "rm_monitor" / mutant.file).read_text(encoding="utf-8")
        assert source.count(mutant.old) == 1, mutant.name
        assert mutant.old != mutant.new
        assert all((ROOT / test.partition("::")[0]).is_file() for test in mutant.tests), mutant.name


def test_there_are_sixty_of_them_and_few_are_explained():
    assert len({m.name for m in MUTANTS}) == len(MUTANTS) >= 60
    assert set(EXPLAINED) <= {m.name for m in MUTANTS}
    assert len(EXPLAINED) <= 3
