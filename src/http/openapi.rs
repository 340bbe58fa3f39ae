//! The API's description, generated from the handlers, and the page that shows it.

use axum::{
    Json, Router,
    extract::Path,
    http::header,
    response::{Html, IntoResponse, Response},
    routing::get,
};
use utoipa::{
    OpenApi, ToSchema,
    openapi::{
        ContentBuilder, OpenApi as Document, Ref, RefOr, ResponseBuilder,
        path::{Operation, ParameterIn},
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use super::{FieldError, Problem, ProblemBody};
use crate::app::App;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tenantry",
        description = "The front door of a multi-tenant SaaS: sign-up, atomic tenant provisioning, identity."
    ),
    components(schemas(ProblemBody, FieldError))
)]
struct Base;

/// The document that the routers' descriptions are collected into.
pub fn base() -> Document {
    let mut document = Base::openapi();
    let components = document.components.get_or_insert_default();
    let bearer = |description: &str| {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(description)).build();
        SecurityScheme::Http(scheme)
    };
    components.add_security_scheme("signup_token", bearer("The token that `POST /public/signup/start` answers"));
    components.add_security_scheme("access_token", bearer("A member's access token"));
    components.add_security_scheme("admin_token", bearer("A platform administrator's token"));
    document
}

/// Adds to each operation the problems that any operation of its kind can answer.
pub fn document(mut collected: Document) -> Document {
    for item in collected.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
        operations.into_iter().flatten().for_each(add_problems);
    }
    collected
}

fn add_problems(operation: &mut Operation) {
    let mut possible =
        vec![("500", "Something went wrong on our side"), ("503", "The service cannot answer right now")];
    if operation.request_body.is_some() {
        possible.extend([
            ("400", "Not JSON, or not an object"),
            ("413", "Body too large"),
            ("415", "Body not JSON"),
            ("422", "A field is refused"),
        ]);
    }
    if operation.security.is_some() {
        possible.extend([("401", "No valid token"), ("403", "Not allowed")]);
    }
    for parameter in operation.parameters.iter().flatten() {
        let RefOr::T(parameter) = parameter else { continue };
        match parameter.parameter_in {
            ParameterIn::Path => {
                possible.extend([("404", "There is nothing here"), ("400", "An address that cannot be read")]);
            }
            ParameterIn::Query => possible.push(("422", "A parameter is refused")),
            _ => {}
        }
    }
    let problem = Ref::from_schema_name(ProblemBody::name());
    let content = ContentBuilder::new().schema(Some(problem)).build();
    for (status, description) in possible {
        let response = ResponseBuilder::new().description(description).build();
        operation.responses.responses.entry(status.to_owned()).or_insert_with(|| response.into());
    }
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        if status.starts_with(['4', '5']) && response.content.is_empty() {
            response.content.insert("application/problem+json".to_owned(), content.clone().into());
        }
    }
}

/// Serves the document and the page that shows it, all from the binary.
pub fn documentation(document: &Document) -> Router<App> {
    let json = serde_json::to_value(document).unwrap_or_default();
    Router::new()
        .route("/openapi.json", get(async move || Json(json.clone())))
        .route("/docs", get(async || Html(PAGE)))
        .route("/docs/{file}", get(file))
}

const PAGE: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tenantry API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" href="/docs/favicon-32x32.png">
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</html>
"#;

const START: &str = r##"SwaggerUIBundle({ url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null });
"##;

async fn file(Path(name): Path<String>) -> Result<Response, Problem> {
    if name == "start.js" {
        return Ok(([(header::CONTENT_TYPE, "text/javascript")], START).into_response());
    }
    let config = std::sync::Arc::new(utoipa_swagger_ui::Config::from("/openapi.json"));
    let found = utoipa_swagger_ui::serve(&name, config).ok().flatten().ok_or_else(Problem::not_found)?;
    let cache = (header::CACHE_CONTROL, "public, max-age=3600".to_owned());
    Ok(([(header::CONTENT_TYPE, found.content_type), cache], found.bytes.into_owned()).into_response())
}
