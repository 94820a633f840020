//! What strangers send as values: anything but a panic, and what is taken keeps its promises.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::Cursor;
use std::str::FromStr;

use image::{DynamicImage, ImageFormat};

use super::*;
use crate::fuzz::hammer;

const LIMITS: PixelLimits = PixelLimits { max_side: 256, max_bytes: 1 << 20 };

fn schemas() -> [InputSchema; 3] {
    let encoder = EncoderRef { name: "e".to_owned(), sha256: BTreeMap::new(), tuning: None };
    [
        InputSchema::Vector { width: 2 },
        InputSchema::Image { channels: 1, height: 4, width: 4, polarity: Polarity::Ink },
        InputSchema::Text { encoder, width: 3, max_chars: 40 },
    ]
}

/// Written again, an id is what it was read from.
fn reads<T: FromStr + Display>(text: &str) {
    if let Ok(read) = text.parse::<T>() {
        assert_eq!(read.to_string(), text);
    }
}

#[test]
fn ids_and_keys() {
    let ids = SeededIds::new(1);
    let (task, key) = (TaskId::fresh(&ids).to_string(), ApiKey::fresh(&ids));
    let adaptation = AdaptationId::fresh(&ids).to_string();
    let samples = [task.as_bytes(), adaptation.as_bytes(), key.reveal().as_bytes()];

    hammer("ids", &samples, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        reads::<TaskId>(&text);
        reads::<AdaptationId>(&text);
        reads::<SupportId>(&text);
        reads::<WebhookId>(&text);
        if let Some(key) = ApiKey::parse(&text) {
            assert_eq!(key.reveal(), text);
        }
    });
}

#[test]
fn secrets_of_webhooks() {
    let secret = WebhookSecret::fresh(&SeededIds::new(1)).reveal();

    hammer("secrets", &[secret.as_bytes()], |bytes| {
        let text = String::from_utf8_lossy(bytes);
        if let Some(read) = WebhookSecret::parse(&text) {
            assert!(WebhookSecret::parse(&read.reveal()) == Some(read));
        }
    });
}

#[test]
fn inputs() {
    let samples: [&[u8]; 6] = [
        b"[0.25, -3.5e2]",
        b"\"where is my card\"",
        br#"{"shape": [1, 4, 4], "values": [0,1,0,1,0,1,0,1,0,1,0,1,0,1,0,1]}"#,
        br#"{"image": "data:image/png;base64,iVBORw0KGgo="}"#,
        br#"{"tokens": ["Ann", "met", "Bob"]}"#,
        br#"{"values": [0.5], "shape": [1, 1, 1]}"#,
    ];

    hammer("inputs", &samples, |bytes| {
        let Ok(input) = serde_json::from_slice::<Input>(bytes) else { return };
        for schema in schemas() {
            if let Ok(row) = schema.row(&input, LIMITS) {
                assert_eq!(row.len(), schema.row_width());
                assert!(row.iter().all(|value| value.is_finite()));
            }
            if let Ok(Some(text)) = schema.text(&input) {
                assert!(text.chars().count() <= 40);
            }
        }
        sentence(&input);
    });
}

/// Words are where the sentence says, and spans come back as they went in.
fn sentence(input: &Input) {
    let Ok(sentence) = Sentence::read(input, 200) else { return };
    let chars: Vec<char> = sentence.text().chars().collect();
    for (word, place) in sentence.words().zip(sentence.places()) {
        assert_eq!(chars[place.clone()].iter().collect::<String>(), word);
    }
    let tags = vec!["B-a".to_owned(); sentence.len()];
    assert_eq!(sentence.spans_of(&tags).map(|spans| spans.len()), Ok(sentence.len()));
}

#[test]
fn sentences() {
    let samples = ["Ann met Bob, in Rome.", "e\u{301}té — naïve 𝒳 你好", "a\u{200b}b 3.5% U.S.", "x-y_z@host #tag"];

    hammer("sentences", &samples.map(str::as_bytes), |bytes| {
        sentence(&Input::Text(String::from_utf8_lossy(bytes).into_owned()));
    });
}

#[test]
fn pictures() {
    let picture = DynamicImage::new_rgb8(9, 7);
    let files = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP].map(|format| {
        let mut file = Cursor::new(Vec::new());
        picture.write_to(&mut file, format).unwrap();
        file.into_inner()
    });
    let samples: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();

    hammer("pictures", &samples, |bytes| {
        for shape in [[1, 4, 4], [3, 5, 2]] {
            if let Ok(pixels) = Pixels::decode(bytes, shape, LIMITS) {
                let values = pixels.with_polarity(Polarity::Ink).into_values();
                assert_eq!(values.len(), shape.iter().product::<usize>());
                assert!(values.iter().all(|value| (0.0..=1.0).contains(value)));
            }
        }
    });
}
