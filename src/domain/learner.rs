//! Learner and backbone configurations: the form in which manifests, training files and the command line name them.

use serde::{Deserialize, Serialize};

use super::{Kind, Rows};

/// A learner and its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum LearnerConfig {
    /// Gradient steps on every parameter (Finn et al. 2017, arXiv:1703.03400).
    Maml {
        /// Inner steps taken while serving and, unless a training file says otherwise, in training.
        inner_steps: u32,
        /// Inner step size α.
        inner_lr: f64,
        /// Whether the outer gradient goes through the inner gradients.
        order: GradOrder,
        /// Where the head starts from.
        head_init: HeadInit,
    },
    /// Gradient steps on the head alone (Raghu et al. 2020, arXiv:1909.09157).
    Anil {
        /// Inner steps.
        inner_steps: u32,
        /// Inner step size α.
        inner_lr: f64,
        /// Whether the outer gradient goes through the inner gradients.
        order: GradOrder,
        /// Where the head starts from.
        head_init: HeadInit,
    },
    /// MAML with a learned step size for each parameter (Li et al. 2017, arXiv:1707.09835).
    MetaSgd {
        /// Inner steps.
        inner_steps: u32,
        /// What every step size starts from.
        inner_lr: f64,
        /// Whether the outer gradient goes through the inner gradients.
        order: GradOrder,
        /// Where the head starts from.
        head_init: HeadInit,
    },
    /// MAML with a learned step size for each layer and step, a loss after each step, and inner gradients that are
    /// constants at first (Antoniou et al. 2019, arXiv:1810.09502).
    MamlPlusPlus {
        /// Inner steps.
        inner_steps: u32,
        /// What every step size starts from.
        inner_lr: f64,
        /// Share of meta-training over which the losses after all steps give way to the last one's.
        multi_step: f64,
        /// Share of meta-training in which inner gradients are constants.
        first_order: f64,
        /// Where the head starts from.
        head_init: HeadInit,
    },
    /// Towards the weights that gradient steps end at (Nichol et al. 2018, arXiv:1803.02999).
    Reptile {
        /// Inner steps.
        inner_steps: u32,
        /// Inner step size α.
        inner_lr: f64,
        /// Where the head starts from.
        head_init: HeadInit,
    },
    /// Gradient steps on a few context parameters that modulate a shared network (Zintgraf et al. 2019,
    /// arXiv:1810.03642).
    Cavia {
        /// Inner steps.
        inner_steps: u32,
        /// Inner step size α.
        inner_lr: f64,
        /// Whether the outer gradient goes through the inner gradients.
        order: GradOrder,
        /// How many context parameters.
        contexts: usize,
        /// Number of outputs; the head is shared by all tasks.
        way: usize,
    },
    /// Steps by a learned optimizer, an LSTM on each coordinate's gradient (Andrychowicz et al. 2016,
    /// arXiv:1606.04474).
    LearnedOptimizer {
        /// Inner steps.
        inner_steps: u32,
        /// Units of each of its two layers.
        hidden: usize,
        /// Where the head starts from.
        head_init: HeadInit,
    },
    /// Plain training, then gradient steps on every parameter: the baseline of Chen et al. 2019, arXiv:1904.04232.
    FineTune {
        /// Inner steps.
        inner_steps: u32,
        /// Inner step size.
        inner_lr: f64,
        /// Number of outputs.
        way: usize,
    },
    /// Several θ under one learner, chosen between by the support set (after Yao et al. 2019, arXiv:1905.05301, and Vuorio
    /// et al. 2019, arXiv:1910.13616).
    Experts {
        /// How many.
        experts: usize,
        /// The learner.
        of: Box<LearnerConfig>,
    },
    /// Nearest class mean in squared Euclidean distance (Snell et al. 2017, arXiv:1703.05175).
    Protonet {},
    /// Ridge regression on the features, with meta-learned λ, scale and offset (Bertinetto et al. 2019, arXiv:1805.08136).
    R2d2 {},
    /// Ridge regression towards a head that is meta-learned, for classes that are the same in many tasks.
    KnownRidge {
        /// What they are called. Classes with other names start from nothing.
        classes: Vec<String>,
    },
    /// Logistic regression towards class means, and towards the classes' names where a task tells them.
    Logistic {
        /// Steps to the minimum, which is the only one.
        steps: u32,
    },
    /// Ridge regression from a meta-learned preference on, in features that are meta-learned with it; for ranking.
    PriorRidge {},
    /// Gradient steps on every parameter of a network over words, by minibatches of sentences; for tagging alone.
    Tagger {
        /// Fewest steps.
        steps: u32,
        /// Largest step size.
        lr: f64,
        /// Words that are looked at, each as often as it is, before epochs become fewer.
        words: usize,
    },
}

