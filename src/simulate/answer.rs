//! Answers to requests, with the faults of those who give them.

use super::connz::Page;
use super::fault::Kind;
use super::pages::compress;
use super::request::{Endpoint, Question};
use super::world::{Moment, World};
use bytes::Bytes;
use std::time::Duration;

/// One answer of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Who answers.
    pub server: usize,
    /// What is answered.
    pub payload: Bytes,
    /// Whether it is compressed, in the framing format of snappy, and the header must say so.
    pub snappy: bool,
    /// How much later than it could be it comes.
    pub delay: Duration,
}

/// What a server answers that has lost its mind.
const GARBAGE: &[u8] = b"{\"server\":[\xff\xfe{\"data\":}] ]";

impl World {
    /// All answers to a request. Of large worlds, asking one server after another with [`World::reply`] takes less memory.
    pub fn answer(&self, moment: &Moment, subject: &str, body: &[u8], compressed: bool) -> Vec<Reply> {
        let question = self.question(moment, subject, body, compressed);
        question
            .iter()
            .flat_map(|question| question.servers.iter().flat_map(|s| self.reply(moment, question, *s)))
            .collect()
    }

    /// What one server answers: mostly once.
    pub fn reply(&self, moment: &Moment, question: &Question, server: usize) -> Vec<Reply> {
        let endpoint = question.endpoint;
        let at_endpoint = |only: &Option<String>| only.as_deref().is_none_or(|only| only == endpoint.name());
        if self.has(server, moment, |kind| matches!(kind, Kind::Silent(only) if at_endpoint(only))) {
            return Vec::new();
        }
        let garbage = |kind: &Kind| match kind {
            Kind::Garbage(None) => endpoint != Endpoint::Statsz,
            Kind::Garbage(only) => at_endpoint(only),
            _ => false,
        };
        let Some((mut payload, snappy)) = (if self.has(server, moment, garbage) {
            Some((Bytes::from_static(GARBAGE), false))
        } else {
            self.sound_answer(moment, question, server)
        }) else {
            return Vec::new();
        };
        if endpoint == Endpoint::Connz && self.has(server, moment, |kind| *kind == Kind::HalfPage) {
            payload.truncate(payload.len() / 2);
        }
        let delay = match self.fault(server, moment, |kind| matches!(kind, Kind::Late(_))) {
            Some(Kind::Late(delay)) => *delay,
            _ => Duration::ZERO,
        };
        let times = if self.has(server, moment, |kind| *kind == Kind::Twice) { 2 } else { 1 };
        vec![Reply { server, payload, snappy, delay }; times]
    }

    /// An answer that a server refuses to give.
    pub fn refuse(&self, moment: &Moment, server: usize, why: &str) -> Reply {
        let payload = Bytes::from(self.refusal(server, moment, 500, why));
        Reply { server, payload, snappy: false, delay: Duration::ZERO }
    }

    /// STATSZ as a server sends it by itself every 10 seconds, with its subject; none from one that is mute or gone.
    pub fn heartbeat(&self, moment: &Moment, server: usize) -> Option<(String, Bytes)> {
        let speaks = self.runs(server, moment) && !self.mute(server, moment);
        speaks.then(|| {
            (
                format!("$SYS.SERVER.{}.STATSZ", self.id(server, moment)),
                Bytes::from(self.statsz(server, moment)),
            )
        })
    }

    /// Payload and whether it is compressed; none where a server says nothing.
    fn sound_answer(&self, moment: &Moment, question: &Question, server: usize) -> Option<(Bytes, bool)> {
        let options = match &question.options {
            Ok(options) => options,
            // Errors are never compressed.
            Err(why) => return Some((Bytes::from(self.refusal(server, moment, 400, why)), false)),
        };
        let text = match question.endpoint {
            // Neither are these two.
            Endpoint::Statsz => return Some((Bytes::from(self.statsz(server, moment)), false)),
            Endpoint::Idz => {
                let (name, id) = (&self.layout.servers[server].name, self.id(server, moment));
                let text =
                    format!("{{\"name\":\"{name}\",\"host\":\"{}\",\"id\":\"{id}\"}}", super::print::HOST);
                return Some((Bytes::from(text), false));
            }
            Endpoint::Varz => self.varz(server, moment),
            Endpoint::Subsz => self.subsz(server, moment, options),
            Endpoint::Accountz => self.accountz(server, moment, options),
            Endpoint::Healthz => self.envelope(server, moment, "{\"status\":\"ok\",\"status_code\":200}"),
            Endpoint::AccountStatz
                if question.compressed && options.include_unused && options.accounts.is_empty() =>
            {
                let mut out = compress(self.statz_head(server, moment).as_bytes());
                out.extend_from_slice(self.prepared_statz(server));
                return Some((out.into(), true));
            }
            Endpoint::AccountStatz => self.statz(server, moment, options)?,
            Endpoint::Connz => match self.connz(server, moment, options, question.compressed) {
                Page::Plain(text) => text,
                Page::Compressed(bytes) => return Some((bytes.into(), true)),
            },
        };
        let error = text.contains("\"data\":null,\"error\"");
        if question.compressed && !error {
            return Some((compress(text.as_bytes()).into(), true));
        }
        Some((text.into(), false))
    }
}
