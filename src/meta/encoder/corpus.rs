//! Many texts at once, to train and to measure on: encoded on all cores, and kept in a file beside the encoder, since to
//! encode them again would take longer than all the rest.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use sha2::{Digest, Sha256};
use tch::{Device, Tensor};

use super::{Encoder, EncoderError, Loaded};
use crate::domain::hex;
use crate::nn::{Params, Result, TensorError, bridge, checkpoint};

/// Name of the only tensor in a file of embeddings.
const EMBEDDINGS: &str = "embeddings";

/// An embedding of each text, in order, from the file in `cache` if there is one.
///
/// `progress` is told how many texts are encoded, of how many.
///
/// # Errors
/// [`EncoderError::Format`] if a text or the file is not what it should be.
///
/// # Panics
/// If a thread panics.
pub fn embed_all(
    loaded: &Loaded,
    texts: &[String],
    cache: &Path,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Vec<Vec<f32>>, EncoderError> {
    let path = cache.join(format!("{}.safetensors", key(loaded, texts)));
    let format = |reason: String| EncoderError::Format { path: path.clone(), reason };
    let width = loaded.encoder.width();
    if let Ok(bytes) = std::fs::read(&path) {
        let params = checkpoint::from_bytes(&bytes, Device::Cpu);
        let values = params.and_then(|params| bridge::values(params.get(EMBEDDINGS)?));
        let values = values.map_err(|error| format(error.to_string()))?;
        return Ok(values.chunks_exact(width).map(<[f32]>::to_vec).collect());
    }
    let rows = in_parallel(loaded, texts, progress).map_err(&format)?;
    let tensor = bridge::tensor(&rows.concat(), &[rows.len() as i64, width as i64], Device::Cpu);
    let bytes = tensor
        .and_then(|tensor: Tensor| checkpoint::to_bytes(&Params::from_iter([(EMBEDDINGS.to_owned(), tensor)]), &[]));
    let bytes = bytes.map_err(|error| format(error.to_string()))?;
    let file = |source| EncoderError::File { path: path.clone(), source };
    std::fs::create_dir_all(cache).map_err(file)?;
    let new = path.with_extension(format!("{}.new", std::process::id()));
    std::fs::write(&new, bytes).and_then(|()| std::fs::rename(&new, &path)).map_err(file)?;
    Ok(rows)
}

/// SHA-256 over the encoder's files and the texts.
fn key(loaded: &Loaded, texts: &[String]) -> String {
    let mut hash = Sha256::new();
    loaded.reference.digests().for_each(|sha256| hash.update(sha256));
    for text in texts {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    hex(&hash.finalize())
}

/// Threads take the next text until there is none; each has one thread of libtorch.
fn in_parallel(
    loaded: &Loaded,
    texts: &[String],
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Vec<Vec<f32>>, String> {
    let next = AtomicUsize::new(0);
    let tokenizer = &loaded.tokenizer;
    let work = |encoder: Encoder| -> Result<Vec<(usize, Vec<f32>)>, String> {
        tch::set_num_threads(1);
        let mut rows = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(text) = texts.get(index) else { return Ok(rows) };
            let row = encoder.embed(&tokenizer.tokens(text)?).map_err(|error: TensorError| error.to_string())?;
            rows.push((index, row));
            progress(index + 1, texts.len());
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut rows = thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|_| {
                let encoder = loaded.encoder.shallow_clone();
                scope.spawn(move || work(encoder))
            })
            .collect();
        let ended = running.into_iter().map(|thread| thread.join().expect("no panic while encoding"));
        ended.collect::<Result<Vec<_>, String>>()
    })?
    .concat();
    rows.sort_by_key(|(index, _)| *index);
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}
