//! In which numbers shared features are computed: a choice by the processor's instructions alone, never by a clock, so that
//! a server that starts again on the same machine answers with the same bits.

use tch::Device;

use crate::config::PrecisionSetting;
use crate::domain::Precision;

/// The processor computes bfloat16 only by way of 32-bit floats.
#[derive(Debug, thiserror::Error)]
#[error("--precision bfloat16: {0}; ask for --precision auto")]
pub struct PrecisionError(&'static str);

/// The precision for a setting on this device.
///
/// # Errors
/// [`PrecisionError`] if bfloat16 was asked for and would be no gain.
pub fn choose(setting: PrecisionSetting, device: Device) -> Result<Precision, PrecisionError> {
    let gains = if device != Device::Cpu {
        Err(PrecisionError("it is for processors, and this is a GPU"))
    } else if has_instructions() {
        Ok(Precision::Bfloat16)
    } else {
        Err(PrecisionError("this processor has no instructions for it"))
    };
    match setting {
        PrecisionSetting::Float32 => Ok(Precision::Float32),
        PrecisionSetting::Bfloat16 => gains,
        PrecisionSetting::Auto => Ok(gains.unwrap_or(Precision::Float32)),
    }
}

#[cfg(target_arch = "x86_64")]
fn has_instructions() -> bool {
    std::arch::is_x86_feature_detected!("avx512bf16")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_instructions() -> bool {
    false
}
