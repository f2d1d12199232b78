//! What a configuration that is read again can change while the agent runs.

use super::Config;

/// The configuration to go on with, made of the new one, and the keys whose new values need a restart: those keep their
/// old ones.
pub fn reload(old: &Config, new: Config) -> (Config, Vec<&'static str>) {
    // Named one by one, so that nobody adds a key without deciding about it.
    let Config {
        epoch,
        subject_prefix,
        system,
        agent_name,
        log_format,
        connection,
        list_connections,
        accounts,
        grace,
        silences,
        silence_lines,
        checks,
        check_settings,
        listen,
        alertmanager,
        sink,
        api,
        election,
    } = new;
    let mut refused = Vec::new();
    let mut keep = |key, changed: bool| {
        if changed {
            refused.push(key);
        }
    };
    // Subscribers and imports of other accounts name the prefix.
    keep("subject_prefix", subject_prefix != old.subject_prefix);
    // It is a part of every fingerprint: each finding would begin anew without having ended.
    keep("system", system != old.system);
    keep("name", agent_name != old.agent_name);
    keep("log_format", log_format != old.log_format);
    keep("connection", connection != old.connection);
    keep("listen", listen != old.listen);
    keep("alertmanager", alertmanager != old.alertmanager);
    keep("sink", sink != old.sink);
    keep("api", api != old.api);
    keep("election", election != old.election);
    let config = Config {
        subject_prefix: old.subject_prefix.clone(),
        system: old.system.clone(),
        agent_name: old.agent_name.clone(),
        log_format: old.log_format,
        connection: old.connection.clone(),
        listen: old.listen,
        alertmanager: old.alertmanager.clone(),
        sink: old.sink.clone(),
        api: old.api,
        election: old.election,
        epoch,
        list_connections,
        accounts,
        grace,
        silences,
        silence_lines,
        checks,
        check_settings,
    };
    (config, refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::show;
    use crate::config::tests::load;

    const OLD: &str = "name = 'a'\n[connection]\nuser = 'u'\npassword = 'one'";

    #[test]
    fn what_can_change_does_and_what_cannot_is_named_and_stays() {
        let old = load(OLD).unwrap();
        let (same, refused) = reload(&old, load(OLD).unwrap());
        assert_eq!((show(&same).unwrap(), refused), (show(&old).unwrap(), vec![]));

        let applies = "
            epoch = '5s'
            gather.connections = 'off'
            accounts.A.max_connections = 3
            maintenance.grace = '1s'
            checks.USER_002.enabled = false
            checks.USER_002.max_connections = 3
            [[silence]]
            match = { account = 'A' }
            reason = 'x'
            until = 2026-12-01T08:00:00Z
        ";
        let text = format!("name = 'a'\nconnection.user = 'u'\nconnection.password = 'one'\n{applies}");
        let (config, refused) = reload(&old, load(&text).unwrap());
        assert_eq!((show(&config).unwrap(), refused), (show(&load(&text).unwrap()).unwrap(), vec![]));
        assert_eq!((config.checks.disabled, config.silence_lines.len()), (1, 1));

        let all = format!(
            "subject_prefix = 'p'\nsystem = 's'\nname = 'b'\nlog_format = 'json'\nconnection.user = 'u'\n\
             connection.password = 'two'\n{applies}"
        );
        let (config, refused) = reload(&old, load(&all).unwrap());
        assert_eq!(refused, ["subject_prefix", "system", "name", "log_format", "connection"]);
        assert_eq!(show(&config).unwrap(), show(&load(&text).unwrap()).unwrap());
        assert_eq!(config.connection, old.connection);
    }
}
