//! Meta-training of a text encoder's last blocks: what texts have in common that belong together, learned on classes that
//! no tenant will ask about.
//!
//! Each step is an episode in which every text is asked and every text answers: its class is told from the mean of the
//! class's other texts (and, in half of the episodes, what the class is called) among the means of the other classes, by
//! cosine. This is the nearest class mean of Snell et al. 2017 (arXiv:1703.05175, eq. 2), leaving one out:
//!
//! ```text
//! L = −Σᵢ log softmax_k(20 cos(zᵢ, cₖ⁻ⁱ))[yᵢ]
//! ```
//!
//! Half of the episodes are of classes of one matter, as tenants' questions are. Tables that stand alone give episodes of
//! their own classes.
//!
//! The lower blocks never change, so what they say of a text is computed once. Texts of one length go through the upper
//! ones together; nothing is padded.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use rand::seq::index;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor};

use super::tuning::{Pooling, pooled};
use super::{EncoderError, Loaded, Tokens, Tuning, Upper, UpperConfig};
use crate::domain::hex;
use crate::nn::optim::{Adam, clip};
use crate::nn::{Params, Result, TensorError, bridge, checkpoint, grad, init, ops};

/// Share of episodes that come from tables alone, if there are any.
const ALONE: f64 = 1.0 / 3.0;
/// Share of the others whose classes are of one matter.
const KIN: f64 = 0.5;
/// How many texts a name counts for, as the head finds it.
const NAME: f64 = 1.3;
/// What cosines are multiplied with.
const SHARPNESS: f64 = 20.0;
/// Texts of each class by which the tap's mean and the principal axes are found.
const SAMPLE: usize = 12;
/// Steps between two checkpoints.
const CHECKPOINT: u64 = 50;
/// Steps until the step size is whole.
const WARM_UP: f64 = 20.0;
/// Bound of the gradient's norm.
const BOUND: f64 = 1.0;

/// How an encoder is tuned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TuningConfig {
    /// Last blocks that change.
    pub blocks: usize,
    /// Rank of the changes.
    pub rank: usize,
    /// Number of the block that is heard beside the last one; one that does not change.
    pub tap: usize,
    /// How loud, the last one being 1.
    pub tap_weight: f32,
    /// Steps.
    pub steps: u64,
    /// Texts of a step.
    pub texts: usize,
    /// Step size, which falls to 0 along half a cosine.
    pub lr: f64,
    /// Most texts of a class.
    pub most: usize,
}

/// A class to learn from.
pub struct Class {
    /// Its texts.
    pub texts: Vec<String>,
    /// What it is called.
    pub name: String,
    /// The table that it is from, and what it is about there.
    pub matter: (usize, String),
    /// Whether it stands beside classes of its own table only, and its name says nothing.
    pub is_alone: bool,
}

/// Tunes an encoder, or finds in `cache` what came of it before. An interrupted run goes on from its last checkpoint.
///
/// # Errors
/// [`EncoderError::Format`] if the settings do not fit the encoder, or a text cannot be cut.
pub fn tune(
    loaded: &Loaded,
    classes: &[Class],
    config: &TuningConfig,
    cache: &Path,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Tuning, EncoderError> {
    let path = cache.join(format!("{}.tuning.safetensors", key(loaded, classes, config)));
    if let Ok(bytes) = std::fs::read(&path) {
        return Ok(Tuning::new(bytes));
    }
    let format = |reason: String| EncoderError::Format { path: path.clone(), reason };
    let tuner = Tuner::new(loaded, classes, config).map_err(format)?;
    let begun = path.with_extension("begun");
    let bytes = tuner.run(&Checkpoint(&begun), progress).map_err(|error| format(error.to_string()))?;
    Checkpoint(&path).write(&bytes).map_err(|source| EncoderError::File { path: path.clone(), source })?;
    // What is left of the run is of no use, and no harm.
    let _ = std::fs::remove_file(&begun);
    Ok(Tuning::new(bytes))
}

/// SHA-256 over all that the result is a function of.
fn key(loaded: &Loaded, classes: &[Class], config: &TuningConfig) -> String {
    let mut hash = Sha256::new();
    loaded.reference.digests().for_each(|sha256| hash.update(sha256));
    hash.update(serde_json::to_string(config).unwrap_or_default());
    for class in classes {
        hash.update(format!("{:?} {} {}", class.matter, class.is_alone, class.name));
        for text in &class.texts {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
    }
    hex(&hash.finalize())
}

/// A file that is there whole or not at all.
struct Checkpoint<'a>(&'a Path);

impl Checkpoint<'_> {
    fn write(&self, bytes: &[u8]) -> std::io::Result<()> {
        let new: PathBuf = self.0.with_extension(format!("{}.new", std::process::id()));
        std::fs::create_dir_all(self.0.parent().unwrap_or(Path::new(".")))?;
        std::fs::write(&new, bytes).and_then(|()| std::fs::rename(&new, self.0))
    }
}

