//! The letters. Each has one sentence on why it came, one link, and one sentence on what to do where it was not expected.
//!
//! Links are made from the public URL alone, never from a request's `Host`. Names are strangers' text: see [`line`].

pub mod billing;
pub mod security;

use askama::Template;
use url::Url;

use super::{Mail, message::line};
use crate::identity::email::Email;

/// What all letters are made of.
struct Letter<'a> {
    subject: String,
    /// Why it came. `{name}` in bold where HTML can.
    why: &'a str,
    /// The tenant's name.
    name: Option<String>,
    /// What the link does.
    action: &'a str,
    link: String,
    /// What does the same where the link cannot be opened.
    code: Option<&'a str>,
    /// Lines to copy from, such as where money goes.
    lines: &'a [String],
    /// What to do where it was not expected.
    otherwise: &'a str,
}

#[derive(Template)]
#[template(path = "mail/letter.txt")]
struct Text<'a>(&'a Letter<'a>);

#[derive(Template)]
#[template(path = "mail/letter.html")]
struct Html<'a>(&'a Letter<'a>);

impl Letter<'_> {
    fn to(self, to: &Email) -> Mail {
        // Rendering into a string cannot fail: the templates call nothing that can.
        let text = Text(&self).render().expect("renders");
        let html = Html(&self).render().expect("renders");
        Mail { to: to.clone(), to_name: None, subject: self.subject, text, html }
    }

    /// The sentence before the tenant's name.
    fn before(&self) -> &str {
        self.why.split_once("{name}").map_or(self.why, |(before, _)| before)
    }

    /// The sentence after it.
    fn after(&self) -> &str {
        self.why.split_once("{name}").map_or("", |(_, after)| after)
    }

    fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }
}

/// A page below the public URL, with its secret.
fn link(public_url: &Url, path: &str, token: &str) -> String {
    let mut url = public_url.clone();
    url.set_path(path);
    url.query_pairs_mut().clear().append_pair("token", token);
    url.into()
}

/// A page below the public URL.
fn page(public_url: &Url, path: &str) -> String {
    let mut url = public_url.clone();
    url.set_path(path);
    url.into()
}

/// After sign-up: proves the address.
pub fn verify_email(public_url: &Url, to: &Email, tenant_name: &str, token: &str) -> Mail {
    let name = line(tenant_name);
    let letter = Letter {
        subject: format!("Confirm your email address for {name}"),
        why: "You signed up with this address for {name}. Please confirm that it is yours.",
        name: Some(name),
        action: "Confirm email address",
        link: link(public_url, "/verify-email", token),
        code: None,
        lines: &[],
        otherwise: "If you did not sign up, ignore this mail; nothing more will come.",
    };
    letter.to(to)
}

/// On request: logs in, by link or by a code that is typed on another device. Somebody who has no password is reminded of the `providers`
/// that they sign in with.
pub fn magic_link(public_url: &Url, to: &Email, (token, code): (&str, &str), providers: Option<&str>) -> Mail {
    let once = "It works once, and only for a short time.";
    let why = match providers {
        Some(providers) => {
            format!("Your account has no password: you sign in with {providers}. This link logs you in as well. {once}")
        }
        None => format!("You asked for a link to log in. {once}"),
    };
    let letter = Letter {
        subject: "Your link to log in".into(),
        why: &why,
        name: None,
        action: "Log in",
        link: link(public_url, "/magic-link", token),
        code: Some(code),
        lines: &[],
        otherwise: "If you did not ask for it, ignore this mail; nobody gets in without it. Never tell anybody the code.",
    };
    letter.to(to)
}

/// When provisioning completes: leads the owner in.
pub fn owner_link(public_url: &Url, to: &Email, tenant_name: &str, token: &str) -> Mail {
    let name = line(tenant_name);
    let letter = Letter {
        subject: format!("{name} is ready"),
        why: "Everything is set up for {name}. This link logs you in; it works once.",
        name: Some(name),
        action: "Open it",
        link: link(public_url, "/magic-link", token),
        code: None,
        lines: &[],
        otherwise: "If you did not sign up, ignore this mail.",
    };
    letter.to(to)
}

/// When an operator made the tenant for somebody: hands it over. The link logs them in.
pub fn takeover(public_url: &Url, to: &Email, tenant_name: &str, token: &str) -> Mail {
    let name = line(tenant_name);
    let letter = Letter {
        subject: format!("{name} was set up for you"),
        why: "We have set up {name} for you, and you are its owner. This link logs you in, so that you can take it over and \
              choose a password; it works once.",
        name: Some(name),
        action: "Take it over",
        link: link(public_url, "/magic-link", token),
        code: None,
        lines: &[],
        otherwise: "If you did not expect this, ignore this mail.",
    };
    letter.to(to)
}

