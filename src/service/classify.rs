//! Classification of texts by labelled ones, in the words of others' clients.

use super::{AdaptPredict, AnswerStyle, Given, GivenExample, Prediction, Result, Service};
use crate::domain::{BaseModel, Fault, Input, Invalid, Kind, PredictionId, Recipe, TenantId};

/// Texts to classify, and labelled ones to learn from.
#[derive(Clone, Debug)]
pub struct Classify {
    /// The base model; the first that takes text by default.
    pub model: Option<String>,
    /// Texts and labels.
    pub examples: Vec<(String, String)>,
    /// Texts.
    pub inputs: Vec<String>,
}

/// One prediction a text.
#[derive(Clone, Debug)]
pub struct Classified {
    /// Id of the whole.
    pub id: PredictionId,
    /// In order.
    pub predictions: Vec<Prediction>,
}

impl Service {
    /// Classifies texts; nothing is stored.
    pub async fn classify(&self, tenant: TenantId, request: Classify) -> Result<Classified> {
        let base = match &request.model {
            Some(name) => self.named_base(name, "/model")?,
            None => self.text_base()?,
        };
        let schema = &base.manifest.input;
        let mut examples = Vec::with_capacity(request.examples.len());
        for (index, (text, label)) in request.examples.into_iter().enumerate() {
            let input = schema.from_text(text).map_err(|fault| fault.at(format!("/examples/{index}/text")))?;
            examples.push(GivenExample { label: Some(label), ..GivenExample::of(input) });
        }
        let read = |(index, text)| schema.from_text(text).map_err(|fault: Fault| fault.at(format!("/inputs/{index}")));
        let query = request.inputs.into_iter().enumerate().map(read).collect::<Result<Vec<Input>, Invalid>>()?;
        let adapted = self
            .adapt_predict(
                tenant,
                AdaptPredict {
                    base_model: base.manifest.name.clone(),
                    kind: Some(Kind::Classification),
                    support: Given { examples, unlabelled: Vec::new() },
                    query,
                    recipe: Recipe::default(),
                    style: AnswerStyle::default(),
                    deadline: None,
                },
            )
            .await?;
        Ok(Classified { id: PredictionId::fresh(&*self.ids), predictions: adapted.predictions })
    }

    fn text_base(&self) -> Result<&BaseModel> {
        let takes_text =
            |base: &&BaseModel| base.manifest.input.takes_text() && base.manifest.kinds.contains(&Kind::Classification);
        let found = self.base_models().iter().find(takes_text);
        found.ok_or_else(|| Fault::Missing.at("/model").into())
    }
}
