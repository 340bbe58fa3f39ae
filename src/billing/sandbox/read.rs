//! What can be asked for: one object, or a list of them (<https://docs.stripe.com/api/pagination>).

use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use super::{
    error::Error,
    form::Params,
    lines::list,
    store::{self, HIDDEN, int, text},
    world::no_such,
};

const KINDS: [(&str, &str); 9] = [
    ("customers", "customer"),
    ("events", "event"),
    ("invoices", "invoice"),
    ("payment_intents", "payment_intent"),
    ("payment_methods", "payment_method"),
    ("prices", "price"),
    ("products", "product"),
    ("refunds", "refund"),
    ("subscriptions", "subscription"),
];

/// Objects in one look at the database.
const LOOK: i64 = 100;

/// Answers a GET.
pub async fn answer(db: &impl ConnectionTrait, path: &[&str], params: &mut Params) -> Result<Value, Error> {
    let kind_of = |collection: &str| KINDS.iter().find(|(name, _)| *name == collection).map(|(_, kind)| *kind);
    match path {
        ["checkout", "sessions"] => page(db, "checkout.session", path, params).await,
        ["checkout", "sessions", id] => one(db, "checkout.session", id, params).await,
        ["checkout", "sessions", id, "line_items"] => {
            params.pass_over(&["limit"]);
            let session = one(db, "checkout.session", id, params).await?;
            Ok(session[HIDDEN]["line_items"].clone())
        }
        ["invoices", id, "lines"] => {
            params.pass_over(&["limit"]);
            Ok(one(db, "invoice", id, params).await?["lines"].clone())
        }
        ["customers", id, "payment_methods"] => {
            customer(db, id).await?;
            methods(db, id, path, params).await
        }
        ["customers", id, "payment_methods", method] => {
            let method = one(db, "payment_method", method, params).await?;
            if method["customer"] == *id {
                Ok(method)
            } else {
                Err(no_such("payment_method", text(&method, "id"), "id"))
            }
        }
        ["invoice_payments"] => payments(db, params).await,
        [collection] => match kind_of(collection) {
            Some(kind) => page(db, kind, path, params).await,
            None => Err(route(path)),
        },
        [collection, id] => match kind_of(collection) {
            Some(kind) => one(db, kind, id, params).await,
            None => Err(route(path)),
        },
        _ => Err(route(path)),
    }
}

fn route(path: &[&str]) -> Error {
    Error::Route(format!("GET: /v1/{}", path.join("/")))
}

async fn one(db: &impl ConnectionTrait, kind: &str, id: &str, params: &Params) -> Result<Value, Error> {
    params.finish()?;
    let found = store::find(db, id).await?.filter(|object| object["object"] == kind);
    found.ok_or_else(|| no_such(kind, id, "id"))
}

async fn customer(db: &impl ConnectionTrait, id: &str) -> Result<(), Error> {
    let found = store::find(db, id).await?.filter(|object| object["object"] == "customer" && object["deleted"] != true);
    found.map(drop).ok_or_else(|| no_such("customer", id, "customer"))
}

async fn methods(db: &impl ConnectionTrait, id: &str, path: &[&str], params: &mut Params) -> Result<Value, Error> {
    let mut query = Query::read(params)?;
    id.clone_into(&mut query.customer);
    query.same("type", params)?;
    params.finish()?;
    query.run(db, "payment_method", path).await
}

async fn payments(db: &impl ConnectionTrait, params: &mut Params) -> Result<Value, Error> {
    let id = params.required("invoice")?;
    let status = params.text("status")?;
    params.pass_over(&["limit"]);
    params.finish()?;
    let found = store::find(db, &id).await?.filter(|object| object["object"] == "invoice");
    let invoice = found.ok_or_else(|| no_such("invoice", &id, "invoice"))?;
    let payments = invoice[HIDDEN]["payments"]["data"].as_array().cloned().unwrap_or_default();
    let wanted = |payment: &Value| status.as_deref().is_none_or(|status| payment["status"] == status);
    Ok(list(&payments.into_iter().filter(wanted).collect::<Vec<_>>(), "/v1/invoice_payments"))
}

