//! Pictures: adaptations before and after, scores of a search.

use std::path::Path;

use image::{ImageFormat, RgbImage};
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

use serde_json::Value;

use super::CliError;
use super::search::Ended;
use crate::domain::{Recipe, Rows, SupportSet, Targets};
use crate::meta::eval::{self, EvalError};
use crate::meta::task::{EpisodeSpec, Split, TaskDistribution};
use crate::meta::{Episode, Model, Phase};
use crate::trainer::TrainConfig;

const WIDTH: u32 = 1500;
const HEIGHT: u32 = 520;
/// Width of a search's panel.
const PANEL: u32 = 480;
const TASKS: u64 = 3;
/// Points of the true curve; it is drawn through the query set, which is made this dense.
const POINTS: usize = 300;

/// DejaVu Sans, reduced to ASCII and a few signs, so that no font has to be installed.
static FONT: &[u8] = include_bytes!("fonts/DejaVuSans-subset.ttf");

type Curve = Vec<(f32, f32)>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

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
    save((WIDTH, HEIGHT), path, |pixels| draw(model, tasks, config, seed, steps, pixels))
}

/// Draws the score of each trial against each of its settings, a panel for each; later rungs are darker. A setting that is
/// no number stands at its place in the order of its values.
///
/// # Errors
/// If the file cannot be written.
pub fn scores(
    trials: &[Ended],
    settings: &[&str],
    score_name: &str,
    shown: &dyn Fn(f64) -> f64,
    path: &Path,
) -> Result<(), CliError> {
    let size = (PANEL * u32::try_from(settings.len()).unwrap_or(1).max(1), HEIGHT);
    save(size, path, |pixels| draw_scores(trials, settings, score_name, shown, size, pixels))
}

/// Losses after 0, 1, 2, … steps, a line for each name.
pub fn losses(curves: &[(String, Vec<f64>)], path: &Path) -> Result<(), CliError> {
    save((2 * PANEL, HEIGHT), path, |pixels| draw_losses(curves, pixels))
}

fn draw_losses(curves: &[(String, Vec<f64>)], pixels: &mut [u8]) -> Drawn {
    let root = BitMapBackend::with_buffer(pixels, (2 * PANEL, HEIGHT)).into_drawing_area();
    root.fill(&WHITE)?;
    let all = || curves.iter().flat_map(|(_, losses)| losses.iter().copied());
    let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(0.0, f64::max));
    let steps = curves.iter().map(|(_, losses)| losses.len()).max().unwrap_or(1);
    let mut builder = ChartBuilder::on(&root);
    builder.margin(12).x_label_area_size(44).y_label_area_size(64);
    let mut chart = builder.build_cartesian_2d(0..steps.max(2) - 1, low * 0.8..high * 1.1)?;
    chart.configure_mesh().x_desc("inner steps").y_desc("query loss").label_style(("sans-serif", 14)).draw()?;
    for ((name, losses), color) in curves.iter().zip([RED, BLUE, BLACK]) {
        let style = color.stroke_width(2);
        chart
            .draw_series(LineSeries::new(losses.iter().copied().enumerate(), style))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], style));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(200, 200, 200))
        .label_font(("sans-serif", 14))
        .draw()?;
    root.present()?;
    Ok(())
}

/// Requests a second, and latencies in milliseconds, against the number of tenants: `[tenants, per second, p50, p99]`.
pub fn throughput(points: &[[f64; 4]], path: &Path) -> Result<(), CliError> {
    save((2 * PANEL, HEIGHT), path, |pixels| draw_throughput(points, pixels))
}

fn draw_throughput(points: &[[f64; 4]], pixels: &mut [u8]) -> Drawn {
    let root = BitMapBackend::with_buffer(pixels, (2 * PANEL, HEIGHT)).into_drawing_area();
    root.fill(&WHITE)?;
    let areas = root.split_evenly((1, 2));
    let tenants = |pick: fn(f64, f64) -> f64, start: f64| points.iter().map(|point| point[0]).fold(start, pick);
    let (few, many) = (tenants(f64::min, f64::INFINITY) * 0.8, tenants(f64::max, 1.0) * 1.25);
    for (area, title, curves) in [(&areas[0], "requests a second", &[1usize][..]), (&areas[1], "ms: p50, p99", &[2, 3])]
    {
        let highest = points.iter().flat_map(|point| curves.iter().map(|&curve| point[curve])).fold(1e-3, f64::max);
        let mut builder = ChartBuilder::on(area);
        builder.margin(12).x_label_area_size(44).y_label_area_size(64);
        let mut chart = builder.build_cartesian_2d((few..many).log_scale(), 0.0..highest * 1.1)?;
        chart.configure_mesh().x_desc("tenants").y_desc(title).label_style(("sans-serif", 14)).draw()?;
        for (&curve, color) in curves.iter().zip([BLUE, RED]) {
            let line = || points.iter().map(|point| (point[0], point[curve]));
            chart.draw_series(LineSeries::new(line(), color))?;
            chart.draw_series(line().map(|point| Circle::new(point, 4, color.filled())))?;
        }
    }
    root.present()?;
    Ok(())
}

