//! An engine that encodes texts as fast as it can, for `benches/encoding.py`, which lets it and others take turns.
//!
//! Each line of input is a JSON array of texts. For each it prints one line, `{"seconds": …}`: from the texts to their
//! embeddings, cutting into pieces included, nothing known beforehand. The first argument is the base model whose encoder
//! it is to be, the second the precision; `rows` as a third has the embeddings printed, too.

use std::io::BufRead;
use std::time::Instant;

use clap::ValueEnum;
use imprint::config::{EngineConfig, PrecisionSetting};
use imprint::domain::{SeededIds, TenantId};
use imprint::engine::{Engine, Lane, Origin};

type Failure = Box<dyn std::error::Error>;

#[expect(clippy::print_stdout, reason = "what it prints is what it is for")]
fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let base = arguments.first().map_or("ranking", String::as_str);
    let precision = arguments.get(1).map_or("auto", String::as_str);
    let precision = PrecisionSetting::from_str(precision, true)?;
    let config = EngineConfig { precision, embedding_cache_mib: 0, ..EngineConfig::default() };
    let engine = Engine::start(&config)?;
    let origin = Origin::interactive(TenantId::fresh(&SeededIds::new(0)));
    let runtime = tokio::runtime::Runtime::new()?;
    for line in std::io::stdin().lock().lines() {
        let texts: Vec<String> = serde_json::from_str(&line?)?;
        let started = Instant::now();
        let rows = runtime.block_on(engine.embed(origin, base, texts, Lane::Adapt))?;
        let mut answer = serde_json::json!({ "seconds": started.elapsed().as_secs_f64() });
        if arguments.get(2).is_some_and(|argument| argument == "rows") {
            answer["rows"] = rows.iter().map(|row| row.to_vec()).collect();
        }
        println!("{answer}");
    }
    Ok(())
}
