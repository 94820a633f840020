//! The store's contract as stories, told on every backend.
//!
//! A story is an async function of a [`Fixture`]; the list at the end of this file names them all. To add a backend:
//! a constructor in [`fixture`] and a module in `stories!`.

mod adapters;
mod bulks;
mod cancellation;
mod erasures;
mod fixture;
mod interleavings;
mod isolation;
mod model;
mod monitors;
mod opening;
mod outbox;
mod queue;
mod requests;
mod row_level;
mod support;
mod tasks;
mod tenants;
mod webhooks;

use fixture::Fixture;

/// One test for each story and backend: `store::postgres::queue::two_workers_never_claim_the_same_job`.
macro_rules! stories {
    ($($module:ident: $($story:ident),+;)+) => {
        mod sqlite {
            $(mod $module {
                $(#[tokio::test(flavor = "multi_thread")]
                async fn $story() {
                    let fixture = super::super::Fixture::sqlite().await;
                    super::super::$module::$story(&fixture).await;
                    fixture.close().await;
                })+
            })+
        }

        mod postgres {
            $(mod $module {
                $(#[tokio::test(flavor = "multi_thread")]
                async fn $story() {
                    let Some(fixture) = super::super::Fixture::postgres().await else { return };
                    super::super::$module::$story(&fixture).await;
                    fixture.close().await;
                })+
            })+
        }
    };
}

stories! {
    tenants:
        a_tenant_is_found_by_its_name,
        a_name_is_given_once,
        a_key_is_found_by_its_public_half,
        usage_adds_up_by_day_and_tenants_have_their_own,
        usage_of_days_that_are_long_over_is_one_row_a_day,
        what_was_done_is_listed_newest_first,
        the_key_for_receipts_is_one,
        tenants_are_listed_for_operators;
    erasures:
        an_example_takes_with_it_what_may_have_been_made_of_it,
        clocks_that_differ_save_no_adapter_of_an_erased_example,
        an_example_that_came_again_takes_what_was_made_in_its_first_life,
        a_task_and_a_tenant_leave_nothing,
        a_job_that_may_have_read_an_erased_example_leaves_nothing_and_begins_again,
        an_erasure_that_is_repeated_gives_its_receipt_again,
        answers_that_may_quote_an_example_go_with_it;
    tasks:
        a_task_reads_back_as_it_was_written,
        pages_walk_all_tasks_newest_first,
        a_patch_changes_what_it_names_and_counts_the_revision,
        a_patch_against_an_old_revision_is_a_conflict,
        two_patches_of_one_revision_do_not_both_succeed,
        a_tenant_has_no_more_tasks_than_its_limit,
        a_deleted_task_takes_everything_with_it;
    support:
        every_kind_of_example_reads_back_as_it_was_written,
        an_example_that_is_there_already_is_named_and_not_added,
        an_external_id_names_one_example,
        above_the_limit_nothing_is_added,
        counts_follow_the_order_of_the_labels,
        a_regression_has_no_labels_to_count,
        pages_walk_all_examples_newest_first,
        a_removed_example_is_gone_and_can_come_again;
    queue:
        a_job_runs_from_queue_to_adapter,
        a_job_for_no_task_is_not_queued,
        a_lost_job_is_claimed_again_and_its_old_attempt_fenced_out,
        a_job_that_loses_every_worker_fails,
        what_was_lost_with_its_worker_twice_is_tried_alone,
        a_retried_job_waits_again_until_its_attempts_are_spent,
        a_jobs_events_are_numbered_and_fenced_like_everything_else,
        a_failed_job_says_why,
        a_cancelled_job_is_fenced_out,
        a_job_that_has_ended_is_not_cancelled,
        a_deleted_task_fences_out_its_running_job,
        the_queue_has_a_limit,
        tenants_take_turns,
        a_flood_that_was_called_off_is_not_held_against_its_tenant,
        a_claim_takes_as_long_whatever_waits,
        two_workers_never_claim_the_same_job,
        lists_can_be_of_one_task_and_one_status;
    requests:
        a_request_is_taken_up_by_one_answered_and_replayed,
        a_request_that_lost_its_caller_is_taken_up_with_the_same_seed,
        a_request_that_was_given_up_is_free,
        a_key_is_one_for_each_path_and_tenant,
        an_expired_request_is_forgotten;
    adapters:
        versions_count_up_within_a_task,
        an_equal_adaptation_reuses_the_adapter,
        other_labels_are_another_adapter,
        without_promotion_the_active_version_stays,
        promotion_and_rollback_walk_forth_and_back,
        one_changed_byte_is_detected,
        a_changed_length_is_detected,
        adapters_are_listed_newest_first;
    interleavings:
        random_interleavings_agree_with_a_model;
    outbox:
        every_end_leaves_one_notice,
        a_retried_job_leaves_no_notice_and_waits_out_its_pause,
        a_notice_comes_again_until_it_is_settled,
        a_notice_that_cannot_be_read_holds_up_no_other,
        an_operator_puts_a_failed_job_back,
        a_hint_reaches_the_other_processes_on_the_database;
    bulks:
        inputs_become_answers_piece_by_piece,
        a_turn_that_is_lost_goes_on_where_it_was_and_the_old_attempt_is_fenced_out,
        what_is_lost_three_times_without_an_answer_in_between_fails,
        tenants_take_turns_with_bulk_predictions,
        bulk_predictions_have_limits,
        what_was_called_off_or_broken_off_or_has_expired_goes;
    monitors:
        a_monitor_is_shown_predictions_and_keeps_its_alerts,
        a_monitor_with_another_rule_begins_anew_and_goes_with_its_task,
        a_monitor_keeps_its_latest_alerts;
    webhooks:
        a_webhook_reads_back_as_it_was_written,
        a_tenant_has_no_more_webhooks_than_its_limit,
        a_message_goes_once_to_those_who_want_it,
        a_webhook_gets_one_delivery_after_the_other,
        a_delivery_is_fenced_by_its_attempt_and_pauses,
        a_webhook_that_takes_nothing_is_not_sent_to_any_more,
        a_webhook_that_is_off_gets_tests_alone,
        what_is_changed_while_a_webhook_is_switched_off_stays,
        whoever_looks_a_webhook_gets_one_delivery_after_the_other,
        a_tenant_with_slow_receivers_leaves_places_to_others,
        a_delivery_that_cannot_be_read_holds_up_no_other,
        what_waits_for_a_webhook_that_is_off_is_not_walked_over;
    isolation:
        another_tenant_sees_and_changes_nothing;
    model:
        random_lives_of_two_tenants_agree_with_a_model;
    opening:
        what_was_written_is_there_after_reopening,
        a_second_migration_changes_nothing;
    cancellation:
        a_caller_that_goes_away_leaves_no_transaction_open,
        a_write_whose_caller_goes_away_happens_whole_or_not_at_all;
}
