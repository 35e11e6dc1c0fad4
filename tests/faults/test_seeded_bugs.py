"""Seeded bugs: wrong versions of the program that the tests of this directory must detect.

Each is a plausible mistake that does harm only under concurrency. Mistakes that a crash between two statements shows
(no ledger, publishing after the commit, an acknowledgement in another transaction, a call in doubt that is not asked
about) are seeded where crash points are enumerated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import Phase, settings

from app.engine import domain
from tests.engine.queue import test_fairness as fairness
from tests.faults import test_locks as locks
from tests.faults import test_races as races
from tests.faults import test_races_of_workers as workers
from tests.faults import test_same_ids as ids
from tests.faults import test_zombies as zombies
from tests.faults.test_state_machine import WAYS, walk, walk_by_hand
from tests.helpers import toy
from tests.helpers.faults import wrong
from tests.helpers.faults.race import Race
from tests.helpers.faults.wrong import Wrong
from tests.helpers.faults.zombie import Zombie, finished_by_another, taken_by_another

# What is found need not be made small, and must not be looked for again.
SEARCH = settings(WAYS, max_examples=200, phases=[Phase.generate], database=None, report_multiple_bugs=False)


def machine(race: Race) -> None:
    """Run the state machine on random walks until it fails."""
    walk(race.database, ways=SEARCH)


def machine_by_hand(race: Race) -> None:
    """Run the state machine on the fixed walk through every fault."""
    walk_by_hand(race.database)


def zombie(name: str, meanwhile: Callable[[Zombie], None]) -> Callable[[Race], None]:
    """Run one case of the zombie tests."""

    def notices(race: Race) -> None:
        with pytest.MonkeyPatch.context() as patch:
            zombies.test_a_zombie_changes_nothing(race, name, meanwhile, patch)

    return notices


def flood(race: Race) -> None:
    """Run a tenant that queues behind another's flood."""
    outside = toy.Outside()
    with domain.use(outside.wiring()):
        fairness.come_behind_a_flood(race.stage.connection, outside)


@dataclass(frozen=True, slots=True)
class Seeded:
    """A wrong version and the test that detects it."""

    version: Wrong
    notices: Callable[[Race], None]


BUGS = {
    "no lock, counters read then written": Seeded(
        wrong.no_lock_and_counters_read_then_written,
        races.test_concurrent_last_results_complete_a_job_once,
    ),
    "key checked then inserted": Seeded(
        wrong.key_checked_then_inserted,
        lambda race: races.test_a_second_submit_with_a_key_is_refused(race, same=False),
    ),
    "orders looked at then taken": Seeded(
        wrong.orders_looked_at_then_taken,
        lambda race: races.test_a_second_submit_of_an_order_is_refused_without_again(race, again=False),
    ),
    "pending orders looked at then taken": Seeded(
        wrong.pending_orders_looked_at_then_taken, races.test_concurrent_submits_of_pending_orders_share_them
    ),
    "slots read then written": Seeded(
        wrong.slots_read_then_written, workers.test_concurrent_takers_share_the_last_slots
    ),
    "rescue selects then updates": Seeded(
        wrong.rescue_selects_then_updates, workers.test_two_rescuers_free_a_delivery_once
    ),
    "the mark of a call belongs to its event": Seeded(
        wrong.the_mark_of_a_call_belongs_to_its_event, workers.test_a_request_with_another_id_finds_the_call_in_doubt
    ),
    "rescues are counted by row": Seeded(
        wrong.rescues_are_counted_by_row, workers.test_a_robot_whose_call_kills_its_workers_is_buried
    ),
    "replay without a lock": Seeded(
        wrong.replays_without_a_lock, workers.test_a_replay_skips_an_event_that_a_delivery_has_just_applied
    ),
    "the ledger takes everything: race": Seeded(
        wrong.the_ledger_takes_everything, races.test_an_event_of_two_workers_is_applied_once
    ),
    "records and calls without a lease": Seeded(
        wrong.records_and_calls_without_a_lease,
        lambda race: workers.test_a_worker_cannot_finish_a_rescued_delivery(race, "robots"),
    ),
    "claims without a lease: race": Seeded(
        wrong.claims_without_a_lease,
        lambda race: workers.test_a_worker_cannot_finish_a_rescued_delivery(race, "events"),
    ),
    "a retry is no new attempt: race": Seeded(
        wrong.a_retry_is_no_new_attempt,
        lambda race: races.test_a_late_result_does_not_count_for_a_retry(race, late_first=False),
    ),
    "claims without a lease: zombie": Seeded(
        wrong.claims_without_a_lease, zombie("events: before the claim", taken_by_another)
    ),
    "records without a lease: zombie": Seeded(
        wrong.records_without_a_lease, zombie("robots: before the record", taken_by_another)
    ),
    "says without a lease": Seeded(wrong.says_without_a_lease, zombie("robots: in the claim", taken_by_another)),
    "calls without a lease": Seeded(
        wrong.calls_without_a_lease, zombie("robots: between claim and call", finished_by_another)
    ),
    "effects are taken first come, first served": Seeded(wrong.effects_are_taken_first_come_first_served, flood),
    "late results count": Seeded(wrong.late_results_count, machine_by_hand),
    "late results count: found at random": Seeded(wrong.late_results_count, machine),
    "the ledger takes everything": Seeded(wrong.the_ledger_takes_everything, machine_by_hand),
    "claims without a lease": Seeded(wrong.claims_without_a_lease, machine_by_hand),
    "a retry is no new attempt": Seeded(wrong.a_retry_is_no_new_attempt, machine_by_hand),
    "ids collide silently": Seeded(wrong.ids_collide_silently, ids.test_consequences_without_a_key_are_refused),
    "the ledger compares no data": Seeded(
        wrong.the_ledger_compares_no_data,
        lambda race: ids.test_of_two_events_with_one_id_one_is_applied_and_one_buried(race, together=False),
    ),
    "one of an id in a batch is dropped": Seeded(
        wrong.one_of_an_id_in_a_batch_is_dropped,
        lambda race: ids.test_of_two_events_with_one_id_one_is_applied_and_one_buried(race, together=True),
    ),
    "a dead letter is resolved by any event with its id": Seeded(
        wrong.a_dead_letter_is_resolved_by_any_event_with_its_id,
        ids.test_an_event_with_the_id_of_a_dead_letter_leaves_it_open,
    ),
    "a dead letter is resolved by any event with its id: walked": Seeded(
        wrong.a_dead_letter_is_resolved_by_any_event_with_its_id, machine_by_hand
    ),
    "what is locked takes its batch along": Seeded(
        wrong.what_is_locked_takes_its_batch_along, locks.test_a_locked_job_delays_no_other_job
    ),
    "pauses are not looked up": Seeded(wrong.pauses_are_not_looked_up, machine_by_hand),
    "cancelled orders are called": Seeded(wrong.cancelled_orders_are_called, machine_by_hand),
    "carriers are looked up once a batch": Seeded(wrong.carriers_are_looked_up_once_a_batch, machine_by_hand),
    "promotion loses rows": Seeded(wrong.promotion_loses_rows, machine_by_hand),
    "promotion comes early": Seeded(wrong.promotion_comes_early, machine_by_hand),
}


@pytest.mark.parametrize("name", BUGS)
def test_a_seeded_bug_is_noticed(race: Race, name: str) -> None:
    """With the wrong version in place the test fails."""
    bug = BUGS[name]
    with bug.version(race.database), pytest.raises(AssertionError):
        bug.notices(race)
