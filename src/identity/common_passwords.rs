//! Passwords that many people use, and that are tried first.
//!
//! The list is that of Django's `CommonPasswordValidator` (`common-passwords.txt.gz` of Django 5.2.19, BSD 3-Clause, see
//! `common-passwords-LICENSE.txt`; collected by Royce Williams), of which those with eight characters or more are kept, in ASCII and sorted.

use std::sync::LazyLock;

static LIST: LazyLock<Vec<&str>> = LazyLock::new(|| include_str!("common-passwords.txt").lines().collect());

/// Whether a password is on the list, in capitals or not, or is one of the list with digits and signs after it.
pub(super) fn has(password: &str) -> bool {
    let password = password.to_lowercase();
    let is_listed = |password: &str| LIST.binary_search(&password).is_ok();
    is_listed(&password) || is_listed(password.trim_end_matches(|letter: char| !letter.is_alphabetic()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_can_be_searched() {
        assert!(LIST.len() > 8_000 && LIST.is_sorted() && LIST.iter().all(|password| password.len() >= 8));
        assert!(LIST.iter().all(|password| has(password)));
    }

    #[test]
    fn capitals_and_what_is_put_behind_make_no_other_password() {
        for common in
            ["password", "PassWord", "password1234", "Password2026!", "iloveyou!!!!", "qwertyuiop[]", "1q2w3e4r5t6y"]
        {
            assert!(has(common), "{common}");
        }
        for rare in ["", "!!!!", "123", "correct horse battery staple", "passwordpasswore", "xpassword", "pässword"] {
            assert!(!has(rare), "{rare}");
        }
    }
}
