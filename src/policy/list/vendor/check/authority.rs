//! Acts and their clauses: only kinds that forbid traffic carry clauses, and a clause says when and what.

use super::{At, Check, Text, is_slug, raw};
use crate::base::model::{Family, Purpose, PurposeSelector};
use crate::policy::list::problem::did_you_mean;
use crate::policy::list::vendor::{Authority, AuthorityKind, Clause};
use std::sync::Arc;
use toml::Spanned;

impl Check<'_> {
    pub(super) fn authority(&mut self, At { line, entry }: At<raw::Authority>) -> Option<Authority> {
        let jurisdiction = self.slug(&entry.jurisdiction, "jurisdiction");
        let id = self.authority_id(&entry.id, entry.jurisdiction.as_ref());
        let kind = self.word::<AuthorityKind>(&entry.kind);
        let binds = entry.binds.as_ref().and_then(|binds| self.slug(binds, "binds"));
        let issued = self.day_or_part(entry.issued, "issued");
        let effective = self.day_or_part(entry.effective, "effective");
        let confidence = self.word(&entry.confidence);
        let provenance = self.provenance(line, entry.source, entry.verified);
        if let (Some(kind), Some(clause)) = (kind, entry.clause.first()) {
            let at = self.report.line(clause.span().start);
            if !kind.forbids_traffic() {
                self.report.push(at, format!("an act of kind {kind} forbids no traffic and carries no clause"));
            } else if binds.is_none() {
                self.report.push(at, "an act with clauses says whom it `binds`");
            } else if !provenance.verified {
                self.report.push(at, "an act that is not verified carries no clause");
            }
        }
        let clauses = entry.clause.into_iter().filter_map(|clause| self.clause(clause)).collect();
        let instrument = self.text(entry.instrument, "instrument");
        self.once("authority", format!("{} {instrument:?} of {effective:?}", entry.id.as_ref()), line);
        Some(Authority {
            id: id?,
            authority: self.text(entry.authority, "authority"),
            instrument,
            citation: self.text(entry.citation, "citation"),
            jurisdiction: jurisdiction?,
            kind: kind?,
            binds,
            issued,
            effective,
            url: self.maybe(entry.url, "url"),
            covers: self.maybe(entry.covers, "covers"),
            confidence: confidence?,
            clauses,
            provenance,
        })
    }

    fn authority_id(&mut self, text: &Text, jurisdiction: &str) -> Option<Arc<str>> {
        match text.as_ref().split_once('/') {
            Some((place, name)) if place == jurisdiction && is_slug(name) => Some(text.as_ref().as_str().into()),
            _ => {
                let form = format!("{jurisdiction}/short-name");
                self.problem(text, format!("`id` {:?} is to be its jurisdiction and a name: {form:?}", text.as_ref()));
                None
            }
        }
    }

    /// A day, or the month or year alone where the source says no more.
    fn day_or_part(&mut self, text: Option<Text>, key: &str) -> Option<String> {
        let text = text?;
        let filled = match text.as_ref().len() {
            4 => format!("{}-01-01", text.as_ref()),
            7 => format!("{}-01", text.as_ref()),
            _ => text.as_ref().clone(),
        };
        if filled.len() != 10 || filled.parse::<jiff::civil::Date>().is_err() {
            self.problem(&text, format!("`{key}` {:?} is no date; write 2024-09-29, 2024-09 or 2024", text.as_ref()));
        }
        Some(text.into_inner())
    }

    fn clause(&mut self, clause: Spanned<raw::Clause>) -> Option<Clause> {
        let line = self.report.line(clause.span().start);
        let raw::Clause { from, until, forbids } = clause.into_inner();
        let (start, end) = (self.moment(&from), until.as_ref().map(|until| self.moment(until)));
        if let (Some(start), Some(Some(end))) = (start, end)
            && end <= start
        {
            self.report.push(line, "this clause ends before it begins: `until` is to be later than `from`");
        }
        if forbids.as_ref().is_empty() {
            self.report.push(line, "this clause forbids nothing: name families or purposes in `forbids`");
        }
        let forbids = forbids.into_inner().iter().filter_map(|word| self.selector(word)).collect();
        Some(Clause { line, from: start?, until: end.flatten(), forbids })
    }

    fn moment(&mut self, text: &Text) -> Option<jiff::Timestamp> {
        let moment = text.as_ref().parse().ok();
        if moment.is_none() {
            self.problem(text, format!("{:?} is no time; write it as 2024-09-29T00:00:00-04:00", text.as_ref()));
        }
        moment
    }

    fn selector(&mut self, text: &Text) -> Option<PurposeSelector> {
        let selector = text.as_ref().parse().ok();
        if selector.is_none() {
            let known = Family::WORDS.iter().chain(Purpose::WORDS).copied();
            let hint =
                did_you_mean(text.as_ref(), known).map_or_else(String::new, |w| format!("; did you mean {w:?}?"));
            self.problem(text, format!("{:?} is neither a family nor a purpose{hint}", text.as_ref()));
        }
        selector
    }
}
