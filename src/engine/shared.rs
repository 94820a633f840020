//! Many tenants' commands in one forward pass: all their rows go through the trunk together, then each command's features
//! meet its own head.
//!
//! Each answer has the bits that the command gets alone. The trunk sees to that for features (`meta/split.rs`); the heads
//! are computed one by one on tensors of their own, since a batched solution of padded systems would add up in another
//! order. They are a few per cent of the work.

use tracing::warn;

use super::EngineError;
use super::command::{Answer, Command, Work};
use super::executor::{Base, predict};
use crate::domain::{Fault, Rows};
use crate::faults::{self, Site};
use crate::meta::split::Split;

pub(super) fn run(base: &Base, split: &Split, batch: &[Command]) -> Vec<Result<Answer, EngineError>> {
    let parts: Vec<&Rows> = batch.iter().flat_map(|command| parts(&command.work)).collect();
    let trunk = || -> Result<Vec<Vec<f32>>, EngineError> {
        faults::at(Site::Trunk)?;
        Ok(split.trunk.features(&parts)?)
    };
    match trunk() {
        Ok(features) => {
            let mut features = features.into_iter();
            batch.iter().map(|command| head(base, split, command, &mut features)).collect()
        }
        Err(error) if batch.len() > 1 => {
            warn!(%error, batch.commands = batch.len(), "a batch failed; its commands are tried one by one");
            batch.iter().flat_map(|command| run(base, split, std::slice::from_ref(command))).collect()
        }
        Err(error) => vec![Err(error)],
    }
}

/// The rows of a command, in the order in which [`head`] takes their features.
fn parts(work: &Work) -> Vec<&Rows> {
    match work {
        Work::Adapt { support, query, .. } => {
            [Some(support.inputs()), support.unlabelled(), query.as_ref()].into_iter().flatten().collect()
        }
        Work::Predict { query, .. } => vec![query],
        Work::Features { rows } => vec![rows],
        Work::Embed { .. } | Work::Tagging(_) => Vec::new(),
    }
}

