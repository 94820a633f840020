//! What is erased for good, and the receipts for it.
//!
//! A receipt is stored in the transaction that erases, and signed when it is shown: who did not get the answer finds it
//! in the list, or sends the request again under its `Idempotency-Key`, of which the receipt has its id.

use ring::signature::{Ed25519KeyPair, KeyPair};
use tracing::{Instrument, info, warn};

use super::{NewAdaptation, Page, Result, Service, ServiceError};
use crate::domain::{AdaptationId, Erasure, Receipt, ReceiptId, TaskId, TenantId, hex};
use crate::store::Hint;
use crate::store::accounts::Erased;

/// Name of the key that receipts are signed with.
const RECEIPTS: &str = "receipts";

/// That something was erased, signed.
#[derive(Clone, Debug)]
pub struct SignedReceipt {
    /// What is signed.
    pub receipt: Receipt,
    /// Ed25519 signature of the receipt's text, in hexadecimal.
    pub signature: String,
    /// The key to check it with, in hexadecimal.
    pub public_key: String,
    /// The adaptation that makes an adapter of the examples that are left.
    pub adaptation: Option<AdaptationId>,
}

impl Service {
    /// Removes something for good: from the store and from memory, in other processes as soon as they hear of it. What is
    /// left of a task is adapted again. Once it has begun it ends, whether or not somebody waits for it.
    pub async fn erase(&self, tenant: TenantId, what: Erasure) -> Result<SignedReceipt> {
        let service = self.clone();
        let erasing = async move { service.erase_to_the_end(tenant, what).await };
        match tokio::spawn(erasing.in_current_span()).await {
            Ok(erased) => erased,
            Err(error) => Err(ServiceError::Internal(format!("an erasure broke off: {error}"))),
        }
    }

    async fn erase_to_the_end(&self, tenant: TenantId, what: Erasure) -> Result<SignedReceipt> {
        let is_everyone = what == Erasure::Tenant && self.is_everyone(tenant).await?;
        let missing = match what {
            Erasure::Example(..) => "example",
            Erasure::Task(_) | Erasure::Tenant => "task",
        };
        let receipt = ReceiptId::fresh(&*self.ids);
        let erased = self.store.erase(tenant, what, receipt, self.clock.now()).await?;
        let Erased { receipt, adapters, texts } = erased.ok_or(ServiceError::NotFound(missing))?;
        info!(receipt = receipt.text, "erased");
        self.adapters.forget(&adapters).await;
        self.engine.forget_texts(&texts).await;
        match what {
            Erasure::Example(task, _) | Erasure::Task(task) => {
                self.forget_task(task).await;
                self.tell(Hint::Task(task));
            }
            Erasure::Tenant => {
                if is_everyone {
                    self.keep_open_tenant(tenant).await?;
                }
                self.forget_tenant(tenant).await;
                self.tell(Hint::Tenant(tenant));
            }
        }
        let adaptation = match what {
            Erasure::Example(task, _) if receipt.removed.adapters > 0 => self.adapt_the_rest(tenant, task).await,
            _ => None,
        };
        let mut signed = self.sign(vec![receipt]).await?;
        let signed = signed.pop().ok_or_else(|| ServiceError::Internal("a receipt is lost".to_owned()))?;
        Ok(SignedReceipt { adaptation, ..signed })
    }

    /// What is erased is erased, whatever becomes of this.
    async fn adapt_the_rest(&self, tenant: TenantId, task: TaskId) -> Option<AdaptationId> {
        match self.create_adaptation(tenant, task, NewAdaptation::default()).await {
            Ok(adaptation) => Some(adaptation.id),
            Err(ServiceError::Invalid(_)) => None, // too few are left
            Err(error) => {
                warn!(%error, task.id = %task, "what is left of a task could not be adapted");
                None
            }
        }
    }

    /// Receipts of a tenant, newest first. The tenant itself may be what was erased.
    pub async fn list_receipts(&self, tenant: TenantId, page: Page<ReceiptId>) -> Result<Vec<SignedReceipt>> {
        let receipts = self.store.list_receipts(tenant, page).await?;
        self.sign(receipts).await
    }

    async fn sign(&self, receipts: Vec<Receipt>) -> Result<Vec<SignedReceipt>> {
        let mut fresh = [0; 32];
        fresh[..16].copy_from_slice(&self.ids.bits());
        fresh[16..].copy_from_slice(&self.ids.bits());
        let seed = self.store.signing_seed(RECEIPTS, fresh, self.clock.now()).await?;
        let key = Ed25519KeyPair::from_seed_unchecked(&seed);
        let key = key.map_err(|_| ServiceError::Internal("the key for receipts is damaged".to_owned()))?;
        let public_key = hex(key.public_key().as_ref());
        let sign = |receipt: Receipt| {
            let signature = hex(key.sign(receipt.text.as_bytes()).as_ref());
            SignedReceipt { receipt, signature, public_key: public_key.clone(), adaptation: None }
        };
        Ok(receipts.into_iter().map(sign).collect())
    }
}
