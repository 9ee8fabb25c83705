//! The control socket: `<store.path>/control.sock`, one JSON object a line in each direction, versioned.
//!
//! ```text
//! → {"v":1,"command":"reload"}
//! ← {"v":1,"ok":true,"data":{"epoch":7}}      or     {"v":1,"ok":false,"error":"list.txt:3: …"}
//! ```
//! The folder is private to the daemon's user, and so is the socket. A request is answered before the next is read.

mod client;
mod server;

pub use client::{ControlError, ask};
pub use server::{Handler, Server};

use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The version of this language.
pub const VERSION: u32 = 1;
/// The socket's name in the store's folder.
pub const SOCKET_NAME: &str = "control.sock";
/// Octets of the longest line.
pub const LINE_OCTETS_MAX: usize = 1 << 20;

/// What a client may want.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// How it goes: counters, policy, alarms.
    Status,
    /// Read config and lists again; answers when the new policy is in force, or says why it is not.
    Reload,
    /// Stop enforcing for a time.
    Pause {
        /// Seconds; 0 ends a pause at once.
        seconds: u64,
        /// Why; recorded.
        reason: String,
    },
    /// Put the policy in force in the kernel.
    GatewayApply {
        /// Where whoever wants it is logged in from.
        login: Option<IpAddr>,
    },
    /// Take everything out of the kernel.
    GatewayRemove,
    /// What is in the kernel.
    GatewayStatus,
    /// Which listed names lead to an address, as far as it was learned.
    Learned {
        /// The address.
        address: IpAddr,
    },
    /// Ask the remotes of lists from git now.
    Sync {
        /// One list's remote alone.
        list: Option<String>,
        /// Take nothing.
        dry_run: bool,
    },
    /// Put an older commit of a list in force.
    Rollback {
        /// The list.
        list: String,
        /// The first digits of the commit; without it the one before.
        revision: Option<String>,
    },
    /// Hold a commit of a list.
    Pin {
        /// The list.
        list: String,
        /// The first digits of the commit.
        revision: String,
    },
    /// Follow the remote of a list again.
    Unpin {
        /// The list.
        list: String,
    },
    /// Take a `git bundle` for the remote of a list.
    Import {
        /// The list.
        list: String,
        /// The file, an absolute path.
        bundle: PathBuf,
    },
}

impl Command {
    /// How long an answer may take: a reload of millions of rules takes seconds, a remote that is slow minutes.
    const fn patience(&self) -> Duration {
        match self {
            Self::Status
            | Self::Reload
            | Self::Pause { .. }
            | Self::GatewayApply { .. }
            | Self::GatewayRemove
            | Self::GatewayStatus
            | Self::Learned { .. } => Duration::from_secs(120),
            Self::Sync { .. } | Self::Rollback { .. } | Self::Pin { .. } | Self::Unpin { .. } | Self::Import { .. } => {
                Duration::from_secs(900)
            }
        }
    }
}

/// A line to the daemon.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// [`VERSION`].
    pub v: u32,
    /// What is wanted.
    #[serde(flatten)]
    pub command: Command,
}

/// A line from the daemon.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Response {
    /// [`VERSION`].
    pub v: u32,
    /// Whether it was done.
    pub ok: bool,
    /// What it came to.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub data: serde_json::Value,
    /// Why it was not done, one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Response {
    /// It was done.
    #[must_use]
    pub const fn done(data: serde_json::Value) -> Self {
        Self { v: VERSION, ok: true, data, error: None }
    }

    /// It was not done.
    #[must_use]
    pub const fn refused(why: String) -> Self {
        Self { v: VERSION, ok: false, data: serde_json::Value::Null, error: Some(why) }
    }
}
