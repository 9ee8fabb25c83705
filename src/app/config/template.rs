//! The commented file that documents every key; what it sets are the defaults, and a test says so.

/// The file.
pub const TEMPLATE: &str = include_str!("template.toml");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::config::{File, Source, parse};

    /// Comment marks taken off the keys that have no default, so that they are read too.
    fn everything() -> String {
        TEMPLATE
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(rest) if rest.starts_with('[') || rest.starts_with('"') && rest.contains("\" = \"") => rest,
                Some(rest) if rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')) => rest,
                _ => line,
            })
            .fold(String::new(), |text, line| text + line + "\n")
    }

    #[test]
    fn the_template_is_the_default() {
        let config = parse(TEMPLATE, &Source::Embedded).unwrap();
        let (ours, default) = (toml::to_string(&config.file).unwrap(), toml::to_string(&File::default()).unwrap());
        assert_eq!(ours, default);
    }

    #[test]
    fn every_key_is_in_the_template() {
        let text = everything();
        parse(&text, &Source::Embedded).unwrap();
        let full: File = toml::from_str(&text).unwrap();
        let shown = toml::to_string(&full).unwrap();
        let of_lists = ["git", "branch", "every", "signers", "promise", "ca", "ssh_key", "known_hosts"];
        let of_gates = ["minimum", "shrink", "growth", "unreadable", "widest_v4", "widest_v6", "must_have"];
        let keys = [
            "clients", "names", "networks", "servers", "address", "name", "approver", "until", "reason", "id", "path",
            "format", "stage", "vendors", "hosts",
        ];
        for key in keys.iter().chain(&of_lists).chain(&of_gates) {
            assert!(shown.contains(&format!("{key} = ")), "{key} is not in the template");
        }
        for key in ["tag = ", "commit = ", "insecure = "] {
            assert!(TEMPLATE.contains(key), "{key} is not in the template");
        }
        let default = toml::to_string(&File::default()).unwrap();
        for key in default.lines().filter_map(|line| line.split_once(" = ")).map(|(key, _)| key) {
            assert!(TEMPLATE.contains(&format!("{key} = ")), "{key} is not in the template");
        }
    }

    #[test]
    fn what_is_shown_reads_back_as_the_same() {
        let full: File = toml::from_str(&everything()).unwrap();
        let shown = toml::to_string(&full).unwrap();
        let back: File = toml::from_str(&shown).unwrap();
        assert_eq!(shown, toml::to_string(&back).unwrap());
        parse(&shown, &Source::Embedded).unwrap();
    }
}
