//! Behaviours, and how each is switched off.

use crate::play::Setup;

/// A name, and what takes the behaviour away.
pub(crate) type Switch = (&'static str, fn(&mut Setup));

/// All of them.
pub(crate) const ALL: [Switch; 25] = [
    ("random case", |s| s.core.conduct.random_case = false),
    ("cookies", |s| s.core.conduct.cookies = false),
    ("TCP after a near miss", |s| s.core.conduct.near_miss_to_tcp = false),
    ("listening on", |s| s.core.conduct.listen_on = false),
    ("late answers", |s| s.core.conduct.late_answers = false),
    ("TCP after truncation", |s| s.core.conduct.tcp_when_truncated = false),
    ("a retry without EDNS", |s| s.core.conduct.without_edns = false),
    ("fail-over", |s| s.core.conduct.fail_over = false),
    ("following aliases", |s| s.core.conduct.follow = false),
    ("back-off", |s| s.core.conduct.back_off = false),
    ("asking identical questions once", |s| s.core.conduct.join = false),
    ("prefetch", |s| s.core.conduct.prefetch = false),
    ("expired answers, by core", |s| s.core.conduct.stale = false),
    ("expired answers, by the cache", |s| s.stale_max = 0),
    ("a bound of staleness", |s| s.stale_max = u32::MAX),
    ("the longest time to live", |s| s.core.answers.ttl_max = u32::MAX),
    ("the longest time of absence", |s| s.core.answers.negative_ttl_max = u32::MAX),
    ("absence kept", |s| s.core.answers.negative_ttl_max = 0),
    ("failures kept", |s| s.core.answers.failure_ttl = 0),
    ("the bound of aliases", |s| s.core.answers.links_max = 200),
    ("the bound of records", |s| s.core.answers.records_max = u16::MAX),
    ("the bound of queries", |s| s.core.bounds.queries = 1_000),
    ("zones", |s| s.core.zones.clear()),
    ("a cache", |s| s.cache_bytes = 0),
    ("modes", |s| s.core.mode = interdict::engine::resolver::core::Mode::Ordered),
];
