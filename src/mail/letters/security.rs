//! Letters that tell people what happened to their account, so that somebody who was not asked can do something about it.

use url::Url;

use super::{Letter, link, page};
use crate::{identity::email::Email, mail::Mail};

/// After a log-in with a device that the account does not know, named in words of ours.
pub fn new_device(public_url: &Url, to: &Email, device: &str) -> Mail {
    let letter = Letter {
        subject: "A new device logged in to your account".into(),
        why: "Somebody logged in to your account with {name}, which it was not used with before, or not for a long time.",
        name: Some(device.to_owned()),
        action: "See who is signed in",
        link: page(public_url, "/settings/sessions"),
        code: None,
        lines: &[],
        otherwise: "If it was you, all is well. If not, end that session there, and change your password.",
    };
    letter.to(to)
}

/// After a password was changed: tells its owner, who may not have been the one.
pub fn password_changed(public_url: &Url, to: &Email) -> Mail {
    let letter = Letter {
        subject: "Your password was changed".into(),
        why: "The password for this address was changed a moment ago, and whoever was signed in elsewhere was signed out.",
        name: None,
        action: "It was not me",
        link: page(public_url, "/forgot-password"),
        code: None,
        lines: &[],
        otherwise: "If it was you, all is well, and there is nothing to do.",
    };
    letter.to(to)
}

/// To the address that an account is to have: proves it.
pub fn change_email(public_url: &Url, to: &Email, from: &Email, token: &str) -> Mail {
    let letter = Letter {
        subject: "Confirm your new email address".into(),
        why: "You asked that the account of {name} use this address from now on. Please confirm that it is yours. The link works \
              once, and for a day.",
        name: Some(from.to_string()),
        action: "Use this address",
        link: link(public_url, "/change-email", token),
        code: None,
        lines: &[],
        otherwise: "If that is not your account, ignore this mail; nothing changes without the link.",
    };
    letter.to(to)
}

/// To the address that an account has, when another is asked for.
pub fn email_change_asked(public_url: &Url, to: &Email, new: &Email) -> Mail {
    let letter = Letter {
        subject: "Somebody asked to change your email address".into(),
        why: "Somebody who is signed in to your account asked that it use {name} from now on. It does once that address is \
              confirmed.",
        name: Some(new.to_string()),
        action: "It was not me",
        link: page(public_url, "/forgot-password"),
        code: None,
        lines: &[],
        otherwise: "If it was you, there is nothing to do here. If not, set a new password now: that stops it and signs everybody out.",
    };
    letter.to(to)
}

/// To an address that somebody asked for, and that has an account already.
pub fn email_in_use(public_url: &Url, to: &Email) -> Mail {
    let letter = Letter {
        subject: "You have an account with this address already".into(),
        why: "Somebody asked to use this address for another account. It has an account of its own already, so nothing was changed.",
        name: None,
        action: "Sign in",
        link: page(public_url, "/signin"),
        code: None,
        lines: &[],
        otherwise: "If you did not ask for it, ignore this mail.",
    };
    letter.to(to)
}

/// To the address that an account had until a moment ago. Only people can bring it back.
pub fn email_given_up(public_url: &Url, to: &Email, new: &Email) -> Mail {
    let letter = Letter {
        subject: "Your email address was changed".into(),
        why: "Your account uses {name} from now on, and this address does not open it any more. Whoever was signed in elsewhere was \
              signed out.",
        name: Some(new.to_string()),
        action: "It was not me",
        link: page(public_url, "/contact-sales"),
        code: None,
        lines: &[],
        otherwise: "If it was you, all is well. If not, write to us at once, from this address.",
    };
    letter.to(to)
}

/// To the address that an account has from now on.
pub fn email_changed(public_url: &Url, to: &Email) -> Mail {
    let letter = Letter {
        subject: "Your account uses this address now".into(),
        why: "You confirmed this address a moment ago. Sign in with it from now on; letters come here too.",
        name: None,
        action: "Sign in",
        link: page(public_url, "/signin"),
        code: None,
        lines: &[],
        otherwise: "If that is not your account, set a new password for it, and it is yours alone.",
    };
    letter.to(to)
}

/// After somebody proved an address that another may have signed up with.
pub fn address_claimed(public_url: &Url, to: &Email) -> Mail {
    let letter = Letter {
        subject: "Your account is yours alone now".into(),
        why: "You proved that this address is yours. The password that was chosen at sign-up works no more, and whoever was signed \
              in was signed out. Webhooks were switched off.",
        name: None,
        action: "Set a password",
        link: page(public_url, "/forgot-password"),
        code: None,
        lines: &[],
        otherwise: "If you have set one already, there is nothing to do.",
    };
    letter.to(to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::links;

    #[test]
    fn each_letter_has_its_one_link_in_both_parts() {
        let url: Url = "https://app.example.com".parse().expect("a URL");
        let (to, other) =
            (Email::parse("ada@example.com").expect("one"), Email::parse("new@example.com").expect("one"));
        for (mail, path) in [
            (new_device(&url, &to, "Firefox on Linux, from 203.0.113.x"), "settings/sessions"),
            (password_changed(&url, &to), "forgot-password"),
            (change_email(&url, &to, &other, "s_e-c"), "change-email?token=s_e-c"),
            (email_change_asked(&url, &to, &other), "forgot-password"),
            (email_in_use(&url, &to), "signin"),
            (email_given_up(&url, &to, &other), "contact-sales"),
            (email_changed(&url, &to), "signin"),
            (address_claimed(&url, &to), "forgot-password"),
        ] {
            let link = format!("https://app.example.com/{path}");
            assert_eq!(links(&mail.text), [link.as_str()]);
            assert_eq!(mail.html.matches(&format!("href=\"{link}\"")).count(), 1, "{}", mail.html);
            assert!(!mail.text.contains("{name}") && !mail.html.contains("{name}"));
        }
    }
}
