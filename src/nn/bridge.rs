//! Between slices and tensors: the only conversions, checked.

use tch::{Device, Kind, Tensor};

use super::{Result, TensorError};

/// A tensor of `shape` that holds `values`, row-major.
///
/// # Errors
/// [`TensorError::Length`] if they do not fill the shape. libtorch's own constructor copies whatever lies behind a
/// slice that is too short.
pub fn tensor(values: &[f32], shape: &[i64], device: Device) -> Result<Tensor> {
    check(values.len(), shape)?;
    Ok(Tensor::f_from_slice(values)?.f_reshape(shape)?.f_to_device(device)?)
}

/// An int64 tensor of `shape` that holds `values`, row-major.
///
/// # Errors
/// [`TensorError::Length`] if they do not fill the shape.
pub fn index_tensor(values: &[i64], shape: &[i64], device: Device) -> Result<Tensor> {
    check(values.len(), shape)?;
    Ok(Tensor::f_from_slice(values)?.f_reshape(shape)?.f_to_device(device)?)
}

/// The numbers of a tensor, row-major, as 32-bit floats.
pub fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    let flat = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?.f_contiguous()?.f_view([-1])?;
    Ok(Vec::<f32>::try_from(&flat)?)
}

/// The numbers of a tensor, row-major, as 16-bit floats as they lie in memory.
pub fn halves(tensor: &Tensor) -> Result<Vec<u16>> {
    let flat = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_to_kind(Kind::Half)?.f_contiguous()?.f_view([-1])?;
    let bits = Vec::<i16>::try_from(&flat.f_view_dtype(Kind::Int16)?)?;
    Ok(bits.into_iter().map(i16::cast_unsigned).collect())
}

/// A tensor of `shape`, of 32-bit floats, from 16-bit ones as [`halves`] gives them.
///
/// # Errors
/// [`TensorError::Length`] if they do not fill the shape.
pub fn from_halves(values: &[u16], shape: &[i64], device: Device) -> Result<Tensor> {
    check(values.len(), shape)?;
    let bits: Vec<i16> = values.iter().map(|&bits| bits.cast_signed()).collect();
    let tensor = Tensor::f_from_slice(&bits)?.f_view_dtype(Kind::Half)?.f_to_kind(Kind::Float)?;
    Ok(tensor.f_reshape(shape)?.f_to_device(device)?)
}

fn check(given: usize, shape: &[i64]) -> Result<()> {
    let needs = shape.iter().try_fold(1i64, |product, &side| if side < 0 { None } else { product.checked_mul(side) });
    if needs.is_some_and(|needs| usize::try_from(needs) == Ok(given)) {
        Ok(())
    } else {
        Err(TensorError::Length { shape: shape.to_vec(), given })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_that_does_not_fill_the_shape_is_refused() {
        assert!(matches!(tensor(&[1.0], &[64], Device::Cpu), Err(TensorError::Length { .. })));
        assert!(matches!(tensor(&[1.0], &[-1], Device::Cpu), Err(TensorError::Length { .. })));
        assert!(matches!(tensor(&[1.0], &[i64::MAX, 2], Device::Cpu), Err(TensorError::Length { .. })));
    }

    #[test]
    fn values_survive_the_bridge_bit_for_bit() {
        let numbers = [0.1, -0.0, 1e-42, 3.4e38, -7.25, 1.0];

        let back = values(&tensor(&numbers, &[2, 3], Device::Cpu).unwrap()).unwrap();

        assert_eq!(back.map_bits(), numbers.to_vec().map_bits());
    }

    #[test]
    fn halves_survive_the_bridge() {
        let numbers = [0.5, -2.0, 65504.0, 0.0, -0.333_251_95, 1.0];

        let bits = halves(&tensor(&numbers, &[6], Device::Cpu).unwrap()).unwrap();

        assert_eq!(values(&from_halves(&bits, &[2, 3], Device::Cpu).unwrap()).unwrap(), numbers);
        assert!(matches!(from_halves(&bits, &[7], Device::Cpu), Err(TensorError::Length { .. })));
    }

    trait Bits {
        fn map_bits(&self) -> Vec<u32>;
    }
    impl Bits for Vec<f32> {
        fn map_bits(&self) -> Vec<u32> {
            self.iter().map(|number| number.to_bits()).collect()
        }
    }
}