impl LearnerConfig {
    /// The name that the field knows it by.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Maml { head_init: HeadInit::Prototype {}, .. } => "proto_maml",
            Self::Maml { order: GradOrder::Second, .. } => "maml",
            Self::Maml { order: GradOrder::First, .. } => "fomaml",
            Self::Anil { .. } => "anil",
            Self::MetaSgd { .. } => "meta_sgd",
            Self::MamlPlusPlus { .. } => "maml_plus_plus",
            Self::Reptile { .. } => "reptile",
            Self::Cavia { .. } => "cavia",
            Self::LearnedOptimizer { .. } => "learned_optimizer",
            Self::FineTune { .. } => "fine_tune",
            Self::Experts { .. } => "experts",
            Self::Protonet {} => "protonet",
            Self::R2d2 {} => "r2d2",
            Self::KnownRidge { .. } => "known_ridge",
            Self::Logistic { .. } => "logistic",
            Self::PriorRidge {} => "prior_ridge",
            Self::Tagger { .. } => "tagger",
        }
    }

    /// The learner under which tasks adapt: an expert's, or itself.
    pub fn single(&self) -> &Self {
        match self {
            Self::Experts { of, .. } => of.single(),
            other => other,
        }
    }

    /// How many θ there are.
    pub const fn experts(&self) -> usize {
        match self {
            Self::Experts { experts, .. } => *experts,
            _ => 1,
        }
    }

    /// Inner steps by default; `None` for learners that solve in closed form.
    pub fn inner_steps(&self) -> Option<u32> {
        match self {
            Self::Experts { of, .. } => of.inner_steps(),
            Self::Maml { inner_steps, .. }
            | Self::Anil { inner_steps, .. }
            | Self::MetaSgd { inner_steps, .. }
            | Self::MamlPlusPlus { inner_steps, .. }
            | Self::Reptile { inner_steps, .. }
            | Self::Cavia { inner_steps, .. }
            | Self::LearnedOptimizer { inner_steps, .. }
            | Self::FineTune { inner_steps, .. } => Some(*inner_steps),
            Self::Tagger { steps, .. } => Some(*steps),
            Self::Protonet {}
            | Self::R2d2 {}
            | Self::KnownRidge { .. }
            | Self::Logistic { .. }
            | Self::PriorRidge {} => None,
        }
    }

    /// Where the head's gradient steps start from; `None` if it takes none.
    pub fn head_init(&self) -> Option<HeadInit> {
        match self {
            Self::Experts { of, .. } => of.head_init(),
            Self::Maml { head_init, .. }
            | Self::Anil { head_init, .. }
            | Self::MetaSgd { head_init, .. }
            | Self::MamlPlusPlus { head_init, .. }
            | Self::Reptile { head_init, .. }
            | Self::LearnedOptimizer { head_init, .. } => Some(*head_init),
            Self::FineTune { way, .. } => Some(HeadInit::Learned { way: *way }),
            Self::Cavia { .. }
            | Self::Protonet {}
            | Self::R2d2 {}
            | Self::KnownRidge { .. }
            | Self::Logistic { .. }
            | Self::PriorRidge {}
            | Self::Tagger { .. } => None,
        }
    }

    /// The only way that this learner can serve; `None` if any number of classes will do.
    pub fn fixed_way(&self) -> Option<usize> {
        match (self.single(), self.head_init()) {
            (Self::Cavia { way, .. }, _) => Some(*way),
            (_, Some(HeadInit::Learned { way })) => Some(way),
            _ => None,
        }
    }

    /// Whether unlabelled rows help it: closed forms of classes are solved for again with what they say of such rows.
    pub fn takes_unlabelled(&self, kind: Kind) -> bool {
        kind == Kind::Classification
            && matches!(self.single(), Self::Protonet {} | Self::R2d2 {} | Self::KnownRidge { .. })
    }

    /// Whether it learns from what an encoder says of classes' names, too.
    pub fn takes_names(&self) -> bool {
        matches!(self.single(), Self::Logistic { .. })
    }

    /// Which of the classes that it knows beforehand each label is: a row with a one at its place, or without. `None` if it
    /// knows none.
    pub fn known(&self, labels: &[String]) -> Option<Rows> {
        let Self::KnownRidge { classes } = self.single() else { return None };
        let of_label =
            |label: &String| classes.iter().map(|class| f32::from(u8::from(class == label.trim()))).collect::<Vec<_>>();
        Rows::new(classes.len(), labels.iter().flat_map(of_label).collect()).ok()
    }

    /// Whether tasks get features of their own, so that running statistics of θ's are not theirs.
    pub fn adapts_features(&self) -> bool {
        !matches!(
            self.single(),
            Self::Anil { .. }
                | Self::Protonet {}
                | Self::R2d2 {}
                | Self::KnownRidge { .. }
                | Self::Logistic { .. }
                | Self::PriorRidge {}
        )
    }
}

