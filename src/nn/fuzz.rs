//! Files of weights as strangers write them: what is taken is as large as it says.

use tch::Device;

use super::{Params, bridge, checkpoint};
use crate::fuzz::hammer;

#[test]
fn weights() {
    let tensor = |shape: &[i64]| {
        let count = usize::try_from(shape.iter().product::<i64>()).unwrap();
        bridge::tensor(&vec![0.5; count], shape, Device::Cpu).unwrap()
    };
    let params: Params =
        [("head.weight".to_owned(), tensor(&[2, 3])), ("head.bias".to_owned(), tensor(&[2]))].into_iter().collect();
    let file = checkpoint::to_bytes(&params, &[("base_sha256", "abc".to_owned())]).unwrap();
    let empty = checkpoint::to_bytes(&Params::default(), &[]).unwrap();

    hammer("weights", &[&file, &empty], |bytes| {
        let _ = checkpoint::metadata(bytes);
        let _ = checkpoint::floats(bytes, Device::Cpu);
        if let Ok(params) = checkpoint::from_bytes(bytes, Device::Cpu) {
            let numbers: usize = params.iter().map(|(_, tensor)| tensor.numel()).sum();
            assert!(4 * numbers <= bytes.len());
            for (_, tensor) in params.iter() {
                assert_eq!(bridge::values(tensor).unwrap().len(), tensor.numel());
            }
        }
    });
}
