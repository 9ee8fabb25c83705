//! What an upstream answer leads to, judged under the policy of the moment: a harmless name must not deliver a listed one.
//!
//! Judged are the target of each CNAME, DNAME, SVCB and HTTPS record and what a DNAME makes of a name, then each address and
//! address hint. Three rules tie them together (design.md, *Decision semantics*):
//! * *Name over address*: an address is judged together with the last name on the way to it that a rule or exception mentions,
//!   or else the name asked for; a vendor's address range then decides only about names that nobody mentions.
//! * *Exceptions win*: what is spared by name spares what it leads to as well; an exception that worked only until the first alias
//!   would be none.
//! * *One attempt, one rule*: what the question's own rule said once is not said again for its addresses.
//!
//! A private address for a public name is withheld besides, unless an exception spares the name.
//!
//! An answer in which nothing is listed is marked with the policy's epoch and not looked at again within it. That holds for all
//! clients: only exceptions depend on the client, and a mentioned name is never marked; where a list has rules of its own for
//! some clients, no answer is marked.

use super::stored::StoredAnswer;
use crate::base::model::{Channel, Decision};
use crate::base::name::{NameBuf, NameRef};
use crate::base::wire::dns::{AnswerView, Record, Section, rtype};
use crate::policy::{Hit, Policy, Subject, Verdict};
use std::net::IpAddr;
use std::ops::ControlFlow;

/// The question behind an answer, and what was decided about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) name: NameRef<'a>,
    pub(super) qtype: u16,
    pub(super) client: IpAddr,
    pub(super) verdict: Verdict,
}

impl<'a> Asked<'a> {
    /// Judges a question.
    pub(super) fn new(policy: &Policy, name: NameRef<'a>, qtype: u16, client: IpAddr) -> Self {
        let subject = Subject { name: Some(name), qtype: Some(qtype), client: Some(client), ..Subject::default() };
        Self { name, qtype, client, verdict: policy.decide(&subject) }
    }

    /// The question as an attempt, where a rule mentions it.
    pub(super) fn hit(&self) -> Option<Hit> {
        Hit::of(&self.verdict, false, Channel::Dns, self.name, None)
    }
}

/// What is found in an answer.
#[derive(Debug)]
pub(super) enum Judged {
    /// It may be served; `listed` without ECH configurations.
    Pass { hit: Option<Hit>, listed: bool },
    /// It may not.
    Block { verdict: Verdict, hit: Option<Hit> },
    /// It gives a public name a private address.
    Withheld,
}

/// Judges an answer. No allocation.
pub(super) fn answer(policy: &Policy, stored: &StoredAnswer, asked: &Asked<'_>) -> Judged {
    if stored.is_clean(policy.epoch()) {
        return Judged::Pass { hit: None, listed: false };
    }
    let listed = policy.covers_name(asked.name);
    let mut walk = Walk {
        policy,
        asked: *asked,
        near: asked.name.into(),
        spared: asked.verdict.exception.is_some(),
        listed,
        touched: listed || asked.verdict.rule.is_some() || asked.verdict.exception.is_some(),
        hit: None,
    };
    if let Ok(view) = AnswerView::parse(stored.octets())
        && let ControlFlow::Break(judged) = walk.all(&view)
    {
        return judged;
    }
    if !walk.touched && !policy.judges_by_client() {
        stored.mark_clean(policy.epoch());
    }
    Judged::Pass { hit: walk.hit, listed: walk.listed }
}

/// Stops at the first thing that may not pass.
type Flow = ControlFlow<Judged>;

struct Walk<'a> {
    policy: &'a Policy,
    asked: Asked<'a>,
    /// The last name of the chain that is mentioned somewhere, or else the name asked for.
    near: NameBuf,
    /// An exception covers a name of the chain.
    spared: bool,
    /// Some name is mentioned somewhere.
    listed: bool,
    /// Some rule or exception had a say.
    touched: bool,
    hit: Option<Hit>,
}

impl Walk<'_> {
    fn all(&mut self, view: &AnswerView<'_>) -> Flow {
        // What is stored was checked when it arrived, so no record is passed over here.
        let answers = || view.records().flatten().take_while(|record| record.section == Section::Answer);
        // Names first, whatever the order of the records: an address is judged under the last of them.
        let renamed = answers().any(|record| record.rtype == rtype::DNAME);
        for record in answers() {
            if renamed {
                self.owner(&record)?;
            }
            self.names(&record)?;
        }
        for record in answers() {
            self.addresses(&record)?;
        }
        Flow::Continue(())
    }

    /// A DNAME says a tree, not the name in it that it leads to: a server that makes no CNAME of it says that name as an
    /// owner only.
    fn owner(&mut self, record: &Record<'_>) -> Flow {
        match record.owner() {
            Ok(owner) if owner.as_ref() != self.asked.name && record.rtype != rtype::DNAME => self.step(owner),
            _ => Flow::Continue(()),
        }
    }

    fn names(&mut self, record: &Record<'_>) -> Flow {
        if let Ok(Some(target)) = record.target() {
            self.step(target)?;
        }
        match record.svcb() {
            Ok(Some(svcb)) if !svcb.target().is_root() => self.name(svcb.target()),
            _ => Flow::Continue(()),
        }
    }

    fn addresses(&mut self, record: &Record<'_>) -> Flow {
        if let Ok(Some(address)) = record.address() {
            let near = self.near.clone();
            return self.address(near.as_ref(), address);
        }
        let Ok(Some(svcb)) = record.svcb() else { return Flow::Continue(()) };
        // A hint is an address of the record's own target.
        let near = if self.policy.covers_name(svcb.target()) { svcb.target().into() } else { self.near.clone() };
        svcb.hints().try_for_each(|hint| self.address(near.as_ref(), hint))
    }

    /// A name on the way.
    fn step(&mut self, name: NameBuf) -> Flow {
        self.name(name.as_ref())?;
        if self.policy.covers_name(name.as_ref()) {
            self.near = name;
        }
        Flow::Continue(())
    }

    fn name(&mut self, name: NameRef<'_>) -> Flow {
        let asked = &self.asked;
        let verdict = self.policy.decide(&Subject {
            name: Some(name),
            qtype: Some(asked.qtype),
            client: Some(asked.client),
            ..Subject::default()
        });
        self.spared |= verdict.exception.is_some();
        self.listed |= self.policy.covers_name(name);
        self.touched |= self.listed;
        self.note(verdict, name, None)
    }

    fn address(&mut self, near: NameRef<'_>, address: IpAddr) -> Flow {
        let asked = self.asked;
        let verdict = self.policy.decide(&Subject {
            name: Some(near),
            address: Some(address),
            qtype: Some(asked.qtype),
            client: Some(asked.client),
            ..Subject::default()
        });
        self.note(verdict, near, Some(address))?;
        // Where the chain leads is the answerer's choice: only the name asked for says whose network it is.
        if !self.spared && self.policy.local().withholds(asked.name, address) {
            return Flow::Break(Judged::Withheld);
        }
        Flow::Continue(())
    }

    fn note(&mut self, verdict: Verdict, name: NameRef<'_>, address: Option<IpAddr>) -> Flow {
        self.touched |= verdict.rule.is_some() || verdict.exception.is_some();
        let hit = || Hit::of(&verdict, self.spared, Channel::DnsAnswer, name, address);
        if verdict.decision == Decision::Block && !self.spared {
            return Flow::Break(Judged::Block { verdict, hit: hit() });
        }
        if self.hit.is_none() && verdict.rule != self.asked.verdict.rule {
            self.hit = hit();
        }
        Flow::Continue(())
    }
}