/// What a run is at.
struct State {
    changes: Params,
    adam: Adam,
}

impl State {
    fn fresh(upper: &Upper) -> Result<Self> {
        let changes = upper.fresh(&mut ChaCha8Rng::seed_from_u64(0))?;
        let adam = Adam::new(&changes)?;
        Ok(Self { changes, adam })
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut all = Params::new();
        for (prefix, params) in [("p.", &self.changes), ("m.", &self.adam.m), ("v.", &self.adam.v)] {
            params.iter().for_each(|(name, tensor)| all.insert(format!("{prefix}{name}"), tensor.shallow_clone()));
        }
        checkpoint::to_bytes(&all, &[("step", self.adam.step.to_string())])
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let all = checkpoint::from_bytes(bytes, Device::Cpu)?;
        let changes = all.stripped("p.");
        let metadata = checkpoint::metadata(bytes)?;
        let step = metadata.get("step").and_then(|step| step.as_str()?.parse().ok());
        let step = step.ok_or_else(|| TensorError::Format("a checkpoint without its step".to_owned()))?;
        let adam = Adam { step, m: all.stripped("m."), v: all.stripped("v."), ..Adam::new(&changes)? };
        Ok(Self { changes, adam })
    }
}

/// What the blocks that do not change say of a text: their output `[1, L, D]`, and the tap's mean `[1, D]`.
type Lower = (Tensor, Tensor);

/// Places of a class's texts, and of its name.
struct Places {
    texts: std::ops::Range<usize>,
    name: usize,
    matter: (usize, String),
    is_alone: bool,
}

struct Tuner<'a> {
    upper: Upper,
    config: &'a TuningConfig,
    tokens: Vec<Tokens>,
    classes: Vec<Places>,
    lower: RefCell<Vec<Option<Lower>>>,
}

/// Classes that an episode is drawn from, texts of each, and whether their names may count.
struct Lesson {
    classes: Vec<usize>,
    shot: usize,
    is_named: bool,
}

impl<'a> Tuner<'a> {
    fn new(loaded: &'a Loaded, classes: &[Class], config: &'a TuningConfig) -> Result<Self, String> {
        let upper = Upper::new(&loaded.encoder, UpperConfig { blocks: config.blocks, rank: config.rank })?;
        if config.tap >= upper.first() {
            return Err(format!("the tap is a block below {}, the first that changes", upper.first()));
        }
        let (mut tokens, mut places) = (Vec::new(), Vec::new());
        for class in classes.iter().filter(|class| class.texts.len() > 1) {
            let first = tokens.len();
            for text in class.texts.iter().take(config.most).chain([&class.name]) {
                tokens.push(loaded.tokenizer.tokens(text)?);
            }
            let name = tokens.len() - 1;
            places.push(Places { texts: first..name, name, matter: class.matter.clone(), is_alone: class.is_alone });
        }
        if places.iter().filter(|class| !class.is_alone).count() < 2 {
            return Err("there are not two classes to learn from".to_owned());
        }
        let lower = RefCell::new((0..tokens.len()).map(|_| None).collect());
        Ok(Self { upper, config, tokens, classes: places, lower })
    }

