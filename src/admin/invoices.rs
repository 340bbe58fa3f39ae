//! Invoices, for platform administrators: which are open, and that one was paid by bank transfer.

use axum::{Extension, Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    app::App,
    audit,
    billing::{api::InvoiceView, bank, invoices, stripe},
    http::{IdempotencyKey, Listing, Once, PageQuery, Path, Posted, Problem, Query, Reply, RequestId, chain, line},
    identity::PlatformAdmin,
    provisioning::{self, Queued},
};

/// This part's routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(mark_paid))
}

/// An invoice and whose it is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AdminInvoice {
    /// The tenant.
    pub tenant_id: Uuid,
    /// The invoice.
    #[serde(flatten)]
    pub invoice: InvoiceView,
}

impl From<invoices::Invoice> for AdminInvoice {
    fn from(invoice: invoices::Invoice) -> Self {
        Self { tenant_id: invoice.tenant_id, invoice: invoice.into() }
    }
}

/// Where an invoice stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum InvoiceStatus {
    Open,
    Paid,
    Void,
}

impl InvoiceStatus {
    /// All of them, the most urgent first.
    pub(super) const ALL: [Self; 3] = [Self::Open, Self::Paid, Self::Void];

    /// As in the database.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Paid => "paid",
            Self::Void => "void",
        }
    }
}

/// Which invoices.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Those that stand so; all where absent.
    #[param(inline)]
    status: Option<InvoiceStatus>,
    /// How many rows, 1 to 200; 50 unless told.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u64>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// All tenants' invoices, newest first.
#[utoipa::path(get, path = "/api/v1/admin/invoices", operation_id = "list_all_invoices", tag = "admin", params(Wanted),
    security(("admin_token" = [])), responses((status = 200, body = Listing<AdminInvoice>)))]
async fn list(
    State(app): State<App>,
    _: PlatformAdmin,
    Query(asked): Query<Wanted>,
) -> Result<Json<Listing<AdminInvoice>>, Problem> {
    let page = PageQuery { limit: asked.limit, cursor: asked.cursor }.page()?;
    let rows = invoices::all(app.db.read(), asked.status.map(InvoiceStatus::as_str), page).await?;
    Ok(Json(Listing::of(rows.into_iter().map(AdminInvoice::from).collect(), page, |row| row.invoice.id())))
}

/// A payment that has come in.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Payment {
    /// What the bank calls it.
    #[schema(example = "2026-11-28 SEPA 4711", max_length = 200)]
    pub external_payment_id: Option<String>,
}

/// An invoice that is paid.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct PaidInvoice {
    /// The invoice.
    #[serde(flatten)]
    invoice: AdminInvoice,
    /// The run that opens a tenant which waited for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    provision: Option<Queued>,
}

/// Marks an invoice paid: its tenant is on what it has bought, and one that waited for its first payment is provisioned now. One that was marked
/// before is answered as it is.
#[utoipa::path(post, path = "/api/v1/admin/invoices/{id}/mark-paid", tag = "admin", request_body = Payment, params(("id" = Uuid, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a repeat answer what the first request did")),
    security(("admin_token" = [])),
    responses((status = 200, body = PaidInvoice), (status = 404, description = "There is none of that id"),
        (status = 409, description = "`INVOICE_NOT_PAYABLE`: void, or Stripe's; `IDEMPOTENCY_IN_PROGRESS`")))]
async fn mark_paid(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    admin: PlatformAdmin,
    Path(id): Path<Uuid>,
    Posted { body, key }: Posted<Payment>,
) -> Result<Reply, Problem> {
    take_payment(&app, &key, admin, &request, (id, body)).await
}

/// What the JSON edge and the page do alike.
pub(super) async fn take_payment(
    app: &App,
    key: &IdempotencyKey,
    admin: PlatformAdmin,
    request: &RequestId,
    (id, payment): (Uuid, Payment),
) -> Result<Reply, Problem> {
    let external = payment.external_payment_id.filter(|name| !name.trim().is_empty());
    let external = external.map(|name| line("external_payment_id", &name, 200)).transpose();
    let external = external.map_err(|refused| Problem::invalid(vec![refused]))?;
    let once = Once::new(app, key, "platform");
    let reply = once.run(async {
        let now = app.clock.now();
        let tx = app.db.begin().await?;
        let paid = bank::mark_paid(&tx, &now, &app.post, (id, external.as_deref())).await?;
        let configured = (app.config.provision.app_url.is_some(), app.config.provision.dry_run);
        let provision =
            if paid.opens { provisioning::follow::one(&tx, &now, paid.tenant_id, configured).await? } else { None };
        if paid.is_new {
            let detail = json!({"invoice_id": id, "external_payment_id": external});
            let who = (admin.actor(), Some(paid.tenant_id));
            audit::note(&tx, &now, request, who, "invoice.paid", detail).await?;
        }
        let (invoice, _) = invoices::by_id(&tx, paid.tenant_id, id).await?.ok_or_else(Problem::not_found)?;
        let reply = Reply::new(StatusCode::OK, &PaidInvoice { invoice: invoice.into(), provision });
        Ok(once.commit(tx, &now, reply).await?)
    });
    let reply = reply.await?;
    if let Some(tenant_id) = reply.member("tenant_id").as_str().and_then(|id| id.parse().ok())
        && let Err(error) = stripe::close_checkout(app, tenant_id).await
    {
        tracing::warn!(feature = "admin", %tenant_id, error = %chain(&error), "Paid by bank transfer, and its checkout could not be ended");
    }
    Ok(reply)
}
