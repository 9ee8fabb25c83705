//! Names asked for and addresses of clients are data for the ledger and for DEBUG, never for a log above it.

use super::{Finding, Rule, Source, facts::Invocation, tokens::WordKind};

/// The macros that log above DEBUG.
const LOUD: [&str; 6] = ["info", "warn", "error", "info_span", "warn_span", "error_span"];

/// Macros whose level is an argument.
const LEVELLED: [&str; 2] = ["event", "span"];

/// Identifiers that stand for a name asked for or for a client.
const PRIVATE: [&str; 6] = ["address", "client", "client_addr", "name", "peer", "qname"];

/// Judges the log calls of one file.
pub(crate) fn check(source: &Source) -> Vec<Finding> {
    if source.is_test {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for call in source.facts.invocations.iter().filter(|call| is_loud(call)) {
        for word in &call.words {
            let private = match word.kind {
                WordKind::Name => PRIVATE.iter().find(|have| **have == word.text),
                WordKind::Text => PRIVATE.iter().find(|have| interpolates(&word.text, have)),
                WordKind::Call => None,
            };
            if let Some(private) = private {
                let what = format!("`{private}` in `{}!`: only DEBUG and TRACE may say it", call.name);
                findings.push(Finding::new(Rule::Privacy, &source.path, word.line, what));
            }
        }
    }
    findings
}

fn is_loud(call: &Invocation) -> bool {
    let quiet = |text: &str| matches!(text, "DEBUG" | "TRACE");
    LOUD.contains(&call.name.as_str())
        || (LEVELLED.contains(&call.name.as_str()) && !call.words.iter().any(|word| quiet(&word.text)))
}

/// Whether a format string has `{word}` or `{word:…}`.
fn interpolates(text: &str, word: &str) -> bool {
    let text = text.replace("{{", "");
    text.split('{').skip(1).any(|part| part.strip_prefix(word).is_some_and(|rest| rest.starts_with(['}', ':'])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(call: &str) -> bool {
        let text = format!("fn f() {{ {call}; }}");
        !check(&Source::parse("src/io/listen/udp.rs", &text).unwrap()).is_empty()
    }

    #[test]
    fn private_words_above_debug_are_refused() {
        for call in [
            "info!(%client, \"refused\")",
            "warn!(qname = %view.qname(), \"refused\")",
            "tracing::error!(peer = ?from)",
            "info!(\"no answer for {name}\")",
            "warn!(\"{count} times {client_addr:?}\")",
            "info!(\"no answer for {}\", query.name)",
            "event!(Level::INFO, address = 1)",
            "tokio::select! { x = y => { info!(peer = 1) } }",
        ] {
            assert!(refused(call), "{call}");
        }
    }

    #[test]
    fn what_is_no_private_word_is_accepted() {
        for call in [
            "debug!(%client, %qname, \"asked\")",
            "trace!(\"{name}\")",
            "event!(Level::DEBUG, address = 1)",
            "info!(listen = %socket, vendor = %vendor, \"listening\")",
            "info!(worker = thread.name(), \"restarted\")",
            "warn!(\"the word name, or {{name}}, in a text\")",
        ] {
            assert!(!refused(call), "{call}");
        }
    }
}
