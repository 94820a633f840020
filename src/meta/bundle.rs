//! Base model bundles on disk: `<name>/manifest.json` and `<name>/theta.safetensors`. Whatever does not match is refused.
//!
//! A version that is kept beside the one that replaces it lies in `<name>@<anything>`, and is a base model of that name: adapters
//! that it made are answered by it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tch::Device;

use super::model::Architecture;
use super::{Model, Tagger};
use crate::domain::{BaseModel, Kind, Manifest, hex};
use crate::nn::{Params, TensorError, checkpoint};

/// The layout of bundles that this program writes and reads.
pub const FORMAT: u32 = 1;

/// Between a base model's name and whatever tells a version of it that is kept from the present one: `omniglot@1`.
const KEPT: char = '@';

const MANIFEST: &str = "manifest.json";
const THETA: &str = "theta.safetensors";

/// Why a bundle cannot be loaded or written.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A file is missing, unreadable or not to be written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// There is no folder of bundles.
    #[error("there is no folder {0}; --models names the one that holds base models")]
    NoFolder(PathBuf),
    /// The manifest is not one.
    #[error("{path}: {source}")]
    Manifest {
        /// The file.
        path: PathBuf,
        /// Where it goes wrong.
        source: serde_json::Error,
    },
    /// The manifest says one thing and the files another.
    #[error("{path}: {reason}")]
    Mismatch {
        /// The bundle.
        path: PathBuf,
        /// What does not match.
        reason: String,
    },
}

/// Every bundle of a folder, in order of name.
///
/// # Errors
/// [`BundleError`] for the first that does not load: a server must not start with half of its base models.
pub fn load_all(folder: &Path, device: Device) -> Result<Vec<(BaseModel, Network)>, BundleError> {
    let file = |source| BundleError::File { path: folder.to_owned(), source };
    let mut paths = Vec::new();
    let entries = std::fs::read_dir(folder).map_err(|source| match source.kind() {
        ErrorKind::NotFound => BundleError::NoFolder(folder.to_owned()),
        _ => file(source),
    })?;
    for entry in entries {
        let path = entry.map_err(file)?.path();
        if path.join(MANIFEST).is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    paths.iter().map(|path| load(path, device)).collect()
}

/// What a bundle's θ is of.
pub enum Network {
    /// Of a model whose inputs are rows.
    Rows(Box<Model>),
    /// Of a tagger, whose inputs are sentences.
    Words(Box<Tagger>),
}

/// One bundle.
pub fn load(folder: &Path, device: Device) -> Result<(BaseModel, Network), BundleError> {
    let (base, architecture, theta) = read(folder, device)?;
    let mismatch = |reason: String| BundleError::Mismatch { path: folder.to_owned(), reason };
    let tensor = |error: TensorError| mismatch(error.to_string());
    if architecture.kind == Kind::Tagging {
        let tagger = Tagger::with_theta(&architecture, theta, device).map_err(mismatch)?;
        tagger.check_theta().map_err(tensor)?;
        return Ok((base, Network::Words(Box::new(tagger))));
    }
    let model = Model::with_theta(architecture, theta, device).map_err(mismatch)?;
    model.check_theta().map_err(tensor)?;
    Ok((base, Network::Rows(Box::new(model))))
}

/// One bundle of a model whose inputs are rows.
pub fn load_model(folder: &Path, device: Device) -> Result<(BaseModel, Model), BundleError> {
    match load(folder, device)? {
        (base, Network::Rows(model)) => Ok((base, *model)),
        (_, Network::Words(_)) => Err(BundleError::Mismatch {
            path: folder.to_owned(),
            reason: "this base model is for tagging, and a model of rows is asked for".to_owned(),
        }),
    }
}

/// What the files say, once they are those that the manifest names.
fn read(folder: &Path, device: Device) -> Result<(BaseModel, Architecture, Params), BundleError> {
    let path = folder.join(MANIFEST);
    let text = std::fs::read(&path).map_err(|source| BundleError::File { path: path.clone(), source })?;
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|source| BundleError::Manifest { path, source })?;
    let mismatch = |reason: String| BundleError::Mismatch { path: folder.to_owned(), reason };
    if manifest.format != FORMAT {
        return Err(mismatch(format!("format {} is not {FORMAT}, the one that this version reads", manifest.format)));
    }
    let named = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if named != manifest.name && named.split_once(KEPT).is_none_or(|(name, _)| name != manifest.name) {
        let name = manifest.name;
        return Err(mismatch(format!("the folder is not named `{name}`, or `{name}{KEPT}…`, as the manifest says")));
    }
    let path = folder.join(THETA);
    let bytes = std::fs::read(&path).map_err(|source| BundleError::File { path, source })?;
    let digest = hex(&Sha256::digest(&bytes));
    if digest != manifest.theta_sha256 {
        return Err(mismatch(format!("{THETA} has sha256 {digest}, the manifest says {}", manifest.theta_sha256)));
    }
    let tensor = |error: TensorError| mismatch(error.to_string());
    let theta = checkpoint::from_bytes(&bytes, device).map_err(tensor)?;
    if manifest.kinds.len() != 1 {
        return Err(mismatch("a base model of this version serves exactly one kind".to_owned()));
    }
    let architecture = Architecture::of(&manifest);
    Ok((BaseModel { sha256: identity(&manifest), manifest: Manifest { name: named, ..manifest } }, architecture, theta))
}

/// Writes a bundle with this θ.
pub fn write(folder: &Path, mut manifest: Manifest, theta: &Params) -> Result<BaseModel, BundleError> {
    let bytes = checkpoint::to_bytes(theta, &[])
        .map_err(|error| BundleError::Mismatch { path: folder.to_owned(), reason: error.to_string() })?;
    manifest.theta_sha256 = hex(&Sha256::digest(&bytes));
    let text = serde_json::to_vec_pretty(&manifest)
        .map_err(|source| BundleError::Manifest { path: folder.join(MANIFEST), source })?;
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, bytes).map_err(|source| BundleError::File { path, source })
    };
    std::fs::create_dir_all(folder).map_err(|source| BundleError::File { path: folder.to_owned(), source })?;
    write(THETA, &bytes)?;
    write(MANIFEST, &[text, b"\n".to_vec()].concat())?;
    Ok(BaseModel { sha256: identity(&manifest), manifest })
}

/// SHA-256 over what predictions depend on, and nothing else: a corrected description is the same base model.
fn identity(manifest: &Manifest) -> String {
    let parts = serde_json::json!([
        manifest.format,
        manifest.theta_sha256,
        manifest.input,
        manifest.kinds,
        manifest.backbone,
        manifest.learner,
    ]);
    hex(&Sha256::digest(parts.to_string().as_bytes()))
}
