//! The edge: Stripe's HTTP API.

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::any,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use secrecy::ExposeSecret;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    STRIPE_VERSION, cards, catalog, changes, checkout, customers,
    error::Error,
    expand::expand,
    faults::Fault,
    form::Params,
    invoices, keys, payments, portal, read,
    store::hide,
    subscriptions,
    world::{Caller, Place, World},
};
use crate::{
    app::App,
    billing::stripe::Access,
    http::{Problem, chain, edge::is_our_host},
    seal::hash_token,
};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const VERSION: HeaderName = HeaderName::from_static("stripe-version");
/// The longest idempotency key, as at Stripe.
const LONGEST_KEY: usize = 255;

/// This edge's routes.
pub fn routes() -> Router<App> {
    Router::new().route("/v1/{*path}", any(serve))
}

/// A call as it came.
struct Call {
    id: String,
    method: Method,
    path: String,
    sent: Vec<u8>,
    key: Option<String>,
}

/// What is answered.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: String,
    /// Whether it is the answer of an earlier call.
    pub replayed: bool,
}

impl From<Error> for Answer {
    fn from(error: Error) -> Self {
        if let Error::Database(source) = &error {
            tracing::error!(feature = "sandbox", error = %chain(source), "A call to the sandbox failed");
        }
        Self { status: error.status(), body: pretty(&error.body()), replayed: false }
    }
}

/// As Stripe writes it: over several lines.
fn pretty(value: &Value) -> String {
    format!("{value:#}")
}

async fn serve(State(app): State<App>, request: Request) -> Response {
    if !app.config.billing.sandbox || !is_our_host(&app, &request) {
        return Problem::not_found().into_response();
    }
    let (parts, body) = request.into_parts();
    let id = format!("req_{}", app.clock.now().id().simple());
    let path = parts.uri.path().trim_end_matches('/').to_owned();
    let text = |name: &HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let key = text(&IDEMPOTENCY_KEY).filter(|_| parts.method == Method::POST);
    let version = text(&VERSION).unwrap_or_else(|| STRIPE_VERSION.to_owned());
    let mut sent = parts.uri.query().unwrap_or_default().as_bytes().to_vec();
    match axum::body::to_bytes(body, app.config.http.body_limit).await {
        Ok(body) if !body.is_empty() => {
            sent.push(b'&');
            sent.extend(body);
        }
        Ok(_) => {}
        Err(_) => return StatusCode::PAYLOAD_TOO_LARGE.into_response(),
    }
    let call = Call { id, method: parts.method, path, sent, key };
    if !is_known(&app, &parts.headers) {
        return written(Error::Key.into(), &call, &version, None);
    }
    let Some(fault) = app.sandbox.faults.take(&call.method, &call.path) else {
        return written(answer(&app, &call, None).await, &call, &version, None);
    };
    match obey(&app, &call, &fault).await {
        Some(answer) => written(answer, &call, &version, fault.retry_after),
        None => broken(),
    }
}

/// Does what a fault orders; nothing is answered where the connection is to break.
async fn obey(app: &App, call: &Call, fault: &Fault) -> Option<Answer> {
    tokio::time::sleep(fault.stall()).await;
    let failure = fault.status.filter(|_| !fault.drop).map(|status| Answer::from(Error::Ordered(status)));
    let takes_effect = fault.effect || (fault.status.is_none() && !fault.drop);
    let answered = match (takes_effect, failure) {
        (false, failure) => failure?,
        // Stripe keeps what it has answered, also a failure; what gets lost on the way was answered well.
        (true, failure) => answer(app, call, failure).await,
    };
    (!fault.drop).then_some(answered)
}

