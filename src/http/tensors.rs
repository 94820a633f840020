//! Tensors of the Open Inference Protocol as they travel: in JSON, or as bytes behind it.
//!
//! The second is the protocol's extension for binary data, which Triton's clients use unless they are told not to: a header
//! says how long the JSON is, and a tensor's `binary_data_size` how many of the bytes behind it are its own. Numbers are
//! little-endian; a string is its length in four bytes, and its UTF-8.

use axum::Json;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::extract::{PlainJson, parsed, read_bytes, weighed};
use super::problem::Problem;
use crate::domain::{Fault, narrow};
use crate::service::ServiceError;

/// The name of the extension.
pub const EXTENSION: &str = "binary_tensor_data";
/// How many bytes of a body are JSON; the others are tensors'.
pub const JSON_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");
const SIZE: &str = "binary_data_size";

/// Tensors in. What the protocol has and this server has no use for is taken and left aside.
#[derive(Debug, Deserialize, ToSchema)]
pub struct InferBody {
    /// Comes back.
    id: Option<String>,
    /// One tensor, `query`.
    inputs: Vec<TensorBody>,
    /// Which outputs; all by default.
    #[serde(default)]
    outputs: Vec<RequestedBody>,
    /// `binary_data_output: true` asks for outputs as bytes.
    #[serde(default)]
    #[schema(value_type = Object)]
    parameters: Map<String, Value>,
}

/// A tensor.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TensorBody {
    /// Its name.
    name: String,
    /// Its shape.
    shape: Vec<usize>,
    /// `FP32`, `FP64`, an integer type, or `BYTES`.
    datatype: String,
    /// Its values, row-major, nested or flat; none where they are bytes behind the JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Vec<Value>)]
    data: Option<Value>,
    /// `binary_data_size`: how many bytes behind the JSON are its values.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    parameters: Map<String, Value>,
}

/// An output that is asked for.
#[derive(Debug, Deserialize, ToSchema)]
pub struct RequestedBody {
    /// `label`, `scores`, `value` or `spans`.
    pub name: String,
    /// `classification: k` asks for the k best labels as `score:index:label`, `binary_data: true` for bytes.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub parameters: Map<String, Value>,
}

/// A tensor's values, row-major.
#[derive(Debug, PartialEq)]
pub enum Values {
    /// Of any type of number.
    Numbers(Vec<f32>),
    /// Of `BYTES`.
    Texts(Vec<String>),
}

impl Values {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Numbers(numbers) => numbers.len(),
            Self::Texts(texts) => texts.len(),
        }
    }
}

/// The one tensor of a request, and what is asked about it.
pub struct Asked {
    /// Comes back.
    pub id: Option<String>,
    /// The tensor's shape, which its values need not fill.
    pub shape: Vec<usize>,
    /// Its values.
    pub values: Values,
    /// Which outputs; all if there are none.
    pub outputs: Vec<RequestedBody>,
    /// Whether outputs that say nothing about it are to be bytes.
    pub is_binary: bool,
}

impl<S: Send + Sync> FromRequest<S> for Asked {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let Some(length) = request.headers().get(JSON_LENGTH) else {
            let PlainJson(body) = PlainJson::from_request(request, state).await?;
            return Self::new(body, &[]);
        };
        let malformed = || {
            let detail = "it is how many of the body's bytes are JSON".to_owned();
            Problem::malformed("invalid_header", "Inference-Header-Content-Length", detail)
        };
        let length: usize = length.to_str().ok().and_then(|text| text.trim().parse().ok()).ok_or_else(malformed)?;
        let read = move |body: &[u8]| {
            let (json, bytes) = body.split_at_checked(length).ok_or_else(malformed)?;
            Self::new(weighed(json)?, bytes)
        };
        parsed(read_bytes(request, state).await?, read).await?
    }
}

impl Asked {
    fn new(body: InferBody, bytes: &[u8]) -> Result<Self, Problem> {
        let InferBody { id, inputs, outputs, parameters } = body;
        let [tensor] = <[TensorBody; 1]>::try_from(inputs).map_err(|_| {
            Problem::wrong_form("/inputs".to_owned(), "send exactly one input, named `query`".to_owned())
        })?;
        let values = tensor.values(bytes)?;
        let is_binary = is_true(&parameters, "binary_data_output").unwrap_or_default();
        Ok(Self { id, shape: tensor.shape, values, outputs, is_binary })
    }
}

