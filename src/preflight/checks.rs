//! The checks, in the order in which they are made: later ones look at what earlier ones left.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    Target,
    client::{Answer, Call, Client, Failed},
};
use crate::clock::Now;

/// How often to ask where provisioning stands.
const EVERY: Duration = Duration::from_millis(50);
/// What the tenants choose.
const COLOR: &str = "#1d4ed8";

type Seen = Result<String, Failed>;

/// The checks of one examination, and what they have made.
pub(super) struct Session {
    client: Client,
    /// Ends every name, so that they are new.
    chance: String,
    password: String,
    webhook_url: Option<String>,
    starter: Option<Made>,
    limit: Duration,
}

/// A tenant that was signed up, and how.
#[derive(Clone)]
struct Made {
    asked: Value,
    key: String,
    answered: Value,
    token: String,
    id: String,
    slug: String,
    /// Once provisioning was queued: the body that queued it, and the run.
    queued: Option<(Value, String)>,
}

impl Session {
    /// Nothing is called yet.
    pub fn new(client: Client, target: &Target, now: &Now) -> Self {
        let chance = format!("{:012x}", u64::from_be_bytes(now.bytes()) >> 16);
        let password = now.secret().expose_secret().to_owned();
        let webhook_url = target.webhook_url.as_ref().map(ToString::to_string);
        Self { client, chance, password, webhook_url, starter: None, limit: target.timeout }
    }

    /// The server is up, and its database has the schema.
    pub async fn ready(&self) -> Seen {
        self.client.send(Call { path: "/readyz", ..Call::default() }).await?.expect(200, None)?;
        Ok("the server answers".into())
    }

    /// A Starter tenant signs up, and is provisioned and open.
    pub async fn starter(&mut self) -> Seen {
        let until = self.until();
        let mut made = self.sign_up("starter").await?;
        self.starter = Some(made.clone());
        let url = self.webhook_url.clone();
        let url = url.unwrap_or_else(|| format!("https://hook.eu1.make.com/preflight-{}", self.chance));
        let body = json!({ "webhook_url": url });
        let queued = self.queue(&made, "/public/signup/starter/make", &body).await?;
        made.queued = Some((body, queued));
        self.starter = Some(made.clone());
        self.open(&made, until).await
    }

    /// Repeats are recognised: the same start is replayed, another one under its key refused, and `make` answers the same run.
    pub async fn idempotency(&self) -> Seen {
        let made = self.made()?;
        let again = self.start(&made.asked, &made.key).await?.expect(201, None)?;
        if again.body != made.answered {
            return Err(Failed::new("a repeated start was answered with another body"));
        }
        if again.headers.get("idempotent-replayed").is_none_or(|value| value != "true") {
            return Err(Failed::new("a repeated start was answered without Idempotent-Replayed: true"));
        }
        let mut other = made.asked.clone();
        other["tenant_name"] = "Preflight, another".into();
        self.start(&other, &made.key).await?.expect(422, Some("IDEMPOTENCY_KEY_REUSED"))?;
        let (body, run_id) = made.queued.as_ref().ok_or_else(|| Failed::new("the Starter tenant was not queued"))?;
        let repeated = self.queue(made, "/public/signup/starter/make", body).await?;
        if repeated != *run_id {
            return Err(Failed::new(format!("a repeated make answered run {repeated} instead of {run_id}")));
        }
        Ok("repeats are recognised".into())
    }

    /// A Pro tenant signs up, and is provisioned and open.
    pub async fn pro(&self) -> Seen {
        let until = self.until();
        let made = self.sign_up("pro").await?;
        let body = self.webhook_url.as_ref().map_or_else(|| json!({}), |url| json!({ "webhook_url": url }));
        self.queue(&made, "/public/signup/pro/confirm", &body).await?;
        self.open(&made, until).await
    }

    /// A taken slug is refused, with others that are free.
    pub async fn slug_collision(&self) -> Seen {
        let mut asked = self.asked("collision");
        asked["slug"] = self.made()?.slug.clone().into();
        let refused = self.start(&asked, &format!("preflight-{}-collision", self.chance)).await?;
        let refused = refused.expect(409, Some("SLUG_TAKEN"))?;
        let free: Vec<_> = refused.list("/suggestions")?.iter().filter_map(Value::as_str).collect();
        Ok(format!("refused, with {} instead", free.join(", ")))
    }

    /// A forged token opens nothing.
    pub async fn invalid_token(&self) -> Seen {
        let body = json!({ "primary_color": COLOR });
        let call = Call { path: "/public/signup/brand", body: Some(&body), token: Some("not-a-token"), key: None };
        let refused = self.client.send(call).await?.expect(401, Some("TOKEN_INVALID"))?;
        if !refused.headers.contains_key("www-authenticate") {
            return Err(Failed::new("401 was answered without WWW-Authenticate"));
        }
        Ok("refused".into())
    }

