//! The JSON edge of billing: state, credits, and invoices.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    credits::{self, Entry, Kind, Line},
    invoices::{self, Invoice},
    pdf,
    state::BillingState,
};
use crate::{
    app::App,
    db::Batch,
    entitlements::{LockedReason, Standing, guard},
    http::{FieldError, Listing, Once, PageQuery, Path, Posted, Problem, Query, Reply, line},
    identity::CurrentUser,
    plans::Money,
    tenants::Role,
    webhooks,
};

/// This slice's routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(read_state))
        .routes(routes!(list_credits))
        .routes(routes!(consume))
        .routes(routes!(list_invoices))
        .routes(routes!(read_invoice))
}

/// All that a tenant's application needs to know of plan, limits, features and credits, in one answer. Stays open whatever is owed.
///
/// `If-None-Match` with the answer's `ETag` is answered 304 while nothing has changed.
#[utoipa::path(get, path = "/api/v1/billing/state", tag = "billing", security(("access_token" = [])),
    params(("If-None-Match" = Option<String>, Header, description = "The `ETag` of an answer before")),
    responses((status = 200, body = BillingState), (status = 304, description = "Nothing has changed")))]
async fn read_state(State(app): State<App>, user: CurrentUser, headers: HeaderMap) -> Result<Response, Problem> {
    let (facts, now) = guard::of(&app, user.tenant_id).await?;
    let body = serde_json::to_vec(&BillingState::of(&facts, &now, &app.config.public_url));
    let body = body.map_err(|error| Problem::internal(&error))?;
    let tag = format!("\"{}\"", BASE64_URL_SAFE_NO_PAD.encode(&Sha256::digest(&body)[..16]));
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_known = known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag || one.trim() == "*");
    let tag = HeaderValue::from_str(&tag).map_err(|error| Problem::internal(&error))?;
    let headers = [(header::ETAG, tag), (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"))];
    if is_known {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    Ok((headers, [(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// The credits that are left, and what changed them.
#[derive(Serialize, ToSchema)]
struct Statement {
    /// How many are left.
    balance: i64,
    /// The ledger, newest first.
    #[serde(flatten)]
    lines: Listing<Line>,
}

/// The credits that are left, and what changed them, newest first.
#[utoipa::path(get, path = "/api/v1/billing/credits", tag = "billing", params(PageQuery), security(("access_token" = [])),
    responses((status = 200, body = Statement)))]
async fn list_credits(
    State(app): State<App>,
    user: CurrentUser,
    Query(query): Query<PageQuery>,
) -> Result<Json<Statement>, Problem> {
    let page = query.page()?;
    let balance = credits::balance(app.db.read(), user.tenant_id).await?;
    let rows = credits::lines(app.db.read(), user.tenant_id, page).await?;
    Ok(Json(Statement { balance, lines: Listing::of(rows, page, |line| line.id) }))
}

/// A charge.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Charge {
    /// How many credits, at least 1.
    #[schema(minimum = 1, example = 25)]
    amount: i64,
    /// For people.
    #[schema(example = "Report", min_length = 1, max_length = 200)]
    description: String,
    /// Whatever the application wants to find there again; at most 4 KiB as JSON.
    #[schema(value_type = Option<Object>)]
    metadata: Option<serde_json::Map<String, serde_json::Value>>,
}

const LONGEST_METADATA: usize = 4 * 1024;

impl Charge {
    fn read(self) -> Result<(i64, String, serde_json::Value), Problem> {
        let mut errors = Vec::new();
        if self.amount < 1 {
            errors.push(FieldError::new("amount", "OUT_OF_RANGE", "amount has to be 1 or more."));
        }
        let description = line("description", &self.description, 200).map_err(|error| errors.push(error)).ok();
        let metadata = json!(self.metadata.unwrap_or_default());
        if metadata.to_string().len() > LONGEST_METADATA {
            errors.push(FieldError::new("metadata", "TOO_LONG", "metadata may have at most 4 KiB."));
        }
        match description {
            Some(description) if errors.is_empty() => Ok((self.amount, description, metadata)),
            _ => Err(Problem::invalid(errors)),
        }
    }
}

/// Charges credits: balance and ledger change together, or not at all. Those of a plan whose first payment is still to come wait for it.
#[utoipa::path(post, path = "/api/v1/billing/credits/consume", tag = "billing", request_body = Charge, security(("access_token" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")),
    responses((status = 201, body = Line), (status = 402, description = "`SUBSCRIPTION_REQUIRED`: the first payment is still to come"),
        (status = 403, description = "A viewer charges nothing"),
        (status = 409, description = "`INSUFFICIENT_CREDITS` with `balance`, or `IDEMPOTENCY_IN_PROGRESS`")))]
async fn consume(
    State(app): State<App>,
    user: CurrentUser,
    Posted { body, key }: Posted<Charge>,
) -> Result<Reply, Problem> {
    if user.role == Role::Viewer {
        return Err(Problem::forbidden());
    }
    let (amount, description, metadata) = body.read()?;
    let tenant_id = user.tenant_id;
    let once = Once::new(&app, &key, &tenant_id.to_string());
    once.run(async {
        let (facts, entitled) = guard::of(&app, tenant_id).await?;
        if let Standing::Locked { reason: LockedReason::PaymentPending | LockedReason::Incomplete, .. } =
            entitled.standing
        {
            return Err(guard::subscription_required(&facts, &entitled, &app.config.public_url));
        }
        let now = app.clock.now();
        let tx = app.db.begin().await?;
        let key = format!("consume:{}", now.id());
        let entry = Entry { kind: Kind::Consume, amount: -amount, key, description, metadata };
        let line = credits::post(&tx, &now, tenant_id, &entry).await?.ok_or_else(Problem::not_found)?;
        let included = super::summary(&tx, tenant_id).await?.map_or(0, |summary| summary.included_credits);
        if credits::becomes_low(&line, included) {
            let mut batch = Batch::default();
            let data = json!({"tenant_id": tenant_id, "balance": line.balance_after, "included_credits": included});
            let key = line.id.to_string();
            let dry_run = app.config.provision.dry_run;
            let event = webhooks::deliver::Event { tenant_id, event_type: credits::LOW, key: &key, data, dry_run };
            webhooks::deliver::announce(&tx, &mut batch, &now, &app.sealer, &event).await?;
            batch.send(&tx).await.map_err(|refused| Problem::database(&refused.source))?;
        }
        Ok(once.commit(tx, &now, Reply::new(StatusCode::CREATED, &line)).await?)
    })
    .await
}

/// An invoice, as the API shows it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Invoice)]
pub struct InvoiceView {
    /// Its id.
    id: Uuid,
    /// Ours, without gaps, or Stripe's.
    #[schema(example = "INV-2026-000001")]
    number: String,
    /// `open`, `paid` or `void`.
    #[schema(example = "open")]
    status: String,
    /// What is to be paid.
    total: Money,
    /// `tenantry` for bank transfers, or `stripe`.
    #[schema(example = "tenantry")]
    issuer: String,
    /// When it was issued.
    issued_at: DateTime<Utc>,
    /// To be paid until then.
    due_at: DateTime<Utc>,
    /// When it was paid.
    paid_at: Option<DateTime<Utc>>,
    /// The billing details of its day.
    billing: BilledTo,
    /// The time that it is for, where that is known.
    period_start: Option<DateTime<Utc>>,
    /// The end of it.
    period_end: Option<DateTime<Utc>>,
    /// Stripe's page of it.
    hosted_url: Option<String>,
}

/// Whom an invoice was addressed to.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct BilledTo {
    /// The name.
    name: String,
    /// Where it went.
    email: String,
    /// The postal address, as it was given.
    #[schema(value_type = Option<Object>)]
    address: Option<serde_json::Value>,
}

impl InvoiceView {
    /// Its id.
    pub fn id(&self) -> Uuid {
        self.id
    }
}

impl From<Invoice> for InvoiceView {
    fn from(invoice: Invoice) -> Self {
        let total = invoice.total();
        let billing =
            BilledTo { name: invoice.billing_name, email: invoice.billing_email, address: invoice.billing_address };
        Self {
            id: invoice.id,
            number: invoice.number,
            status: invoice.status,
            total,
            issuer: invoice.issuer,
            issued_at: invoice.issued_at,
            due_at: invoice.due_at,
            paid_at: invoice.paid_at,
            billing,
            period_start: invoice.period_start,
            period_end: invoice.period_end,
            hosted_url: invoice.hosted_url,
        }
    }
}

/// The tenant's invoices, newest first.
#[utoipa::path(get, path = "/api/v1/billing/invoices", tag = "billing", params(PageQuery), security(("access_token" = [])),
    responses((status = 200, body = Listing<InvoiceView>)))]