fn head(
    base: &Base,
    split: &Split,
    command: &Command,
    features: &mut impl Iterator<Item = Vec<f32>>,
) -> Result<Answer, EngineError> {
    let _entered = command.span.enter();
    // All of them, whatever fails below: the next command's follow.
    let mut own: Vec<Vec<f32>> = features.take(parts(&command.work).len()).collect();
    faults::at(Site::Head)?;
    let width = split.trunk.width();
    let mut next = || {
        let values = if own.is_empty() { Vec::new() } else { own.remove(0) };
        Rows::new(width, values).map_err(|_: Fault| EngineError::NonFinite("the features"))
    };
    match &command.work {
        Work::Adapt { support, recipe, query, folds } => {
            let inputs = next()?;
            let unlabelled = support.unlabelled().map(|_| next()).transpose()?;
            let seen = support.with_rows(inputs, unlabelled);
            let (adapted, tensors) = base.adapt(&split.head, support, &seen, (recipe, *folds))?;
            let outputs = match query {
                Some(_) => Some(predict(&split.head, &tensors, &next()?)?),
                None => None,
            };
            Ok(Answer { adapted: Some(adapted), outputs, ..Answer::default() })
        }
        Work::Predict { adapter, .. } => {
            let outputs = predict(&split.head, &base.open(adapter)?, &next()?)?;
            Ok(Answer { outputs: Some(outputs), ..Answer::default() })
        }
        Work::Features { .. } => Ok(Answer { features: own.pop(), ..Answer::default() }),
        Work::Embed { .. } | Work::Tagging(_) => {
            Err(EngineError::Mismatch("this base model takes rows, not sentences".to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::time::Instant;

    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use tch::Device;

    use super::*;
    use crate::config::PrecisionSetting;
    use crate::domain::{
        AdapterBlob, BackboneConfig, GradOrder, HeadInit, IdSource, InputSchema, Kind, LearnerConfig, Norm, Polarity,
        Precision, Recipe, SeededIds, SupportSet, Targets, TenantId,
    };
    use crate::engine::plan::Shape;
    use crate::engine::{Origin, precision};
    use crate::fuzz::hammer;
    use crate::meta::Model;
    use crate::meta::model::Architecture;

    const SIDE: usize = 16;

    fn bases() -> Vec<Base> {
        let image = InputSchema::Image { channels: 1, height: SIDE, width: SIDE, polarity: Polarity::AsIs };
        let conv = BackboneConfig::Conv4 { filters: 16, norm: Norm::Running };
        let vector = InputSchema::Vector { width: 3 };
        let mlp = BackboneConfig::Mlp { hidden: vec![40, 24] };
        let head_init = HeadInit::Prototype {};
        let anil = LearnerConfig::Anil { inner_steps: 2, inner_lr: 0.1, order: GradOrder::First, head_init };
        let base = |input: &InputSchema, backbone: &BackboneConfig, learner, precision| {
            let (input, backbone) = (input.clone(), backbone.clone());
            let architecture = Architecture { input, kind: Kind::Classification, backbone, learner };
            let model = Model::fresh(architecture, 3, Device::Cpu).unwrap();
            let split = Split::of(&model, precision).unwrap();
            let tiling = split.trunk.find_tiling().unwrap();
            Base { model, sha256: "base".to_owned(), split: Some(split.with_tiling(tiling)) }
        };
        tch::set_num_threads(1);
        // Where a processor has no instructions for bfloat16, libtorch has no convolution in it.
        let own = precision::choose(PrecisionSetting::Auto, Device::Cpu).unwrap();
        vec![
            base(&image, &conv, LearnerConfig::Protonet {}, Precision::Float32),
            base(&image, &conv, LearnerConfig::Protonet {}, own),
            base(&image, &conv, LearnerConfig::R2d2 {}, Precision::Float32),
            base(&vector, &mlp, LearnerConfig::Protonet {}, Precision::Float32),
            base(&vector, &mlp, LearnerConfig::R2d2 {}, Precision::Bfloat16), // which its backbone does not take
            base(&vector, &mlp, anil, Precision::Float32),
        ]
    }

    fn rows(rng: &mut ChaCha8Rng, base: &Base, count: usize) -> Rows {
        let width = base.model.architecture.input.row_width();
        Rows::new(width, (0..count * width).map(|_| rng.random_range(-1.0..1.0)).collect()).unwrap()
    }

    fn command(work: Work) -> Command {
        Command {
            origin: Origin::interactive(TenantId::fresh(&SeededIds::new(1) as &dyn IdSource)),
            shape: Shape { base: 0, rows: work.rows(), is_shared: true },
            work,
            cost: 1,
            reply: tokio::sync::oneshot::channel().0,
            is_abandoned: Arc::new(AtomicBool::new(false)),
            span: tracing::Span::none(),
            queued_at: Instant::now(),
        }
    }

    fn adapting(rng: &mut ChaCha8Rng, base: &Base, [way, shot, unlabelled, query]: [usize; 4]) -> Command {
        let inputs = rows(rng, base, way * shot + 1);
        let labels = (0..=way * shot).map(|row| u32::try_from(row % way).unwrap()).collect();
        let support = SupportSet::new(&inputs, &Targets::Classes { labels, way }).unwrap();
        let support = support.with_unlabelled(&rows(rng, base, unlabelled)).unwrap();
        let query = (query > 0).then(|| rows(rng, base, query));
        command(Work::Adapt { support, recipe: Recipe::default(), query, folds: 2 })
    }

    fn predicting(rng: &mut ChaCha8Rng, base: &Base, adapter: &AdapterBlob, query: usize) -> Command {
        command(Work::Predict { adapter: adapter.clone(), query: rows(rng, base, query) })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

        /// The hard rule: whatever goes with a command, its answer has the bits that it has alone.
        #[test]
        fn an_answer_does_not_depend_on_what_else_is_asked(
            seed in any::<u64>(),
            tasks in prop::collection::vec((2usize..7, 1usize..6, 0usize..4, 0usize..5), 1..6),
            queries in prop::collection::vec(1usize..9, 0..6),
        ) {
            let rng = &mut ChaCha8Rng::seed_from_u64(seed);
            for base in bases() {
                let split = base.split.as_ref().unwrap();
                let takes_unlabelled = base.model.architecture.learner.takes_unlabelled(Kind::Classification);
                let mut batch: Vec<Command> = tasks
                    .iter()
                    .map(|&(way, shot, more, query)| {
                        adapting(rng, &base, [way, shot, more * usize::from(takes_unlabelled), query])
                    })
                    .collect();
                let first = run(&base, split, &batch[..1]).remove(0).unwrap();
                let adapter = first.adapted.unwrap().blob;
                batch.extend(queries.iter().map(|&query| predicting(rng, &base, &adapter, query)));

                let together = run(&base, split, &batch);

                prop_assert_eq!(together.len(), batch.len());
                for (command, answer) in batch.iter().zip(together) {
                    let alone = run(&base, split, std::slice::from_ref(command)).remove(0);
                    prop_assert!(alone.is_ok());
                    prop_assert!(answer == alone, "{:?}", base.model.architecture);
                }
            }
        }
    }

    /// An adapter that comes from outside is refused, or answers with numbers.
    #[test]
    fn adapters_as_strangers_write_them() {
        let base = &bases()[2];
        let rng = &mut ChaCha8Rng::seed_from_u64(3);
        let made = run(base, base.split.as_ref().unwrap(), &[adapting(rng, base, [2, 1, 0, 1])]).remove(0).unwrap();
        let query = rows(rng, base, 2);

        hammer("adapters", &[made.adapted.unwrap().blob.bytes()], |bytes| {
            if let Ok(tensors) = base.open(&AdapterBlob::new(bytes.to_vec()))
                && let Ok(outputs) = predict(&base.model, &tensors, &query)
            {
                assert!(outputs.values.iter().all(|value| value.is_finite()));
            }
        });
    }

    #[test]
    fn one_commands_fault_is_its_own() {
        let base = &bases()[0];
        let split = base.split.as_ref().unwrap();
        let rng = &mut ChaCha8Rng::seed_from_u64(1);
        let foreign = AdapterBlob::new(b"no safetensors".to_vec());
        let batch =
            [adapting(rng, base, [2, 1, 0, 1]), predicting(rng, base, &foreign, 3), adapting(rng, base, [3, 2, 0, 2])];

        let answers = run(base, split, &batch);

        assert!(answers[0].is_ok() && answers[2].is_ok());
        assert!(answers[1].is_err());
        assert_eq!(answers[2], run(base, split, &batch[2..]).remove(0));
    }

    /// The head is the base model's own learner: what it makes of features is what the whole model makes of inputs.
    #[test]
    fn the_two_parts_are_the_whole() {
        for base in bases() {
            let rng = &mut ChaCha8Rng::seed_from_u64(2);
            let command = adapting(rng, &base, [4, 3, 0, 5]);
            let Work::Adapt { support, recipe, query: Some(query), .. } = &command.work else { panic!("with a query") };
            let answer = run(&base, base.split.as_ref().unwrap(), std::slice::from_ref(&command)).remove(0).unwrap();

            let tensors = base.model.adapt(support, recipe, crate::meta::Phase::Serve).unwrap();
            let whole = predict(&base.model, &tensors, query).unwrap();

            let parts = answer.outputs.unwrap();
            assert_eq!(parts.width, whole.width);
            // bfloat16 has eight binary digits.
            let precision = base.split.as_ref().map(|split| split.trunk.precision());
            let tolerance = if precision == Some(Precision::Bfloat16) { 0.02 } else { 1e-4 };
            for (one, other) in parts.values.iter().zip(&whole.values) {
                assert!((one - other).abs() <= tolerance * other.abs().max(1.0), "{one} is not {other}");
            }
        }
    }
}