    /// The admin API knows the tenant, and is closed to others.
    pub async fn admin(&self, token: &SecretString) -> Seen {
        let slug = &self.made()?.slug;
        let path = format!("/api/v1/admin/tenants?search={slug}");
        let call = Call { path: &path, ..Call::default() };
        self.client.send(call).await?.expect(401, None)?;
        let found = self.client.send(Call { token: Some(token.expose_secret()), ..call }).await?.expect(200, None)?;
        let is_there = found.list("/data")?.iter().any(|tenant| tenant["slug"] == slug.as_str());
        if is_there { Ok(format!("{slug} is listed")) } else { Err(Failed::new(format!("{slug} is not listed"))) }
    }

    /// How long a check that begins now may wait, so that it still can tell what for.
    fn until(&self) -> Instant {
        Instant::now() + self.limit.saturating_sub(EVERY * 2)
    }

    fn made(&self) -> Result<&Made, Failed> {
        self.starter.as_ref().ok_or_else(|| Failed::new("not tried, for there is no Starter tenant"))
    }

    /// The body of a start.
    fn asked(&self, kind: &str) -> Value {
        let name = format!("preflight-{}-{kind}", self.chance);
        json!({
            "email": format!("{name}@example.com"), "password": self.password, "tenant_name": format!("Preflight {kind}"),
            "slug": name, "name": "Preflight",
        })
    }

    async fn start(&self, asked: &Value, key: &str) -> Result<Answer, Failed> {
        let call = Call { path: "/public/signup/start", body: Some(asked), token: None, key: Some(key) };
        self.client.send(call).await
    }

    /// Start and brand.
    async fn sign_up(&self, plan: &str) -> Result<Made, Failed> {
        let mut asked = self.asked(plan);
        asked["plan"] = plan.into();
        let key = format!("preflight-{}-{plan}", self.chance);
        let started = self.start(&asked, &key).await?.expect(201, None)?;
        let text = |pointer| started.text(pointer).map(str::to_owned);
        let (token, id, slug) = (text("/token")?, text("/tenant/id")?, text("/tenant/slug")?);
        let body = json!({ "primary_color": COLOR });
        let brand = Call { path: "/public/signup/brand", body: Some(&body), token: Some(&token), key: None };
        self.client.send(brand).await?.expect(200, None)?;
        Ok(Made { asked, key, answered: started.body, token, id, slug, queued: None })
    }

    /// The wizard's last step; answers the run.
    async fn queue(&self, made: &Made, path: &str, body: &Value) -> Result<String, Failed> {
        let call = Call { path, body: Some(body), token: Some(&made.token), key: None };
        let queued = self.client.send(call).await?.expect(202, None)?;
        queued.text("/provision/run_id").map(str::to_owned)
    }

    /// Waits for the run, and looks at the storefront.
    async fn open(&self, made: &Made, until: Instant) -> Seen {
        let path = format!("/api/v1/tenants/{}/provision-status", made.id);
        let call = Call { path: &path, token: Some(&made.token), ..Call::default() };
        let run = loop {
            let run = self.client.send(call).await?.expect(200, None)?;
            match run.text("/status")? {
                "complete" => break run,
                "failed" => return Err(self.failed(&run)),
                _ if Instant::now() >= until => return Err(late(&run)),
                _ => tokio::time::sleep(EVERY).await,
            }
        };
        let steps = run.list("/steps")?;
        if let Some(left) = steps.iter().find(|step| step["status"] != "complete" && step["status"] != "skipped") {
            return Err(Failed::new(format!("the run is complete, but step {} is {}", left["name"], left["status"])));
        }
        let path = format!("/public/storefronts/{}", made.slug);
        let shop = self.client.send(Call { path: &path, ..Call::default() }).await?.expect(200, None)?;
        if shop.text("/tenant/branding/primary_color")? != COLOR {
            return Err(shop.unexpected("the storefront in its colour"));
        }
        shop.list("/segments/0/packages")?;
        let kind = if run.body["dry_run"] == true { "dry run, " } else { "" };
        Ok(format!("{}: {kind}{} steps in {} ms", made.slug, steps.len(), run.body["duration_ms"]))
    }

    fn failed(&self, run: &Answer) -> Failed {
        let broken = run.body["steps"].as_array().into_iter().flatten().find(|step| step["status"] == "failed");
        let step = broken.and_then(|step| step["name"].as_str()).unwrap_or_default();
        let reason = run.body["reason"].as_str().unwrap_or("no reason was given");
        let hint = match (step, &self.webhook_url) {
            ("validate_webhook", None) => "; give one that answers: --webhook-url",
            _ => "",
        };
        Failed::new(format!("provisioning failed: {reason}{hint}"))
    }
}

fn late(run: &Answer) -> Failed {
    let steps = run.body["steps"].as_array().into_iter().flatten();
    let at = steps.filter(|step| step["status"] == "processing").find_map(|step| step["name"].as_str());
    match at {
        Some(step) => Failed::new(format!("provisioning is still at {step}; --timeout gives it longer")),
        None => Failed::new("provisioning has not begun; is a worker running?"),
    }
}
