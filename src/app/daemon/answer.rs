//! What the control socket answers.

use super::activate::Activator;
use super::gateway::Gateway;
use super::status::{self, About};
use crate::app::sync::Wish;
use crate::io::control::{Command, Handler, Response};
use serde_json::{Value, json};
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
                "warnings": reloaded.warnings,
            })),
            Err(why) => Response::refused(why),
        },
        Command::Pause { seconds, reason } => match activator.set_pause(Duration::from_secs(seconds), &reason) {
            Ok(pause) => Response::done(json!({ "until": pause.map(|pause| pause.until.to_string()) })),
            Err(why) => Response::refused(why),
        },
        Command::Sync { list, dry_run } => {
            let wish = if dry_run { Wish::DryRun } else { Wish::Check };
            wished(&about, list.as_deref(), &wish)
        }
        Command::GatewayApply { login } => on_gateway(&about, |gateway| gateway.apply(login)),
        Command::GatewayRemove => on_gateway(&about, Gateway::remove),
        Command::Learned { address } => on_gateway(&about, |gateway| Ok(gateway.learned(address))),
        Command::GatewayStatus => on_gateway(&about, |gateway| Ok(gateway.status())),
        Command::Rollback { list, revision } => wished(&about, Some(&list), &Wish::Rollback(revision)),
        Command::Pin { list, revision } => wished(&about, Some(&list), &Wish::Pin(revision)),
        Command::Unpin { list } => wished(&about, Some(&list), &Wish::Unpin),
        Command::Import { list, bundle } => wished(&about, Some(&list), &Wish::Import(bundle)),
    })
}

/// A daemon without a gateway says so; whoever asks does it alone then.
fn on_gateway(about: &About, order: impl FnOnce(&Gateway) -> Result<Value, String>) -> Response {
    match &about.gateway {
        Some(gateway) => order(gateway).map_or_else(Response::refused, Response::done),
        None => Response::done(json!({ "enabled": false })),
    }
}

fn wished(about: &About, list: Option<&str>, wish: &Wish) -> Response {
    about.follower.wish(list, wish).map_or_else(Response::refused, Response::done)
}