impl RequestedBody {
    /// Whether it is to be bytes, where others are `usually`.
    pub fn is_binary(&self, usually: bool) -> bool {
        is_true(&self.parameters, "binary_data").unwrap_or(usually)
    }
}

fn is_true(parameters: &Map<String, Value>, name: &str) -> Option<bool> {
    parameters.get(name).and_then(Value::as_bool)
}

impl TensorBody {
    /// An output.
    pub fn new(name: &str, datatype: &str, shape: Vec<usize>, data: Vec<Value>) -> Self {
        let (name, datatype) = (name.to_owned(), datatype.to_owned());
        Self { name, shape, datatype, data: Some(Value::Array(data)), parameters: Map::new() }
    }

    /// Values of the only tensor, from its JSON or from the bytes behind it.
    fn values(&self, bytes: &[u8]) -> Result<Values, Problem> {
        match (&self.data, self.parameters.get(SIZE)) {
            (Some(data), None) if bytes.is_empty() => self.written(data),
            (None, Some(size)) if size.as_u64() == Some(bytes.len() as u64) => self.packed(bytes),
            (None, None) if bytes.is_empty() => Err(invalid(Fault::Missing, "/inputs/0/data")),
            _ => {
                let detail =
                    format!("{} bytes are behind the JSON: all are this tensor's, in place of `data`", bytes.len());
                Err(Problem::wrong_form(format!("/inputs/0/parameters/{SIZE}"), detail))
            }
        }
    }

    fn written(&self, data: &Value) -> Result<Values, Problem> {
        let mut flat = Vec::new();
        flatten(data, &mut flat);
        let each = flat.into_iter().enumerate();
        let wrong = |index: usize| {
            let needs = "numbers, or strings if it is BYTES";
            invalid(Fault::WrongTarget { kind: "tensor", needs }, &format!("/inputs/0/data/{index}"))
        };
        let text = |(index, value): (usize, &Value)| value.as_str().map(str::to_owned).ok_or_else(|| wrong(index));
        let number = |(index, value): (usize, &Value)| value.as_f64().map(narrow).ok_or_else(|| wrong(index));
        Ok(match self.datatype.as_str() {
            "BYTES" => Values::Texts(each.map(text).collect::<Result<_, _>>()?),
            _ => Values::Numbers(each.map(number).collect::<Result<_, _>>()?),
        })
    }

    fn packed(&self, bytes: &[u8]) -> Result<Values, Problem> {
        let values = match self.datatype.as_str() {
            "BYTES" => texts(bytes).map(Values::Texts),
            datatype => numbers(datatype, bytes).map(Values::Numbers),
        };
        values.ok_or_else(|| {
            let detail = format!("{} bytes are no values of type {}", bytes.len(), self.datatype);
            Problem::wrong_form(format!("/inputs/0/parameters/{SIZE}"), detail)
        })
    }

    /// Takes the values out of the JSON, as bytes.
    fn take_bytes(&mut self) -> Vec<u8> {
        let values =
            self.data.take().and_then(|data| if let Value::Array(values) = data { Some(values) } else { None });
        let mut bytes = Vec::new();
        for value in values.unwrap_or_default() {
            match value {
                Value::String(text) => {
                    bytes.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
                    bytes.extend(text.into_bytes());
                }
                number => bytes.extend(narrow(number.as_f64().unwrap_or_default()).to_le_bytes()),
            }
        }
        self.parameters.insert(SIZE.to_owned(), json!(bytes.len()));
        bytes
    }
}

fn invalid(fault: Fault, pointer: &str) -> Problem {
    ServiceError::from(fault.at(pointer)).into()
}

fn flatten<'v>(data: &'v Value, flat: &mut Vec<&'v Value>) {
    match data {
        Value::Array(items) => items.iter().for_each(|item| flatten(item, flat)),
        value => flat.push(value),
    }
}

/// Strings from their lengths and bytes; none if they are no such, or not UTF-8.
fn texts(mut bytes: &[u8]) -> Option<Vec<String>> {
    let mut texts = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        texts.push(std::str::from_utf8(text).ok()?.to_owned());
        bytes = rest;
    }
    bytes.is_empty().then_some(texts)
}

