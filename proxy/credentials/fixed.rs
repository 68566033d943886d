//! A user name and a password that the operator gave. A password file is read again when it changed: that is how
//! secrets are rotated.

use super::{Credential, CredentialProvider, Current, Error, Providing};
use crate::config::{self, Secret, SecretSource};
use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// How often the file is looked at while the credential is used.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// How often refusals alone may have the file read.
const REFUSED_INTERVAL: Duration = Duration::from_secs(1);
/// Larger files hold no password.
const SECRET_SIZE_BYTES_MAX: u64 = 64 * 1024;

/// The provider of a fixed user name and password.
#[derive(Debug)]
pub struct Fixed {
    username: String,
    place: Arc<str>,
    file: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    secret: Secret,
    generation: u64,
    looked_at: Instant,
    refused_at: Option<Instant>,
}

impl State {
    /// Whether it is time to look at the file; if so, the next look is an interval away.
    fn is_due(&mut self) -> bool {
        let due = self.looked_at.elapsed() >= LOOK_INTERVAL;
        if due {
            self.looked_at = Instant::now();
        }
        due
    }

    fn is_due_after_refusal(&mut self, generation: u64) -> bool {
        let due = self.generation == generation && self.refused_at.is_none_or(|at| at.elapsed() >= REFUSED_INTERVAL);
        if due {
            self.refused_at = Some(Instant::now());
        }
        due
    }
}

impl Fixed {
    /// The provider of `credential`, which starts with the password that came with the configuration.
    pub fn new(credential: &config::Credential) -> Self {
        let file = match &credential.password_source {
            SecretSource::File(path) => Some(path.clone()),
            SecretSource::Environment(_) => None,
        };
        let state =
            State { secret: credential.password.clone(), generation: 1, looked_at: Instant::now(), refused_at: None };
        Self {
            username: credential.username.clone(),
            place: Arc::from(credential.place.as_str()),
            file,
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the file. One that cannot be read leaves the last password in force: it is missing for a moment whenever it
    /// is replaced.
    async fn look(&self) {
        let Some(path) = self.file.clone() else { return };
        let place = Arc::clone(&self.place);
        let read = tokio::task::spawn_blocking(move || read_secret(&path)).await;
        match read {
            Ok(Ok(secret)) => {
                let mut state = self.state();
                if state.secret.expose() != secret.expose() {
                    state.secret = secret;
                    state.generation += 1;
                    tracing::info!(credential.place = %place, "password changed");
                }
            }
            Ok(Err(error)) => {
                tracing::warn!(credential.place = %place, error = %error, "password file cannot be read: the last password stays in force");
            }
            Err(_) => {}
        }
    }
}

/// The content of `path` without one line break at its end.
fn read_secret(path: &Path) -> io::Result<Secret> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(SECRET_SIZE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > SECRET_SIZE_BYTES_MAX {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    let secret = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    if secret.is_empty() {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
    }
    Ok(Secret::new(secret.to_owned()))
}

impl CredentialProvider for Fixed {
    fn current(&self) -> Providing<'_, Result<Current, Error>> {
        Box::pin(async {
            if self.state().is_due() {
                self.look().await;
            }
            let state = self.state();
            Ok(Current {
                credential: Credential::Basic { username: self.username.clone(), secret: state.secret.clone() },
                generation: state.generation,
                place: Some(Arc::clone(&self.place)),
            })
        })
    }

    fn refused(&self, generation: u64) -> Providing<'_, bool> {
        Box::pin(async move {
            if self.state().is_due_after_refusal(generation) {
                self.look().await;
            }
            self.state().generation != generation
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(path: &Path) -> Fixed {
        Fixed::new(&config::Credential {
            place: "upstream.\"a\".credentials[0]".to_owned(),
            username: "robot".to_owned(),
            password_source: SecretSource::File(path.to_owned()),
            password: Secret::new("old".to_owned()),
        })
    }

    async fn shown(provider: &Fixed) -> (String, u64) {
        let current = provider.current().await.unwrap();
        match current.credential {
            Credential::Basic { secret, .. } => (secret.expose().to_owned(), current.generation),
            Credential::Anonymous => panic!("a password is expected"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_file_is_read_again_after_a_while() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "new\n").unwrap();
        let provider = fixed(file.path());
        assert_eq!(shown(&provider).await, ("old".to_owned(), 1));
        tokio::time::advance(Duration::from_secs(11)).await;
        assert_eq!(shown(&provider).await, ("new".to_owned(), 2));
        tokio::time::advance(Duration::from_secs(11)).await;
        assert_eq!(shown(&provider).await, ("new".to_owned(), 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_password_has_the_file_read_at_once() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "new").unwrap();
        let provider = fixed(file.path());
        assert!(provider.refused(1).await);
        assert_eq!(shown(&provider).await, ("new".to_owned(), 2));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(!provider.refused(2).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_gone_or_empty_leaves_the_last_password_in_force() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        let provider = fixed(&path);
        tokio::time::advance(Duration::from_secs(11)).await;
        assert_eq!(shown(&provider).await, ("old".to_owned(), 1));
        std::fs::write(&path, "\n").unwrap();
        tokio::time::advance(Duration::from_secs(11)).await;
        assert_eq!(shown(&provider).await, ("old".to_owned(), 1));
    }

    #[test]
    fn nothing_prints_the_password() {
        assert!(!format!("{:?}", fixed(Path::new("/nowhere"))).contains("old"));
    }
}