/// On request: sets a new password.
pub fn reset_password(public_url: &Url, to: &Email, token: &str) -> Mail {
    let letter = Letter {
        subject: "Set a new password".into(),
        why: "You asked to set a new password. The link works once, and only for an hour.",
        name: None,
        action: "Set a new password",
        link: link(public_url, "/reset-password", token),
        code: None,
        lines: &[],
        otherwise: "If you did not ask for it, ignore this mail; your password stays as it is.",
    };
    letter.to(to)
}

/// After a provider was linked: tells its owner.
pub fn way_in_added(public_url: &Url, to: &Email, provider: &str) -> Mail {
    let subject = format!("{provider} was added to your account");
    let why = format!("Your account can now be signed in to with {provider}.");
    about_ways_in(public_url, to, subject, &why)
}

/// After a provider was taken away: tells its owner.
pub fn way_in_removed(public_url: &Url, to: &Email, provider: &str) -> Mail {
    let subject = format!("{provider} was removed from your account");
    let why = format!("Your account can no longer be signed in to with {provider}.");
    about_ways_in(public_url, to, subject, &why)
}

fn about_ways_in(public_url: &Url, to: &Email, subject: String, why: &str) -> Mail {
    let letter = Letter {
        subject,
        why,
        name: None,
        action: "Look at your sign-in methods",
        link: page(public_url, "/settings/sign-in"),
        otherwise: "If it was you, there is nothing to do. If it was not, remove what you do not know, and set a new password.",
        code: None,
        lines: &[],
    };
    letter.to(to)
}

/// After the second factor was switched on.
pub fn second_factor_on(public_url: &Url, to: &Email) -> Mail {
    about_second_factor(
        public_url,
        to,
        "The second factor is on",
        "Signing in with this address asks for a code of your authenticator app from now on.",
    )
}

/// After the second factor was switched off.
pub fn second_factor_off(public_url: &Url, to: &Email) -> Mail {
    about_second_factor(
        public_url,
        to,
        "The second factor is off",
        "The second factor for this address was switched off a moment ago. Signing in asks for no code any more.",
    )
}

/// After a recovery code was used, with how many are left.
pub fn recovery_code_used(public_url: &Url, to: &Email, left: i64) -> Mail {
    let left = match left {
        0 => "It was the last one: make new ones in your settings.".to_owned(),
        1 => "One more is left: make new ones in your settings.".to_owned(),
        left => format!("{left} more are left."),
    };
    let why = format!(
        "One of your recovery codes was used a moment ago, in place of a code of your authenticator app. {left}"
    );
    about_second_factor(public_url, to, "A recovery code was used", &why)
}

fn about_second_factor(public_url: &Url, to: &Email, subject: &str, why: &str) -> Mail {
    let mut url = public_url.clone();
    url.set_path("/forgot-password");
    let letter = Letter {
        subject: subject.to_owned(),
        why,
        name: None,
        action: "It was not me: set a new password",
        link: url.into(),
        code: None,
        lines: &[],
        otherwise: "If it was you, all is well.",
    };
    letter.to(to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::links;

    fn letters(name: &str) -> Vec<Mail> {
        let url: Url = "https://app.example.com".parse().expect("a URL");
        let to = Email::parse("ada@example.com").expect("an address");
        vec![
            verify_email(&url, &to, name, "s_e-c"),
            magic_link(&url, &to, ("s_e-c", "BCDF-GHJK"), Some("Google")),
            owner_link(&url, &to, name, "s_e-c"),
            takeover(&url, &to, name, "s_e-c"),
        ]
    }

    #[test]
    fn each_letter_has_its_one_link_in_both_parts() {
        let paths = ["verify-email", "magic-link", "magic-link", "magic-link"];
        for (mail, path) in letters("Acme").into_iter().zip(paths) {
            let link = format!("https://app.example.com/{path}?token=s_e-c");
            assert_eq!(links(&mail.text), [link.as_str()]);
            assert_eq!(mail.html.matches(&format!("href=\"{link}\"")).count(), 1, "{}", mail.html);
            assert!(!mail.text.contains("{name}") && !mail.html.contains("{name}"));
        }
    }

    #[test]
    fn a_tenants_name_is_text_and_nothing_else() {
        for mail in letters("<script>\"O'Neil\" & Co</script>\r\nBcc: x@example.com https://evil.example") {
            assert!(!mail.html.contains("<script>"), "{}", mail.html);
            assert!(!mail.subject.contains(['\r', '\n']), "{}", mail.subject);
            assert_eq!(links(&mail.text).len(), 1, "{}", mail.text);
        }
        let welcome = &letters("<script>\"O'Neil\" & Co</script>")[2];
        assert!(welcome.text.contains("<script>\"O'Neil\" & Co</script>"), "{}", welcome.text);
        assert!(welcome.html.contains("&#60;script&#62;&#34;O&#39;Neil&#34; &#38; Co"), "{}", welcome.html);
    }

    #[test]
    fn other_scripts_and_emoji_stay() {
        for name in ["🚀 Rakete", "شركة النور", "Žluťoučký"] {
            let mail = &letters(name)[0];
            assert!(mail.subject.contains(name) && mail.text.contains(name) && mail.html.contains(name));
        }
    }
}