/// Numbers of a type from their bytes; none if they are no such.
fn numbers(datatype: &str, bytes: &[u8]) -> Option<Vec<f32>> {
    fn each<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> f64) -> Option<Vec<f32>> {
        let (numbers, rest) = bytes.as_chunks();
        rest.is_empty().then(|| numbers.iter().map(|number| narrow(read(*number))).collect())
    }
    match datatype {
        "FP32" => each(bytes, |number| f32::from_le_bytes(number).into()),
        "FP64" => each(bytes, f64::from_le_bytes),
        "BOOL" | "UINT8" => each(bytes, |number| u8::from_le_bytes(number).into()),
        "INT8" => each(bytes, |number| i8::from_le_bytes(number).into()),
        "UINT16" => each(bytes, |number| u16::from_le_bytes(number).into()),
        "INT16" => each(bytes, |number| i16::from_le_bytes(number).into()),
        "UINT32" => each(bytes, |number| u32::from_le_bytes(number).into()),
        "INT32" => each(bytes, |number| i32::from_le_bytes(number).into()),
        "UINT64" => each(bytes, |number| u64::from_le_bytes(number) as f64),
        "INT64" => each(bytes, |number| i64::from_le_bytes(number) as f64),
        _ => None,
    }
}

/// Tensors out.
#[derive(Debug, Serialize, ToSchema)]
pub struct InferredBody {
    /// The task's id.
    pub model_name: String,
    /// The version that answered.
    pub model_version: String,
    /// As it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// One each, in the order asked for.
    pub outputs: Vec<TensorBody>,
}

impl InferredBody {
    /// The answer, with the outputs that `is_binary` says as bytes.
    pub fn answer(mut self, is_binary: &[bool]) -> Response {
        let chosen = self.outputs.iter_mut().zip(is_binary).filter(|(_, is_binary)| **is_binary);
        let bytes: Vec<Vec<u8>> = chosen.map(|(output, _)| output.take_bytes()).collect();
        if bytes.is_empty() {
            return Json(self).into_response();
        }
        let json = json!(self).to_string().into_bytes();
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
            (JSON_LENGTH, HeaderValue::from(json.len())),
        ];
        (headers, [json, bytes.concat()].concat()).into_response()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asked(datatype: &str, bytes: &[u8]) -> Result<Values, Problem> {
        let inputs = json!([{"name": "query", "shape": [1], "datatype": datatype, "parameters": {SIZE: bytes.len()}}]);
        let body = serde_json::from_value(json!({ "inputs": inputs })).expect("a body");
        Asked::new(body, bytes).map(|asked| asked.values)
    }

    #[test]
    fn numbers_of_all_types_are_read() {
        for (datatype, bytes, number) in [
            ("BOOL", vec![1], 1.0),
            ("INT8", vec![0xfe], -2.0),
            ("UINT16", vec![1, 2], 513.0),
            ("INT16", vec![0xfe, 0xff], -2.0),
            ("UINT32", vec![1, 0, 1, 0], 65537.0),
            ("INT32", (-7i32).to_le_bytes().to_vec(), -7.0),
            ("UINT64", 9u64.to_le_bytes().to_vec(), 9.0),
            ("INT64", (-9i64).to_le_bytes().to_vec(), -9.0),
            ("FP32", 0.5f32.to_le_bytes().to_vec(), 0.5),
            ("FP64", 0.25f64.to_le_bytes().to_vec(), 0.25),
        ] {
            assert_eq!(asked(datatype, &bytes).expect(datatype), Values::Numbers(vec![number]), "{datatype}");
        }
        assert!(asked("FP32", &[0; 6]).is_err() && asked("COMPLEX", &[0; 4]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            for datatype in ["BYTES", "FP32", "INT64"] {
                let _ = asked(datatype, &bytes);
            }
        }

        #[test]
        fn outputs_are_read_as_they_were_written(
            words in prop::collection::vec(".{0,9}", 0..9), scores in prop::collection::vec(-9f32..9.0, 0..9),
        ) {
            let mut labels = TensorBody::new("label", "BYTES", vec![words.len()], words.iter().map(|word| json!(word)).collect());
            let mut numbers = TensorBody::new("scores", "FP32", vec![scores.len()], scores.iter().map(|score| json!(score)).collect());
            prop_assert_eq!(asked("BYTES", &labels.take_bytes()).expect("texts"), Values::Texts(words));
            prop_assert_eq!(asked("FP32", &numbers.take_bytes()).expect("numbers"), Values::Numbers(scores));
        }
    }
}
