//! `plan`: what is sold.

use serde_json::json;

use super::{Failure, output};
use crate::{
    app::App,
    plans::{self, PlanView},
};

/// All plans, hidden ones too.
pub(super) async fn list(app: &App, json: bool) -> Result<(), Failure> {
    let plans = plans::all(app.db.read(), true).await?;
    if json {
        return output::json(&json!({ "data": plans }));
    }
    let rows: Vec<_> = plans.iter().map(row).collect();
    output::rows(["slug", "name", "price", "credits", "trial", "limits"], &rows)
}

fn row(plan: &PlanView) -> [String; 6] {
    let price = if plan.contact_sales {
        "by contact".to_owned()
    } else {
        let yearly = plan.price_yearly.as_ref().map_or_else(String::new, |price| format!(", {price}/year"));
        format!("{}/{}{yearly}", plan.price, plan.interval)
    };
    let limit = |(name, value): (&String, &i64)| match value {
        0 => format!("{name} unlimited"),
        value => format!("{name} {value}"),
    };
    let limits = plan.limits.iter().map(limit).collect::<Vec<_>>().join(", ");
    let trial = format!("{} days", plan.trial_days);
    [plan.slug.clone(), plan.name.clone(), price, plan.included_credits.to_string(), trial, limits]
}
