//! What a computation is going to take.

/// Work and memory, as predicted before the first of it is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Multiplications with an addition; two floating point operations each.
    pub multiply_adds: u64,
    /// Memory at the peak, beside what the base model takes anyway.
    pub bytes: u64,
}

/// How large a computation is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Rows that are adapted to; none for a prediction with an adapter.
    pub support: usize,
    /// Rows without a target that are adapted to, too.
    pub unlabelled: usize,
    /// Rows that are asked about.
    pub query: usize,
    /// Outputs of the head.
    pub outputs: usize,
    /// Inner steps, if the learner takes any and it is not its own number.
    pub inner_steps: Option<u32>,
    /// Inner loops without some of the rows, for the estimate of learners that have none in closed form.
    pub folds: usize,
}

impl Cost {
    /// Whether neither figure is above that of `most`.
    pub const fn is_within(self, most: Self) -> bool {
        self.multiply_adds <= most.multiply_adds && self.bytes <= most.bytes
    }
}
