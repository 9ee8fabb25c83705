//! What the state machine is made from, and the bounds that hold whatever the settings are.

use std::net::SocketAddr;
use std::time::Duration;

use super::server::Mode;
use crate::base::name::Name;
use crate::engine::resolver::AnswerLimits;

/// Questions in flight.
pub const QUESTIONS_MAX: usize = 2_048;
/// Clients that wait, over all questions.
pub const WAITERS_MAX: usize = 16_384;
/// Clients that wait for one question.
pub const WAITERS_PER_QUESTION_MAX: usize = 1_024;
/// Exchanges that are listened to, late ones included; more than questions, so that there is always room for a try.
pub const EXCHANGES_MAX: usize = 4_096;
/// Upstream servers of one route.
pub const SERVERS_MAX: usize = 16;
/// Queries sent upstream for one question, whatever the servers answer.
pub const QUERIES_MAX: u32 = 8;
/// A question's life.
pub const QUESTION_TIME: Duration = Duration::from_secs(5);
/// What each try gets before the next server is asked; the last one repeats.
pub const TRY_TIMES: [Duration; 3] =
    [Duration::from_millis(800), Duration::from_millis(1_200), Duration::from_millis(1_500)];
/// What a try over TCP gets: a handshake more than UDP.
pub const TRY_TIME_TCP: Duration = Duration::from_secs(2);
/// How long a client waits before it gets an answer that has expired, where there is one (RFC 8767 §5).
pub const STALE_AFTER: Duration = Duration::from_millis(1_800);
/// How long an expired answer is then served without asking again (RFC 8767 §5, failure recheck timer).
pub const STALE_HOLD: Duration = Duration::from_secs(30);

/// What the state machine is made from.
#[derive(Clone, Debug)]
pub struct CoreSettings {
    /// Upstream servers in order of preference; beyond [`SERVERS_MAX`] they are left out.
    pub servers: Vec<SocketAddr>,
    /// Names that have servers of their own.
    pub zones: Vec<ZoneServers>,
    /// Which server is asked first.
    pub mode: Mode,
    /// The bounds of its tables.
    pub bounds: Bounds,
    /// Bounds of stored answers.
    pub answers: AnswerLimits,
    /// What it does against forgers and for broken servers.
    pub conduct: Conduct,
}

impl CoreSettings {
    /// The defaults, with these servers.
    #[must_use]
    pub fn new(servers: Vec<SocketAddr>) -> Self {
        Self {
            servers,
            zones: Vec::new(),
            mode: Mode::Ordered,
            bounds: Bounds::default(),
            answers: AnswerLimits::default(),
            conduct: Conduct::default(),
        }
    }
}

/// A name that has servers of its own, with everything below it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ZoneServers {
    /// The name.
    pub name: Name,
    /// Its servers in order of preference; beyond [`SERVERS_MAX`] they are left out.
    pub servers: Vec<SocketAddr>,
}

/// The bounds of the tables; beyond them a question is refused as [`super::Failure::Overloaded`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Questions in flight.
    pub questions: usize,
    /// Clients that wait, over all questions.
    pub waiters: usize,
    /// Clients that wait for one question.
    pub waiters_per_question: usize,
    /// Exchanges that are listened to.
    pub exchanges: usize,
    /// Queries sent upstream for one question.
    pub queries: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            questions: QUESTIONS_MAX,
            waiters: WAITERS_MAX,
            waiters_per_question: WAITERS_PER_QUESTION_MAX,
            exchanges: EXCHANGES_MAX,
            queries: QUERIES_MAX,
        }
    }
}

/// What it does against forgers and for broken servers. All of it is on; each can be left off, to see what it is good for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, each read in one place")]
pub struct Conduct {
    /// Queries over UDP carry their name in random case, which the response has to repeat (0x20).
    pub random_case: bool,
    /// Queries carry a cookie, which the response has to repeat (RFC 7873 §5).
    pub cookies: bool,
    /// After one response that is nearly right, the question goes on over TCP.
    pub near_miss_to_tcp: bool,
    /// A response that cannot be read ends nothing: listening goes on.
    pub listen_on: bool,
    /// A response after its try is an answer all the same.
    pub late_answers: bool,
    /// A truncated response is asked for again over TCP.
    pub tcp_when_truncated: bool,
    /// FORMERR to a query with EDNS is answered with one without.
    pub without_edns: bool,
    /// A server that failed, or answered with an error, is followed by the next one.
    pub fail_over: bool,
    /// Servers that keep failing stand behind the others for a while.
    pub back_off: bool,
    /// Where an answer ends with an alias, the name behind it is asked for.
    pub follow: bool,
    /// Identical questions are asked once.
    pub join: bool,
    /// Answers that are in use are asked for again shortly before they expire.
    pub prefetch: bool,
    /// Clients get an expired answer when upstream does not answer in time (RFC 8767).
    pub stale: bool,
}

impl Default for Conduct {
    fn default() -> Self {
        Self {
            random_case: true,
            cookies: true,
            near_miss_to_tcp: true,
            listen_on: true,
            late_answers: true,
            tcp_when_truncated: true,
            without_edns: true,
            fail_over: true,
            back_off: true,
            follow: true,
            join: true,
            prefetch: true,
            stale: true,
        }
    }
}
