//! From read lists to rules: vendor files first, then the operator's lists in the order of the config.

use super::list::format::{self, Entry, Format};
use super::list::vendor::{self, VendorFile};
use super::list::{Refusal, Report};
use super::rules::{Class, Limit, List, ListId, RuleSetBuilder, TooMany, Vendor};
use crate::base::model::{Purpose, Wall};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::io::BufRead;
use std::sync::Arc;

impl RuleSetBuilder {
    /// Adds the rules of a vendor file. Entries that nobody could verify become none.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn add_vendor_file(&mut self, file: Arc<VendorFile>, revision: &str) -> Result<(), TooMany> {
        let list = self.list(List {
            id: Arc::clone(&file.id),
            file: Arc::clone(&file.file),
            revision: revision.into(),
            stage: None,
            expires: None,
        })?;
        let class = |purpose: Purpose, limit: Option<Limit>, expires: Option<Wall>| Class {
            list,
            vendor: Some(Arc::clone(&file.id)),
            purpose,
            limit,
            expires,
        };
        let (mut names, mut ranges, mut unverified) = (0, 0, 0);
        for domain in &file.domains {
            if !domain.provenance.verified {
                unverified += 1;
                continue;
            }
            let limit = domain.observe_only().map(|_| Limit::Unrecorded);
            let id = self.class(class(domain.purpose, limit, None))?;
            self.name(id, &domain.pattern, domain.provenance.line)?;
            names += 1;
        }
        for range in &file.ranges {
            if !range.provenance.verified {
                unverified += 1;
                continue;
            }
            let id = self.class(class(range.purpose, range_limit(range), range.expires().map(start_of)))?;
            self.range(id, range.net, range.provenance.line)?;
            ranges += 1;
        }
        self.vendor(Vendor { file, names, ranges, unverified });
        Ok(())
    }

    /// Adds the rules of a list that names no vendors; they are put down to the list's id, with purpose `unknown`.
    ///
    /// # Errors
    /// What the format's reader refuses; rules that were added before it are to be thrown away with the builder.
    pub fn add_blocklist(
        &mut self,
        list: List,
        format: Format,
        from: &mut dyn BufRead,
    ) -> Result<(ListId, Report), Refusal> {
        let file = Arc::clone(&list.file);
        let too_many = |why| Refusal::TooMany { file: file.to_string(), why };
        let id = self.list(list).map_err(too_many)?;
        let class = Class { list: id, vendor: None, purpose: Purpose::Unknown, limit: None, expires: None };
        let class = self.class(class).map_err(too_many)?;
        let report = format::read(format, &file, from, |entry, line| match entry {
            Entry::Name(pattern) => self.name(class, pattern, line),
            Entry::Range(net) => self.range(class, net, line),
        })?;
        Ok((id, report))
    }
}

fn range_limit(range: &vendor::Range) -> Option<Limit> {
    if range.shared || range.purpose == Purpose::PublicCloud {
        return Some(Limit::Shared);
    }
    range.observe_only().map(|_| Limit::Unrecorded)
}

/// Midnight UTC.
fn start_of(day: Date) -> Wall {
    TimeZone::UTC.to_timestamp(day.into()).unwrap_or(Wall::MAX)
}
