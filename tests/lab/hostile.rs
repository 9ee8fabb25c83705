pub(crate) fn malformed_messages_do_no_harm() {}
pub(crate) fn slow_streams_starve_nobody() {}
pub(crate) fn a_flood_of_misses_leaves_room_for_others() {}
pub(crate) fn few_descriptors_stop_no_answer_that_needs_none() {}
