//! What a plan declares, as data, for its new tenants: `plans.blueprint`.

use sea_orm::{DeriveActiveEnum, EnumIter};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
