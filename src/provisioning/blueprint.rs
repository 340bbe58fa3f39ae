//! What a plan declares, as data, for its new tenants: `plans.blueprint`.

use sea_orm::{DeriveActiveEnum, EnumIter};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::line;

/// A step of a run. Each has its file in [`super::steps`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize, ToSchema)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum StepName {
    /// A welcome post and a sample fixture.
    SeedDefaults,
    /// The tenant's hostname, `{slug}.{base_domain}`.
    ConfigureRouting,
    /// Does anything answer at the tenant's webhook?
    ValidateWebhook,
    /// The plan's outbound-webhook subscriptions.
    DeployAutomations,
    /// A Google Apps Script project with its deployment.
    DeployAppsScript,
    /// A signed call to the operator's own application.
    CallWebhook,
    /// The owner's way in, by mail.
    SendMagicLink,
}

impl StepName {
    /// The name in the database, the API and the logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SeedDefaults => "seed_defaults",
            Self::ConfigureRouting => "configure_routing",
            Self::ValidateWebhook => "validate_webhook",
            Self::DeployAutomations => "deploy_automations",
            Self::DeployAppsScript => "deploy_apps_script",
            Self::CallWebhook => "call_webhook",
            Self::SendMagicLink => "send_magic_link",
        }
    }
}

/// What a new tenant of a plan gets.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Blueprint {
    /// The steps of its run, in order.
    pub steps: Vec<StepName>,
    /// What `deploy_automations` creates.
    #[serde(default)]
    pub automations: Vec<PlannedAutomation>,
}

/// One outbound-webhook subscription that a plan brings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedAutomation {
    /// Unique within the tenant.
    pub name: String,
    /// The event that the tenant's webhook endpoints will get, such as `fixture.created`.
    pub event_type: String,
}

impl Blueprint {
    /// Reads `plans.blueprint`.
    ///
    /// # Errors
    /// Not of this shape, or a step that this version does not know.
    pub fn parse(blueprint: &serde_json::Value) -> Result<Self, serde_json::Error> {
        Self::deserialize(blueprint)
    }

    /// The steps, with the call to the operator's application, where there is one, before the last.
    pub fn steps_with(self, calls_application: bool) -> Vec<StepName> {
        let mut steps = self.steps;
        if calls_application && !steps.contains(&StepName::CallWebhook) {
            let last = steps.iter().position(|step| *step == StepName::SendMagicLink).unwrap_or(steps.len());
            steps.insert(last, StepName::CallWebhook);
        }
        steps
    }

    /// Reads what somebody would have a plan's blueprint be.
    ///
    /// # Errors
    /// What no run could do, or could do in vain, in words for a person.
    pub fn check(blueprint: &serde_json::Value) -> Result<Self, String> {
        let known = |name: &String| name == "steps" || name == "automations";
        if let Some(unknown) = blueprint.as_object().and_then(|members| members.keys().find(|name| !known(name))) {
            return Err(format!("A blueprint has steps and automations, and no {unknown}."));
        }
        let read = Self::parse(blueprint).map_err(|error| format!("This cannot be read as a blueprint: {error}."))?;
        if read.steps.is_empty() {
            return Err("A blueprint needs at least one step.".into());
        }
        let twice = |at: usize| read.steps[..at].contains(&read.steps[at]);
        if let Some(at) = (0..read.steps.len()).find(|at| twice(*at)) {
            return Err(format!("The step {} is there twice.", read.steps[at].as_str()));
        }
        if !read.automations.is_empty() && !read.steps.contains(&StepName::DeployAutomations) {
            return Err("There are automations, but no step deploy_automations.".into());
        }
        for (at, automation) in read.automations.iter().enumerate() {
            let name = line("name", &automation.name, 100);
            name.map_err(|fault| format!("The name of automation {}: {}", at + 1, fault.message))?;
            if read.automations[..at].iter().any(|other| other.name == automation.name) {
                return Err(format!("Two automations are called {}.", automation.name));
            }
            if !is_event_type(&automation.event_type) {
                return Err(format!("The event type of {} has to be like member.joined.", automation.name));
            }
        }
        Ok(read)
    }
}

/// Words of small letters and underscores, with dots between them.
fn is_event_type(name: &str) -> bool {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    name.len() <= 100 && name.contains('.') && name.split('.').all(is_word)
}

/// The steps that a plan adds to those a tenant has had (P9), in the plan's order.
pub(super) fn added(plan: &[StepName], had: &[StepName]) -> Vec<StepName> {
    plan.iter().copied().filter(|step| !had.contains(step)).collect()
}

#[cfg(test)]
mod tests {
    use sea_orm::{ActiveEnum, Iterable};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_blueprint_reads_its_steps_in_order_and_refuses_unknown_ones() {
        let blueprint =
            json!({"steps": ["seed_defaults", "send_magic_link"], "automations": [{"name": "A", "event_type": "b"}]});
        let blueprint = Blueprint::parse(&blueprint).unwrap();
        assert_eq!(blueprint.steps, [StepName::SeedDefaults, StepName::SendMagicLink]);
        assert_eq!(blueprint.automations[0].event_type, "b");
        assert!(Blueprint::parse(&json!({"steps": ["make_coffee"]})).is_err());
    }

    #[test]
    fn a_blueprint_that_no_run_could_follow_is_refused() {
        let automation = |name: &str, event_type: &str| json!({"name": name, "event_type": event_type});
        let steps = json!(["deploy_automations"]);
        assert!(Blueprint::check(&json!({"steps": ["seed_defaults"]})).is_ok());
        assert!(Blueprint::check(&json!({"steps": steps, "automations": [automation("A", "member.joined")]})).is_ok());
        for (blueprint, told) in [
            (json!([]), "cannot be read"),
            (json!({"steps": []}), "at least one step"),
            (json!({"steps": ["make_coffee"]}), "make_coffee"),
            (json!({"steps": ["seed_defaults"], "automation": []}), "no automation"),
            (json!({"steps": ["seed_defaults", "seed_defaults"]}), "seed_defaults is there twice"),
            (
                json!({"steps": ["seed_defaults"], "automations": [automation("A", "b.c")]}),
                "no step deploy_automations",
            ),
            (json!({"steps": steps, "automations": [automation("", "b.c")]}), "name of automation 1"),
            (json!({"steps": steps, "automations": [automation("A", "b.c"), automation("A", "c.d")]}), "are called A"),
            (json!({"steps": steps, "automations": [automation("A", "joined")]}), "event type of A"),
        ] {
            let refused = Blueprint::check(&blueprint).unwrap_err();
            assert!(refused.contains(told), "{refused}");
        }
    }

    #[test]
    fn a_step_has_one_name_everywhere() {
        for step in StepName::iter() {
            assert_eq!(step.to_value(), step.as_str());
            assert_eq!(json!(step), step.as_str());
        }
    }

    #[test]
    fn a_new_plan_adds_only_what_the_tenant_has_not_had() {
        use StepName::{CallWebhook, ConfigureRouting, DeployAutomations, SeedDefaults, SendMagicLink};
        let starter = [SeedDefaults, ConfigureRouting, SendMagicLink];
        let pro = [SeedDefaults, ConfigureRouting, DeployAutomations, CallWebhook, SendMagicLink];
        assert_eq!(added(&pro, &starter), [DeployAutomations, CallWebhook]);
        assert_eq!(added(&starter, &pro), []);
    }
}
