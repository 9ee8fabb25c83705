//! The decision in words: which rule or exception, under which authority or setting, and what else matched.

use super::decide::Candidate;
use super::list::vendor::Authority;
use super::{Class, Policy, RuleId, Subject, Verdict, Why};
use crate::base::model::{Decision, RuleFacts, Stage, meant};

/// A verdict with everything that a person needs to check it.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The verdict.
    pub verdict: Verdict,
    /// The rule that decided, or that an exception overrode.
    pub rule: Option<RuleFacts>,
    /// The group of the client that it is decided for.
    pub group: Option<String>,
    /// The reason, one sentence.
    pub reason: String,
    /// Id of the authority that demands a block.
    pub authority: Option<String>,
    /// How that authority is cited.
    pub citation: Option<String>,
    /// Other rules that match, in the order of their closeness, each with its stage and why it did not decide.
    pub others: Vec<Reason>,
}

/// A matching rule and what it would have said.
#[derive(Clone, Debug)]
pub struct Reason {
    /// The rule.
    pub rule: RuleFacts,
    /// What is wanted for it.
    pub stage: Stage,
    /// Why.
    pub why: String,
}

/// Why a rule that lets pass is shown.
const OWN_EXCEPTION: &str = "its list lets this pass, so that list says nothing here";

impl Policy {
    /// Judges a subject and says why.
    #[must_use]
    pub fn explain(&self, subject: &Subject<'_>) -> Explanation {
        let verdict = self.decide(subject);
        let chosen = verdict.rule.and_then(|rule| self.candidate(rule));
        let authority = chosen.filter(|_| verdict.decision == Decision::Block).and_then(|c| self.authority(&c));
        Explanation {
            verdict,
            rule: chosen.and_then(|c| self.rules.facts(c.rule)),
            group: self.group().map(|group| group.id.clone()),
            reason: self.reason(&verdict, chosen),
            authority: authority.map(|authority| authority.id.to_string()),
            citation: authority.map(|authority| authority.citation.clone()),
            others: self.others(subject, verdict.rule),
        }
    }

    /// Why a class of rules has its stage, in words.
    #[must_use]
    pub fn why(&self, class: &Class, why: &Why) -> String {
        let vendor = class.vendor.as_ref().and_then(|id| self.rules.vendor(id));
        match why {
            Why::Authority { authority, clause } => {
                let Some(authority) = vendor.and_then(|vendor| vendor.file.authorities.get(*authority)) else {
                    return "an authority forbids it".to_owned();
                };
                let from = authority.clauses.get(*clause).map_or_else(String::new, |clause| clause.from.to_string());
                let Authority { id, citation, .. } = authority;
                format!("{id} ({citation}) forbids {} traffic from {from}", class.purpose.family())
            }
            Why::Setting(at) => match self.settings.stages.get(*at) {
                Some(setting) => format!("[policy] stages sets {} to {}", setting.name(), setting.stage),
                None => "[policy] stages says so".to_owned(),
            },
            Why::Group { group, stage } => {
                let group = self.settings.groups.get(*group);
                let said = group.and_then(|group| Some((group, group.stages.get(*stage)?)));
                said.map_or_else(String::new, |(group, setting)| {
                    format!("[[group]] {} sets {} to {}", group.id, setting.name(), setting.stage)
                })
            }
            Why::List => "its [[blocklist]] says so".to_owned(),
            Why::Default => {
                "no clause in force forbids it and [policy] stages does not name it, so it is observed".to_owned()
            }
            Why::Limited(limit) => limit.reason().to_owned(),
            Why::Paused => "enforcement is paused, so it is observed only".to_owned(),
            Why::Expired(since) => format!("its evidence is too old to block on since {since}, so it is observed only"),
        }
    }

    fn reason(&self, verdict: &Verdict, chosen: Option<Candidate<'_>>) -> String {
        if let Some(exception) = verdict.exception.and_then(|id| self.settings.exceptions.get(id.index())) {
            let until = exception.until.map_or_else(String::new, |until| format!(" until {until}"));
            return format!("exception{until}: {} (approved by {})", exception.reason, exception.approver);
        }
        let class = chosen.and_then(|c| self.rules.class(c.class));
        match (chosen, class) {
            (Some(chosen), Some(class)) => self.why(class, &chosen.staged.why),
            _ => "no rule mentions it".to_owned(),
        }
    }

    fn authority(&self, chosen: &Candidate<'_>) -> Option<&Authority> {
        let Why::Authority { authority, .. } = &chosen.staged.why else { return None };
        let vendor = self.rules.class(chosen.class)?.vendor.as_ref()?;
        self.rules.vendor(vendor)?.file.authorities.get(*authority)
    }

    fn candidate(&self, rule: RuleId) -> Option<Candidate<'_>> {
        let class = self.rules.class_of(rule)?;
        Some(Candidate { rule, class, staged: self.staged(class)? })
    }

    fn others(&self, subject: &Subject<'_>, chosen: Option<RuleId>) -> Vec<Reason> {
        let mut matching: Vec<RuleId> = Vec::new();
        let apart = &self.rules.apart;
        let own = if apart.is_empty() { None } else { Some(apart.judge(subject)) };
        if own.is_some() {
            matching.extend(apart.matching(subject).into_iter().map(RuleId::of_apart));
        }
        if let Some(name) = subject.name {
            self.rules.names.find(name, |found| {
                if !apart.removes(found.at) {
                    matching.push(RuleId::of_name(found.at));
                }
            });
        }
        let address = subject.address.map(meant);
        matching.extend(address.map_or_else(Vec::new, |address| self.rules.ranges_over(address)));
        matching
            .into_iter()
            .filter(|rule| Some(*rule) != chosen)
            .filter_map(|rule| {
                let candidate = self.candidate(rule)?;
                let rule = self.rules.facts(rule)?;
                if self.rules.passes(candidate.rule) {
                    return Some(Reason { rule, stage: Stage::Off, why: OWN_EXCEPTION.to_owned() });
                }
                let why = self.why(self.rules.class(candidate.class)?, &candidate.staged.why);
                Some(Reason { rule, stage: candidate.staged.stage, why })
            })
            .collect()
    }
}
