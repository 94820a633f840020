//! The text encoder against the reference implementation: `tests/golden/encoder.json`, made by `tests/golden/encoder.py`.

use std::path::Path;

use imprint::domain::{Input, Sentence};
use imprint::meta::encoder::{self, Loaded, MAX_TOKENS, Tuning, Upper, UpperConfig};
use imprint::nn::{bridge, init};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use tch::Device;

#[derive(Deserialize)]
struct Golden {
    texts: Vec<String>,
    embeddings: Vec<Vec<f32>>,
    features_of: usize,
    features: Vec<Vec<f32>>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../golden/encoder.json")).unwrap()
}

/// The encoder that set-up brings.
pub fn mini_lm() -> Loaded {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".imprint/encoders/all-MiniLM-L6-v2");
    encoder::load(&folder, Device::Cpu).expect("`make setup` or scripts/encoder.sh brings the encoder")
}

fn largest_difference(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).map(|(ours, theirs)| (ours - theirs).abs()).fold(0.0, f32::max)
}

#[test]
fn embeddings_are_those_of_the_reference_implementation() {
    let (Loaded { encoder, tokenizer, .. }, golden) = (mini_lm(), golden());

    let tokens: Vec<_> = golden.texts.iter().map(|text| tokenizer.tokens(text).unwrap()).collect();
    let ours = encoder.embed(&tokens).unwrap();
    for ((text, ours), theirs) in golden.texts.iter().zip(&ours).zip(&golden.embeddings) {
        let difference = largest_difference(ours, theirs);
        assert!(difference < 1e-5, "{text}: {difference}");
    }
    // In 16 bits, eight of which are the number's digits; no number of an embedding is near 1.
    for (ours, theirs) in encoder.halved().unwrap().embed(&tokens).unwrap().iter().zip(&golden.embeddings) {
        let cosine: f32 = ours.iter().zip(theirs).map(|(ours, theirs)| ours * theirs).sum();
        assert!(cosine > 0.9998 && largest_difference(ours, theirs) < 5e-3, "{cosine}");
    }
}

#[test]
fn while_it_is_tuned_an_encoder_says_what_it_says_afterwards() {
    let Loaded { encoder, tokenizer, .. } = mini_lm();
    let sentence = |text: &str| Sentence::read(&Input::Text(text.to_owned()), 1000).unwrap();
    let texts = ["EU rejects German call", "Nothing unbelievable to see here, please", "Ann"];
    let windows: Vec<_> = texts.iter().map(|text| tokenizer.windows(&sentence(text)).unwrap()).collect();
    let upper = Upper::new(&encoder, UpperConfig { blocks: 2, rank: 4 }).unwrap();
    let rng = &mut ChaCha8Rng::seed_from_u64(1);
    let nothing = upper.fresh(rng).unwrap();
    let something = nothing.map(|_, tensor| init::uniform(rng, &tensor.size(), 0.05)).unwrap();
    let seen = upper.see(&windows).unwrap();

    for changes in [nothing, something] {
        let meanwhile = upper.read(&seen.iter().collect::<Vec<_>>(), &changes).unwrap(); // [3, L, D]
        let tuned = Tuning::of_changes(&changes).unwrap().apply(&encoder).unwrap();

        for (row, reading) in tuned.read(&windows).unwrap().into_iter().enumerate() {
            let shape = [(reading.len() / encoder.width()) as i64, encoder.width() as i64];
            let afterwards = bridge::from_halves(&reading, &shape, Device::Cpu).unwrap();
            let own = meanwhile.select(0, row as i64).narrow(0, 0, shape[0]);
            let apart = (&own - &afterwards).abs().max().double_value(&[]);
            assert!(apart < 1e-2, "{}: {apart}", texts[row]); // both keep some of it in 16 bits
        }
    }
    let before = encoder.read(&windows).unwrap();
    let after = Tuning::of_changes(&upper.fresh(rng).unwrap()).unwrap().apply(&encoder).unwrap();
    assert_eq!(before, after.read(&windows).unwrap());
    for (blocks, rank) in [(0, 4), (6, 4), (2, 0)] {
        assert!(Upper::new(&encoder, UpperConfig { blocks, rank }).is_err());
    }
}

