//! What the resolver counts; read by `status` and `/metrics`, never reset.

use std::sync::atomic::{AtomicU64, Ordering};

/// One monotonic count, shared by threads.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Counts `more`.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// The count so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// The resolver's counters: one instance a daemon, shared by its workers, streams and the upstream driver.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[doc = $doc])+ pub $name: Counter,)+
        }

        impl Counters {
            /// Every counter with its name, in the order of their declaration.
            #[must_use]
            pub fn snapshot(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get()),)+]
            }
        }
    };
}

counters! {
    /// Messages received from clients, those refused included.
    queries,
    /// Answers sent, blocked ones and failures included.
    answered,
    /// Answers that were a block.
    blocked,
    /// Questions that neither the policy nor the cache answered.
    misses,
    /// Questions that joined one that was in flight already.
    joined,
    /// Dropped: the client is not in the allowed prefixes.
    dropped_acl,
    /// Dropped or held up: the client, or its network, asked more than it may.
    limited_queries,
    /// Dropped: as much as may be had was sent to a network whose client has not proven its address.
    limited_answers,
    /// The same, but told to ask again over TCP.
    limited_truncated,
    /// Dropped: no DNS query, or one that deserves silence.
    dropped_malformed,
    /// Dropped: the queue towards the upstream driver was full.
    dropped_queue,
    /// Dropped: the answer could not be sent.
    dropped_send,
    /// Attempts that the ledger's queue had no room for.
    dropped_hits,
    /// Questions refused because a bound of the core was reached.
    overloaded,
    /// Connections refused, or closed to make room, because a bound was reached.
    dropped_connections,
    /// Queries sent upstream, each transmit counted.
    upstream_sent,
    /// Connections made to upstream servers; many queries go over each.
    upstream_connections,
    /// Tries that got no response in time.
    upstream_timeouts,
    /// Tries that broke down: connection refused, unreachable, closed.
    upstream_errors,
    /// Responses after their try had timed out but still in time for the question.
    upstream_late,
    /// Responses that could not be read as an answer to the question.
    upstream_invalid,
    /// Truncated responses, asked again over TCP.
    upstream_truncated,
    /// Messages on an exchange that were not the response to its query.
    spoof_ignored,
    /// Of these, the ones that could be read as a response to another query; the question went on over TCP.
    spoof_near_misses,
    /// Of these, the ones in which only the case of the name was another.
    spoof_other_case,
    /// Of these, the ones without the cookie that they had to repeat.
    spoof_cookies,
    /// Servers that were found not to keep the case of names, and are asked over TCP instead.
    upstream_case_broken,
    /// Questions that ran into the bound of queries for one question.
    upstream_query_limit,
    /// Clients that got an answer that had expired, since upstream had none in time.
    answered_stale,
    /// Answers in use that were asked for again before they expired.
    prefetched,
    /// Questions that ended without an answer.
    failures,
    /// Workers and tasks restarted after a panic.
    worker_restarts,
}
