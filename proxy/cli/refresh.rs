//! `larder refresh`

use super::Failure;
use crate::{
    admin::{Client, Error},
    config::Config,
    diagnosis,
    oci::{Reference, Target},
    store::{Store, TagRecord},
};
use std::time::{Duration, SystemTime};

pub(super) async fn refresh(config: &Config, image: &str, json: bool) -> Result<(), Failure> {
    let named: Target = image.parse().map_err(|error| Failure::usage(&error))?;
    let directory = &config.cache.directory;
    let refreshed = match Client::new(directory).refresh(image).await {
        Ok(refreshed) => refreshed,
        Err(Error::NotRunning { .. }) => expire(config, &named)?,
        Err(error) => return Err(Failure::from_error(&error)),
    };
    if json {
        println!("{}", serde_json::json!({ "refreshed": refreshed }));
    } else {
        println!("{refreshed} is asked for anew at its next pull.");
    }
    Ok(())
}

/// Without a running server: what the next one finds of this tag is older than its life.
fn expire(config: &Config, named: &Target) -> Result<String, Failure> {
    let directory = &config.cache.directory;
    let Some((registry, repository)) = config.resolve(&named.registry, &named.repository) else {
        let configured = config.upstreams.keys().cloned().collect();
        let failure = diagnosis::Failure::NotConfigured { name: named.registry.to_string(), configured };
        return Err(Failure::failed(diagnosis::diagnose(&failure).message()));
    };
    if !directory.is_dir() {
        return Err(Failure::failed(format!(
            "no larder runs on {}, and nothing is kept there: nothing to refresh",
            directory.display()
        )));
    }
    let store = Store::open(directory).map_err(|error| Failure::from_error(&error))?;
    if let Reference::Tag(tag) = &named.reference
        && let Some(held) = store.tag(&registry, &repository, tag).map_err(|error| Failure::from_error(&error))?
    {
        let life = config.upstreams.get(&registry).and_then(|upstream| upstream.tag_ttl);
        let life = life.unwrap_or(config.cache.tag_ttl) + Duration::from_secs(1);
        let expired = SystemTime::now().checked_sub(life).unwrap_or(SystemTime::UNIX_EPOCH);
        let record = TagRecord { checked_at: held.checked_at.min(expired), ..held };
        store.set_tag(&registry, &repository, tag, record).map_err(|error| Failure::from_error(&error))?;
    }
    store.close().map_err(|error| Failure::from_error(&error))?;
    Ok(Target { registry, repository, reference: named.reference.clone() }.to_string())
}
