use rand::{RngExt, SeedableRng};

use super::*;
use crate::domain::{EncoderRef, Input, Recipe, TaggedSet};

const WIDTH: usize = 6;

fn tagger() -> Tagger {
    let encoder = EncoderRef { name: "none".to_owned(), sha256: std::collections::BTreeMap::new(), tuning: None };
    let architecture = Architecture {
        input: InputSchema::Text { encoder, width: WIDTH, max_chars: 1000 },
        kind: Kind::Tagging,
        backbone: BackboneConfig::Words { channels: 8, table: 128, row: 4, look: 8 },
        learner: LearnerConfig::Tagger { steps: 40, lr: 0.01, words: 2000 },
    };
    Tagger::fresh(&architecture, 3, Device::Cpu).expect("the parts go together")
}

/// Sentences in which a word with a capital is a name, and what an encoder that knows nothing says of them.
fn set(count: usize) -> (TaggedSet, Vec<Reading>) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let (mut sentences, mut tags) = (Vec::new(), Vec::new());
    for number in 0..count {
        let words: Vec<String> = (0..3 + number % 7)
            .map(|_| {
                let letters: String = (0..4).map(|_| char::from(rng.random_range(b'a'..=b'z'))).collect();
                if rng.random_bool(0.3) { format!("X{letters}") } else { letters }
            })
            .collect();
        let tag = |word: &String| u32::from(word.starts_with('X'));
        let own: Vec<u32> = words.iter().map(tag).collect();
        tags.push(own);
        sentences.push(Sentence::read(&Input::Tokens(words), 1000).expect("words"));
    }
    let set = TaggedSet::new(sentences, tags, 1).expect("names among them");
    let readings = set.sentences().iter().map(|sentence| Reading::from(vec![0u16; sentence.len() * WIDTH])).collect();
    (set, readings)
}

fn bits(params: &Params) -> Vec<u32> {
    let values = params.tensors().flat_map(|tensor| bridge::values(tensor).expect("floats"));
    values.map(f32::to_bits).collect()
}

#[test]
fn capitals_are_learned_from_a_few_sentences() {
    let (tagger, (set, readings)) = (tagger(), set(40));
    let adapter = tagger.learn(&set, &readings, &Recipe::default()).expect("it learns");

    let unseen = Sentence::read(&Input::Text("the Zebra saw a Xylophon".to_owned()), 100).expect("words");
    let nothing = Reading::from(vec![0u16; unseen.len() * WIDTH]);
    let spans = tagger.lattice(&adapter, &unseen, &nothing).expect("it fits").spans();

    assert_eq!(spans.iter().map(|found| found.words.clone()).collect::<Vec<_>>(), [1..2, 4..5]);
}

#[test]
fn learning_in_slices_by_way_of_bytes_leaves_the_same_bits() {
    let (tagger, (set, readings)) = (tagger(), set(400));
    let recipe = Recipe { inner_steps: Some(130), ..Recipe::default() };
    let whole = tagger.learn(&set, &readings, &recipe).expect("it learns");

    let mut learning = tagger.begin(&set, &recipe).expect("it begins");
    let mut slices = 0;
    while !learning.is_done() {
        learning = Learning::from_bytes(&learning.to_bytes().expect("written"), Device::Cpu).expect("read");
        learning = tagger.advance(learning, &set, &readings, &recipe).expect("it learns");
        slices += 1;
    }

    assert!(slices > 1, "one slice shows nothing");
    assert_eq!(bits(&tagger.finish(&learning).expect("it ends")), bits(&whole));
}

#[test]
fn theta_is_left_alone_and_without_inner_steps_only_the_head_moves() {
    let (tagger, (set, readings)) = (tagger(), set(20));
    let before = bits(&tagger.theta);
    let head = tagger.learn(&set, &readings, &Recipe { inner_steps: Some(0), ..Recipe::default() }).expect("it learns");
    let whole = tagger.learn(&set, &readings, &Recipe::default()).expect("it learns");

    assert_eq!(bits(&tagger.theta), before);
    assert_eq!(head.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["head.bias", "head.weight"]);
    assert!(head.get("head.weight").expect("it is there").abs().max().double_value(&[]) > 0.0);
    assert_eq!(whole.len(), tagger.theta.len() + 2);
    assert_ne!(bits(whole.get("words.first.weight").map(|_| &whole).expect("it is there")), before);
}

#[test]
fn an_adapter_of_other_shapes_is_a_misfit() {
    let (tagger, (set, readings)) = (tagger(), set(20));
    let adapter =
        || tagger.learn(&set, &readings, &Recipe { inner_steps: Some(1), ..Recipe::default() }).expect("it learns");
    assert_eq!(tagger.misfit(&adapter()), None);

    let with = |name: &str, shape: &[i64]| {
        let mut other = adapter();
        other.insert(name, crate::nn::init::constant(shape, 0.0).expect("zeros"));
        tagger.misfit(&other)
    };
    assert!(with("head.weight", &[3, 4]).is_some());
    assert!(with("head.bias", &[4]).is_some());
    assert!(with("words.first.bias", &[9]).is_some());
    assert!(with("words.more", &[1]).is_some());
    assert!(tagger.misfit(&adapter().filtered(|name| name != "words.first.bias")).is_some());
    assert!(tagger.misfit(&adapter().filtered(|name| name != "head.weight")).is_some());
}