async fn list_invoices(
    State(app): State<App>,
    user: CurrentUser,
    Query(query): Query<PageQuery>,
) -> Result<Json<Listing<InvoiceView>>, Problem> {
    let page = query.page()?;
    let rows = invoices::list(app.db.read(), user.tenant_id, page).await?;
    Ok(Json(Listing::of(rows.into_iter().map(InvoiceView::from).collect(), page, |invoice| invoice.id)))
}

/// An invoice with its lines.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct InvoiceWithLines {
    /// The invoice.
    #[serde(flatten)]
    invoice: InvoiceView,
    /// What is bought.
    lines: Vec<invoices::Line>,
}

/// One invoice with its lines; with `.pdf` behind its id, as a file to print and to keep.
#[utoipa::path(get, path = "/api/v1/billing/invoices/{id}", tag = "billing", security(("access_token" = [])),
    params(("id" = String, Path, description = "An invoice's id, or the id and `.pdf`")),
    responses((status = 200, content((InvoiceWithLines = "application/json"), (Vec<u8> = "application/pdf"))),
        (status = 404, description = "The tenant has none of that id")))]
async fn read_invoice(
    State(app): State<App>,
    user: CurrentUser,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let (invoice, lines, is_file) = invoice_of(&app, user.tenant_id, &name).await?;
    if is_file {
        return file(&app, &invoice, &lines);
    }
    Ok(Json(InvoiceWithLines { invoice: invoice.into(), lines }).into_response())
}

