//! What other people's choices say of items: how often each is chosen, and in whose company.
//!
//! Items that the same people choose are to be near each other. With xₚᵢ = 1 / √(cᵢ nₚ) where person p, who chose nₚ items,
//! chose item i, which was chosen cᵢ times, xᵀx is the cosine of who chose each; its first eigenvectors, times the roots of
//! their eigenvalues, are an item's numbers. They are as good as any others that were turned or mirrored together, so that
//! nothing may be learned of a single one of them. A service with a log of its own makes them in the same way.

use tch::{Device, Kind as Dtype, Tensor};

use crate::domain::narrow;
use crate::nn::{Result, bridge};

/// What is known of items besides their texts, for people who are not among those that it was counted of.
pub(super) struct Company {
    /// Logarithm of the share of people that choose an item.
    pub(super) priors: Vec<f32>,
    /// An item's numbers.
    pub(super) numbers: Vec<Vec<f32>>,
}

impl Company {
    /// Of `items` items by the `choices` of each person; so many numbers for each item, or zeros where people are too few.
    pub(super) fn of(choices: &[Vec<usize>], items: usize, width: usize) -> Result<Self> {
        let mut counts = vec![0.5; items];
        choices.iter().flatten().for_each(|&item| counts[item] += 1.0);
        let people = choices.len() as f64 + 1.0;
        let priors = counts.iter().map(|count: &f64| narrow((count / people).ln())).collect();
        let numbers = if width == 0 { vec![Vec::new(); items] } else { numbers(choices, &counts, width)? };
        Ok(Self { priors, numbers })
    }
}

fn numbers(choices: &[Vec<usize>], counts: &[f64], width: usize) -> Result<Vec<Vec<f32>>> {
    let (people, items) = (choices.len(), counts.len());
    let mut table = vec![0.0; people * items];
    for (person, chosen) in choices.iter().enumerate() {
        for &item in chosen {
            table[person * items + item] = narrow(1.0 / ((counts[item] - 0.5) * chosen.len() as f64).sqrt());
        }
    }
    let x = bridge::tensor(&table, &[people as i64, items as i64], Device::Cpu)?.f_to_kind(Dtype::Double)?;
    let xt = x.f_transpose(0, 1)?;
    // The smaller of two matrices of the same eigenvalues; they come in ascending order.
    let is_tall = items <= people;
    let (values, vectors) = if is_tall { xt.f_matmul(&x)? } else { x.f_matmul(&xt)? }.f_linalg_eigh("L")?;
    let kept = width.min(items).min(people) as i64;
    let from = values.size()[0] - kept;
    let roots = values.f_narrow(0, from, kept)?.f_clamp_min(1e-9)?.f_sqrt()?;
    let vectors = vectors.f_narrow(1, from, kept)?;
    let scaled = if is_tall { vectors.f_mul(&roots)? } else { xt.f_matmul(&vectors)? }; // xᵀu = v √λ
    let weights: Vec<f32> = counts.iter().map(|count| narrow(count - 0.5)).collect();
    let weights = bridge::tensor(&weights, &[items as i64, 1], Device::Cpu)?.f_to_kind(Dtype::Double)?;
    // Of length 1 in the mean over choices.
    let squares = scaled.f_square()?.f_mul(&weights)?.f_sum(Dtype::Double)?.f_div(&weights.f_sum(Dtype::Double)?)?;
    let scaled = scaled.f_div(&squares.f_sqrt()?.f_clamp_min(1e-9)?)?;
    let padded = Tensor::f_constant_pad_nd(&scaled, [0, width as i64 - kept])?.f_to_kind(Dtype::Float)?;
    Ok(bridge::values(&padded)?.chunks_exact(width).map(<[f32]>::to_vec).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cosine(one: &[f32], other: &[f32]) -> f32 {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        dot(one, other) / (dot(one, one) * dot(other, other)).sqrt()
    }

    #[test]
    fn items_that_the_same_people_choose_are_near_each_other() {
        // Few people and many, so that either matrix is the smaller one.
        for people in [2, 40] {
            let choices: Vec<Vec<usize>> =
                (0..people).map(|p| if p % 2 == 0 { vec![0, 1] } else { vec![2, 3] }).collect();
            let company = Company::of(&choices, 5, 3).expect("numbers");

            assert!(cosine(&company.numbers[0], &company.numbers[1]) > 0.99);
            assert!(cosine(&company.numbers[0], &company.numbers[2]).abs() < 0.01);
            assert!(company.numbers[4].iter().all(|number| number.abs() < 1e-3), "nobody chose it");
            assert!(company.priors[0] > company.priors[4]);
            let length: f32 = company.numbers[0].iter().map(|number| number * number).sum();
            assert!((length - 1.0).abs() < 1e-3, "{length}");
        }
    }
}
