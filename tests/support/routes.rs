//! Routes that lead where a test wants them, such as through a proxy.

use insights_agent::demo::topology::ServerConf;

/// Lets a server have routes to these others only: their number, and the port by which they are reached, from the ports
/// of all. Servers tell each other's addresses, and would connect around any obstacle: so every server has a route password
/// of its own, and one that was only told of another one offers the wrong one and is refused.
pub fn only_routes(server: usize, conf: &mut ServerConf, to: impl FnOnce(&[u16]) -> Vec<(usize, u16)>) {
    let cluster = conf.cluster.take().unwrap();
    let urls: Vec<String> = to(&cluster.routes)
        .into_iter()
        .map(|(number, port)| format!("\"nats://route{number}:pw{number}@127.0.0.1:{port}\""))
        .collect();
    conf.extra += &format!(
        "cluster {{\n  name: \"{}\"\n  listen: \"127.0.0.1:{}\"\n  authorization {{ user: route{server}, password: \
         pw{server}, timeout: 10 }}\n  routes: [{}]\n}}\n",
        cluster.name,
        cluster.port,
        urls.join(", ")
    );
}
