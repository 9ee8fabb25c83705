//! What the control socket answers.

use super::activate::Activator;
use super::status::{self, About};
use crate::io::control::{Command, Handler, Response};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// Answers with what the activator does.
pub(super) fn handler(activator: Arc<Activator>, about: Arc<About>) -> Handler {
    Arc::new(move |request| match request.command {
        Command::Status => Response::done(status::object(&activator, &about)),
        Command::Reload => match activator.reload() {
            Ok(reloaded) => Response::done(json!({
                "epoch": reloaded.epoch,
                "rules": reloaded.rules,
                "after_restart": reloaded.after_restart,
            })),
            Err(why) => Response::refused(why),
        },
        Command::Pause { seconds, reason } => match activator.set_pause(Duration::from_secs(seconds), &reason) {
            Ok(pause) => Response::done(json!({ "until": pause.map(|pause| pause.until.to_string()) })),
            Err(why) => Response::refused(why),
        },
    })
}