/// How far the outer gradient reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GradOrder {
    /// Inner gradients are constants.
    First,
    /// Inner gradients are differentiated, too.
    Second,
}

/// Where a gradient learner's head starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum HeadInit {
    /// A meta-learned value for each output: serves this way only.
    Learned {
        /// Number of outputs.
        way: usize,
    },
    /// Class means of the support set, as in Proto-MAML (Triantafillou et al. 2020, arXiv:1903.03096, §3): any way.
    Prototype {},
    /// One meta-learned vector copied to each class, as in UNICORN-MAML (Ye & Chao 2022, arXiv:2106.16245): any way.
    Shared {},
}

/// A backbone and its settings. The input's shape comes from the base model's input schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum BackboneConfig {
    /// Fully connected layers with `ReLU` between them.
    Mlp {
        /// Widths of the hidden layers; the last one is the feature width. None: a linear model.
        hidden: Vec<usize>,
    },
    /// Four blocks of 3×3 convolution, normalisation, `ReLU` and 2×2 max-pooling (Vinyals et al. 2016; Snell et al. 2017).
    Conv4 {
        /// Channels of every block.
        filters: usize,
        /// Where the normalisation's statistics come from.
        norm: Norm,
    },
    /// Items as they are, and beside that what a small network makes of their texts; for ranking.
    Items {
        /// Widths of hidden layers; none for a linear map.
        hidden: Vec<usize>,
        /// Numbers that a text becomes.
        width: usize,
    },
    /// Two convolutions over words: what a text encoder says of each, and what it looks like; for tagging alone.
    Words {
        /// Channels of each convolution.
        channels: usize,
        /// Rows of the table that what a word looks like is hashed to.
        table: usize,
        /// Numbers in such a row.
        row: usize,
        /// Numbers that these become together.
        look: usize,
    },
}

/// Where a normalisation layer takes mean and variance from. None of them is the query batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// Averages over meta-training, kept in θ.
    Running,
    /// The support set's own, kept in the adapter.
    Support,
}
