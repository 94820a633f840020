//! The engine's settings.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

/// Base models, device and workers.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// Folder of base model bundles.
    #[arg(long, env = "IMPRINT_MODELS", default_value = "models")]
    pub models: PathBuf,

    /// Folder of text encoders, for base models that stand on one; `imprint models pull` fills it.
    #[arg(long, env = "IMPRINT_ENCODERS", default_value = ".imprint/encoders")]
    pub encoders: PathBuf,

    /// Where tensors live: auto, cpu, cuda or cuda:N. `cuda` without a GPU is an error at start.
    #[arg(long, env = "IMPRINT_DEVICE", default_value = "auto")]
    pub device: DeviceSetting,

    /// Numbers in which features are computed that all tasks share: auto, float32 or bfloat16. `auto` takes bfloat16 where
    /// the processor has instructions for it and the backbone gains by it. Replicas of one service want the same.
    #[arg(long, env = "IMPRINT_PRECISION", default_value = "auto")]
    pub precision: PrecisionSetting,

    /// Threads that own tensors, each with one computation at a time; 0 takes one for each core. A GPU has one.
    #[arg(long, env = "IMPRINT_WORKERS", default_value_t = 0)]
    pub workers: usize,

    /// Commands that may wait for a worker; one more is answered 503.
    #[arg(long, env = "IMPRINT_ENGINE_QUEUE", default_value_t = 1024)]
    pub engine_queue: usize,

    /// Commands of one tenant that may wait for a worker; one more is answered 429.
    #[arg(long, env = "IMPRINT_ENGINE_QUEUE_PER_TENANT", default_value_t = 256)]
    pub engine_queue_per_tenant: usize,

    /// Most memory that one adaptation or prediction may take, in MiB, as predicted from its size; more is answered 422.
    /// The workers together take as many times as much.
    #[arg(long, env = "IMPRINT_MAX_COMMAND_MIB", default_value_t = 1024)]
    pub max_command_mib: u64,

    /// Most work that one may take, in thousands of millions of multiply-adds; more is answered 422. A core does some 20
    /// to 100 in a second.
    #[arg(long, env = "IMPRINT_MAX_COMMAND_GIGA_MULTIPLY_ADDS", default_value_t = 10_000)]
    pub max_command_giga_multiply_adds: u64,

    /// Rows of several tenants' commands that go through a backbone together; 0 takes 64 on a processor, where more only
    /// makes others wait, and 1024 on a GPU.
    #[arg(long, env = "IMPRINT_BATCH_ROWS", default_value_t = 0)]
    pub batch_rows: usize,

    /// Memory for embeddings of texts, in MiB: a text that is known is not encoded again.
    #[arg(long, env = "IMPRINT_EMBEDDING_CACHE_MIB", default_value_t = 128)]
    pub embedding_cache_mib: u64,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            models: PathBuf::from("models"),
            encoders: PathBuf::from(".imprint/encoders"),
            device: DeviceSetting::Auto,
            precision: PrecisionSetting::Auto,
            workers: 0,
            engine_queue: 1024,
            engine_queue_per_tenant: 256,
            max_command_mib: 1024,
            max_command_giga_multiply_adds: 10_000,
            batch_rows: 0,
            embedding_cache_mib: 128,
        }
    }
}

/// The device that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceSetting {
    /// A GPU if there is one.
    Auto,
    /// The processor.
    Cpu,
    /// The GPU of that number, or nothing.
    Cuda(usize),
}

impl FromStr for DeviceSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "auto" => Ok(Self::Auto),
            None if text == "cpu" => Ok(Self::Cpu),
            None if text == "cuda" => Ok(Self::Cuda(0)),
            Some(("cuda", number)) => {
                number.parse().map(Self::Cuda).map_err(|_| format!("`{number}` is no number of a GPU"))
            }
            _ => Err(format!("`{text}` is no device: auto, cpu, cuda or cuda:N")),
        }
    }
}

/// The precision that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum PrecisionSetting {
    /// 16-bit floats where the processor has instructions for them.
    Auto,
    /// 32-bit floats.
    Float32,
    /// 16-bit floats, or no start.
    Bfloat16,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        engine: EngineConfig,
    }

    #[test]
    fn flag_defaults_equal_the_struct_defaults() {
        assert_eq!(Flags::parse_from(["imprint"]).engine, EngineConfig::default());
    }

    #[test]
    fn devices_are_read_by_name() {
        assert_eq!("cuda:2".parse(), Ok(DeviceSetting::Cuda(2)));
        assert!("gpu".parse::<DeviceSetting>().is_err());
        assert!("cuda:x".parse::<DeviceSetting>().is_err());
    }
}