/// Lets `draw` paint a white picture and writes it as a PNG.
fn save(size: (u32, u32), path: &Path, draw: impl FnOnce(&mut [u8]) -> Drawn) -> Result<(), CliError> {
    // A font that is registered already is the same one.
    let _ = register_font("sans-serif", FontStyle::Normal, FONT);
    let mut pixels = vec![255u8; (size.0 * size.1 * 3) as usize];
    draw(&mut pixels).map_err(|error| CliError::Usage(format!("--plot: {error}")))?;
    let image = RgbImage::from_raw(size.0, size.1, pixels).expect("a buffer of this size");
    image
        .save_with_format(path, ImageFormat::Png)
        .map_err(|error| CliError::Usage(format!("{}: {error}", path.display())))
}

fn draw_scores(
    trials: &[Ended],
    settings: &[&str],
    score_name: &str,
    shown: &dyn Fn(f64) -> f64,
    size: (u32, u32),
    pixels: &mut [u8],
) -> Drawn {
    let root = BitMapBackend::with_buffer(pixels, size).into_drawing_area();
    root.fill(&WHITE)?;
    let deepest = trials.iter().map(|trial| trial.rung).max().unwrap_or(0);
    for (setting, area) in settings.iter().zip(root.split_evenly((1, settings.len()))) {
        let mut named: Vec<String> = trials.iter().map(|trial| trial.values[*setting].to_string()).collect();
        named.sort();
        named.dedup();
        let place = |value: &Value| {
            let text = value.to_string();
            let at = || named.iter().position(|name| *name == text).unwrap_or_default() as f64;
            value.as_f64().unwrap_or_else(at)
        };
        let points: Vec<(f64, f64, usize)> = trials
            .iter()
            .filter_map(|trial| Some((place(&trial.values[*setting]), shown(trial.score?), trial.rung)))
            .collect();
        let range = |pick: fn(&(f64, f64, usize)) -> f64| {
            let least = points.iter().map(pick).fold(f64::INFINITY, f64::min);
            let greatest = points.iter().map(pick).fold(f64::NEG_INFINITY, f64::max);
            if least.is_finite() { (least, greatest) } else { (0.0, 1.0) }
        };
        let ((left, right), (low, high)) = (range(|point| point.0), range(|point| point.1));
        let margin = (high - low) * 0.1 + 1e-6;
        let dot = |&(x, y, rung): &(f64, f64, usize)| {
            let depth = 1.0 - 0.7 * (deepest - rung) as f64 / deepest.max(1) as f64;
            Circle::new((x, y), 5, RGBColor(31, 119, 180).mix(depth).filled())
        };
        let mut builder = ChartBuilder::on(&area);
        builder.margin(12).x_label_area_size(44).y_label_area_size(64);
        // Over more than two powers of ten, a linear axis shows nothing.
        if left > 0.0 && right / left > 100.0 {
            let mut chart =
                builder.build_cartesian_2d((left * 0.8..right * 1.25).log_scale(), low - margin..high + margin)?;
            chart.configure_mesh().x_desc(*setting).y_desc(score_name).label_style(("sans-serif", 14)).draw()?;
            chart.draw_series(points.iter().map(dot))?;
        } else {
            let gap = (right - left) * 0.05 + 1e-6;
            let mut chart = builder.build_cartesian_2d(left - gap..right + gap, low - margin..high + margin)?;
            chart.configure_mesh().x_desc(*setting).y_desc(score_name).label_style(("sans-serif", 14)).draw()?;
            chart.draw_series(points.iter().map(dot))?;
        }
    }
    root.present()?;
    Ok(())
}

fn draw(
    model: &Model,
    tasks: &dyn TaskDistribution,
    config: &TrainConfig,
    seed: u64,
    steps: Option<u32>,
    pixels: &mut [u8],
) -> Drawn {
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
        Targets::Signals { values, .. } | Targets::Values(values) => values.clone(),
        Targets::Classes { .. } => Vec::new(),
    }
}

/// Points in order of x.
fn curve(rows: &Rows, values: &[f32]) -> Curve {
    let mut points: Curve = rows.values().iter().copied().zip(values.iter().copied()).collect();
    points.sort_by(|one, other| one.0.total_cmp(&other.0));
    points
}