/// What the JSON edge and the page do alike: one of a tenant's invoices by what stands in the path, and whether it is wanted as a file.
pub(super) async fn invoice_of(
    app: &App,
    tenant_id: Uuid,
    name: &str,
) -> Result<(Invoice, Vec<invoices::Line>, bool), Problem> {
    let (id, is_file) = name.strip_suffix(".pdf").map_or((name, false), |id| (id, true));
    let id = id.parse().map_err(|_| Problem::not_found())?;
    let (invoice, lines) = invoices::by_id(app.db.read(), tenant_id, id).await?.ok_or_else(Problem::not_found)?;
    Ok((invoice, lines, is_file))
}

/// Who issues invoices, line by line: as configured, and otherwise by the name that people know.
pub(super) fn issuer(app: &App) -> Vec<String> {
    match app.config.billing.issuer.as_slice() {
        [] => vec![app.config.public_url.host_str().unwrap_or_default().to_owned()],
        lines => lines.to_vec(),
    }
}

/// An invoice as a PDF file.
pub(super) fn file(app: &App, invoice: &Invoice, lines: &[invoices::Line]) -> Result<Response, Problem> {
    let head = pdf::Letterhead { issuer: &issuer(app), bank_details: &app.config.billing.bank_details };
    let file = pdf::render(invoice, lines, head).map_err(|error| Problem::internal(&error))?;
    // Numbers are ours or Stripe's, and either is letters, digits and dashes; anything else is not let into a header.
    let name: String =
        invoice.number.chars().filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-').collect();
    let name = format!("inline; filename=\"{name}.pdf\"");
    let headers = [
        (header::CONTENT_TYPE, "application/pdf".to_owned()),
        (header::CONTENT_DISPOSITION, name),
        (header::CACHE_CONTROL, "private, no-store".to_owned()),
    ];
    Ok((headers, file).into_response())
}
