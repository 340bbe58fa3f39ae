//! The address that a tenant would get, while its name is being typed.

use axum::{
    Json,
    extract::{Query, State},
};
use serde::{Deserialize, Serialize};

use crate::{
    app::App,
    http::Problem,
    signup::{candidates, store},
    tenants::slugs::{self, Slug},
};

/// What has been typed so far.
#[derive(Deserialize)]
pub(super) struct Typed {
    #[serde(default)]
    name: String,
    #[serde(default)]
    slug: String,
}

/// What would become of it.
#[derive(Serialize)]
pub(super) struct Preview {
    /// The slug; nothing where what was typed cannot be one.
    slug: Option<String>,
    /// Whether an explicit slug is free. One made from a name always is.
    available: bool,
    /// Why it cannot be one, or that it is taken.
    message: Option<String>,
}

/// Tells the slug that a name leads to, or whether one is free.
pub(super) async fn look_up(State(app): State<App>, Query(typed): Query<Typed>) -> Result<Json<Preview>, Problem> {
    let slug = typed.slug.trim();
    let asked = if slug.is_empty() { Ok(slugs::derive(&typed.name)) } else { Slug::parse(slug) };
    let asked = match asked {
        Ok(asked) => asked,
        Err(refused) => {
            return Ok(Json(Preview { slug: None, available: false, message: Some(refused.to_string()) }));
        }
    };
    let taken = store::taken(app.db.read(), &asked).await?;
    let free = candidates(&asked).find(|candidate| !taken.contains(candidate));
    if slug.is_empty() {
        return Ok(Json(Preview { slug: free.map(|slug| slug.to_string()), available: true, message: None }));
    }
    let available = !taken.contains(&asked);
    let message = (!available).then(|| match &free {
        Some(free) => format!("Somebody else has this address. {free} is free."),
        None => "Somebody else has this address.".to_owned(),
    });
    Ok(Json(Preview { slug: Some(asked.to_string()), available, message }))
}
