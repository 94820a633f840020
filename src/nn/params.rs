//! Parameters by name, in one order.

use std::collections::BTreeMap;

use tch::{Device, Tensor};

use super::{Result, TensorError};

/// Tensors by dotted, PyTorch-style name (`backbone.conv0.weight`), ordered by name.
#[derive(Debug, Default)]
pub struct Params(BTreeMap<String, Tensor>);

impl Params {
    /// No parameters.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces one.
    pub fn insert(&mut self, name: impl Into<String>, tensor: Tensor) {
        self.0.insert(name.into(), tensor);
    }

    /// The parameter of that name.
    ///
    /// # Errors
    /// [`TensorError::MissingParam`]; there is no fallback, since a misspelt name would silently train nothing.
    pub fn get(&self, name: &str) -> Result<&Tensor> {
        self.0.get(name).ok_or_else(|| TensorError::MissingParam(name.to_owned()))
    }

    /// Whether there is a parameter of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Names and tensors in order of name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Tensor)> {
        self.0.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// Tensors in order of name.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = &Tensor> {
        self.0.values()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The view whose names start with `prefix.`, without it.
    pub fn scope(&self, prefix: &str) -> Scope<'_> {
        Scope { params: self, prefix: prefix.to_owned() }
    }

    /// Each tensor put through `f`.
    pub fn map(&self, mut f: impl FnMut(&str, &Tensor) -> Result<Tensor>) -> Result<Self> {
        self.iter().map(|(name, tensor)| Ok((name.to_owned(), f(name, tensor)?))).collect()
    }

    /// Each pair of the same name put through `f`.
    ///
    /// # Errors
    /// [`TensorError::UnpairedParam`] if the names differ.
    pub fn zip_with(&self, other: &Self, mut f: impl FnMut(&Tensor, &Tensor) -> Result<Tensor>) -> Result<Self> {
        if let Some(name) = other.0.keys().find(|name| !self.contains(name)) {
            return Err(TensorError::UnpairedParam(name.clone()));
        }
        self.map(|name, tensor| {
            f(tensor, other.0.get(name).ok_or_else(|| TensorError::UnpairedParam(name.to_owned()))?)
        })
    }

    /// These, with those of `over` in place of the ones they share a name with, and the rest of `over` added.
    #[must_use]
    pub fn overlaid(&self, over: &Self) -> Self {
        let mut params = self.shallow_clone();
        params.extend(over.shallow_clone());
        params
    }

    /// Those whose name passes.
    #[must_use]
    pub fn filtered(&self, keep: impl Fn(&str) -> bool) -> Self {
        self.iter()
            .filter(|(name, _)| keep(name))
            .map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone()))
            .collect()
    }

    /// Those whose name starts with `prefix`, without it.
    #[must_use]
    pub fn stripped(&self, prefix: &str) -> Self {
        self.iter()
            .filter_map(|(name, tensor)| Some((name.strip_prefix(prefix)?.to_owned(), tensor.shallow_clone())))
            .collect()
    }

    /// The same tensors in another map.
    #[must_use]
    pub fn shallow_clone(&self) -> Self {
        self.filtered(|_| true)
    }

    /// Copies that are leaves of a new graph.
    pub fn leaves(&self) -> Result<Self> {
        self.map(|_, tensor| Ok(tensor.f_detach_copy()?.f_set_requires_grad(true)?))
    }

    /// The same values without their graph.
    pub fn detached(&self) -> Result<Self> {
        self.map(|_, tensor| Ok(tensor.f_detach()?))
    }

    /// The same values on `device`.
    pub fn to_device(&self, device: Device) -> Result<Self> {
        self.map(|_, tensor| Ok(tensor.f_to_device(device)?))
    }

    /// Whether every number is finite.
    pub fn all_finite(&self) -> Result<bool> {
        for tensor in self.tensors() {
            if tensor.f_isfinite()?.f_all()?.f_int64_value(&[])? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// How many numbers there are.
    pub fn numel(&self) -> usize {
        self.tensors().map(Tensor::numel).sum()
    }
}

impl FromIterator<(String, Tensor)> for Params {
    fn from_iter<I: IntoIterator<Item = (String, Tensor)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl Extend<(String, Tensor)> for Params {
    fn extend<I: IntoIterator<Item = (String, Tensor)>>(&mut self, pairs: I) {
        self.0.extend(pairs);
    }
}

impl IntoIterator for Params {
    type Item = (String, Tensor);
    type IntoIter = std::collections::btree_map::IntoIter<String, Tensor>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Parameters under one prefix: what a layer or a sub-network sees.
pub struct Scope<'a> {
    params: &'a Params,
    prefix: String,
}

impl<'a> Scope<'a> {
    /// `prefix.name`.
    ///
    /// # Errors
    /// [`TensorError::MissingParam`] with the whole name.
    pub fn get(&self, name: &str) -> Result<&'a Tensor> {
        self.params.get(&format!("{}.{name}", self.prefix))
    }

    /// `prefix.name`, where there is one.
    pub fn find(&self, name: &str) -> Option<&'a Tensor> {
        self.params.0.get(&format!("{}.{name}", self.prefix))
    }

    /// The view one level down.
    #[must_use]
    pub fn scope(&self, name: &str) -> Self {
        Self { params: self.params, prefix: format!("{}.{name}", self.prefix) }
    }

    /// The whole name of what is called `name` here.
    pub fn name(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }
}
