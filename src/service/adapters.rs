//! Adapters: their versions, their bytes, and which one answers.

use super::{Result, Service, ServiceError};
use crate::domain::{
    Adapter, AdapterBlob, AdapterId, BaseModel, Fault, Kind, Promoted, Promotion, Recipe, Rows, Task, TaskId, TenantId,
    hex,
};
use crate::engine::{EngineError, Origin};

use super::TaskView;

/// What [`Adapter::support_hash`] says of an adapter that was made elsewhere.
const IMPORTED: &str = "imported";

/// An adapter that was made elsewhere.
#[derive(Clone, Debug)]
pub struct ImportAdapter {
    /// The safetensors file.
    pub weights: Vec<u8>,
    /// Labels in the order of its outputs; none for regression.
    pub labels: Vec<String>,
    /// How it was adapted.
    pub recipe: Recipe,
    /// Whether it is to answer; as the task's settings say by default.
    pub promote: Option<Promotion>,
}

/// What adapting again says about an adapter.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The adapter as it is stored.
    pub adapter: Adapter,
    /// SHA-256 of what the same adaptation leaves now.
    pub derived_sha256: String,
}

/// A version and where it is.
#[derive(Clone, Debug)]
pub struct AdapterView {
    /// The version.
    pub adapter: Adapter,
    /// Whether it answers where no version is named.
    pub is_active: bool,
    /// Whether its bytes are in this server's memory.
    pub is_at_hand: bool,
}

impl Service {
    /// Which versions of a task answered when, oldest first.
    pub async fn list_promotions(&self, tenant: TenantId, task: TaskId) -> Result<Vec<Promoted>> {
        Ok(self.store.list_promotions(tenant, task).await?)
    }

    /// Versions of a task's adapter, newest first.
    pub async fn list_adapters(
        &self,
        tenant: TenantId,
        task: TaskId,
        before: Option<u32>,
        limit: usize,
    ) -> Result<Vec<AdapterView>> {
        let task = self.found_task(tenant, task).await?;
        let adapters = self.store.list_adapters(tenant, task.id, before, limit).await?;
        Ok(adapters.into_iter().map(|adapter| self.adapter_view(&task, adapter)).collect())
    }

    fn adapter_view(&self, task: &Task, adapter: Adapter) -> AdapterView {
        let is_active = task.active_version == Some(adapter.version);
        AdapterView { is_active, is_at_hand: self.adapters.holds(adapter.id), adapter }
    }

    /// One version, and where it is.
    pub async fn view_adapter(&self, tenant: TenantId, task: TaskId, version: u32) -> Result<AdapterView> {
        let adapter = self.find_adapter(tenant, task, version).await?;
        Ok(self.adapter_view(&self.found_task(tenant, task).await?, adapter))
    }

    /// One version.
    pub async fn find_adapter(&self, tenant: TenantId, task: TaskId, version: u32) -> Result<Adapter> {
        self.store.find_adapter(tenant, task, Some(version)).await?.ok_or(ServiceError::NotFound("adapter"))
    }

    /// The bytes of one version.
    pub async fn adapter_weights(&self, tenant: TenantId, task: TaskId, version: u32) -> Result<AdapterBlob> {
        let adapter = self.find_adapter(tenant, task, version).await?;
        self.load_adapter(tenant, &adapter).await
    }

    /// Makes a version the one that answers.
    pub async fn promote(&self, tenant: TenantId, task: TaskId, version: u32) -> Result<TaskView> {
        let promoted = self.store.promote(tenant, task, version, self.clock.now()).await?;
        self.view(tenant, promoted.ok_or(ServiceError::NotFound("adapter"))?).await
    }

    /// Makes the version that answered before the one that answers.
    pub async fn rollback(&self, tenant: TenantId, task: TaskId) -> Result<TaskView> {
        self.found_task(tenant, task).await?;
        let rolled = self.store.rollback(tenant, task, &hex(&self.ids.bits()), self.clock.now()).await?;
        let task = rolled.ok_or_else(|| ServiceError::Conflict {
            code: "nothing_before",
            detail: "no other version was active before this one".to_owned(),
        })?;
        self.view(tenant, task).await
    }

    /// Adapts again from the version's origin, and stores nothing.
    ///
    /// # Errors
    /// [`ServiceError::Conflict`] if the task's examples or the base model are not those that it was made from.
    pub async fn verify_adapter(&self, tenant: TenantId, task: TaskId, version: u32) -> Result<Verified> {
        let task = self.found_task(tenant, task).await?;
        let adapter = self.find_adapter(tenant, task.id, version).await?;
        let base = self.base_of(&task, &adapter)?;
        let support = self.store.load_support(tenant, task.id).await?;
        let (set, labels) = self.prepared(Origin::interactive(tenant), base, &task, support).await?;
        if set.hash() != adapter.support_hash || labels != adapter.labels {
            return Err(ServiceError::Conflict {
                code: "support_changed",
                detail: "the task's examples are not those that this version was adapted to".to_owned(),
            });
        }
        let (again, _) = self.adapt(Origin::interactive(tenant), base, &set, adapter.recipe, &labels, |_| {}).await?;
        Ok(Verified { adapter, derived_sha256: again.sha256().to_owned() })
    }

