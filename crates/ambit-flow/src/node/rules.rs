//! The two kinds that the executor runs itself: rules and conditions.
//!
//! Neither can panic, both read the context directly, and neither has any state; so they need no
//! scope, and a graph of nothing else allocates nothing.

use ambit_mem::Arena;
use serde::Deserialize;

use super::{Building, NodeError, NodeFault, Outputs};
use crate::def::NodeDef;
use crate::{Context, Key, Rule, Type};

/// The port that a node of kind `rule` with one rule writes to; its key is the node's name.
pub(crate) const ANSWER: &str = "answer";
/// The branch of a condition none of whose rules holds.
const ELSE: &str = "else";
/// Branches of a condition, at most.
const MAX_BRANCHES: usize = 1000;

/// Rules whose answers are written to keys.
#[derive(Debug)]
pub(crate) struct Rules {
    pub rules: Box<[Rule]>,
    /// Port and type of each answer.
    pub writes: Box<[(String, Type)]>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesConfig {
    rule: Option<String>,
    set: Option<serde_json::Map<String, serde_json::Value>>,
}

impl Rules {
    pub(crate) fn new(def: &NodeDef, building: &Building<'_>) -> Result<Self, NodeFault> {
        let config: RulesConfig = building.config(def)?;
        let texts = match (config.rule, config.set) {
            (Some(rule), None) => vec![(ANSWER.to_owned(), rule)],
            (None, Some(set)) if !set.is_empty() => set
                .into_iter()
                .map(|(key, rule)| match rule {
                    serde_json::Value::String(rule) => Ok((key, rule)),
                    // A number or a truth value is a rule, too.
                    other @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_)) => {
                        Ok((key, other.to_string()))
                    }
                    _ => Err(NodeFault::Config(format!("set.{key} is no rule"))),
                })
                .collect::<Result<_, _>>()?,
            _ => {
                let message = "needs either 'rule', or 'set' with a rule for each key";
                return Err(NodeFault::Config(message.to_owned()));
            }
        };
        let (mut rules, mut writes) = (Vec::with_capacity(texts.len()), Vec::new());
        for (port, text) in texts {
            let rule = building.rule(&text)?.bind(&def.read);
            writes.push((port, rule.answer_type()));
            rules.push(rule);
        }
        Ok(Self { rules: rules.into(), writes: writes.into() })
    }

    #[inline]
    pub(crate) fn run(
        &self,
        context: &Context,
        outputs: &mut Outputs,
        arena: &Arena,
    ) -> Result<(), NodeError> {
        for (port, rule) in self.rules.iter().enumerate() {
            outputs.set(port, rule.answer(context, arena)?)?;
        }
        Ok(())
    }
}

/// Rules of which the first that holds says which edges are taken.
#[derive(Debug)]
pub(crate) struct Condition {
    cases: Box<[Rule]>,
    branches: Box<[Box<str>]>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConditionConfig {
    rule: Option<String>,
    cases: Option<Vec<Case>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    branch: String,
    when: String,
}

impl Condition {
    pub(crate) fn new(def: &NodeDef, building: &Building<'_>) -> Result<Self, NodeFault> {
        let config: ConditionConfig = building.config(def)?;
        let cases = match (config.rule, config.cases) {
            (Some(when), None) => vec![Case { branch: "then".to_owned(), when }],
            (None, Some(cases)) if (1..=MAX_BRANCHES).contains(&cases.len()) => cases,
            _ => {
                let message = format!("needs either 'rule', or 1 to {MAX_BRANCHES} 'cases'");
                return Err(NodeFault::Config(message));
            }
        };
        let mut branches: Vec<Box<str>> = Vec::with_capacity(cases.len() + 1);
        let mut rules = Vec::with_capacity(cases.len());
        for case in cases {
            if case.branch == ELSE || branches.iter().any(|branch| **branch == *case.branch) {
                let message = format!("branch '{}' is there already", case.branch.escape_debug());
                return Err(NodeFault::Config(message));
            }
            branches.push(case.branch.into());
            rules.push(building.rule(&case.when)?.bind(&def.read));
        }
        branches.push(ELSE.into());
        Ok(Self { cases: rules.into(), branches: branches.into() })
    }

    /// Its branches, the last one taken where no rule holds.
    pub(crate) fn branches(&self) -> &[Box<str>] {
        &self.branches
    }

    pub(crate) fn rules(&self) -> &[Rule] {
        &self.cases
    }

    /// The number of the branch that is taken.
    #[inline]
    pub(crate) fn run(&self, context: &Context, arena: &Arena) -> Result<u16, NodeError> {
        for (branch, rule) in self.cases.iter().enumerate() {
            if rule.holds(context, arena)? {
                return Ok(branch as u16);
            }
        }
        Ok(self.cases.len() as u16)
    }
}

/// The keys that rules read, each once.
pub(crate) fn keys(rules: &[Rule]) -> Vec<Key> {
    let mut keys: Vec<Key> = rules.iter().flat_map(Rule::keys).collect();
    keys.sort_by(|a, b| a.name().cmp(b.name()));
    keys.dedup();
    keys
}
