//! Formats of lists that name no vendors, and telling them apart by content.

use super::line::{Refusal, Report};
use super::{domains, ranges};
use crate::base::model::vocabulary;
use crate::base::name::Pattern;
use crate::policy::TooMany;
use ipnet::IpNet;
use std::io::BufRead;

vocabulary! {
    /// How a list is written.
    pub enum Format {
        /// Told by content.
        Auto => "auto",
        /// One name a line, each with everything below it.
        Domains => "domains",
        /// One address or prefix a line.
        Ranges => "cidr",
    }
}

/// What a list line becomes.
pub(crate) enum Entry<'a> {
    /// A rule on names.
    Name(&'a Pattern),
    /// A rule on addresses.
    Range(IpNet),
}

/// Reads a list in a format and hands on each entry with its line.
///
/// # Errors
/// What the format's reader refuses.
pub(crate) fn read(
    format: Format,
    file: &str,
    from: &mut dyn BufRead,
    mut rule: impl FnMut(Entry<'_>, u32) -> Result<(), TooMany>,
) -> Result<Report, Refusal> {
    let format = if format == Format::Auto { detect(file, from)? } else { format };
    match format {
        Format::Ranges => ranges::read(file, from, |net, line| rule(Entry::Range(net), line)),
        Format::Auto | Format::Domains => domains::read(file, from, |name, line| rule(Entry::Name(name), line)),
    }
}

/// Looks at the first entry without taking it.
fn detect(file: &str, from: &mut dyn BufRead) -> Result<Format, Refusal> {
    let start = from.fill_buf().map_err(|error| Refusal::Io { file: file.to_owned(), error })?;
    let text = String::from_utf8_lossy(start);
    let mut entries = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', '!', ';']));
    let first = entries.next().and_then(|line| line.split_whitespace().next()).unwrap_or_default();
    Ok(if ranges::parse(first).is_some() { Format::Ranges } else { Format::Domains })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_entry_tells_the_format() {
        for (text, format) in [
            ("# c\n\n192.0.2.0/24\n", Format::Ranges),
            ("2001:db8::1 # host\n", Format::Ranges),
            ("a.example\n", Format::Domains),
            ("", Format::Domains),
        ] {
            assert_eq!(detect("f", &mut text.as_bytes()).unwrap(), format, "{text}");
        }
    }
}