    /// Adds an adapter that was made elsewhere with the same base model: once, however often it is sent.
    pub async fn import_adapter(&self, tenant: TenantId, task: TaskId, import: ImportAdapter) -> Result<AdapterView> {
        let task = self.found_task(tenant, task).await?;
        let base = self.named_base(&task.base_model, "/base_model")?;
        let blob = AdapterBlob::new(import.weights);
        check_imported_labels(&task, &import.labels)?;
        self.check_weights(tenant, base, &task, &blob, import.labels.len()).await?;
        self.take_room(tenant, blob.bytes().len()).await?;
        let adapter = Adapter {
            id: AdapterId::fresh(&*self.ids),
            task: task.id,
            version: 0, // the store gives the next one
            base_model: base.manifest.name.clone(),
            base_sha256: base.sha256.clone(),
            support_hash: IMPORTED.to_owned(),
            support_count: 0,
            recipe: import.recipe,
            labels: import.labels,
            sha256: blob.sha256().to_owned(),
            size_bytes: blob.bytes().len(),
            quality: None,
            created_at: self.clock.now(),
        };
        let promote = import.promote.unwrap_or(task.settings.auto_promote);
        let imported = self.store.import_adapter(tenant, &adapter, &blob, promote, self.clock.now()).await?;
        let adapter = imported.ok_or(ServiceError::NotFound("task"))?;
        Ok(self.adapter_view(&self.found_task(tenant, task.id).await?, adapter))
    }

    /// Whether these are weights that the base model can answer with: it answers one row with them.
    async fn check_weights(
        &self,
        tenant: TenantId,
        base: &BaseModel,
        task: &Task,
        blob: &AdapterBlob,
        labels: usize,
    ) -> Result<()> {
        let bad = |reason: String| Fault::BadAdapter { reason }.at("/weights");
        if task.kind == Kind::Tagging {
            return self.check_tagging_weights(tenant, base, blob, labels).await;
        }
        let width = base.manifest.input.row_width();
        let row = Rows::new(width, vec![0.0; width]).map_err(|fault| fault.at("/weights"))?;
        let outputs =
            match self.engine.predict(Origin::interactive(tenant), &base.manifest.name, blob.clone(), row).await {
                Ok(outputs) => outputs.width,
                Err(EngineError::Mismatch(reason) | EngineError::Torch(reason)) => return Err(bad(reason).into()),
                Err(EngineError::NonFinite(_)) => return Err(bad("they answer with NaN or infinity".to_owned()).into()),
                Err(error) => return Err(error.into()),
            };
        let expected = if task.kind.has_labels() { labels } else { 1 };
        if outputs != expected {
            return Err(bad(format!("they have {outputs} outputs, and {expected} are expected")).into());
        }
        Ok(())
    }

    /// The base model that an adapter stands on: the task's, or a version before it, if that is loaded.
    pub(super) fn base_of(&self, task: &Task, adapter: &Adapter) -> Result<&BaseModel> {
        let base = self.named_base(&task.base_model, "/base_model")?;
        let its_own = || self.base_models().iter().find(|loaded| loaded.sha256 == adapter.base_sha256);
        let found = if adapter.base_sha256 == base.sha256 { Some(base) } else { its_own() };
        found.ok_or_else(|| ServiceError::Conflict {
            code: "base_model_changed",
            detail: "the base model has changed since this adapter was made; adapt the task again".to_owned(),
        })
    }

    /// An adapter's bytes: from memory, or verified from the store. `adapter` was found for this tenant.
    pub(super) async fn load_adapter(&self, tenant: TenantId, adapter: &Adapter) -> Result<AdapterBlob> {
        let load = async {
            let blob = self.store.load_adapter(tenant, adapter.id).await?;
            blob.ok_or(ServiceError::NotFound("adapter"))
        };
        self.adapters.get(adapter.task, adapter.id, load).await
    }
}

/// Outputs have to be labels of the task, each once.
fn check_imported_labels(task: &Task, labels: &[String]) -> Result<()> {
    if !task.kind.has_labels() && !labels.is_empty() {
        return Err(Fault::Inapplicable { because: "a task of this kind has no labels" }.at("/labels").into());
    }
    for (index, label) in labels.iter().enumerate() {
        let at = format!("/labels/{index}");
        if !task.labels.contains(label) {
            return Err(Fault::UnknownLabel { label: label.clone() }.at(at).into());
        }
        if labels[..index].contains(label) {
            return Err(Fault::DuplicateLabel { label: label.clone() }.at(at).into());
        }
    }
    Ok(())
}
