//! What a change of plan comes to, before it is made: nobody is charged by one press of a button.

use askama::Template;
use axum::{
    extract::{Query, State},
    http::StatusCode,
    response::Response,
};

use super::{buy::Wanted, overview::refuse};
use crate::{
    app::App,
    billing::{
        shown::Shown,
        store,
        stripe::{Interval, prices},
        subscription::may_pay,
    },
    entitlements::guard,
    http::{Problem, Visit, go_to},
    identity::SignedIn,
    plans::{self, Money, PlanRow},
};

/// What follows from a change.
enum Follows {
    /// The plan costs nothing.
    Free,
    /// It costs more than what is paid now, or begins a period of another length.
    More,
    /// It costs less, or as much.
    Less,
}

#[derive(Template)]
#[template(path = "billing/pages/change.html")]
struct Page<'a> {
    shown: Shown<'a>,
    plan: PlanRow,
    interval: &'static str,
    price: Money,
    follows: Follows,
    visit: &'a Visit,
}

pub(super) async fn page(
    State(app): State<App>,
    SignedIn(who): SignedIn,
    visit: Visit,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    may_pay(&who)?;
    let db = app.db.read();
    let plan = plans::by_slug(db, &wanted.plan).await?.filter(|plan| plan.is_public);
    let plan = plan.ok_or_else(Problem::not_found)?;
    let (facts, now) = guard::of(&app, who.tenant_id).await?;
    let own = Interval::parse(&facts.billed.billing_interval);
    let (interval, amount, follows) = if plan.price_amount == 0 && !plan.contact_sales {
        (Interval::Month, 0, Follows::Free)
    } else if store::pays_by_card(db, who.tenant_id).await? {
        let in_sandbox = app.config.billing.sandbox;
        let offer = match prices::offer_of(db, in_sandbox, plan.clone(), wanted.interval().or(own)).await {
            Ok(offer) => offer,
            Err(error) => return refuse(&app, &visit, &who, (error.into(), wanted.interval())).await,
        };
        let paid = (facts.plan.slug.as_str(), facts.billed.billing_interval.as_str());
        let is_more = offer.is_more_than(db, in_sandbox, paid).await?;
        (offer.interval, offer.amount, if is_more { Follows::More } else { Follows::Less })
    } else {
        // What is bought for the first time is paid for on a page of its own.
        return Ok(go_to("/billing", []));
    };
    if plan.slug == facts.plan.slug && now.standing.is_entitled() && (amount == 0 || own == Some(interval)) {
        return Ok(go_to("/billing", []));
    }
    let page = Page {
        shown: Shown::new(&facts, &now, true),
        price: Money { amount, currency: plan.price_currency.clone() },
        interval: interval.as_str(),
        plan,
        follows,
        visit: &visit,
    };
    visit.show(StatusCode::OK, &page)
}
