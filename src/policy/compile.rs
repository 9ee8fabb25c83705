//! From read lists to rules: vendor files first, then the operator's lists in the order of the config.

use super::apart::{ApartRule, Place};
use super::list::format::{self, Format};
use super::list::out::{Action, Entry, Out};
use super::list::vendor::{self, VendorFile};
use super::list::{ListError, Problem, Refusal, Report};
use super::rules::{Class, ClassId, Limit, List, ListId, RuleSetBuilder, TooMany, Vendor};
use crate::base::model::{Purpose, Wall};
use crate::base::name::Pattern;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::collections::HashSet;
use std::io::{self, BufRead, Read as _};
use std::sync::Arc;

/// Octets of the largest vendor file.
const VENDOR_OCTETS_MAX: u64 = 16 << 20;

/// A list that another one includes.
pub struct Included {
    /// Its file, for provenance.
    pub file: String,
    /// Its revision.
    pub revision: String,
    /// Its text.
    pub text: Box<dyn BufRead>,
}

/// Finds the list that another one includes by name; the name is letters, digits, `-`, `_` and `!`.
pub type Include<'a> = dyn FnMut(&str) -> io::Result<Included> + 'a;

/// How a list is to be read.
#[derive(Default)]
pub struct Reading<'a> {
    /// The format.
    pub format: Option<Format>,
    /// Whether the list may answer with data of its own; else such data is a plain block.
    pub answers: bool,
    /// Where lists find those that they include.
    pub include: Option<&'a mut Include<'a>>,
    /// Whether all lines that are left out are to be kept, not the first alone.
    pub keeps_all: bool,
}

impl From<Format> for Reading<'_> {
    fn from(format: Format) -> Self {
        Self { format: Some(format), ..Self::default() }
    }
}

impl RuleSetBuilder {
    /// Adds the rules of a vendor file. Entries that nobody could verify become none.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn add_vendor_file(&mut self, file: Arc<VendorFile>, revision: &str) -> Result<ListId, TooMany> {
        let list = self.list(List {
            id: Arc::clone(&file.id),
            file: Arc::clone(&file.file),
            revision: revision.into(),
            stage: None,
            expires: None,
        })?;
        let class = |purpose: Purpose, limit: Option<Limit>, expires: Option<Wall>| Class {
            vendor: Some(Arc::clone(&file.id)),
            limit,
            expires,
            ..Class::of(list, purpose)
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
        Ok(list)
    }

    /// Adds the rules of a list that names no vendors; they are put down to the list's id, with purpose `unknown`. A list
    /// in the format `vendor` is a vendor file, and staged as those are.
    ///
    /// # Errors
    /// What the format's reader refuses; rules that were added before it are to be thrown away with the builder.
    pub fn add_blocklist<'r>(
        &mut self,
        list: List,
        reading: impl Into<Reading<'r>>,
        from: &mut dyn BufRead,
    ) -> Result<(ListId, Report), Refusal> {
        let Reading { format, answers, include, keeps_all } = reading.into();
        let file = Arc::clone(&list.file);
        let format = match format {
            None | Some(Format::Auto) => format::detect(&file, from)?,
            Some(format) => format,
        };
        if format == Format::Vendor {
            return self.add_vendor_text(&list, from);
        }
        let too_many = |why| Refusal::TooMany { file: file.to_string(), why };
        let id = self.list(list).map_err(too_many)?;
        let mut adding = Adding::new(self, id);
        let mut take = |entry: Entry<'_>, line| adding.take(entry, line);
        let mut out = Out::new(&file, answers, &mut take);
        if keeps_all {
            out.keep_all();
        }
        format::read(format, &mut out, from, include)?;
        let mut report = out.close()?;
        report.duplicates = adding.finish().map_err(too_many)?;
        Ok((id, report))
    }

    /// Adds a vendor file that stands in the place of a list.
    fn add_vendor_text(&mut self, list: &List, from: &mut dyn BufRead) -> Result<(ListId, Report), Refusal> {
        let file = list.file.to_string();
        let unreadable = |error| Refusal::Io { file: file.clone(), error };
        let mut text = String::new();
        from.take(VENDOR_OCTETS_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
        let refuse = |message: String| {
            let problems = vec![Problem { line: 1, message }];
            Refusal::Vendor(ListError { file: file.clone(), problems, more: 0 })
        };
        if text.len() as u64 > VENDOR_OCTETS_MAX {
            return Err(refuse("this is larger than 16 MiB, so it is no vendor file".to_owned()));
        }
        let read = vendor::read(&file, &text)?;
        if self.has_vendor(&read.id) {
            return Err(refuse(format!(
                "the id {:?} is taken by another vendor file; give each vendor one file",
                read.id
            )));
        }
        let before = self.plain_len();
        let too_many = |why| Refusal::TooMany { file: file.clone(), why };
        let id = self.add_vendor_file(Arc::new(read), &list.revision).map_err(too_many)?;
        Ok((id, Report { rules: self.plain_len() - before, ..Report::default() }))
    }
}

