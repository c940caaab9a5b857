"""Two processes that train together: training is not disturbed, one curve, one best, and no failure hangs.

One torchrun launch runs all cells; the whole matrix is ``python -m tests.faults bit_identity ranks``.
"""

import pytest

from tests.distributed.launch import differs, launch

TRAINED = [
    *("plain:ddp:scorer", "plain:ddp:generator", "plain:fsdp1:generator"),
    *("lora:fsdp2:fine", "lora:fsdp2:generator"),
]
WITHOUT = ["plain:ddp:without", "plain:fsdp1:without", "lora:fsdp2:without"]
ANSWERS = ["answers:64", "answers:4:1"]

pytestmark = [pytest.mark.distributed, pytest.mark.xdist_group("distributed")]


@pytest.fixture(scope="module")
def two(tmp_path_factory, tiny_policy_dir):
    out = tmp_path_factory.mktemp("two")
    return launch(
        tiny_policy_dir, out, [*WITHOUT, *TRAINED, *ANSWERS, "steer", "mishaps", "engine", "savings"], ranks=2
    )


@pytest.mark.parametrize("cell", TRAINED)
def test_weights_optimizer_and_random_states_of_every_rank_are_as_without_the_monitor(two, cell):
    assert differs(two, cell) == []


@pytest.mark.parametrize("cell", TRAINED)
def test_every_rank_has_the_same_curve_and_the_same_best(two, cell):
    a, b = (found[cell] for found in two)
    assert (a["curve"], a["status"], a["best"]) == (b["curve"], b["status"], b["best"])


def test_the_hashes_tell_trainings_apart(two):
    assert len({found["lora:fsdp2:without"]["weights"] for found in two}) == 2  # each rank has its own shard
    assert two[0]["plain:ddp:without"]["weights"] != two[0]["plain:fsdp1:without"]["weights"]


def test_a_rank_that_cannot_answer_is_a_gap_on_every_rank_that_names_it(two):
    for found in two:
        assert found["lora:fsdp2:generator"]["status"] == ["ok", "failed", "failed"]
        assert found["lora:fsdp2:generator"]["reason"].startswith("GenerationError: rank 1: RuntimeError")


def test_completions_do_not_depend_on_ranks_batch_size_or_memory(two, tmp_path, tiny_policy_dir):
    from tests.distributed.cells import answers

    alone = answers("4", tiny_policy_dir, tmp_path)
    assert {two[0][cell]["answers"] for cell in ANSWERS} == {alone["answers"]}
    assert {two[0][cell]["curve"] for cell in ANSWERS} == {alone["curve"]}


def test_the_engine_answers_on_every_rank_of_a_ddp_run_and_says_what_generate_says(two):
    as_generate = {"served": True, "reason": "", "equal": True}
    for found in two:
        assert found["engine"] == {
            "kind": "DistributedDataParallel", "model": as_generate, "wrapped": as_generate
        }  # fmt: skip


def test_a_rank_short_of_memory_halves_its_own_batch_and_remembers(two):
    assert [found["answers:4:1"]["batch"] for found in two] == [4, 1]


def test_every_rank_steers_the_trainer_alike_also_after_a_resume(two):
    first, second = (found["steer"] for found in two)
    assert first == second
    assert (
        first["first"]["metric"] == "win_rate"
    )  # ratings have no win probability, which only rank 0 can know
    assert first["resumed"] == [0, 2, 4]
    assert [step for step, _ in first["curve"]] == [0, 2, 4, 6, 8]


@pytest.mark.parametrize("mishap", ["unsendable", "cannot begin"])
def test_a_mishap_on_one_rank_is_named_on_all_and_nobody_hangs(two, mishap):
    assert two[0]["mishaps"][mishap] == two[1]["mishaps"][mishap]
    assert two[0]["mishaps"][mishap].startswith("GenerationError: rank 1:")
    assert [found["mishaps"]["after"] for found in two] == ["ok", "ok"]


def test_every_rank_moves_and_reuses_an_evaluation_when_rank_0_does_whatever_its_own_clock_says(two):
    first, second = (found["savings"] for found in two)
    assert first == second
    assert first["judged"] == [0, 5, 9, 13, 14]
    assert first["calls"] == [3, 4]
    assert first["same"]
