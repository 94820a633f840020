//! From callers' values to rows of numbers.

use super::{Result, Service, ServiceError};
use crate::domain::{BaseModel, Fault, Input, InputSchema, Invalid, PixelLimits, Rows};

/// Longest name, label or external id, in characters.
const NAME_LIMIT: usize = 128;

/// Most faults that one answer lists.
const MAX_FAULTS: usize = 20;

impl Service {
    /// One row an input. Decoding is work for a processor, so it happens off the runtime's threads, and for so many
    /// requests at a time only.
    ///
    /// `pointer` is where the list stands in the request; `member` is the input's place in an item, `/input` or nothing.
    pub(super) async fn rows(
        &self,
        schema: &InputSchema,
        inputs: Vec<Input>,
        pointer: &'static str,
        member: &'static str,
    ) -> Result<(Vec<Input>, Vec<Vec<f32>>)> {
        let limits = PixelLimits { max_side: self.config.max_image_side, ..PixelLimits::default() };
        let permit = self.decoders.clone().acquire_owned().await.map_err(|_| ServiceError::Lost)?;
        let schema = schema.clone();
        let decode = move || {
            let _permit = permit; // until the work is done, even if nobody waits for it any more
            let mut rows = Vec::with_capacity(inputs.len());
            let mut faults = Vec::new();
            for (index, input) in inputs.iter().enumerate() {
                match schema.row(input, limits) {
                    Ok(row) => rows.push(row),
                    Err(fault) if faults.len() < MAX_FAULTS => {
                        faults.push(fault.at(format!("{pointer}/{index}{member}")));
                    }
                    Err(_) => break,
                }
            }
            if faults.is_empty() { Ok((inputs, rows)) } else { Err(ServiceError::Invalid(faults)) }
        };
        tokio::task::spawn_blocking(decode).await.map_err(|_| ServiceError::Lost)?
    }

    /// Rows of a query.
    pub(super) async fn query(&self, base: &BaseModel, query: Vec<Input>) -> Result<Rows> {
        let limits = &base.manifest.limits;
        if query.is_empty() {
            return Err(Fault::TooFew { what: "inputs in the query", given: 0, least: 1 }.at("/query").into());
        }
        check_count("inputs in the query", query.len(), limits.max_query, "/query")?;
        let schema = &base.manifest.input;
        let (_, rows) = self.rows(schema, query, "/query", "").await?;
        Rows::new(schema.row_width(), rows.concat()).map_err(|fault| fault.at("/query").into())
    }
}

/// At most `limit` of them.
pub(super) fn check_count(what: &'static str, given: usize, limit: usize, pointer: &str) -> Result<(), Invalid> {
    if given > limit { Err(Fault::TooMany { what, given, limit }.at(pointer)) } else { Ok(()) }
}

/// 1 to 128 characters, none of them a control character.
pub(super) fn check_name(what: &'static str, name: &str, pointer: &str) -> Result<(), Invalid> {
    let length = name.chars().count();
    if length == 0 || length > NAME_LIMIT || name.chars().any(char::is_control) {
        return Err(Fault::BadName { what, limit: NAME_LIMIT }.at(pointer));
    }
    Ok(())
}
