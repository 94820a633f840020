//! Base models.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::{BaseModel, Figure, InputSchema, Kind, Precision};
use crate::http::AppState;
use crate::http::extract::{ApiPath, Caller};
use crate::http::page::List;
use crate::http::problem::{Problem, ProblemBody};
use crate::service::Service;

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_base_models)).routes(routes!(find_base_model))
}

/// A base model.
#[derive(Debug, Serialize, ToSchema)]
struct BaseModelBody {
    /// The name that tasks give.
    #[schema(example = "omniglot")]
    name: String,
    /// `base_model`
    object: &'static str,
    /// Its version.
    version: String,
    /// Its identity: SHA-256 over all that predictions depend on.
    sha256: String,
    /// One sentence.
    description: String,
    /// Kinds of task that it serves.
    #[schema(value_type = Vec<String>)]
    kinds: Vec<Kind>,
    /// What one input is.
    #[schema(value_type = Object)]
    input: InputSchema,
    /// The algorithm by which it adapts.
    #[schema(example = "protonet")]
    learner: String,
    /// In which numbers this server computes the features that its tasks share: `float32` or `bfloat16`.
    #[schema(value_type = String, example = "float32")]
    precision: Precision,
    /// Whether it learns from `unlabelled` inputs, too.
    takes_unlabelled: bool,
    /// What one request may ask of it.
    limits: BaseLimits,
    /// What it was measured at, on classes or tasks that it never saw.
    figures: Vec<FigureBody>,
}

/// Bounds that hold for one base model.
#[derive(Debug, Serialize, ToSchema)]
struct BaseLimits {
    /// Most examples in a support set.
    max_support: usize,
    /// Most labels of a task.
    max_labels: usize,
    /// Most inputs in one query.
    max_query: usize,
}

/// A measured figure.
#[derive(Debug, Serialize, ToSchema)]
struct FigureBody {
    /// What was measured.
    #[schema(example = "5-way 1-shot")]
    name: String,
    /// `accuracy` or `mean_squared_error`.
    measure: String,
    /// The mean over episodes.
    mean: f64,
    /// Half the width of its 95 % interval.
    ci95: f64,
    /// How many episodes.
    episodes: usize,
    /// Whether the query batch's statistics were used.
    transductive: bool,
    /// Where the episodes come from.
    split: String,
}

impl From<Figure> for FigureBody {
    fn from(Figure { name, measure, mean, ci95, episodes, transductive, split }: Figure) -> Self {
        Self { name, measure, mean, ci95, episodes, transductive, split }
    }
}

impl BaseModelBody {
    fn new(base: &BaseModel, precision: Precision) -> Self {
        let BaseModel { manifest, sha256 } = base;
        Self {
            name: manifest.name.clone(),
            object: "base_model",
            version: manifest.version.clone(),
            sha256: sha256.clone(),
            description: manifest.description.clone(),
            kinds: manifest.kinds.clone(),
            input: manifest.input.clone(),
            learner: manifest.learner.name().to_owned(),
            precision,
            takes_unlabelled: manifest.kinds.iter().any(|&kind| manifest.learner.takes_unlabelled(kind)),
            limits: BaseLimits {
                max_support: manifest.limits.max_support,
                max_labels: manifest.limits.max_labels,
                max_query: manifest.limits.max_query,
            },
            figures: manifest.figures.iter().cloned().map(FigureBody::from).collect(),
        }
    }
}

/// The base models that this server has.
#[utoipa::path(
    get, path = "/v1/base-models", tag = "base models",
    responses((status = 200, body = List<BaseModelBody>), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn list_base_models(
    State(service): State<Service>,
    _caller: Caller,
) -> Result<Json<List<BaseModelBody>>, Problem> {
    let body = |base| BaseModelBody::new(base, service.precision(base));
    Ok(Json(List::whole(service.base_models().iter().map(body).collect())))
}

/// A base model.
#[utoipa::path(
    get, path = "/v1/base-models/{name}", tag = "base models",
    params(("name" = String, Path, description = "The base model's name")),
    responses((status = 200, body = BaseModelBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn find_base_model(
    State(service): State<Service>,
    _caller: Caller,
    ApiPath(name): ApiPath<String>,
) -> Result<Json<BaseModelBody>, Problem> {
    let base = service.base_model(&name)?;
    Ok(Json(BaseModelBody::new(base, service.precision(base))))
}
