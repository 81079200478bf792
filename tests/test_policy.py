"""runtime.policy: the FIFO state machine, fed with plain events and a made-up clock."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import pytest

from runtime.batch import Batch, Completion, Failure, Issue, Ready, Sample
from runtime.batching import Throughput
from runtime.device_policy import Abandon, Fail
from runtime.policy import Action, FifoPolicy, Respond, Submit

SECOND = 10**9


def make(devices: Sequence[str] = ("a", "b"), *, sizes: Sequence[int] = (2, 4), size: int = 4, on_loss: str = "fail") -> FifoPolicy:
    batching = Throughput([each for each in sizes if each <= size])
    policy = FifoPolicy(devices, batching=batching, open_seconds=10, on_loss=on_loss, now_ns=0)  # type: ignore[arg-type]
    policy.batch_seconds = 5
    return policy


def ready(policy: FifoPolicy, *devices: str) -> list[Action]:
    actions: list[Action] = []
    for device in devices:
        actions += policy.handle(Ready(device=device, open_seconds=0, service_seconds={}), 0)
    return actions


def issue(policy: FifoPolicy, count: int, now: int = 0) -> list[Action]:
    return policy.handle(Issue(samples=tuple(Sample(100 + i, i) for i in range(count))), now)


def completion(action: Submit) -> Completion:
    return Completion(device=action.device, ticket=action.batch.ticket, answers=(), started_ns=0, completed_ns=action.batch.size * SECOND)


def batches(actions: Sequence[Action]) -> list[Batch]:
    return [action.batch for action in actions if isinstance(action, Submit)]


def indices(batch: Batch) -> list[int]:
    return [sample.index for sample in batch.samples]


def test_samples_go_out_in_order_of_issue_to_the_device_idle_longest() -> None:
    policy = make()
    ready(policy, "b", "a")
    first, second = issue(policy, 12)
    assert isinstance(first, Submit) and isinstance(second, Submit)
    assert (first.device, second.device) == ("b", "a")
    assert [indices(first.batch), indices(second.batch)] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    answer, third = policy.handle(completion(second), 1)
    assert isinstance(answer, Respond) and answer.batch is second.batch
    assert isinstance(third, Submit) and third.device == "a" and indices(third.batch) == [8, 9, 10, 11]
    assert (policy.issued, policy.completed, policy.owed) == (12, 4, 8)


def test_a_tail_takes_smaller_compiled_sizes_and_pads_only_the_last_rows() -> None:
    policy = make(("a",))
    ready(policy, "a")
    sizes, actions = [], issue(policy, 7)
    while submits := [action for action in actions if isinstance(action, Submit)]:
        sizes.append((submits[0].batch.size, len(submits[0].batch.samples)))
        actions = policy.handle(completion(submits[0]), 0)
    assert sizes == [(4, 4), (2, 2), (2, 1)]
    assert policy.padded == 1 and policy.completed == 7


def test_a_padded_row_repeats_the_last_sample() -> None:
    batch = Batch(ticket=0, samples=(Sample(1, 30), Sample(2, 9)), size=4)
    assert batch.rows == [30, 9, 9, 9] and batch.padding == 2


def test_a_lost_device_fails_the_run_and_names_what_it_held() -> None:
    policy = make()
    ready(policy, "a", "b")
    first = issue(policy, 8)[0]
    assert isinstance(first, Submit)
    actions = policy.handle(Failure(device=first.device, ticket=first.batch.ticket, cause="out of memory"), 1)
    assert isinstance(actions[0], Fail)
    assert "a failed: out of memory" in actions[0].cause and "[0, 1, 2, 3]" in actions[0].cause


def test_with_continue_the_batch_goes_to_another_device_first_in_line() -> None:
    policy = make(on_loss="continue")
    ready(policy, "a", "b")
    first, second = issue(policy, 12)
    assert isinstance(first, Submit) and isinstance(second, Submit)
    assert policy.handle(Failure(device="a", ticket=0, cause="gone"), 1) == []  # b is busy
    _, again = policy.handle(completion(second), 2)
    assert isinstance(again, Submit) and again.device == "b" and indices(again.batch) == [0, 1, 2, 3]
    assert policy.reissued == 4 and policy.lost == {"a": "gone"}


def test_the_last_device_lost_fails_the_run_even_with_continue() -> None:
    policy = make(on_loss="continue")
    ready(policy, "a", "b")
    issue(policy, 8)
    assert policy.handle(Failure(device="a", ticket=0, cause="gone"), 1) == []
    fail, = policy.handle(Failure(device="b", ticket=1, cause="gone too"), 1)
    assert isinstance(fail, Fail) and "no device is left of 2" in fail.cause


def test_a_late_answer_of_a_device_declared_hung_is_dropped() -> None:
    policy = make(on_loss="continue")
    ready(policy, "a", "b")
    first, second = issue(policy, 8)
    assert isinstance(first, Submit) and isinstance(second, Submit)
    policy.handle(completion(second), 1)
    assert policy.next_deadline_ns() == 5 * SECOND
    abandon, again = policy.expire(5 * SECOND)
    assert abandon == Abandon(device="a")
    assert isinstance(again, Submit) and again.device == "b" and indices(again.batch) == [0, 1, 2, 3]
    assert policy.handle(completion(first), 6 * SECOND) == []
    assert policy.completed == 4


def test_a_device_that_does_not_open_in_time_is_lost_and_stays_lost() -> None:
    policy = make()
    ready(policy, "a")
    assert policy.opening == 1 and policy.next_deadline_ns() == 10 * SECOND
    abandon, fail = policy.expire(10 * SECOND)
    assert abandon == Abandon(device="b")
    assert isinstance(fail, Fail) and "b failed: did not become ready in 10 s" in fail.cause
    ready(policy, "b")
    assert [action.device for action in issue(policy, 8) if isinstance(action, Submit)] == ["a"]


def test_nothing_owed_means_no_deadline() -> None:
    policy = make(("a",))
    ready(policy, "a")
    assert policy.next_deadline_ns() is None


def test_a_device_being_rebuilt_comes_back_and_its_batch_goes_elsewhere() -> None:
    policy = make(on_loss="continue")
    ready(policy, "a", "b")
    first, second = issue(policy, 12)
    assert isinstance(first, Submit) and isinstance(second, Submit)
    assert policy.handle(Failure(device="a", ticket=0, cause="out of memory", reopening=True), 1) == []
    assert (policy.opening, policy.devices_up, policy.rebuilt, policy.lost) == (1, 1, ["a: out of memory"], {})
    again, = ready(policy, "a")
    assert isinstance(again, Submit) and again.device == "a" and indices(again.batch) == [0, 1, 2, 3]


def test_without_continue_a_device_being_rebuilt_fails_the_run() -> None:
    policy = make()
    ready(policy, "a", "b")
    issue(policy, 8)
    fail, = policy.handle(Failure(device="a", ticket=0, cause="out of memory", reopening=True), 1)
    assert isinstance(fail, Fail) and "a failed: out of memory" in fail.cause


def test_the_only_device_may_be_rebuilt_but_not_for_ever() -> None:
    policy = make(("a",), on_loss="continue")
    ready(policy, "a")
    issue(policy, 4)
    assert policy.handle(Failure(device="a", ticket=0, cause="dead", reopening=True), SECOND) == []
    assert policy.next_deadline_ns() == 11 * SECOND
    abandon, fail = policy.expire(11 * SECOND)
    assert abandon == Abandon(device="a") and isinstance(fail, Fail) and "did not become ready in 10 s" in fail.cause


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens_no_sample_is_answered_twice_and_none_is_forgotten(seed: int) -> None:
    """Random completions, losses, hangs and late answers; the last device never fails."""
    chance = random.Random(seed)
    devices = [f"d{i}" for i in range(chance.randint(1, 6))]
    policy = make(devices, sizes=(1, 2, 4), on_loss="continue")
    ready(policy, *devices)
    answered: Counter[int] = Counter()
    flying: list[Submit] = []
    now, owed = 0, 0

    def carry_out(actions: Sequence[Action]) -> None:
        for action in actions:
            assert not isinstance(action, Fail), action
            if isinstance(action, Submit):
                flying.append(action)
            elif isinstance(action, Respond):
                answered.update(sample.id for sample in action.batch.samples)

    for _ in range(200):
        now += chance.randrange(SECOND)
        roll = chance.random()
        alive = [device for device in devices if device not in policy.lost]
        if roll < 0.2 and owed < 300:
            count = chance.randint(1, 9)
            carry_out(policy.handle(Issue(samples=tuple(Sample(owed + i, i) for i in range(count))), now))
            owed += count
        elif roll < 0.25 and len(alive) > 1:
            carry_out(policy.handle(Failure(device=chance.choice(alive), ticket=None, cause="lost"), now))
        elif roll < 0.3 and len(alive) > 1 and len({policy._held[t].device for t in policy._held}) < len(alive):
            carry_out(policy.expire(now))
        elif flying:
            carry_out(policy.handle(completion(flying.pop(chance.randrange(len(flying)))), now))
    while flying:
        carry_out(policy.handle(completion(flying.pop()), now))
    assert policy.owed == 0 and answered == Counter(range(owed))
