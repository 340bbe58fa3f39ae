//! How often one network may call what takes a secret, sends a mail or makes a tenant.
//!
//! Each kind of call has a bucket for each network, in this process; what is refused costs neither a hash nor a query. A bucket goes by the route
//! that matched, so no other spelling of its address leads past it. What replicas have to count together, they count in the database
//! (`identity::attempts`).

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    extract::{FromRequestParts, MatchedPath, Request, State},
    http::{Method, StatusCode},
    middleware::Next,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, TimeDelta, Utc};
use governor::{
    Quota, RateLimiter, clock::Clock as _, middleware::NoOpMiddleware, nanos::Nanos, state::keyed::DashMapStateStore,
};
use ipnet::IpNet;

use super::{Client, Problem};
use crate::{app::App, clock::Clock, config::RateLimit};

/// After so many calls the buckets that are full again are forgotten.
const TIDY_AFTER: u32 = 4096;

/// Calls that share a bucket, pages and API alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A password.
    LogIn,
    /// A new tenant.
    SignUp,
    /// A mail that goes out.
    Mail,
    /// A token or code, or whatever else is next to it.
    Token,
    /// The admin token.
    Admin,
}

/// Below these everything that is not read is limited, so that no new route is forgotten.
const GUARDED: [&str; 16] = [
    "/api/v1/auth/",
    "/api/v1/invites",
    "/public/",
    "/onboarding",
    "/signin",
    "/magic-link",
    "/verify-email",
    "/change-email",
    "/reset-password",
    "/invites",
    "/settings",
    "/billing",
    "/api/v1/billing/checkout-session",
    "/api/v1/billing/portal-session",
    "/api/v1/billing/cancel",
    "/api/v1/billing/resume",
];

impl Kind {
    /// Which bucket a route takes from, if any.
    pub fn of(method: &Method, route: &str) -> Option<Self> {
        if method.is_safe() {
            return match route {
                "/api/v1/auth/oauth/{provider}/start" => Some(Self::SignUp),
                "/api/v1/auth/oauth/{provider}/callback" | "/api/v1/invites/{token}" => Some(Self::Token),
                _ => None,
            };
        }
        match route {
            "/api/v1/auth/login" | "/signin" => Some(Self::LogIn),
            "/public/signup/start" | "/api/v1/auth/register" | "/onboarding" => Some(Self::SignUp),
            "/api/v1/auth/magic-link"
            | "/api/v1/auth/password/forgot"
            | "/forgot-password"
            | "/api/v1/auth/email/resend"
            | "/dashboard/resend"
            | "/api/v1/auth/email/change"
            | "/settings/email"
            | "/settings/email/resend"
            | "/public/contact-sales"
            | "/contact-sales"
            | "/billing/bank-transfer"
            | "/api/v1/billing/change-plan"
            | "/api/v1/tenants/me/invites"
            | "/api/v1/tenants/me/invites/bulk"
            | "/api/v1/tenants/me/invites/{id}/resend" => Some(Self::Mail),
            "/admin/signin" => Some(Self::Admin),
            route => GUARDED.iter().any(|start| route.starts_with(start)).then_some(Self::Token),
        }
    }

    /// As in the configuration and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LogIn => "log_in",
            Self::SignUp => "sign_up",
            Self::Mail => "mail",
            Self::Token => "tokens",
            Self::Admin => "admin",
        }
    }
}

/// The buckets. Clones share them; where rate limits are off, there are none.
#[derive(Clone)]
pub struct Limits(Option<Arc<Shared>>);

struct Shared {
    log_in: Buckets,
    sign_up: Buckets,
    mail: Buckets,
    token: Buckets,
    admin: Buckets,
    /// Networks that sent too many wrong admin tokens, and until when they are not listened to.
    shut_out: Mutex<HashMap<IpNet, DateTime<Utc>>>,
    ticks: Ticks,
    calls: AtomicU32,
}

