//! Which device computes. One binary serves both: libtorch's CUDA library is opened at run time, before any tensor.
#![expect(unsafe_code, reason = "dlopen of libtorch's CUDA library, whose initialisers run")]

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use tch::{Cuda, Device};

use crate::config::DeviceSetting;

const CUDA_LIBRARY: &str = "libtorch_cuda.so";

/// Why the device that was asked for cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// libtorch has no CUDA here.
    #[error(
        "--device cuda: {CUDA_LIBRARY} cannot be opened ({0}); install the CUDA flavour of libtorch, or ask for --device cpu"
    )]
    NoLibrary(String),
    /// CUDA finds no such GPU.
    #[error("--device cuda:{asked}: there are {found} GPUs")]
    NoGpu {
        /// The GPU that was asked for.
        asked: usize,
        /// How many there are.
        found: i64,
    },
}

/// The device for a setting, and how many workers suit it: one for each core, or one for a GPU.
///
/// # Errors
/// [`DeviceError`] if a GPU was asked for by name and cannot be had: never a silent run on the processor.
pub fn open(setting: DeviceSetting) -> Result<(Device, usize), DeviceError> {
    let device = match setting {
        DeviceSetting::Cpu => Device::Cpu,
        DeviceSetting::Auto => {
            if open_cuda().is_ok() && Cuda::device_count() > 0 {
                Device::Cuda(0)
            } else {
                Device::Cpu
            }
        }
        DeviceSetting::Cuda(asked) => {
            open_cuda().map_err(|error| DeviceError::NoLibrary(error.to_string()))?;
            let found = Cuda::device_count();
            if i64::try_from(asked).is_ok_and(|asked| asked < found) {
                Device::Cuda(asked)
            } else {
                return Err(DeviceError::NoGpu { asked, found });
            }
        }
    };
    let threads = match device {
        Device::Cpu => std::thread::available_parallelism().map_or(1, usize::from),
        _ => 1,
    };
    Ok((device, threads))
}

/// Opens the library for the whole process, for good.
fn open_cuda() -> Result<(), libloading::Error> {
    // SAFETY: the library is libtorch's own, from the folder that libtorch itself was loaded from (or the system's
    // search path); its initialisers register CUDA kernels and touch nothing of ours. It is never closed.
    let library = unsafe { Library::open(Some(CUDA_LIBRARY), RTLD_NOW | RTLD_GLOBAL) }?;
    std::mem::forget(library);
    Ok(())
}
/// Rows that are worth going through a backbone together. A core has its full speed from some twenty rows on, and whoever
/// comes next waits for all of them; a GPU is far from full with a thousand.
pub(super) fn batch_rows(device: Device) -> usize {
    if device.is_cuda() { 1024 } else { 64 }
}
