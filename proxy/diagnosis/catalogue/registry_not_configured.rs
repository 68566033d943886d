//! A registry outside the closed set.

use super::{Class, Diagnosis, Failure, Finding, words};
use crate::oci::Registry;

pub(super) struct RegistryNotConfigured;

/// So that a long configuration does not push the remedy out of what is shown.
const NAMES_MAX: usize = 8;

impl Diagnosis for RegistryNotConfigured {
    fn code(&self) -> &'static str {
        "registry_not_configured"
    }

    fn summary(&self) -> &'static str {
        "The image's registry has no table in the configuration; larder dials no others."
    }

    fn find(&self, failure: &Failure) -> Option<Finding> {
        let Failure::NotConfigured { name, configured } = failure else { return None };
        let sentence = format!("larder is not configured for the registry {}.", words::quoted(name));
        let finding = Finding::new(self.code(), Class::Refused, failure, sentence);
        let mut finding = match name.parse::<Registry>() {
            Ok(registry) => finding.remedy(format!("Add the line [upstream.\"{registry}\"] to its configuration.")),
            Err(_) => finding.remedy("Correct the registry's name."),
        };
        let mut names: Vec<&str> = configured.iter().take(NAMES_MAX).map(Registry::as_str).collect();
        if configured.len() > NAMES_MAX {
            names.push("...");
        }
        finding.evidence.push(("configured", names.join(", ")));
        Some(finding)
    }
}