type Buckets = RateLimiter<IpNet, DashMapStateStore<IpNet>, Ticks, NoOpMiddleware<Nanos>>;

/// The product's clock, as governor reads one.
#[derive(Clone)]
struct Ticks(Clock);

impl governor::clock::Clock for Ticks {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        let nanos = self.0.now().at.timestamp_nanos_opt();
        Nanos::new(nanos.and_then(|nanos| nanos.try_into().ok()).unwrap_or_default())
    }
}

impl Limits {
    /// Full buckets of the sizes that are configured.
    pub fn new(sizes: &RateLimit, clock: &Clock) -> Self {
        let ticks = Ticks(clock.clone());
        let buckets = |a_minute: u32| {
            let quota = Quota::per_minute(NonZeroU32::new(a_minute).unwrap_or(NonZeroU32::MIN));
            RateLimiter::new(quota, DashMapStateStore::default(), ticks.clone())
        };
        Self(sizes.enabled.then(|| {
            Arc::new(Shared {
                log_in: buckets(sizes.log_in),
                sign_up: buckets(sizes.sign_up),
                mail: buckets(sizes.mail),
                token: buckets(sizes.tokens),
                admin: buckets(sizes.admin),
                shut_out: Mutex::default(),
                calls: AtomicU32::default(),
                ticks: ticks.clone(),
            })
        }))
    }

    /// Takes one call out of a network's bucket.
    ///
    /// # Errors
    /// 429 `RATE_LIMITED` where it is empty.
    pub fn take(&self, kind: Kind, network: IpNet) -> Result<(), Problem> {
        let Some(shared) = &self.0 else { return Ok(()) };
        shared.tidy();
        shared.take(kind, network).map_err(|wait| too_many(kind, wait))
    }

    /// Refuses a network that has sent too many wrong admin tokens, before it is looked at the next one.
    ///
    /// # Errors
    /// 429 `RATE_LIMITED`.
    pub fn listen_to(&self, network: IpNet) -> Result<(), Problem> {
        let Some(shared) = &self.0 else { return Ok(()) };
        let until = shared.shut_out().get(&network).copied();
        let left = until.and_then(|until| (until - shared.ticks.0.now().at).to_std().ok());
        left.filter(|left| !left.is_zero()).map_or(Ok(()), |left| Err(too_many(Kind::Admin, left)))
    }

    /// Counts a wrong admin token.
    pub fn wrong_admin_token(&self, network: IpNet) {
        let Some(shared) = &self.0 else { return };
        if let Err(wait) = shared.take(Kind::Admin, network) {
            let now = shared.ticks.0.now().at;
            let until = now + TimeDelta::from_std(wait).unwrap_or_default();
            let mut shut_out = shared.shut_out();
            shut_out.retain(|_, until| *until > now);
            shut_out.insert(network, until);
        }
    }
}

impl Shared {
    fn take(&self, kind: Kind, network: IpNet) -> Result<(), Duration> {
        let taken = self.buckets(kind).check_key(&network);
        taken.map_err(|refused| refused.wait_time_from(self.ticks.now()))
    }

    fn buckets(&self, kind: Kind) -> &Buckets {
        match kind {
            Kind::LogIn => &self.log_in,
            Kind::SignUp => &self.sign_up,
            Kind::Mail => &self.mail,
            Kind::Token => &self.token,
            Kind::Admin => &self.admin,
        }
    }

    fn shut_out(&self) -> std::sync::MutexGuard<'_, HashMap<IpNet, DateTime<Utc>>> {
        self.shut_out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A full bucket is as good as none, so memory holds those alone that came within the last minute.
    fn tidy(&self) {
        if self.calls.fetch_add(1, Ordering::Relaxed) % TIDY_AFTER == TIDY_AFTER - 1 {
            for buckets in [&self.log_in, &self.sign_up, &self.mail, &self.token, &self.admin] {
                buckets.retain_recent();
                buckets.shrink_to_fit();
            }
        }
    }
}

