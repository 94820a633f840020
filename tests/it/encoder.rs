//! The text encoder against the reference implementation: `tests/golden/encoder.json`, made by `tests/golden/encoder.py`.

use std::path::Path;

use imprint::meta::encoder::{self, Loaded, MAX_TOKENS};
use imprint::nn::bridge;
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

    for (text, theirs) in golden.texts.iter().zip(&golden.embeddings) {
        let ours = encoder.embed(&tokenizer.tokens(text).unwrap()).unwrap();
        let difference = largest_difference(&ours, theirs);
        assert!(difference < 1e-5, "{text}: {difference}");
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
