//! The stories, by name.

use crate::harness::story::Body;

mod brute_force_in_a_log_group_is_mailed_once;
mod calls;
mod changed_log_file_is_caught_by_its_digest;
mod controls_are_missed_by_their_state_alone;
mod delivered_twice_is_mailed_once;
mod emulator_keeps_its_promises;
mod exposed_instance_is_mailed_once;
mod first_sweep_stays_calm;
mod injection_in_a_log_object_is_mailed;
mod late_log_file_and_state_are_mailed_once;
mod log_lines;
mod own_output_is_refused;
mod permission_taken_away_is_loud;
mod poisoned_object_hurts_no_other;
mod rules_in_a_bucket_run;
mod seen_by_all_ways_is_mailed_once;
mod silence_and_return_are_told;
mod split_log_is_one_log_on_dynamodb;
mod stop_logging_is_mailed;
mod stop_logging_is_mailed_by_the_poll_alone;
mod stopped_trail_is_found_by_its_state_alone;
mod sweep_seen_by_poll_alone;
mod trail_command_tells_who_tampered;
mod trail_log_file_is_enough;
mod trail_log_group_is_enough;

/// Every story, each named as its module. The first one says whether the ground holds.
pub const ALL: &[(&str, Body)] = &[
    ("emulator_keeps_its_promises", emulator_keeps_its_promises::story),
    // The longest: what runs beside it is done by then.
    ("permission_taken_away_is_loud", permission_taken_away_is_loud::story),
    ("stop_logging_is_mailed", stop_logging_is_mailed::story),
    ("stop_logging_is_mailed_by_the_poll_alone", stop_logging_is_mailed_by_the_poll_alone::story),
    ("sweep_seen_by_poll_alone", sweep_seen_by_poll_alone::story),
    ("trail_log_file_is_enough", trail_log_file_is_enough::story),
    ("trail_log_group_is_enough", trail_log_group_is_enough::story),
    ("stopped_trail_is_found_by_its_state_alone", stopped_trail_is_found_by_its_state_alone::story),
    ("seen_by_all_ways_is_mailed_once", seen_by_all_ways_is_mailed_once::story),
    ("late_log_file_and_state_are_mailed_once", late_log_file_and_state_are_mailed_once::story),
    ("first_sweep_stays_calm", first_sweep_stays_calm::story),
    ("silence_and_return_are_told", silence_and_return_are_told::story),
    ("changed_log_file_is_caught_by_its_digest", changed_log_file_is_caught_by_its_digest::story),
    ("trail_command_tells_who_tampered", trail_command_tells_who_tampered::story),
    ("injection_in_a_log_object_is_mailed", injection_in_a_log_object_is_mailed::story),
    ("brute_force_in_a_log_group_is_mailed_once", brute_force_in_a_log_group_is_mailed_once::story),
    ("controls_are_missed_by_their_state_alone", controls_are_missed_by_their_state_alone::story),
    ("exposed_instance_is_mailed_once", exposed_instance_is_mailed_once::story),
    ("rules_in_a_bucket_run", rules_in_a_bucket_run::story),
    ("poisoned_object_hurts_no_other", poisoned_object_hurts_no_other::story),
    ("delivered_twice_is_mailed_once", delivered_twice_is_mailed_once::story),
    ("own_output_is_refused", own_output_is_refused::story),
    ("split_log_is_one_log_on_dynamodb", split_log_is_one_log_on_dynamodb::story),
];
