//! The API's description, generated from the handlers, and the page that shows it.

use std::collections::BTreeMap;

use axum::{
    Json, Router,
    extract::Path,
    http::{Method, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use utoipa::{
    OpenApi, ToSchema,
    openapi::{
        ContentBuilder, Header, HeaderBuilder, Object, ObjectBuilder, OpenApi as Document, Ref, RefOr, Required,
        ResponseBuilder, Schema, Type,
        extensions::Extensions,
        path::{Operation, ParameterIn},
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use super::{FieldError, Problem, ProblemBody, limits};
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

/// Adds to each operation the problems that any operation of its kind can answer, and the headers that come with some of them.
pub fn document(mut collected: Document) -> Document {
    let schemas = collected.components.as_ref().map(|components| &components.schemas);
    for (path, item) in &mut collected.paths.paths {
        let operations = [
            (Method::GET, &mut item.get),
            (Method::PUT, &mut item.put),
            (Method::POST, &mut item.post),
            (Method::DELETE, &mut item.delete),
            (Method::PATCH, &mut item.patch),
        ];
        for (method, operation) in operations {
            let Some(operation) = operation else { continue };
            if let (Some(RefOr::T(body)), Some(schemas)) = (&mut operation.request_body, schemas) {
                let needed = body.content.values().any(|content| match content {
                    RefOr::T(content) => has_required(content.schema.as_ref(), schemas),
                    RefOr::Ref(_) => true,
                });
                body.required = Some(if needed { Required::True } else { Required::False });
            }
            let is_limited = limits::Kind::of(&method, path).is_some() || path.starts_with("/api/v1/admin/");
            add_problems(operation, is_limited);
            add_headers(operation);
        }
    }
    collected
}

/// Whether a body has to have something in it; an absent one is read as an empty object.
fn has_required(schema: Option<&RefOr<Schema>>, schemas: &BTreeMap<String, RefOr<Schema>>) -> bool {
    match schema {
        Some(RefOr::T(Schema::Object(object))) => !object.required.is_empty(),
        Some(RefOr::Ref(named)) => {
            let name = named.ref_location.rsplit('/').next().unwrap_or_default();
            schemas.get(name).is_some_and(|schema| has_required(Some(schema), schemas))
        }
        _ => true,
    }
}

fn add_problems(operation: &mut Operation, is_limited: bool) {
    let mut possible =
        vec![("500", "Something went wrong on our side"), ("503", "The service cannot answer right now")];
    if operation.request_body.is_some() {
        possible.extend([
            ("400", "Not JSON, or not an object"),
            ("408", "The body did not come in time"),
            ("413", "Body too large"),
            ("415", "Body not JSON"),
            ("422", "A field is refused"),
        ]);
    }
    if is_limited {
        possible.push(("429", "`RATE_LIMITED`: too much came from this network"));
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

/// What a client can rely on beside the body.
fn add_headers(operation: &mut Operation) {
    let mut is_once = false;
    for parameter in operation.parameters.iter_mut().flatten() {
        let RefOr::T(parameter) = parameter else { continue };
        if parameter.name == "Idempotency-Key" {
            is_once = true;
            let key = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(255));
            parameter.schema = Some(key.into());
        }
    }
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        let (name, header) = match status.as_str() {
            "401" => ("WWW-Authenticate", required(Type::String, "Which scheme to log in by (RFC 9110, 11.6.1)")),
            "429" | "503" => ("Retry-After", required(Type::Integer, "Seconds after which a repeat may succeed")),
            status if is_once && status.starts_with('2') => {
                let replayed = HeaderBuilder::new().schema(Some(Object::with_type(Type::String)));
                ("Idempotent-Replayed", replayed.description(Some("`true` on a repeat of the first answer")).build())
            }
            _ => continue,
        };
        response.headers.insert(name.to_owned(), header.into());
    }
}

/// A header that is always there. utoipa has no field to say so.
fn required(kind: Type, description: &str) -> Header {
    let required = Extensions::from_iter([("required", true)]);
    HeaderBuilder::new()
        .schema(Some(Object::with_type(kind)))
        .description(Some(description))
        .extensions(Some(required))
        .build()
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
