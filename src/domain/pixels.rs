//! From encoded bytes to a grid of numbers: decode, grey, resize, polarity. Pure, and bounded before it allocates.

use std::io::Cursor;

use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::{DynamicImage, ImageBuffer, ImageFormat, ImageReader, Limits, Rgb};

use super::{Fault, Polarity};

/// How large an image may be before it is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelLimits {
    /// The longest side in pixels.
    pub max_side: u32,
    /// The most memory that a decoder may take, in bytes.
    pub max_bytes: u64,
}

impl Default for PixelLimits {
    fn default() -> Self {
        // As much as the largest side allows in red, green and blue.
        Self { max_side: 4096, max_bytes: 48 << 20 }
    }
}

/// `[C, H, W]` values, row-major; 0 is black and 1 is white as long as no polarity was applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Pixels {
    channels: usize,
    height: usize,
    width: usize,
    values: Vec<f32>,
}

impl Pixels {
    /// From values that are already a grid.
    ///
    /// # Panics
    /// If there are not `channels · height · width` of them.
    pub fn new(channels: usize, height: usize, width: usize, values: Vec<f32>) -> Self {
        assert_eq!(values.len(), channels * height * width, "a grid of {channels}×{height}×{width}");
        Self { channels, height, width, values }
    }

    /// From a PNG, JPEG or WebP file, told apart by its first bytes, resized to `height`×`width`. Of an animation, the
    /// first frame. Transparent pixels show white.
    ///
    /// A reduction averages the pixels that fall together, as Pillow's `BOX` does, so that thin strokes survive.
    ///
    /// # Errors
    /// [`Fault::UnknownImageFormat`], [`Fault::ImageTooLarge`] (before any pixel is decoded), [`Fault::BadImage`].
    pub fn decode(bytes: &[u8], [channels, height, width]: [usize; 3], limits: PixelLimits) -> Result<Self, Fault> {
        let Ok(format @ (ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::WebP)) = image::guess_format(bytes) else {
            return Err(Fault::UnknownImageFormat);
        };
        let bad = |error: image::ImageError| Fault::BadImage { reason: error.to_string() };
        let given = ImageReader::with_format(Cursor::new(bytes), format).into_dimensions().map_err(bad)?;
        if given.0.max(given.1) > limits.max_side {
            return Err(Fault::ImageTooLarge { width: given.0, height: given.1, limit: limits.max_side });
        }
        let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
        let mut decoder_limits = Limits::default();
        decoder_limits.max_image_width = Some(limits.max_side);
        decoder_limits.max_image_height = Some(limits.max_side);
        decoder_limits.max_alloc = Some(limits.max_bytes);
        reader.limits(decoder_limits);
        let decoded = over_white(reader.decode().map_err(bad)?);
        let values = if channels == 1 {
            let grey = resized(DynamicImage::ImageLuma8(decoded.into_luma8()), height, width);
            grey.into_luma8().into_raw().into_iter().map(unit).collect()
        } else {
            planes(&resized(DynamicImage::ImageRgb8(decoded.into_rgb8()), height, width).into_rgb8().into_raw())
        };
        Ok(Self { channels, height, width, values })
    }

    /// The picture as a base model of this polarity sees it.
    #[must_use]
    pub fn with_polarity(mut self, polarity: Polarity) -> Self {
        match polarity {
            Polarity::AsIs => {}
            Polarity::Ink => {
                if self.border_mean() > 0.5 {
                    self.values.iter_mut().for_each(|value| *value = 1.0 - *value);
                }
            }
        }
        self
    }

    /// The numbers, `[C, H, W]` row-major.
    pub fn into_values(self) -> Vec<f32> {
        self.values
    }

    /// Mean over the outermost rows and columns: what the paper under the ink looks like.
    fn border_mean(&self) -> f64 {
        let (mut sum, mut count) = (0.0f64, 0u32);
        for (row, values) in self.values.chunks_exact(self.width.max(1)).enumerate() {
            let is_outermost = row % self.height == 0 || row % self.height + 1 == self.height;
            // Of the other rows every last but the first value is skipped.
            let step = if is_outermost { 1 } else { values.len().saturating_sub(1).max(1) };
            for value in values.iter().step_by(step) {
                sum += f64::from(*value);
                count += 1;
            }
        }
        sum / f64::from(count.max(1))
    }
}

