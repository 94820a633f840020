//! Examples that come many at a time: each is taken or refused by itself.

use super::{Given, GivenExample, Result, Service, ServiceError, SupportAdded};
use crate::domain::{Adaptation, Invalid, SupportId, TaskId, TenantId};

/// What became of one example.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It is new.
    Added(SupportId),
    /// It was there already.
    Duplicate(SupportId),
    /// It is wrong; pointers are into the example.
    Rejected(Vec<Invalid>),
}

/// What became of many.
#[derive(Clone, Debug, Default)]
pub struct Verdicts {
    /// One for each example, in order.
    pub verdicts: Vec<Verdict>,
    /// How many examples the task has now.
    pub support_count: usize,
    /// The adaptation that follows, if the task adapts by itself.
    pub adaptation: Option<Adaptation>,
}

impl Verdicts {
    /// Goes on with others that came after these.
    pub fn extend(&mut self, others: Self) {
        self.verdicts.extend(others.verdicts);
        self.support_count = others.support_count;
        self.adaptation = others.adaptation.or_else(|| self.adaptation.take());
    }

    fn note(&mut self, given: usize, added: SupportAdded) {
        let mut duplicates = added.added.duplicates.into_iter().peekable();
        let mut ids = added.added.added.into_iter();
        for place in 0..given {
            match duplicates.next_if(|(duplicate, _)| *duplicate == place) {
                Some((_, id)) => self.verdicts.push(Verdict::Duplicate(id)),
                None => self.verdicts.extend(ids.next().map(Verdict::Added)),
            }
        }
        self.support_count = added.support_count;
        self.adaptation = added.adaptation.or_else(|| self.adaptation.take());
    }
}

impl Service {
    /// Adds those examples that are right, and says of each what became of it.
    pub async fn add_each_support(
        &self,
        tenant: TenantId,
        task: TaskId,
        examples: Vec<GivenExample>,
    ) -> Result<Verdicts> {
        let mut verdicts = Verdicts::default();
        if examples.is_empty() {
            self.found_task(tenant, task).await?;
            verdicts.support_count = self.store.support_len(tenant, task).await?;
            return Ok(verdicts);
        }
        let whole = Given { examples: examples.clone(), unlabelled: Vec::new() };
        match self.add_support(tenant, task, whole).await {
            Ok(added) => verdicts.note(examples.len(), added),
            Err(ServiceError::Invalid(_)) => {
                for example in examples {
                    let alone = Given { examples: vec![example], unlabelled: Vec::new() };
                    match self.add_support(tenant, task, alone).await {
                        Ok(added) => verdicts.note(1, added),
                        Err(ServiceError::Invalid(faults)) => {
                            let faults = faults.into_iter().map(within).collect();
                            verdicts.verdicts.push(Verdict::Rejected(faults));
                        }
                        Err(error) => return Err(error),
                    }
                }
                verdicts.support_count = self.store.support_len(tenant, task).await?;
            }
            Err(error) => return Err(error),
        }
        Ok(verdicts)
    }
}

/// The fault of a request with one example, as one of that example.
fn within(Invalid { pointer, fault }: Invalid) -> Invalid {
    Invalid { pointer: pointer.strip_prefix("/examples/0").unwrap_or_default().to_owned(), fault }
}
