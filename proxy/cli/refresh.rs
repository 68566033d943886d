//! `larder refresh`

use super::Failure;
use crate::{
    admin::{Client, Error},
    config::Config,
};

pub(super) async fn refresh(config: &Config, image: &str, json: bool) -> Result<(), Failure> {
    let directory = &config.cache.directory;
    match Client::new(directory).refresh(image).await {
        Ok(refreshed) if json => println!("{}", serde_json::json!({ "refreshed": refreshed })),
        Ok(refreshed) => println!("{refreshed} is asked for anew at its next pull."),
        Err(Error::NotRunning { directory }) => {
            return Err(Failure::failed(format!(
                "no larder runs on {}: nothing to refresh; what is cached there is asked anew at the next start",
                directory.display()
            )));
        }
        Err(error) => return Err(Failure::from_error(&error)),
    }
    Ok(())
}
