//! A small Stripe on loopback: what its API says follows from what was done to it, and it can fail on demand.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// How the next call at a place goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answered so, and nothing is done.
    Status(u16),
    /// Answered 429, with how many seconds to wait.
    RateLimited(u64),
    /// Done, and the connection breaks before the answer is there.
    LostAnswer,
    /// Done, and the answer never comes.
    Hang,
    /// The card is declined.
    Declined,
}

/// One call that came in.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: String,
    pub path: String,
    pub key: Option<String>,
    pub version: Option<String>,
    pub authorization: Option<String>,
    pub fields: BTreeMap<String, String>,
}

/// Everything there is.
#[derive(Default)]
pub struct World {
    /// Objects by id, as the API shows them.
    pub objects: BTreeMap<String, Value>,
    /// In the order in which they happened.
    pub events: Vec<Value>,
    pub calls: Vec<Call>,
    pub now: i64,
    answers: HashMap<String, Value>,
    faults: Vec<(String, VecDeque<Fault>)>,
    made: usize,
}

/// A running Stripe.
#[derive(Clone)]
pub struct Stripe {
    pub base: String,
    world: Arc<Mutex<World>>,
    _serving: Arc<Serving>,
}

struct Serving(JoinHandle<()>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Stripe {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let now = tenantry::clock::Clock::system().now().at.timestamp() + 60;
        let world = Arc::new(Mutex::new(World { now, ..World::default() }));
        let router = Router::new().fallback(answer).with_state(world.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
        Self { base, world, _serving: Arc::new(Serving(serving)) }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("the world")
    }

    /// The next calls whose method and path begin so go wrong, one after the other.
    pub fn fail(&self, place: &str, faults: impl IntoIterator<Item = Fault>) {
        self.world().faults.push((place.to_owned(), faults.into_iter().collect()));
    }

    /// Calls whose method and path begin so.
    pub fn calls(&self, place: &str) -> Vec<Call> {
        let is_there = |call: &&Call| format!("{} {}", call.method, call.path).starts_with(place);
        self.world().calls.iter().filter(is_there).cloned().collect()
    }

    /// All objects of a kind.
    pub fn all(&self, kind: &str) -> Vec<Value> {
        self.world().all(kind)
    }

    /// Somebody pays in a session. Answers the subscription's id.
    pub fn pay(&self, session: &str) -> String {
        self.world().pay(session)
    }

    /// Takes the events that nobody has taken yet.
    pub fn take_events(&self) -> Vec<Value> {
        std::mem::take(&mut self.world().events)
    }
}

type Fields = BTreeMap<String, String>;

impl World {
    pub fn id(&mut self, prefix: &str) -> String {
        self.made += 1;
        format!("{prefix}_{:06}", self.made)
    }

    pub fn all(&self, kind: &str) -> Vec<Value> {
        self.objects.values().filter(|object| object["object"] == kind).cloned().collect()
    }

    /// Changes an object.
    pub fn set(&mut self, id: &str, changes: &Value) {
        let object = self.objects.get_mut(id).unwrap_or_else(|| panic!("no {id}"));
        object.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    }

    pub fn put(&mut self, object: Value) {
        self.objects.insert(object["id"].as_str().unwrap().to_owned(), object);
    }

    /// Notes that something has happened to an object.
    pub fn emit(&mut self, kind: &str, id: &str) {
        let event = self.id("evt");
        let object = self.objects[id].clone();
        self.events.push(json!({
            "id": event, "object": "event", "type": kind, "created": self.now, "livemode": false, "api_version": "2025-03-31.basil",
            "data": {"object": object}, "pending_webhooks": 1, "request": {"id": null, "idempotency_key": null},
        }));
    }

    fn take(&mut self, call: &Call) -> (Option<Fault>, Value) {
        self.calls.push(call.clone());
        let place = format!("{} {}", call.method, call.path);
        let fault = self.faults.iter_mut().find(|(start, faults)| place.starts_with(start) && !faults.is_empty());
        let fault = fault.and_then(|(_, faults)| faults.pop_front());
        match fault {
            Some(Fault::Status(_) | Fault::RateLimited(_) | Fault::Declined) => return (fault, Value::Null),
            Some(Fault::LostAnswer | Fault::Hang) | None => {}
        }
        let known = call.key.as_ref().and_then(|key| self.answers.get(key)).cloned();
        let answer = known.unwrap_or_else(|| self.act(call));
        if let Some(key) = &call.key {
            self.answers.insert(key.clone(), answer.clone());
        }
        (fault, answer)
    }

    fn act(&mut self, call: &Call) -> Value {
        let (fields, parts) = (&call.fields, call.path.trim_start_matches("/v1/").split('/').collect::<Vec<_>>());
        match (call.method.as_str(), &parts[..]) {
            ("GET", ["subscriptions"]) => self.list("subscription", fields),
            ("GET", ["invoices"]) => self.list("invoice", fields),
            ("GET", ["invoice_payments"]) => {
                let intent = fields["invoice"].replace("in_", "pi_");
                json!({"object": "list", "data": [{"id": "inpay_1", "object": "invoice_payment", "payment": {"type": "payment_intent", "payment_intent": intent}}]})
            }
            ("GET", ["events"]) => {
                let events: Vec<_> =
                    self.objects.values().filter(|object| object["object"] == "event").rev().cloned().collect();
                json!({"object": "list", "data": events, "has_more": false})
            }
            ("GET", [.., id]) => self.objects.get(*id).cloned().unwrap_or_else(|| missing(id)),
            ("POST", ["customers"]) => {
                let id = self.id("cus");
                self.put(json!({"id": id, "object": "customer", "email": fields["email"], "name": fields["name"],
                    "metadata": {"tenant_id": fields["metadata[tenant_id]"]}, "invoice_settings": {"default_payment_method": null}}));
                self.objects[&id].clone()
            }
            ("POST", ["checkout" | "billing_portal", "sessions"]) if !self.is_customer(&fields["customer"]) => {
                json!({"refused": 400, "error": {"type": "invalid_request_error", "code": "resource_missing", "param": "customer", "message": "No such customer."}})
            }
            ("POST", ["checkout", "sessions"]) => {
                let id = self.id("cs_test");
                self.put(json!({
                    "id": id, "object": "checkout.session", "status": "open", "url": format!("https://checkout.stripe.test/{id}"),
                    "customer": fields["customer"], "client_reference_id": fields["client_reference_id"], "expires_at": self.now + 86_400,
                    "price": fields["line_items[0][price]"], "subscription": null,
                    "metadata": {"tenant_id": fields["subscription_data[metadata][tenant_id]"], "plan": fields["subscription_data[metadata][plan]"]},
                }));
                self.objects[&id].clone()
            }
            ("POST", ["checkout", "sessions", id, "expire"]) => {
                if self.objects[*id]["status"] != "open" {
                    return refusal(400, "invalid_request_error", "resource_not_open");
                }
                self.set(id, &json!({"status": "expired", "url": null}));
                self.emit("checkout.session.expired", id);
                self.objects[*id].clone()
            }
            ("POST", ["billing_portal", "sessions"]) => {
                json!({"id": "bps_1", "object": "billing_portal.session", "url": "https://portal.stripe.test/1", "customer": fields["customer"]})
            }
            ("POST", ["refunds"]) => {
                let id = self.id("re");
                self.put(json!({"id": id, "object": "refund", "status": "succeeded", "payment_intent": fields["payment_intent"]}));
                self.objects[&id].clone()
            }
            ("POST", ["subscriptions", id]) => self.update_subscription(id, fields),
            ("DELETE", ["subscriptions", id]) => {
                self.end(id);
                self.objects[*id].clone()
            }
            _ => refusal(404, "invalid_request_error", "unknown_url"),
        }
    }

    fn is_customer(&self, id: &str) -> bool {
        self.objects.get(id).is_some_and(|customer| customer["deleted"] != true)
    }

    fn list(&self, kind: &str, fields: &Fields) -> Value {
        let fits = |object: &Value| {
            fields.iter().all(|(name, value)| match name.as_str() {
                "limit" => true,
                "status" if value == "all" => true,
                "subscription" => object["parent"]["subscription_details"]["subscription"] == value.as_str(),
                name => object[name] == value.as_str(),
            })
        };
        let mut data: Vec<_> = self.all(kind).into_iter().filter(fits).collect();
        data.reverse();
        json!({"object": "list", "data": data, "has_more": false, "url": "/v1/x"})
    }

    fn update_subscription(&mut self, id: &str, fields: &Fields) -> Value {
        if let Some(price) = fields.get("items[0][price]") {
            self.change(id, price);
        }
        if let Some(value) = fields.get("cancel_at_period_end") {
            self.schedule_end(id, value == "true");
        }
        for (name, value) in fields {
            if let Some(name) = name.strip_prefix("metadata[").and_then(|name| name.strip_suffix(']')) {
                self.objects.get_mut(id).unwrap()["metadata"][name] = json!(value);
            }
        }
        self.objects[id].clone()
    }
}

fn missing(id: &str) -> Value {
    json!({"refused": 404, "error": {"type": "invalid_request_error", "code": "resource_missing", "param": "id", "message": format!("No such object: '{id}'")}})
}

fn refusal(status: u16, kind: &str, code: &str) -> Value {
    json!({"refused": status, "error": {"type": kind, "code": code, "message": "Refused."}})
}

async fn answer(State(world): State<Arc<Mutex<World>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let encoded = if parts.method == "POST" { &body[..] } else { parts.uri.query().unwrap_or_default().as_bytes() };
    let header = |name: &str| Some(parts.headers.get(name)?.to_str().ok()?.to_owned());
    let call = Call {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        key: header("idempotency-key"),
        version: header("stripe-version"),
        authorization: header("authorization"),
        fields: url::form_urlencoded::parse(encoded).into_owned().collect(),
    };
    let (fault, mut answer) = world.lock().expect("the world").take(&call);
    match fault {
        Some(Fault::Status(status)) => (StatusCode::from_u16(status).unwrap(), "{}").into_response(),
        Some(Fault::RateLimited(seconds)) => {
            (StatusCode::TOO_MANY_REQUESTS, [("retry-after", seconds.to_string())], "{}").into_response()
        }
        Some(Fault::Declined) => {
            let error =
                json!({"error": {"type": "card_error", "code": "card_declined", "message": "Your card was declined."}});
            (StatusCode::PAYMENT_REQUIRED, error.to_string()).into_response()
        }
        Some(Fault::LostAnswer) => {
            let broken = futures_util::stream::iter([Ok("{"), Err(std::io::Error::other("the line is cut"))]);
            Body::from_stream(broken).into_response()
        }
        Some(Fault::Hang) => std::future::pending().await,
        None => {
            let refused = answer.as_object_mut().and_then(|answer| answer.remove("refused"));
            let status = refused.and_then(|status| u16::try_from(status.as_u64()?).ok()).unwrap_or(200);
            (StatusCode::from_u16(status).unwrap(), [("content-type", "application/json")], answer.to_string())
                .into_response()
        }
    }
}
