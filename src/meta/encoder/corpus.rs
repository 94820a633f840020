//! Many texts at once, to train and to measure on: encoded on all cores, and kept in a file beside the encoder, since to
//! encode them again would take longer than all the rest.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use sha2::{Digest, Sha256};
use tch::{Device, Tensor};

use super::{Encoder, EncoderError, Loaded, Reading};
use crate::domain::{Sentence, hex};
use crate::nn::{Params, bridge, checkpoint};

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
    let tokenizer = &loaded.tokenizer;
    let embed = |encoder: &Encoder, index: usize| -> Result<Vec<f32>, String> {
        let row = encoder.embed(&[tokenizer.tokens(&texts[index])?]).map_err(|error| error.to_string())?;
        row.into_iter().next().ok_or_else(|| "no row for a text".to_owned())
    };
    let rows = in_parallel(loaded, texts.len(), &embed, progress).map_err(&format)?;
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

/// What the encoder says of each sentence's words, from the file in `cache` if there is one.
///
/// # Errors
/// [`EncoderError::Format`] if a sentence or the file is not what it should be.
///
/// # Panics
/// If a thread panics.
pub fn read_all(
    loaded: &Loaded,
    sentences: &[&Sentence],
    cache: &Path,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Vec<Reading>, EncoderError> {
    let texts: Vec<String> = sentences.iter().map(|sentence| sentence.words().collect::<Vec<_>>().join("\n")).collect();
    let path = cache.join(format!("{}.words", key(loaded, &texts)));
    let format = |reason: String| EncoderError::Format { path: path.clone(), reason };
    let width = loaded.encoder.width();
    let numbers: usize = sentences.iter().map(|sentence| sentence.len() * width).sum();
    let file = |source| EncoderError::File { path: path.clone(), source };
    let bytes = if let Ok(bytes) = std::fs::read(&path) {
        bytes
    } else {
        let tokenizer = &loaded.tokenizer;
        let read = |encoder: &Encoder, index: usize| -> Result<Reading, String> {
            let windows = tokenizer.windows(sentences[index])?;
            let reading = encoder.read(&[windows]).map_err(|error| error.to_string())?;
            reading.into_iter().next().ok_or_else(|| "no reading of a sentence".to_owned())
        };
        let readings = in_parallel(loaded, sentences.len(), &read, progress).map_err(&format)?;
        let bits = readings.iter().flat_map(|reading| reading.iter());
        let bytes: Vec<u8> = bits.flat_map(|bits| bits.to_le_bytes()).collect();
        std::fs::create_dir_all(cache).map_err(file)?;
        let new = path.with_extension(format!("{}.new", std::process::id()));
        std::fs::write(&new, &bytes).and_then(|()| std::fs::rename(&new, &path)).map_err(file)?;
        bytes
    };
    if bytes.len() != numbers * size_of::<u16>() {
        return Err(format(format!("{} bytes, and {} are expected", bytes.len(), numbers * size_of::<u16>())));
    }
    let bits: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    let mut rest = bits.as_slice();
    let mut cut = |sentence: &&Sentence| {
        let (own, others) = rest.split_at(sentence.len() * width);
        rest = others;
        Reading::from(own)
    };
    Ok(sentences.iter().map(&mut cut).collect())
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

/// Threads take the next of `count` texts until there is none; each has one thread of libtorch.
fn in_parallel<R: Send>(
    loaded: &Loaded,
    count: usize,
    encode: &(dyn Fn(&Encoder, usize) -> Result<R, String> + Sync),
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Vec<R>, String> {
    let next = AtomicUsize::new(0);
    let next = &next;
    let work = |encoder: Encoder| -> Result<Vec<(usize, R)>, String> {
        tch::set_num_threads(1);
        let mut rows = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return Ok(rows);
            }
            rows.push((index, encode(&encoder, index)?));
            progress(index + 1, count);
        }
    };
    let work = &work;
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let parts = thread::scope(|scope| {
        // Handles to tensors are not `Sync`, so each thread gets its own before it starts.
        let running: Vec<_> = (0..threads)
            .map(|_| {
                let encoder = loaded.encoder.shallow_clone();
                scope.spawn(move || work(encoder))
            })
            .collect();
        let ended = running.into_iter().map(|thread| thread.join().expect("no panic while encoding"));
        ended.collect::<Result<Vec<_>, String>>()
    })?;
    let mut rows: Vec<(usize, R)> = parts.into_iter().flatten().collect();
    rows.sort_by_key(|(index, _)| *index);
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}