async fn page(db: &impl ConnectionTrait, kind: &str, path: &[&str], params: &mut Params) -> Result<Value, Error> {
    let mut query = Query::read(params)?;
    match kind {
        "customer" => query.same("email", params)?,
        "product" => {
            query.flag("active", params)?;
            query.any_of("ids", "id", params)?;
        }
        "price" => {
            query.flag("active", params)?;
            for name in ["product", "type", "currency"] {
                query.same(name, params)?;
            }
            query.any_of("lookup_keys", "lookup_key", params)?;
        }
        "event" => {
            query.same("type", params)?;
            query.any_of("types", "type", params)?;
            params.pass_over(&["delivery_success"]);
        }
        "refund" => query.same("payment_intent", params)?,
        "payment_method" => {
            let id = params.required("customer")?;
            customer(db, &id).await?;
            query.customer = id;
            query.same("type", params)?;
        }
        "subscription" => {
            query.customer = params.text("customer")?.unwrap_or_default();
            let price = params.text("price")?;
            query.keep(move |it| {
                price.as_ref().is_none_or(|price| *price == text(&it["items"]["data"][0]["price"], "id"))
            });
            let status = params.text("status")?;
            query.keep(move |it| match status.as_deref() {
                None => it["status"] != "canceled",
                Some("all") => true,
                Some("ended") => super::subscriptions::has_ended(it),
                Some(status) => it["status"] == status,
            });
            params.pass_over(&["collection_method"]);
        }
        _ => {
            query.customer = params.text("customer")?.unwrap_or_default();
            for name in ["subscription", "status"] {
                query.same(name, params)?;
            }
            params.pass_over(&["collection_method"]);
        }
    }
    params.finish()?;
    query.run(db, kind, path).await
}

type Test = Box<dyn Fn(&Value) -> bool + Send + Sync>;

/// Which objects, and which page of them.
struct Query {
    customer: String,
    tests: Vec<Test>,
    limit: usize,
    starting_after: Option<String>,
    ending_before: Option<String>,
}

impl Query {
    fn read(params: &mut Params) -> Result<Self, Error> {
        let limit = params.count("limit")?.unwrap_or(10);
        let limit = usize::try_from(limit).ok().filter(|limit| (1..=100).contains(limit));
        let limit = limit.ok_or_else(|| Error::invalid("limit", "Has to be 1 to 100."))?;
        let (starting_after, ending_before) = (params.text("starting_after")?, params.text("ending_before")?);
        if starting_after.is_some() && ending_before.is_some() {
            return Err(Error::invalid("ending_before", "Cannot be used together with starting_after."));
        }
        let mut query = Self { customer: String::new(), tests: Vec::new(), limit, starting_after, ending_before };
        if let Some(mut created) = params.branch("created")? {
            for (name, holds) in
                [("gt", i64::gt as fn(&i64, &i64) -> bool), ("gte", i64::ge), ("lt", i64::lt), ("lte", i64::le)]
            {
                if let Some(bound) = created.count(name)? {
                    query.keep(move |it| holds(&int(it, "created"), &bound));
                }
            }
            created.finish()?;
        }
        query.keep(|it| it["deleted"] != true);
        Ok(query)
    }

    fn keep(&mut self, test: impl Fn(&Value) -> bool + Send + Sync + 'static) {
        self.tests.push(Box::new(test));
    }

    fn same(&mut self, name: &'static str, params: &mut Params) -> Result<(), Error> {
        if let Some(wanted) = params.text(name)? {
            self.keep(move |it| it[name] == wanted.as_str());
        }
        Ok(())
    }

    fn flag(&mut self, name: &'static str, params: &mut Params) -> Result<(), Error> {
        if let Some(wanted) = params.flag(name)? {
            self.keep(move |it| it[name] == wanted);
        }
        Ok(())
    }

    fn any_of(&mut self, name: &str, field: &'static str, params: &mut Params) -> Result<(), Error> {
        let wanted = params.texts(name)?;
        if !wanted.is_empty() {
            self.keep(move |it| wanted.iter().any(|wanted| text(it, field) == wanted));
        }
        Ok(())
    }

    async fn run(self, db: &impl ConnectionTrait, kind: &str, path: &[&str]) -> Result<Value, Error> {
        let mut found = Vec::new();
        let backwards = self.ending_before.is_some();
        let mut edge = match (&self.starting_after, &self.ending_before) {
            (Some(id), _) => cursor(db, kind, id, "starting_after").await?,
            (_, Some(id)) => cursor(db, kind, id, "ending_before").await?,
            _ => i64::MAX,
        };
        while found.len() <= self.limit {
            let seen = if backwards {
                store::oldest(db, kind, &self.customer, edge, LOOK).await?
            } else {
                store::newest(db, kind, &self.customer, (0, edge), LOOK).await?
            };
            let Some((last, _)) = seen.last() else { break };
            edge = *last;
            found.extend(seen.into_iter().map(|(_, it)| it).filter(|it| self.tests.iter().all(|test| test(it))));
        }
        let has_more = found.len() > self.limit;
        found.truncate(self.limit);
        if backwards {
            found.reverse();
        }
        Ok(json!({"object": "list", "data": found, "has_more": has_more, "url": format!("/v1/{}", path.join("/"))}))
    }
}

async fn cursor(db: &impl ConnectionTrait, kind: &str, id: &str, param: &str) -> Result<i64, Error> {
    let place = store::place(db, id).await?.filter(|(_, object)| object["object"] == kind);
    place.map(|(sequence, _)| sequence).ok_or_else(|| no_such(kind, id, param))
}
