//! A request to all servers in waves, so that not all of them answer at once.
//!
//! ACCOUNT STATZ has no subject for one server. Its options choose servers by the cluster's and the server's name, but
//! before 2.12 as a part of the name: `s1` also reaches `s10`. So the parts are chosen by how many servers they reach.

use crate::snapshot::Server;
use crate::text::Name;
use std::collections::BTreeSet;

/// One wave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wave {
    /// What the server's name must contain; none for every server.
    pub(super) server_name: Option<String>,
    /// What its cluster's name must contain.
    pub(super) cluster: Option<String>,
    /// The servers that it reaches, as far as they are known.
    pub(super) reaches: BTreeSet<Name>,
}

/// Waves that together reach every server, each at most `most` of them where names allow it.
pub(super) fn waves(servers: &[&Server], most: usize) -> Vec<Wave> {
    let all = || servers.iter().map(|server| server.id.clone()).collect();
    if servers.len() <= most {
        return vec![Wave { server_name: None, cluster: None, reaches: all() }];
    }
    let mut waves = Vec::new();
    let clusters: BTreeSet<Option<&Name>> = servers.iter().map(|server| server.cluster.as_ref()).collect();
    let mut left: BTreeSet<&Name> = servers.iter().map(|server| &server.id).collect();
    for cluster in clusters {
        // A server without a cluster matches no filter of clusters.
        let inside: Vec<&Server> = servers
            .iter()
            .copied()
            .filter(|server| match (cluster, &server.cluster) {
                (Some(part), Some(name)) => name.contains(&**part),
                (Some(_), None) => false,
                (None, _) => true,
            })
            .collect();
        let wanted: Vec<&Server> = inside
            .iter()
            .copied()
            .filter(|server| server.cluster.as_ref() == cluster && left.contains(&server.id))
            .collect();
        let wave = |server_name: Option<&str>, reaches: &[&Server]| Wave {
            server_name: server_name.map(str::to_owned),
            cluster: cluster.map(ToString::to_string),
            reaches: reaches.iter().map(|server| server.id.clone()).collect(),
        };
        if inside.len() <= most {
            if !wanted.is_empty() {
                left.retain(|id| inside.iter().all(|server| server.id != **id));
                waves.push(wave(None, &inside));
            }
            continue;
        }
        for server in wanted {
            if !left.contains(&server.id) {
                continue;
            }
            let part = part_of(&server.name, &inside, most, &left);
            let reached: Vec<&Server> =
                inside.iter().copied().filter(|server| server.name.contains(part)).collect();
            left.retain(|id| reached.iter().all(|server| server.id != **id));
            waves.push(wave(Some(part), &reached));
        }
    }
    waves
}

/// The beginning of a name that reaches most of those left, and not too many; the whole name if none does.
fn part_of<'n>(name: &'n str, servers: &[&Server], most: usize, left: &BTreeSet<&Name>) -> &'n str {
    let mut best = (name, 0);
    for (end, _) in name.char_indices().skip(1) {
        let part = &name[..end];
        let reached = servers.iter().filter(|server| server.name.contains(part));
        let (mut all, mut new) = (0, 0);
        for server in reached {
            all += 1;
            new += usize::from(left.contains(&server.id));
        }
        if all <= most && new > best.1 {
            best = (part, new);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::build::System;

    fn system(clusters: usize, each: usize) -> Vec<Server> {
        let mut system = System::of(0);
        for cluster in 0..clusters {
            for server in 0..each {
                system.add_server(&format!("c{cluster}-n{server}"), Some(&format!("C{cluster}")));
            }
        }
        system.add_server("alone", None);
        system.done().servers.into_values().collect()
    }

    /// Every server is reached, and no wave is larger than it may be; how many waves there are.
    fn check(servers: &[Server], most: usize) -> usize {
        let servers: Vec<&Server> = servers.iter().collect();
        let waves = waves(&servers, most);
        let mut reached = BTreeSet::new();
        for wave in &waves {
            assert!(wave.reaches.len() <= most, "{wave:?}");
            for server in &servers {
                let cluster = server.cluster.as_deref();
                let named = wave.server_name.as_ref().is_none_or(|part| server.name.contains(part));
                let clustered =
                    wave.cluster.as_ref().is_none_or(|part| cluster.is_some_and(|name| name.contains(part)));
                assert_eq!(named && clustered, wave.reaches.contains(&server.id), "{wave:?} {server:?}");
            }
            reached.extend(wave.reaches.iter().cloned());
        }
        assert_eq!(reached.len(), servers.len());
        waves.len()
    }

    #[test]
    fn few_servers_are_one_wave() {
        assert_eq!(check(&system(1, 5), 6), 1);
    }

    #[test]
    fn clusters_are_waves_where_they_fit_and_parts_of_names_where_not() {
        // C1 also reaches C10 and C11.
        assert!(check(&system(12, 5), 15) <= 13);
        assert!(check(&system(10, 100), 120) <= 12);
        // 100 servers in tens: n1, n1x, n2x …
        let waves = check(&system(2, 100), 20);
        assert!(waves <= 25, "{waves}");
    }
}
