//! Reading the configuration again while the agent runs.

use super::now;
use crate::config::{Config, ConfigError, reload};
use crate::finding::StaleConfig;
use std::sync::Arc;
use tokio::sync::Notify;

/// Reads the configuration with the flags and the environment that the agent was started with.
pub type Read = Box<dyn Fn() -> Result<Config, ConfigError> + Send + Sync>;

/// How and when the configuration is read again.
pub struct Reloads {
    asked: Arc<Notify>,
    read: Read,
    done: u64,
    failed: Option<String>,
}

impl std::fmt::Debug for Reloads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reloads").field("done", &self.done).field("failed", &self.failed).finish()
    }
}

impl Reloads {
    /// By this function, whenever `asked` is notified.
    pub const fn new(asked: Arc<Notify>, read: Read) -> Self {
        Self { asked, read, done: 0, failed: None }
    }

    /// Never.
    pub fn never() -> Self {
        Self::new(Arc::default(), Box::new(|| Ok(Config::default())))
    }

    /// Returns when it is asked for. What was asked for meanwhile counts once.
    pub(super) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// What summaries tell: that the last attempt failed, if it did.
    pub(super) fn stale(&self) -> Option<StaleConfig> {
        self.failed.clone().map(|failed| StaleConfig { reloads: self.done, failed })
    }

    /// Reads it before anything but the address to listen on was started with the old one, so that all of it but that is
    /// taken over.
    pub(super) fn read_before_start(&mut self, old: &Config) -> Option<Config> {
        let config = self.attempt()?;
        tracing::info!("the configuration was read again");
        tell_refused(if config.listen == old.listen { &[] } else { &["listen"] });
        warn(&config);
        Some(Config { listen: old.listen, ..config })
    }

    /// Reads it. None if it cannot be used: then the old one stays, whole.
    pub(super) fn read(&mut self, old: &Config) -> Option<Config> {
        let (config, refused) = reload(old, self.attempt()?);
        tracing::info!("the configuration was read again");
        tell_refused(&refused);
        warn(&config);
        Some(config)
    }

    fn attempt(&mut self) -> Option<Config> {
        match (self.read)() {
            Ok(config) => {
                self.done += 1;
                self.failed = None;
                Some(config)
            }
            Err(error) => {
                tracing::error!("the configuration was not read again, the old one stays: {error}");
                self.failed = Some(error.to_string());
                None
            }
        }
    }
}

fn tell_refused(keys: &[&str]) {
    if !keys.is_empty() {
        let keys = keys.join(", ");
        tracing::warn!(keys, "these were changed but take effect at a restart only; the old values stay");
    }
}

/// Logs what can be used and is hardly meant.
pub(super) fn warn(config: &Config) {
    for warning in config.warnings(now()) {
        tracing::warn!("{warning}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Overrides;
    use std::path::PathBuf;

    #[test]
    fn a_bad_file_changes_nothing_and_is_told_until_a_good_one_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let file: PathBuf = dir.path().join("a.toml");
        let write = |text: &str| std::fs::write(&file, text).unwrap();
        let path = file.clone();
        let read = Box::new(move || Config::load(Some(&path), Overrides::default()));
        let mut reloads = Reloads::new(Arc::default(), read);
        write("epoch = '5s'");
        let old = reloads.read(&Config::default()).unwrap();
        assert_eq!((old.epoch.as_secs(), reloads.stale()), (5, None));
        write("epoch = '6s'\n[checks.NONE]");
        assert!(reloads.read(&old).is_none() && reloads.read_before_start(&old).is_none());
        let stale = reloads.stale().unwrap();
        assert_eq!(stale.reloads, 1);
        assert!(stale.failed.contains("a.toml:2: there is no check"), "{stale:?}");
        write("epoch = '7s'\nsystem = 'other'");
        let new = reloads.read(&old).unwrap();
        assert_eq!((new.epoch.as_secs(), new.system, reloads.stale()), (7, None, None));
        assert_eq!(reloads.read_before_start(&old).unwrap().system.as_deref(), Some("other"));
    }
}