/// The same picture in another size.
fn resized(image: DynamicImage, height: usize, width: usize) -> DynamicImage {
    let side = |pixels: usize| u32::try_from(pixels).expect("base models take images far below 2^32 pixels a side");
    let (height, width) = (side(height), side(width));
    if (image.height(), image.width()) == (height, width) {
        return image;
    }
    let is_reduction = image.height() >= height && image.width() >= width;
    let filter = if is_reduction { FilterType::Box } else { FilterType::Bilinear };
    let mut out = DynamicImage::new(width, height, image.color());
    Resizer::new()
        .resize(&image, &mut out, &ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)))
        .expect("both images have the same 8-bit pixel type, and neither is empty");
    out
}

fn unit(byte: u8) -> f32 {
    f32::from(byte) / 255.0
}

/// Interleaved RGB to three planes.
fn planes(interleaved: &[u8]) -> Vec<f32> {
    (0..3).flat_map(|channel| interleaved.iter().skip(channel).step_by(3).copied().map(unit)).collect()
}

/// Blends an image with transparency over white paper.
fn over_white(image: DynamicImage) -> DynamicImage {
    if !image.color().has_alpha() {
        return image;
    }
    let rgba = image.to_rgba8();
    let blended = ImageBuffer::from_fn(rgba.width(), rgba.height(), |x, y| {
        let [r, g, b, alpha] = rgba.get_pixel(x, y).0.map(u32::from);
        let over = |channel: u32| u8::try_from((channel * alpha + 255 * (255 - alpha)) / 255).expect("a mean of bytes");
        Rgb([over(r), over(g), over(b)])
    });
    DynamicImage::ImageRgb8(blended)
}

#[cfg(test)]
mod tests {
    use image::Luma;

    use super::*;

    fn png(width: u32, height: u32, pixel: impl Fn(u32, u32) -> u8) -> Vec<u8> {
        let grey = ImageBuffer::from_fn(width, height, |x, y| Luma([pixel(x, y)]));
        let mut bytes = Cursor::new(Vec::new());
        DynamicImage::ImageLuma8(grey).write_to(&mut bytes, ImageFormat::Png).expect("writes to memory");
        bytes.into_inner()
    }

    #[test]
    fn black_on_white_and_white_on_black_are_one_picture_of_ink() {
        let dot = |x, y| u8::from(x == 2 && y == 2) * 255;
        let limits = PixelLimits::default();

        let light = Pixels::decode(&png(5, 5, dot), [1, 5, 5], limits).expect("decodes").with_polarity(Polarity::Ink);
        let dark = Pixels::decode(&png(5, 5, |x, y| 255 - dot(x, y)), [1, 5, 5], limits)
            .expect("decodes")
            .with_polarity(Polarity::Ink);

        assert_eq!(light, dark);
        assert_eq!(light.into_values()[12], 1.0);
    }

    #[test]
    fn an_image_too_large_is_refused_before_it_is_decoded() {
        let limits = PixelLimits { max_side: 8, max_bytes: 1 << 20 };

        let decoded = Pixels::decode(&png(9, 2, |_, _| 0), [1, 2, 9], limits);

        assert_eq!(decoded, Err(Fault::ImageTooLarge { width: 9, height: 2, limit: 8 }));
    }

    #[test]
    fn truncated_and_foreign_files_are_refused() {
        let whole = png(32, 32, |x, y| u8::try_from((x * 7 + y * 13) % 256).expect("a byte"));
        let limits = PixelLimits::default();

        assert!(matches!(Pixels::decode(&whole[..whole.len() / 2], [1, 32, 32], limits), Err(Fault::BadImage { .. })));
        assert_eq!(Pixels::decode(b"GIF89a..............", [1, 8, 8], limits), Err(Fault::UnknownImageFormat));
        assert_eq!(Pixels::decode(b"", [1, 8, 8], limits), Err(Fault::UnknownImageFormat));
    }

    #[test]
    fn a_border_is_the_outermost_values_each_of_them_once() {
        for (height, width, mean) in [(3, 3, 4.0), (2, 4, 3.5), (1, 3, 1.0), (4, 1, 1.5), (3, 2, 2.5), (1, 1, 0.0)] {
            let mut values: Vec<f32> = (0u16..).map(f32::from).take(height * width).collect();
            if (height, width) == (3, 3) {
                values[4] = 1000.0; // which is inside
            }
            assert_eq!(Pixels::new(1, height, width, values).border_mean(), mean, "{height}×{width}");
        }
    }

    #[test]
    fn a_reduction_keeps_the_mean() {
        let bytes = png(56, 56, |x, _| if x % 2 == 0 { 0 } else { 255 });

        let small = Pixels::decode(&bytes, [1, 28, 28], PixelLimits::default()).expect("decodes");

        let mean = small.into_values().iter().sum::<f32>() / 784.0;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
    }
}