/// A list while it is read.
struct Adding<'b> {
    builder: &'b mut RuleSetBuilder,
    /// The list and those that it includes.
    lists: Vec<ListId>,
    /// Those of them that are being read, with their plain class.
    open: Vec<(ListId, Option<ClassId>)>,
    apart: Vec<(Place, ApartRule, Option<Box<str>>)>,
    /// Plain rules and forms of rules apart that are taken back.
    back: Vec<Pattern>,
    back_apart: HashSet<Box<str>>,
}

impl<'b> Adding<'b> {
    fn new(builder: &'b mut RuleSetBuilder, id: ListId) -> Self {
        builder.settle();
        let (lists, open) = (vec![id], vec![(id, None)]);
        Self { builder, lists, open, apart: Vec::new(), back: Vec::new(), back_apart: HashSet::new() }
    }

    /// Takes an entry.
    fn take(&mut self, entry: Entry<'_>, line: u32) -> Result<(), TooMany> {
        match entry {
            Entry::Name(pattern, action) => {
                let class = self.class(action)?;
                self.builder.name(class, pattern, line)?;
            }
            Entry::Range(net, action) => {
                let class = self.class(action)?;
                self.builder.range(class, net, line)?;
            }
            Entry::Apart(rule, form, action) => {
                if self.apart.len() >= super::apart::APART_RULES_MAX {
                    return Err(TooMany::Apart);
                }
                let class = self.class(action)?;
                self.apart.push((Place { class, line }, *rule, form));
            }
            Entry::TakeBack(_) | Entry::TakeBackApart(_)
                if self.back.len() + self.back_apart.len() >= super::apart::APART_RULES_MAX =>
            {
                return Err(TooMany::Apart);
            }
            Entry::TakeBack(pattern) => self.back.push(pattern),
            Entry::TakeBackApart(form) => {
                self.back_apart.insert(form);
            }
            Entry::Enter { file, revision } => {
                let list = self.builder.included(self.list(), file, revision)?;
                self.lists.push(list);
                self.open.push((list, None));
            }
            Entry::Leave => {
                self.open.pop();
            }
        }
        Ok(())
    }

    /// The list that is being read.
    fn list(&self) -> ListId {
        self.open.last().map_or(ListId::LAST, |(list, _)| *list)
    }

    /// The class of the list's rules that are answered so. The plain one is looked up once.
    fn class(&mut self, action: &Action) -> Result<ClassId, TooMany> {
        let is_plain = *action == Action::PLAIN;
        if let Some((_, Some(plain))) = self.open.last().filter(|_| is_plain) {
            return Ok(*plain);
        }
        let Action { answer, data } = action.clone();
        let class = self.builder.class(Class { answer, data, ..Class::of(self.list(), Purpose::Unknown) })?;
        if let Some((_, plain)) = self.open.last_mut().filter(|_| is_plain) {
            *plain = Some(class);
        }
        Ok(class)
    }

    /// Adds what had to wait for the end of the list. Says how many rules only repeat an earlier one.
    fn finish(self) -> Result<usize, TooMany> {
        let Self { builder, lists, apart, back, back_apart, .. } = self;
        let duplicates = builder.settle();
        let plain: Vec<ClassId> = builder.plain_classes(&lists);
        for (class, pattern) in plain.iter().flat_map(|class| back.iter().map(move |pattern| (class, pattern))) {
            builder.remove(*class, pattern);
        }
        let stays = |form: &Option<Box<str>>| form.as_ref().is_none_or(|form| !back_apart.contains(form));
        let apart = apart.into_iter().filter(|(_, _, form)| stays(form)).map(|(place, rule, _)| (place, rule));
        builder.apart(&lists, apart.collect())?;
        Ok(duplicates)
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
