//! SIGHUP: the settings are read again. What can change while the broker runs does; the rest is named, for a restart.

use super::settings::SettingsArgs;
use crate::config::Config;
use crate::telemetry::Filter;

/// The one setting that changes without a restart.
const LOG_LEVEL: &str = "log.level";

/// What is needed to read the settings again.
#[derive(Debug)]
pub(super) struct Reload {
    /// Where they come from.
    pub(super) args: SettingsArgs,
    /// What is logged.
    pub(super) filter: Filter,
    /// The level in force.
    pub(super) level: String,
}

impl Reload {
    /// Reads the settings again and says what came of it. With a mistake in them nothing changes.
    pub(super) fn again(&mut self, running: &Config) {
        let loaded = match self.args.load() {
            Ok(loaded) => loaded,
            Err(error) => {
                tracing::error!("SIGHUP: the settings are wrong, and all stays as it is: {error:#}");
                return;
            }
        };
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let level = &loaded.config.log.level;
        let is_new = *level != self.level;
        if is_new {
            // Before: behind it, a higher level would swallow this line.
            tracing::info!("SIGHUP: {LOG_LEVEL} becomes {level}");
            if let Err(error) = self.filter.set(level) {
                tracing::error!("SIGHUP: {error}");
            }
            self.level.clone_from(level);
        }
        let waiting = needing_restart(running, &loaded.config);
        let topics_differ = running.declared_topics != loaded.config.declared_topics;
        if !waiting.is_empty() {
            tracing::warn!("SIGHUP: changed, and in force after a restart: {}", waiting.join(", "));
        }
        if topics_differ {
            tracing::warn!(
                "SIGHUP: [[topics]] have changed: the next start makes those that are missing, and leaves those that \
                 exist as they are"
            );
        }
        if waiting.is_empty() && !topics_differ && !is_new {
            tracing::info!("SIGHUP: the settings are as they were");
        }
    }
}

/// The settings that differ and that the running broker does not take up.
fn needing_restart(running: &Config, read: &Config) -> Vec<&'static str> {
    let mut names = running.settings.differing(&read.settings);
    names.retain(|name| *name != LOG_LEVEL);
    names
}