/// An answer that breaks off.
fn broken() -> Response {
    let chunks = async_stream::stream! {
        yield Err::<String, _>(std::io::Error::other("the connection was ordered to drop"));
    };
    let mut response = Response::new(Body::from_stream(chunks));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn written(answer: Answer, call: &Call, version: &str, retry_after: Option<u32>) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, answer.body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let texts = [
        (HeaderName::from_static("request-id"), Some(call.id.as_str())),
        (VERSION, Some(version)),
        (IDEMPOTENCY_KEY, call.key.as_deref()),
        (HeaderName::from_static("idempotent-replayed"), answer.replayed.then_some("true")),
        (header::WWW_AUTHENTICATE, (answer.status == 401).then_some("Bearer realm=\"Stripe\"")),
    ];
    for (name, value) in texts {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
            headers.insert(name, value);
        }
    }
    if let Some(seconds) = retry_after {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// Whether the call has our key, as a bearer token or as the user of basic authentication.
fn is_known(app: &App, headers: &HeaderMap) -> bool {
    let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let key = match sent.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Some(token.trim().to_owned()),
        Some((scheme, pair)) if scheme.eq_ignore_ascii_case("basic") => {
            let pair = BASE64_STANDARD.decode(pair.trim()).ok().and_then(|pair| String::from_utf8(pair).ok());
            pair.map(|pair| pair.split(':').next().unwrap_or_default().to_owned())
        }
        _ => None,
    };
    let ours = Access::sandbox(app).secret_key;
    // Hashes are compared, so that the time tells nothing of the key.
    key.is_some_and(|key| hash_token(&key) == hash_token(ours.expose_secret()))
}

async fn answer(app: &App, call: &Call, instead: Option<Answer>) -> Answer {
    match attempt(app, call, instead).await {
        Ok(answer) => answer,
        Err(error) => error.into(),
    }
}

async fn attempt(app: &App, call: &Call, instead: Option<Answer>) -> Result<Answer, Error> {
    if call.method == Method::GET {
        return Ok(Answer { status: 200, body: get(app, call).await?, replayed: false });
    }
    let Some(key) = &call.key else { return change(app, call, None, instead).await };
    if key.is_empty() || key.len() > LONGEST_KEY {
        return Err(Error::invalid("idempotency_key", "Idempotency keys have 1 to 255 characters."));
    }
    let _running = app.sandbox.begin(key).ok_or(Error::KeyInUse)?;
    let fingerprint = Sha256::digest([call.method.as_str().as_bytes(), call.path.as_bytes(), &call.sent].join(&b'\n'));
    let key = keys::Key { key, fingerprint: fingerprint.to_vec() };
    match key.find(app.db.read(), app.clock.now().at).await? {
        Some(first) => Ok(first),
        None => change(app, call, Some(&key), instead).await,
    }
}

fn split(path: &str) -> Vec<&str> {
    path.trim_start_matches("/v1/").split('/').collect()
}

async fn get(app: &App, call: &Call) -> Result<String, Error> {
    let path = split(&call.path);
    let mut params = Params::read(&call.sent)?;
    let paths = params.texts("expand")?;
    let db = app.db.read();
    let mut found = match (path.as_slice(), read::answer(db, &path, &mut params).await) {
        (["prices" | "products", id], Err(Error::NoSuch { .. })) => {
            // One of a plan's, which nobody has asked for yet.
            let (tx, now) = (app.db.begin().await?, app.clock.now());
            let mut world = World::open(&tx, &now, place(app), Caller::default()).await?;
            catalog::mirror(&mut world, id).await?;
            world.close().await?;
            tx.commit().await?;
            app.wake.wake();
            read::answer(db, &path, &mut params).await?
        }
        (_, found) => found?,
    };
    expand(db, &mut found, &paths).await?;
    hide(&mut found);
    Ok(pretty(&found))
}

/// What a change of the sandbox needs to know of its surroundings.
pub fn place(app: &App) -> Place<'_> {
    Place { sealer: &app.sealer, public_url: &app.config.public_url }
}