#[test]
fn what_goes_with_a_text_changes_none_of_its_bits() {
    let Loaded { encoder, tokenizer, .. } = mini_lm();
    let words = ["where", "is", "my", "parcel", "please", "unbelievable", "12", "the", "?"];
    let text = |text: usize| (0..=text * 7 % 40).map(|at| words[(text + at * at) % 9]).collect::<Vec<_>>().join(" ");
    let texts: Vec<String> = (0..60).map(text).collect();
    let tokens: Vec<_> = texts.iter().map(|text| tokenizer.tokens(text).unwrap()).collect();
    let sentence = |text: &String| Sentence::read(&Input::Text(text.clone()), 1000).unwrap();
    let windows: Vec<_> = texts.iter().map(|text| tokenizer.windows(&sentence(text)).unwrap()).collect();

    for encoder in [encoder.shallow_clone(), encoder.halved().unwrap()] {
        let (rows, readings) = (encoder.embed(&tokens).unwrap(), encoder.read(&windows).unwrap());

        for (index, row) in rows.iter().enumerate() {
            let alone = encoder.embed(&tokens[index..=index]).unwrap();
            assert!(row.iter().zip(&alone[0]).all(|(one, other)| one.to_bits() == other.to_bits()), "{}", texts[index]);
            assert_eq!(readings[index], encoder.read(&windows[index..=index]).unwrap()[0], "{}", texts[index]);
        }
    }
}

#[test]
fn features_of_each_piece_are_those_of_the_reference_implementation() {
    let (Loaded { encoder, tokenizer, .. }, golden) = (mini_lm(), golden());

    let features = encoder.features(&tokenizer.tokens(&golden.texts[golden.features_of]).unwrap()).unwrap();

    // These are not of length 1: their largest numbers are near 3.
    let difference = largest_difference(&bridge::values(&features).unwrap(), &golden.features.concat());
    assert!(difference < 1e-5, "{difference}");
}

#[test]
fn pieces_know_their_place_in_the_text() {
    let tokens = mini_lm().tokenizer.tokens("Où est Zoë?").unwrap();

    let texts: Vec<char> = "Où est Zoë?".chars().collect();
    let pieces: Vec<String> = tokens.offsets.iter().map(|&(from, to)| texts[from..to].iter().collect()).collect();
    assert_eq!(pieces, ["", "Où", "est", "Zoë", "?", ""]);
}

#[test]
fn a_long_text_is_cut_and_an_empty_one_has_its_marks() {
    let tokenizer = mini_lm().tokenizer;

    assert_eq!(tokenizer.tokens(&"word ".repeat(1000)).unwrap().ids.len(), MAX_TOKENS);
    assert_eq!(tokenizer.tokens("").unwrap().ids, [101, 102]);
}

#[test]
fn a_folder_without_an_encoder_says_how_to_get_one() {
    let folder = tempfile::tempdir().unwrap();

    let error = encoder::load(folder.path(), Device::Cpu).err().unwrap().to_string();

    assert!(error.contains("imprint models pull"), "{error}");
}

#[test]
fn an_encoder_of_another_shape_than_its_config_says_is_refused() {
    let (folder, mine) = (tempfile::tempdir().unwrap(), mini_lm().reference.name);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(".imprint/encoders").join(mine);
    for name in encoder::FILES {
        std::os::unix::fs::symlink(source.join(name), folder.path().join(name)).unwrap();
    }
    let config = std::fs::read_to_string(source.join("config.json")).unwrap();
    std::fs::remove_file(folder.path().join("config.json")).unwrap();
    let wider = config.replace("\"intermediate_size\": 1536", "\"intermediate_size\": 1024");
    std::fs::write(folder.path().join("config.json"), wider).unwrap();

    let error = encoder::load(folder.path(), Device::Cpu).err().unwrap().to_string();

    assert!(error.contains("is not what config.json says"), "{error}");
}
