//! Params to and from safetensors bytes, the only file format for weights: no code runs when one is read.

use std::collections::HashMap;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use tch::{Device, Tensor};

use super::{Params, Result, TensorError, bridge};

/// A safetensors file of 32-bit floats. Equal parameters and metadata give equal bytes.
pub fn to_bytes(params: &Params, metadata: &[(&str, String)]) -> Result<Vec<u8>> {
    let format = |error: safetensors::SafeTensorError| TensorError::Format(error.to_string());
    let mut buffers = Vec::with_capacity(params.len());
    for (name, tensor) in params.iter() {
        let shape: Vec<usize> = tensor.size().iter().map(|&side| usize::try_from(side).unwrap_or_default()).collect();
        let bytes: Vec<u8> = bridge::values(tensor)?.iter().flat_map(|value| value.to_le_bytes()).collect();
        buffers.push((name, shape, bytes));
    }
    let views = buffers
        .iter()
        .map(|(name, shape, bytes)| Ok((*name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(format)?;
    // A map of more than one entry would be written in an order that changes from run to run.
    let metadata = match metadata {
        [] => None,
        pairs => {
            let object: serde_json::Map<_, _> =
                pairs.iter().map(|(key, value)| ((*key).to_owned(), serde_json::Value::from(value.clone()))).collect();
            Some(HashMap::from([("imprint".to_owned(), serde_json::Value::from(object).to_string())]))
        }
    };
    safetensors::serialize(views, metadata).map_err(format)
}

/// The parameters of a safetensors file.
///
/// # Errors
/// [`TensorError::Format`] if it is not one, or holds anything but 32-bit floats.
pub fn from_bytes(bytes: &[u8], device: Device) -> Result<Params> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| TensorError::Format(error.to_string()))?;
    let read = |(name, view): (String, TensorView<'_>)| {
        if view.dtype() != Dtype::F32 {
            return Err(TensorError::Format(format!("tensor `{name}` is {:?}, not F32", view.dtype())));
        }
        Ok((name, float(&view, device)?))
    };
    file.tensors().into_iter().map(read).collect()
}

/// The 32-bit floats of a safetensors file that was made elsewhere; tensors of other types are left out, since PyTorch's
/// modules put constants beside their parameters.
///
/// # Errors
/// [`TensorError::Format`] if it is not such a file.
pub fn floats(bytes: &[u8], device: Device) -> Result<Params> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| TensorError::Format(error.to_string()))?;
    let floats = file.tensors().into_iter().filter(|(_, view)| view.dtype() == Dtype::F32);
    floats.map(|(name, view)| Ok((name, float(&view, device)?))).collect()
}

fn float(view: &TensorView<'_>, device: Device) -> Result<Tensor> {
    let (words, _) = view.data().as_chunks();
    let values: Vec<f32> = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
    let shape: Vec<i64> = view.shape().iter().map(|&side| i64::try_from(side).unwrap_or(-1)).collect();
    bridge::tensor(&values, &shape, device)
}

/// The metadata that [`to_bytes`] was given.
pub fn metadata(bytes: &[u8]) -> Result<serde_json::Map<String, serde_json::Value>> {
    let format = |error: String| TensorError::Format(error);
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| format(error.to_string()))?;
    let text = header.metadata().as_ref().and_then(|map| map.get("imprint")).map_or("{}", String::as_str);
    serde_json::from_str(text).map_err(|error| format(error.to_string()))
}
