//! The files that pages link to, from within the binary.

use std::fmt::Write;

use axum::{
    Router,
    extract::{Path, RawQuery},
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};
use rust_embed::{Embed, EmbeddedFile};
use tower_http::compression::CompressionLayer;

use super::Problem;
use crate::app::App;

#[derive(Embed)]
#[folder = "web/assets"]
struct Assets;

/// The files' route. They are compressed; pages are not, because a page that has both a secret and what a stranger chose would tell
/// the secret by its length (BREACH).
pub fn routes() -> Router<App> {
    Router::new().route("/assets/{file}", get(asset)).layer(CompressionLayer::new())
}

/// Where a file is, by its contents: what is cached under that address never changes.
///
/// # Panics
/// Where there is no such file; the pages' own tests render every one.
pub fn address(name: &str) -> String {
    let file = Assets::get(name).unwrap_or_else(|| panic!("no file {name} in web/assets"));
    format!("/assets/{name}?v={}", version(&file))
}

fn version(file: &EmbeddedFile) -> String {
    file.metadata.sha256_hash()[..6].iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

async fn asset(Path(name): Path<String>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let file = Assets::get(&name).ok_or_else(Problem::not_found)?;
    let kind = match name.rsplit_once('.') {
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        Some((_, "woff2")) => "font/woff2",
        _ => "application/octet-stream",
    };
    let is_versioned = query.and_then(|query| query.strip_prefix("v=").map(|v| v == version(&file))) == Some(true);
    let caching = if is_versioned { "public, max-age=31536000, immutable" } else { "public, max-age=300" };
    Ok(([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, caching)], file.data).into_response())
}