fn too_many(kind: Kind, wait: Duration) -> Problem {
    metrics::counter!("tenantry_rate_limited_total", "kind" => kind.name()).increment(1);
    let detail = "Too many requests came from your network. Wait a moment, then try again.";
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", detail).retry_after(wait)
}

/// Lets a request through where its network's bucket has one left.
pub async fn within(State(app): State<App>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    let Some(kind) = route.and_then(|route| Kind::of(request.method(), route.as_str())) else {
        return next.run(request).await;
    };
    let (mut parts, body) = request.into_parts();
    let Ok(client) = Client::from_request_parts(&mut parts, &app).await;
    match app.limits.take(kind, client.network()) {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(refused) => refused.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(log_in: u32) -> RateLimit {
        RateLimit { enabled: true, log_in, sign_up: 1, mail: 1, tokens: 1, admin: 2 }
    }

    fn net(text: &str) -> IpNet {
        text.parse::<IpNet>().unwrap()
    }

    #[test]
    fn a_bucket_empties_fills_with_time_and_says_honestly_when() {
        let clock = Clock::seeded(1);
        let limits = Limits::new(&sizes(3), &clock);
        let take = |network: &str| limits.take(Kind::LogIn, net(network));
        for _ in 0..3 {
            assert!(take("203.0.113.9/32").is_ok());
        }
        let refused = take("203.0.113.9/32").unwrap_err();
        assert_eq!((refused.status.as_u16(), refused.code), (429, "RATE_LIMITED"));
        let wait = refused.retry_after.unwrap();
        assert!(wait > Duration::from_secs(18) && wait <= Duration::from_secs(20), "{wait:?}");
        assert!(take("203.0.113.8/32").is_ok(), "another network");
        assert!(limits.take(Kind::Mail, net("203.0.113.9/32")).is_ok(), "another kind");
        clock.advance(TimeDelta::from_std(wait).unwrap());
        assert!(take("203.0.113.9/32").is_ok());
        assert!(take("203.0.113.9/32").is_err());
        clock.advance(TimeDelta::hours(1));
        assert_eq!((0..9).filter(|_| take("203.0.113.9/32").is_ok()).count(), 3);
    }

    #[test]
    fn buckets_of_networks_that_are_gone_are_forgotten() {
        let clock = Clock::seeded(1);
        let limits = Limits::new(&sizes(3), &clock);
        let shared = limits.0.as_ref().unwrap();
        for n in 0..10 * TIDY_AFTER {
            let _ = limits.take(Kind::Token, IpNet::from(std::net::IpAddr::from(n.to_be_bytes())));
            if n % 1024 == 0 {
                clock.advance(TimeDelta::minutes(3));
            }
        }
        assert!(shared.token.len() < 2 * TIDY_AFTER as usize, "{}", shared.token.len());
    }

    #[test]
    fn wrong_admin_tokens_shut_their_network_out_for_a_while() {
        let clock = Clock::seeded(1);
        let limits = Limits::new(&sizes(3), &clock);
        let network = net("203.0.113.9/32");
        for _ in 0..3 {
            assert!(limits.listen_to(network).is_ok());
            limits.wrong_admin_token(network);
        }
        let wait = limits.listen_to(network).unwrap_err().retry_after.unwrap();
        assert!(limits.listen_to(net("203.0.113.8/32")).is_ok());
        clock.advance(TimeDelta::from_std(wait).unwrap());
        assert!(limits.listen_to(network).is_ok());
    }

    #[test]
    fn where_limits_are_off_nothing_is_counted() {
        let limits = Limits::new(&RateLimit { enabled: false, ..sizes(1) }, &Clock::seeded(1));
        assert!((0..99).all(|_| limits.take(Kind::LogIn, net("203.0.113.9/32")).is_ok()));
    }
}
