//! Inputs to measure with: strokes of a pen as PNG, a shape for each class, moved about from drawing to drawing.

use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::{GrayImage, ImageFormat, Luma};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::domain::InputSchema;

/// Pixels a side, as Omniglot has them.
const SIDE: i32 = 105;

/// A support set and a query.
pub(super) struct Drawn {
    support: Vec<(Value, usize)>,
    query: Vec<Value>,
}

/// The same for the same seed. `[way, shot, query]`.
pub(super) fn episode(input: &InputSchema, seed: u64, [way, shot, query]: [usize; 3]) -> Drawn {
    let rng = &mut ChaCha8Rng::seed_from_u64(seed);
    let classes: Vec<Vec<f32>> = (0..way).map(|_| (0..12).map(|_| rng.random_range(0.15..0.85)).collect()).collect();
    let support = (0..way * shot).map(|index| (drawing(rng, input, &classes[index % way]), index % way)).collect();
    Drawn { support, query: (0..query).map(|index| drawing(rng, input, &classes[index % way])).collect() }
}

fn drawing(rng: &mut ChaCha8Rng, input: &InputSchema, class: &[f32]) -> Value {
    let mut moved = |value: f32| value + rng.random_range(-0.06..0.06);
    if let InputSchema::Image { .. } = input {
        let points: Vec<(f32, f32)> = class.chunks_exact(2).map(|point| (moved(point[0]), moved(point[1]))).collect();
        return json!({ "image": STANDARD.encode(png(&points)) });
    }
    let values: Vec<f32> = (0..input.row_width()).map(|index| moved(class[index % class.len()])).collect();
    json!(values)
}

/// A line through the points, black on white.
fn png(points: &[(f32, f32)]) -> Vec<u8> {
    let side = SIDE.unsigned_abs();
    let mut image = GrayImage::from_pixel(side, side, Luma([255]));
    for pair in points.windows(2) {
        for step in 0..=SIDE {
            let along = |from: f32, to: f32| (from + (to - from) * step as f32 / SIDE as f32) * SIDE as f32;
            let (x, y) = (along(pair[0].0, pair[1].0), along(pair[0].1, pair[1].1));
            for (dx, dy) in [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)] {
                if let Some(pixel) = image.get_pixel_mut_checked(whole(x + dx), whole(y + dy)) {
                    *pixel = Luma([0]);
                }
            }
        }
    }
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).expect("memory takes every write");
    bytes.into_inner()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "what is outside is not drawn")]
fn whole(place: f32) -> u32 {
    place as u32
}

impl Drawn {
    pub(super) fn in_one(&self, base_model: &str) -> String {
        json!({"base_model": base_model, "support": self.labelled(), "query": self.query}).to_string()
    }

    pub(super) fn as_task(&self, base_model: &str) -> String {
        json!({"name": "bench", "base_model": base_model, "support": self.labelled()}).to_string()
    }

    pub(super) fn query_only(&self) -> String {
        json!({"query": self.query}).to_string()
    }

    fn labelled(&self) -> Vec<Value> {
        self.support.iter().map(|(input, class)| json!({"input": input, "label": format!("c{class}")})).collect()
    }
}