/// Does a call in one transaction, with the answer under its key.
async fn change(app: &App, call: &Call, key: Option<&keys::Key<'_>>, instead: Option<Answer>) -> Result<Answer, Error> {
    let mut params = Params::read(&call.sent)?;
    let paths = params.texts("expand")?;
    let (tx, now) = (app.db.begin().await?, app.clock.now());
    let caller = Caller { request_id: Some(call.id.clone()), idempotency_key: call.key.clone() };
    let mut world = World::open(&tx, &now, place(app), caller).await?;
    if let Some(key) = key
        && let Some(first) = key.find(&tx, now.at).await?
    {
        return Ok(first);
    }
    let done = match act(&mut world, call, &mut params).await {
        Ok(mut object) => expand(&tx, &mut object, &paths).await.map(|()| object),
        refused => refused,
    };
    let done = match done {
        Err(error) if !matches!(error, Error::Tried(_)) => {
            drop(world);
            tx.rollback().await?;
            return refuse(app, key, error).await;
        }
        done => done,
    };
    world.close().await?;
    let answer = match (instead, done) {
        (Some(instead), _) => instead,
        (None, Ok(mut object)) => {
            hide(&mut object);
            Answer { status: 200, body: pretty(&object), replayed: false }
        }
        (None, Err(error)) => error.into(),
    };
    if let Some(key) = key {
        key.keep(&tx, now.at, &answer).await?;
    }
    tx.commit().await?;
    app.wake.wake();
    Ok(answer)
}

/// Nothing was done. Where a repeat would be refused as well, the refusal is kept.
async fn refuse(app: &App, key: Option<&keys::Key<'_>>, error: Error) -> Result<Answer, Error> {
    let key = key.filter(|_| error.is_kept());
    let answer = error.into();
    if let Some(key) = key {
        let tx = app.db.begin().await?;
        key.keep(&tx, app.clock.now().at, &answer).await?;
        tx.commit().await?;
    }
    Ok(answer)
}

/// The call's work.
async fn act(world: &mut World<'_>, call: &Call, params: &mut Params) -> Result<Value, Error> {
    let path = split(&call.path);
    match (call.method.as_str(), path.as_slice()) {
        ("POST", ["customers"]) => customers::create(world, params).await,
        ("POST", ["customers", id]) => customers::update(world, id, params).await,
        ("DELETE", ["customers", id]) => customers::delete(world, id, params).await,
        ("POST", ["products"]) => catalog::create_product(world, params).await,
        ("POST", ["products", id]) => catalog::update_product(world, id, params).await,
        ("POST", ["prices"]) => catalog::create_price(world, params).await,
        ("POST", ["prices", id]) => catalog::update_price(world, id, params).await,
        ("POST", ["checkout", "sessions"]) => checkout::create(world, params).await,
        ("POST", ["checkout", "sessions", id, "expire"]) => checkout::expire(world, id, params).await,
        ("POST", ["subscriptions"]) => subscriptions::create(world, params).await,
        ("POST", ["subscriptions", id]) => changes::update(world, id, params).await,
        ("DELETE", ["subscriptions", id]) => subscriptions::cancel(world, id, params).await,
        ("POST", ["invoices", "create_preview"]) => changes::preview(world, params).await,
        ("POST", ["invoices", id, "pay"]) => invoices::pay(world, id, params).await,
        ("POST", ["invoices", id, "void"]) => invoices::void(world, id, params).await,
        ("POST", ["payment_methods"]) => cards::create(world, params).await,
        ("POST", ["payment_methods", id, "attach"]) => cards::attach(world, id, params).await,
        ("POST", ["payment_methods", id, "detach"]) => cards::detach(world, id, params).await,
        ("POST", ["refunds"]) => payments::refund(world, params).await,
        ("POST", ["billing_portal", "sessions"]) => portal::create(world, params).await,
        (method, _) => Err(Error::Route(format!("{method}: {}", call.path))),
    }
}
