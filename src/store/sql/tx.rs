//! Transactions, and whose rows are there for them: the first wall between tenants is a type, the second is Postgres'
//! row level security.
//!
//! What belongs to a tenant is read and written through a [`TenantTx`] alone, and a [`TenantTx`] comes from
//! [`SqlStore`](super::SqlStore) with its tenant named. Postgres is told that name (`imprint.scope`, for as long as the
//! transaction lasts) and lets no row of another tenant through, whatever a statement says. SQLite has no such thing:
//! there the statements' own `tenant_id = …` stands alone, as it does here first.

use std::ops::{Deref, DerefMut};

use sqlx::{AnyConnection, AssertSqlSafe, Executor};

use super::dialect::Dialect;
use crate::domain::TenantId;
use crate::store::StoreError;

/// Whose rows a transaction is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scope {
    /// One tenant's.
    Tenant(TenantId),
    /// Tenants and their keys: for whoever asks who somebody is.
    Keys,
    /// Jobs of all tenants, and what they leave to be sent: for workers.
    Queue,
}

impl Scope {
    /// The word that the policies in `migrations/postgres` compare with: an id, or one of two names that are none.
    pub(super) fn word(self) -> String {
        match self {
            Self::Tenant(tenant) => tenant.to_string(),
            Self::Keys => "keys".to_owned(),
            Self::Queue => "queue".to_owned(),
        }
    }
}

/// A transaction across tenants: it sees what its [`Scope`] is about and nothing else.
pub(super) struct SystemTx<'c> {
    db: &'c mut AnyConnection,
    dialect: &'static Dialect,
}

/// A transaction about one tenant: it sees that tenant's rows and no others.
pub(super) struct TenantTx<'c> {
    db: &'c mut AnyConnection,
    dialect: &'static Dialect,
    tenant: TenantId,
}

impl<'c> SystemTx<'c> {
    /// The transaction must have begun in a scope across tenants.
    pub(super) fn new(db: &'c mut AnyConnection, dialect: &'static Dialect) -> Self {
        Self { db, dialect }
    }

    pub(super) fn dialect(&self) -> &'static Dialect {
        self.dialect
    }

    /// Goes on as a transaction of one tenant: what is across tenants is out of sight from here on.
    pub(super) async fn enter(self, tenant: TenantId) -> Result<TenantTx<'c>, StoreError> {
        if let Some(statement) = (self.dialect.enter)(Scope::Tenant(tenant)) {
            self.db.execute(AssertSqlSafe(statement)).await?;
        }
        Ok(TenantTx::new(self.db, self.dialect, tenant))
    }
}

impl<'c> TenantTx<'c> {
    /// The transaction must have begun in the tenant's scope.
    pub(super) fn new(db: &'c mut AnyConnection, dialect: &'static Dialect, tenant: TenantId) -> Self {
        Self { db, dialect, tenant }
    }

    pub(super) fn dialect(&self) -> &'static Dialect {
        self.dialect
    }

    /// The tenant.
    pub(super) fn owner(&self) -> TenantId {
        self.tenant
    }

    /// The tenant's id, as rows have it.
    pub(super) fn tenant(&self) -> String {
        self.tenant.to_string()
    }
}

impl Deref for SystemTx<'_> {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        self.db
    }
}

impl DerefMut for SystemTx<'_> {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        self.db
    }
}

impl Deref for TenantTx<'_> {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        self.db
    }
}

impl DerefMut for TenantTx<'_> {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        self.db
    }
}