    /// The file's bytes.
    fn run(&self, checkpoint: &Checkpoint<'_>, progress: &(dyn Fn(usize, usize) + Sync)) -> Result<Vec<u8>> {
        let mean = self.tap_mean()?;
        let mut state = match std::fs::read(checkpoint.0) {
            Ok(bytes) => State::from_bytes(&bytes)?,
            Err(_) => State::fresh(&self.upper)?,
        };
        let steps = self.config.steps;
        while state.adam.step < steps {
            let step = state.adam.step;
            let mut rng = ChaCha8Rng::seed_from_u64(1);
            rng.set_stream(step); // the same draws, whether or not the run was interrupted
            let lesson = self.draw(&mut rng);
            let leaves = state.changes.leaves()?;
            let loss = self.loss(&lesson, &leaves, &mut rng)?;
            let (grads, _) = clip(&grad::grad(&loss, &leaves, grad::Graph::Free)?, BOUND)?;
            let along = std::f64::consts::PI * step as f64 / steps as f64;
            let lr = self.config.lr * ((step + 1) as f64 / WARM_UP).min(1.0) * f64::midpoint(1.0, along.cos());
            state.changes = state.adam.step(&state.changes, &grads, lr)?;
            if !state.changes.all_finite()? {
                return Err(TensorError::Format("the changes are not finite: take a smaller lr".to_owned()));
            }
            if state.adam.step % CHECKPOINT == 0 {
                let bytes = state.to_bytes()?;
                checkpoint.write(&bytes).map_err(|error| TensorError::Format(error.to_string()))?;
            }
            progress(usize::try_from(state.adam.step).unwrap_or(0), usize::try_from(steps).unwrap_or(0));
        }
        let project = self.axes(&state.changes, &mean)?;
        let pooling = Pooling::new(self.config.tap, mean, project);
        checkpoint::to_bytes(&state.changes.overlaid(&pooling.params()), &[])
    }

    fn lower(&self, text: usize) -> Result<Lower> {
        if let Some((states, tap)) = &self.lower.borrow()[text] {
            return Ok((states.shallow_clone(), tap.shallow_clone()));
        }
        let mut tap = None;
        let states = self.upper.lower(&self.tokens[text], |number, state| {
            if number == self.config.tap {
                tap = Some(pooled(state)?);
            }
            Ok(())
        })?;
        let tap = tap.ok_or_else(|| TensorError::Format("the tap is not below what changes".to_owned()))?;
        self.lower.borrow_mut()[text] = Some((states.shallow_clone(), tap.shallow_clone()));
        Ok((states, tap))
    }

    /// The encoder's idea of texts with `changes`, each of length 1, in the order of `texts`: `[B, D]`.
    fn last(&self, texts: &[usize], changes: &Params) -> Result<Tensor> {
        let lower = texts.iter().map(|&text| Ok(self.lower(text)?.0)).collect::<Result<Vec<_>>>()?;
        let (mut rows, mut back) = (Vec::new(), vec![0i64; texts.len()]);
        let mut row = 0;
        self.upper.pass(&lower, changes, |places, last, _| {
            for &place in places {
                back[place] = row;
                row += 1;
            }
            rows.push(pooled(last)?);
            Ok(())
        })?;
        let back = bridge::index_tensor(&back, &[texts.len() as i64], self.upper.encoder.device)?;
        Ok(Tensor::f_cat(&rows, 0)?.f_index_select(0, &back)?)
    }

    /// What the tap says of texts, `[B, D]`.
    fn early(&self, texts: &[usize]) -> Result<Tensor> {
        let taps = texts.iter().map(|&text| Ok(self.lower(text)?.1)).collect::<Result<Vec<_>>>()?;
        Ok(Tensor::f_cat(&taps, 0)?)
    }

    /// Both side by side, each as loud as it is to be: `[B, 2 D]`.
    fn both(&self, texts: &[usize], changes: &Params, mean: &Tensor) -> Result<Tensor> {
        let early = ops::unit(&self.early(texts)?.f_sub(mean)?)?.f_mul_scalar(f64::from(self.config.tap_weight))?;
        Ok(Tensor::f_cat(&[self.last(texts, changes)?, early], -1)?)
    }

