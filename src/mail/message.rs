//! A letter as an Internet message (RFC 5322), and what strangers' text may do in it.

use lettre::{
    Address, Message,
    message::{Mailbox, MultiPart},
};
use uuid::Uuid;

use super::Mail;
use crate::clock::Now;

/// One line of a stranger's text, as it may stand in a subject, a header or a sentence of ours: no line breaks or other
/// control characters, nothing that turns the direction of the text around it (Unicode TR 36, 2.5), no link.
pub(super) fn line(text: &str) -> String {
    let plain: String =
        text.chars().filter(|c| !is_invisible(*c)).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words: Vec<&str> = plain.split_whitespace().collect();
    words.join(" ").replace("://", ": //")
}

/// Bidirectional controls, zero-width characters and line separators. Emoji need U+200D, so that one stays.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// The URLs in a text, in order.
pub fn links(text: &str) -> Vec<String> {
    let is_link = |word: &&str| word.starts_with("https://") || word.starts_with("http://");
    let bare = |word: &str| word.trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']', '>', '"', '\'']).to_owned();
    text.split_whitespace()
        .map(|word| word.trim_start_matches(['<', '(', '[', '"', '\'']))
        .filter(is_link)
        .map(bare)
        .collect()
}

/// The message that leaves. Its id is the outbox row's, so that a repeat is recognised.
///
/// # Errors
/// An address that SMTP cannot carry.
pub(super) fn compose(id: Uuid, from: &Mailbox, now: &Now, mail: &Mail) -> Result<Message, String> {
    let address: Address = mail.to.as_str().parse().map_err(|error| format!("the address is refused: {error}"))?;
    let name = mail.to_name.as_deref().map(line).filter(|name| !name.is_empty());
    let parts = MultiPart::alternative_plain_html(mail.text.clone(), mail.html.clone());
    let message = Message::builder()
        .message_id(Some(format!("<{id}@{}>", from.email.domain())))
        .date(now.at.into())
        .from(from.clone())
        .to(Mailbox::new(name, address))
        .subject(line(&mail.subject))
        .multipart(parts);
    message.map_err(|error| format!("the message cannot be built: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Clock, identity::email::Email};

    fn composed(subject: &str, to_name: Option<&str>) -> String {
        let mail = Mail {
            to: Email::parse("ada@example.com").expect("an address"),
            to_name: to_name.map(str::to_owned),
            subject: subject.to_owned(),
            text: "Ahoj – 👋\n".into(),
            html: "<p>Ahoj</p>".into(),
        };
        let from = "Tenantry <no-reply@example.com>".parse().expect("a mailbox");
        let message = compose(Uuid::nil(), &from, &Clock::seeded(1).now(), &mail).expect("a message");
        String::from_utf8(message.formatted()).expect("ASCII")
    }

    #[test]
    fn no_stranger_adds_a_header() {
        let evil = "Acme\r\nBcc: victim@example.com\r\n\r\n<b>body</b>";
        let message = composed(evil, Some(evil));
        let head = message.split_once("\r\n\r\n").expect("a head").0;
        assert!(!head.lines().any(|line| line.to_ascii_lowercase().starts_with("bcc")), "{head}");
        assert!(message.is_ascii());
        assert!(head.contains("Message-ID: <00000000-0000-0000-0000-000000000000@example.com>"), "{head}");
        assert!(message.contains("multipart/alternative"));
    }

    #[test]
    fn other_scripts_are_encoded() {
        for name in ["Žluťoučký kůň", "🚀 Rocket", "شركة", "Quo\"te, Inc."] {
            let message = composed(&format!("Welcome to {name}"), Some(name));
            assert!(message.is_ascii(), "{message}");
            assert!(message.contains("To: "), "{message}");
        }
    }

    #[test]
    fn a_line_is_one_line_and_turns_nothing_around() {
        assert_eq!(line(" a\r\nb\t\u{7}c  d "), "a b c d");
        assert_eq!(line("pay\u{202e}lap\u{2066}\u{200b}\u{feff}x\u{2028}y"), "paylapxy");
        assert_eq!(line("👩\u{200d}🚀 O'Neil & \"Co\""), "👩\u{200d}🚀 O'Neil & \"Co\"");
        assert_eq!(line("שלום"), "שלום");
        assert_eq!(line("win at https://evil.example"), "win at https: //evil.example");
    }

    #[test]
    fn links_are_found_without_what_stands_around_them() {
        let text = "Open\n\n  http://127.0.0.1:8080/verify-email?token=a_b-\n\nor (https://x.example/y), <https://z.example>. ftp://no";
        let found = ["http://127.0.0.1:8080/verify-email?token=a_b-", "https://x.example/y", "https://z.example"];
        assert_eq!(links(text), found);
        assert!(links("nothing here").is_empty());
    }
}
