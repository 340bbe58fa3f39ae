//! Refusals in the words of the wizard.

use crate::http::Problem;
pub(super) use crate::http::Refused;

impl Refused {
    /// A problem as the wizard says it; the problem itself where it is for another page.
    pub(super) fn of(problem: Problem) -> Result<Self, Problem> {
        let at = |field, heading, message: &str| Ok(Self::at(field, &problem, heading, message));
        match problem.code {
            "EMAIL_TAKEN" => at(
                "email",
                "We know this email address",
                "Somebody signed up with it already. If it was you, sign in, or type the password you chose then.",
            ),
            "SLUG_TAKEN" => at(
                "slug",
                "That address is taken",
                "Somebody else has this address. Choose one of these, or type another.",
            ),
            "PLAN_NOT_SELF_SERVE" => at("plan", "This plan is made to measure", &problem.detail),
            "WEBHOOK_NOT_ALLOWED" => at("webhook_url", "We cannot use that webhook", &problem.detail),
            _ => Self::usual(problem),
        }
    }
}