    /// Some texts of each class.
    fn sample(&self) -> impl Iterator<Item = Vec<usize>> + '_ {
        self.classes.iter().map(|class| class.texts.clone().take(SAMPLE).collect())
    }

    fn tap_mean(&self) -> Result<Tensor> {
        let texts: Vec<usize> = self.sample().flatten().collect();
        Ok(self.early(&texts)?.f_mean_dim([0i64].as_slice(), false, Kind::Float)?)
    }

    fn draw(&self, rng: &mut ChaCha8Rng) -> Lesson {
        let alone: Vec<usize> = (0..self.classes.len()).filter(|&class| self.classes[class].is_alone).collect();
        if !alone.is_empty() && rng.random_bool(ALONE) {
            // A table is as likely as it is long.
            let all: usize = alone.iter().map(|&class| self.classes[class].texts.len()).sum();
            let mut place = rng.random_range(0..all);
            let drawn = alone.iter().find(|&&class| {
                let here = place < self.classes[class].texts.len();
                place = place.saturating_sub(self.classes[class].texts.len());
                here
            });
            let (table, _) = self.classes[*drawn.unwrap_or(&alone[0])].matter;
            let classes: Vec<usize> =
                alone.into_iter().filter(|&class| self.classes[class].matter.0 == table).collect();
            let shot = (self.config.texts * 2 / 3 / classes.len()).max(2);
            return Lesson { classes, shot, is_named: false };
        }
        let shot = [2, 3, 4, 6][rng.random_range(0..4)];
        let way = (self.config.texts / shot).max(2);
        let mixed: Vec<usize> = (0..self.classes.len()).filter(|&class| !self.classes[class].is_alone).collect();
        let matter = &self.classes[mixed[rng.random_range(0..mixed.len())]].matter;
        let kin: Vec<usize> = mixed.iter().copied().filter(|&class| self.classes[class].matter == *matter).collect();
        let pool = if kin.len() > 1 && rng.random_bool(KIN) { kin } else { mixed };
        let way = way.min(pool.len());
        let classes = index::sample(rng, pool.len(), way).into_iter().map(|place| pool[place]).collect();
        Lesson { classes, shot: shot.max(self.config.texts / way.max(1)).min(2 * shot), is_named: true }
    }

    fn loss(&self, lesson: &Lesson, changes: &Params, rng: &mut ChaCha8Rng) -> Result<Tensor> {
        let (mut texts, mut labels, mut counts) = (Vec::new(), Vec::new(), Vec::new());
        for (label, &class) in lesson.classes.iter().enumerate() {
            let own = &self.classes[class].texts;
            let drawn = index::sample(rng, own.len(), lesson.shot.min(own.len()));
            counts.push(drawn.len());
            labels.extend(std::iter::repeat_n(label as i64, drawn.len()));
            texts.extend(drawn.into_iter().map(|place| own.start + place));
        }
        let (asked, way) = (texts.len() as i64, lesson.classes.len() as i64);
        let is_named = lesson.is_named && rng.random_bool(0.5);
        if is_named {
            texts.extend(lesson.classes.iter().map(|&class| self.classes[class].name));
        }
        let z = self.last(&texts, changes)?; // [B (+ N), D]
        let labels = bridge::index_tensor(&labels, &[asked], self.upper.encoder.device)?;
        let one_hot = labels.f_one_hot(way)?.f_to_kind(Kind::Float)?; // [B, N]
        let rows = z.f_narrow(0, 0, asked)?;
        let mut sums = one_hot.f_transpose(0, 1)?.f_matmul(&rows)?; // [N, D]
        if is_named {
            sums = sums.f_add(&z.f_narrow(0, asked, way)?.f_mul_scalar(NAME)?)?;
        }
        let without = ops::unit(&sums.f_index_select(0, &labels)?.f_sub(&rows)?)?; // [B, D]
        let own = rows.f_mul(&without)?.f_sum_dim_intlist([-1i64].as_slice(), true, Kind::Float)?; // [B, 1]
        let all = rows.f_matmul(&ops::unit(&sums)?.f_transpose(0, 1)?)?; // [B, N]
        let others = one_hot.f_neg()?.f_add_scalar(1.0)?;
        let logits = all.f_mul(&others)?.f_add(&one_hot.f_mul(&own)?)?.f_mul_scalar(SHARPNESS)?;
        let picked = logits.f_log_softmax(-1, Kind::Float)?.f_mul(&one_hot)?.f_sum(Kind::Float)?;
        Ok(picked.f_div_scalar(-(asked as f64))?)
    }

    /// The principal axes of both ideas over a sample of texts, `[D, 2 D]`, with how loud each of them is.
    fn axes(&self, changes: &Params, mean: &Tensor) -> Result<Tensor> {
        let _frozen = tch::no_grad_guard();
        let texts: Vec<usize> = self.sample().flatten().collect();
        let rows = texts.chunks(64).map(|chunk| self.both(chunk, changes, mean)).collect::<Result<Vec<_>>>()?;
        let rows = Tensor::f_cat(&rows, 0)?.f_to_kind(Kind::Double)?; // [B, 2 D]
        let width = self.upper.encoder.width() as i64;
        // Ascending: the last are the largest.
        let (_, vectors) = rows.f_transpose(0, 1)?.f_matmul(&rows)?.f_linalg_eigh("L")?;
        let axes = vectors.f_narrow(1, width, width)?.f_transpose(0, 1)?.f_to_kind(Kind::Float)?; // [D, 2 D]
        let loud =
            Tensor::f_cat(&[init::constant(&[width], 1.0)?, init::constant(&[width], self.config.tap_weight)?], 0)?;
        Ok(axes.f_mul(&loud)?.f_contiguous()?)
    }
}
