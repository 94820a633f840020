//! Three adaptations, before and after, as a picture.

use std::path::Path;

use image::{ImageFormat, RgbImage};
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

use super::CliError;
use crate::domain::{Recipe, Rows, SupportSet, Targets};
use crate::meta::eval::{self, EvalError};
use crate::meta::task::{EpisodeSpec, Split, TaskDistribution};
use crate::meta::{Episode, Model, Phase};
use crate::trainer::TrainConfig;

const WIDTH: u32 = 1500;
const HEIGHT: u32 = 520;
const TASKS: u64 = 3;
/// Points of the true curve; it is drawn through the query set, which is made this dense.
const POINTS: usize = 300;

/// DejaVu Sans, reduced to the letters of these labels, so that no font has to be installed.
static FONT: &[u8] = include_bytes!("fonts/DejaVuSans-subset.ttf");

type Curve = Vec<(f32, f32)>;

/// Draws three tasks of the test split: truth, support set, prediction before and after adaptation.
///
/// # Errors
/// If the base model is not a regression on one number, or the file cannot be written.
pub fn adaptations(
    model: &Model,
    tasks: &dyn TaskDistribution,
    config: &TrainConfig,
    seed: u64,
    steps: Option<u32>,
    path: &Path,
) -> Result<(), CliError> {
    if model.architecture.input.row_shape() != [1] || model.architecture.learner.inner_steps().is_none() {
        return Err(CliError::Usage(
            "--plot draws gradient learners on one number; this base model is not one".to_owned(),
        ));
    }
    // A font that is registered already is the same one.
    let _ = register_font("sans-serif", FontStyle::Normal, FONT);
    let mut pixels = vec![255u8; (WIDTH * HEIGHT * 3) as usize];
    let drawn = draw(model, tasks, config, seed, steps, &mut pixels);
    drawn.map_err(|error| CliError::Usage(format!("--plot: {error}")))?;
    let image = RgbImage::from_raw(WIDTH, HEIGHT, pixels).expect("a buffer of this size");
    image
        .save_with_format(path, ImageFormat::Png)
        .map_err(|error| CliError::Usage(format!("{}: {error}", path.display())))
}

fn draw(
    model: &Model,
    tasks: &dyn TaskDistribution,
    config: &TrainConfig,
    seed: u64,
    steps: Option<u32>,
    pixels: &mut [u8],
) -> Result<(), Box<dyn std::error::Error>> {
    let root = BitMapBackend::with_buffer(pixels, (WIDTH, HEIGHT)).into_drawing_area();
    root.fill(&WHITE)?;
    let setting = &config.validation.settings[0];
    let spec = EpisodeSpec { query: POINTS, ..setting.spec() };
    let steps = steps.or(model.architecture.learner.inner_steps()).unwrap_or_default();
    for (index, area) in (0..TASKS).zip(root.split_evenly((1, 3))) {
        let episode = eval::episode(tasks, Split::Test, &spec, seed, index);
        let truth = curve(&episode.query, &values(&episode.query_targets));
        let support = curve(&episode.support, &values(&episode.support_targets));
        let (before, _) = predicted(model, &episode, 0)?;
        let (after, error) = predicted(model, &episode, steps)?;
        let range = |pick: fn(&(f32, f32)) -> f32| {
            let all = truth.iter().chain(&after).map(pick);
            (all.clone().fold(f32::INFINITY, f32::min), all.fold(f32::NEG_INFINITY, f32::max))
        };
        let ((left, right), (low, high)) = (range(|point| point.0), range(|point| point.1));
        let margin = (high - low) * 0.35 + 0.1;
        let mut chart = ChartBuilder::on(&area)
            .caption(format!("task {}: MSE {error:.3} after {steps} steps", index + 1), ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(38)
            .y_label_area_size(48)
            .build_cartesian_2d(left..right, low - margin..high + margin)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_desc("x")
            .y_desc("y")
            .label_style(("sans-serif", 15))
            .draw()?;
        let lines = [
            ("truth", truth, BLACK.stroke_width(2)),
            ("before adaptation", before, RGBColor(150, 150, 150).stroke_width(2)),
            ("after adaptation", after, RGBColor(214, 39, 40).stroke_width(3)),
        ];
        for (name, points, style) in lines {
            chart
                .draw_series(LineSeries::new(points, style))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], style));
        }
        let blue = RGBColor(31, 119, 180);
        chart
            .draw_series(support.into_iter().map(|point| Circle::new(point, 5, blue.filled())))?
            .label("support set")
            .legend(move |(x, y)| Circle::new((x + 11, y), 5, blue.filled()));
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerLeft)
            .background_style(WHITE.mix(0.85))
            .border_style(RGBColor(200, 200, 200))
            .label_font(("sans-serif", 14))
            .draw()?;
    }
    root.present()?;
    Ok(())
}

/// The prediction's curve after so many inner steps, and its mean squared error.
fn predicted(model: &Model, episode: &Episode, steps: u32) -> Result<(Curve, f64), EvalError> {
    let support = SupportSet::new(&episode.support, &episode.support_targets)?;
    let adapter = model.adapt(&support, &Recipe { inner_steps: Some(steps), seed: 0 }, Phase::Serve)?;
    let outputs = model.predict(&adapter, &episode.query, Phase::Serve)?;
    let error = eval::score(&outputs, &episode.query_targets);
    Ok((curve(&episode.query, &outputs.values), error))
}

fn values(targets: &Targets) -> Vec<f32> {
    match targets {
        Targets::Values(values) => values.clone(),
        Targets::Classes { .. } => Vec::new(),
    }
}

/// Points in order of x.
fn curve(rows: &Rows, values: &[f32]) -> Curve {
    let mut points: Curve = rows.values().iter().copied().zip(values.iter().copied()).collect();
    points.sort_by(|one, other| one.0.total_cmp(&other.0));
    points
}
