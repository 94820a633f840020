//! From callers' values to rows of numbers.

use super::{Result, Service, ServiceError};
use crate::domain::{BaseModel, Fault, Input, Invalid, PixelLimits};
use crate::engine::{Lane, Origin};

/// Longest name, label or external id, in characters.
const NAME_LIMIT: usize = 128;

/// Most faults that one answer lists.
const MAX_FAULTS: usize = 20;

/// For whom a list of inputs is read, and where it stands in the request.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) origin: Origin,
    pub(super) pointer: &'static str,
}

impl Service {
    /// One row an input. Decoding is work for a processor, so it happens off the runtime's threads, and for so many
    /// requests at a time only, tenants by turns; texts go on to the engine.
    ///
    /// `member` is the input's place in an item, `/input` or nothing.
    pub(super) async fn rows(
        &self,
        base: &BaseModel,
        inputs: Vec<Input>,
        asked: Asked,
        member: &'static str,
        lane: Lane,
    ) -> Result<(Vec<Input>, Vec<Vec<f32>>)> {
        let Asked { origin, pointer } = asked;
        let limits = PixelLimits { max_side: self.config.max_image_side, ..PixelLimits::default() };
        let turn = self.decoders.take(origin.tenant, inputs.len() as u64).await?;
        let schema = base.manifest.input.clone();
        let decode = move || {
            let _turn = turn; // until the work is done, even if nobody waits for it any more
            let mut rows = Vec::with_capacity(inputs.len());
            let (mut texts, mut faults) = (Vec::new(), Vec::new());
            for (index, input) in inputs.iter().enumerate() {
                let row = match schema.text(input) {
                    Ok(Some(text)) => {
                        texts.push((index, text.to_owned()));
                        Ok(Vec::new()) // filled in when it has been encoded
                    }
                    Ok(None) => schema.row(input, limits),
                    Err(fault) => Err(fault),
                };
                match row {
                    Ok(row) => rows.push(row),
                    Err(fault) if faults.len() < MAX_FAULTS => {
                        faults.push(fault.at(format!("{pointer}/{index}{member}")));
                    }
                    Err(_) => break,
                }
            }
            if faults.is_empty() { Ok((inputs, rows, texts)) } else { Err(ServiceError::Invalid(faults)) }
        };
        let (inputs, mut rows, texts) = tokio::task::spawn_blocking(decode).await.map_err(|_| ServiceError::Lost)??;
        if !texts.is_empty() {
            let (places, texts): (Vec<usize>, Vec<String>) = texts.into_iter().unzip();
            let embeddings = self.engine.embed(origin, &base.manifest.name, texts, lane).await?;
            for (place, embedding) in places.into_iter().zip(embeddings) {
                rows[place] = base.manifest.input.completed(&inputs[place], &embedding);
            }
        }
        Ok((inputs, rows))
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
